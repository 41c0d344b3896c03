#include "client/lookup.h"

#include <functional>
#include <memory>

#include "client/within.h"
#include "http/http.h"
#include "mlflow/mlflow.h"

namespace mlops::client {
namespace {

using mlflow::Answer;
using mlflow::Verdict;

// The answer of `ask`, which the deadline cuts short.
Result<ServerRun> ask_within(Millis deadline, mlflow::Api* api, const std::function<Result<ServerRun>()>& ask) {
  Result<ServerRun> result = Status(StatusCode::unavailable, "the server did not answer");
  const bool in_time = within(deadline, api, [&] { result = ask(); });
  if (!in_time && !result.ok()) {
    return Status(StatusCode::unavailable, "the server did not answer within " + std::to_string(deadline.count()) +
                                               " ms; continue once it is reachable, or start a new run");
  }
  return result;
}

Status words(const Answer& answer) {
  if (answer.status.code() == StatusCode::not_found || answer.verdict == Verdict::run_gone) {
    return Status(StatusCode::not_found, std::string(answer.status.message()));
  }
  return answer.status.ok() ? Status(StatusCode::internal, "no reason given") : answer.status;
}

// The uid of a run; one without gets its server id, which is 32 hex digits too.
Result<ServerRun> adopt(mlflow::Api* api, const mlflow::RemoteRun& remote) {
  ServerRun out;
  out.name = remote.name;
  out.params = remote.params;
  out.last_steps = remote.last_steps;
  for (const auto& [key, value] : remote.tags) {
    if (key == "mlops.uid" && base::Uid::parse(value, &out.uid)) return out;
  }
  if (!base::Uid::parse(remote.run_id, &out.uid)) out.uid = base::Uid::random();
  const Answer tagged = api->set_tags(remote.run_id, {{"mlops.uid", out.uid.hex()}});
  if (tagged.verdict != Verdict::ok) return words(tagged);
  return out;
}

}  // namespace

Result<ServerRun> find_on_server_by_id(const std::string& uri, const Credentials& credentials,
                                       const std::string& experiment, const std::string& run_id, Millis deadline) {
  Result<std::unique_ptr<mlflow::Api>> api = mlflow::Api::connect(uri, credentials);
  if (!api.ok()) return api.status();
  mlflow::Api* a = api->get();
  return ask_within(deadline, a, [&]() -> Result<ServerRun> {
    mlflow::RemoteRun remote;
    Answer answer = a->get_run(run_id, &remote);
    if (answer.verdict != Verdict::ok) return words(answer);
    if (remote.lifecycle_stage == "deleted") {
      return Status(StatusCode::failed_precondition, "run " + run_id + " is deleted on the server: restore it first");
    }
    std::string experiment_id;
    answer = a->experiment_by_name(experiment, &experiment_id);
    if (answer.verdict != Verdict::ok && words(answer).code() != StatusCode::not_found) return words(answer);
    if (experiment_id != remote.experiment_id) {
      return Status(StatusCode::failed_precondition, "run " + run_id + " belongs to the server's experiment " +
                                                         remote.experiment_id + ", not to \"" + experiment +
                                                         "\": name its experiment");
    }
    return adopt(a, remote);
  });
}

Result<ServerRun> find_on_server_by_name(const std::string& uri, const Credentials& credentials,
                                         const std::string& experiment, const std::string& name, Millis deadline) {
  Result<std::unique_ptr<mlflow::Api>> api = mlflow::Api::connect(uri, credentials);
  if (!api.ok()) return api.status();
  mlflow::Api* a = api->get();
  return ask_within(deadline, a, [&]() -> Result<ServerRun> {
    std::string experiment_id;
    Answer answer = a->experiment_by_name(experiment, &experiment_id);
    if (answer.verdict != Verdict::ok) return words(answer);
    mlflow::RemoteRun remote;
    bool found = false;
    answer = a->find_run_by_name(experiment_id, name, &remote, &found);
    if (answer.verdict != Verdict::ok) return words(answer);
    if (!found) return Status(StatusCode::not_found, "no run of that name on the server");
    return adopt(a, remote);
  });
}

}  // namespace mlops::client
