// Api: the endpoints. Each call is one exchange (metric_history and probe: several); nothing is repeated here, that is
// the caller's decision. A good status with a body of another shape is ambiguous, never ok.
#include <algorithm>
#include <atomic>
#include <charconv>
#include <tuple>

#include "base/base.h"
#include "mlflow/decode.h"
#include "mlflow/encode.h"
#include "mlflow/exchange.h"
#include "mlflow/mlflow.h"
#include "mlflow/models.h"
#include "mlflow/registry.h"

namespace mlops::mlflow {
namespace {

constexpr std::size_t kHistoryPage = 25'000;

bool parse_version(std::string_view text, Server* out) {
  int* parts[] = {&out->major, &out->minor, &out->patch};
  const char* at = text.data();
  const char* end = at + text.size();
  for (int i = 0; i < 3; ++i) {
    const auto [next, error] = std::from_chars(at, end, *parts[i]);
    if (error != std::errc()) return i == 2;  // "3.1rc1" is a version, "OK" is none
    at = next;
    if (i < 2) {
      if (at == end || *at != '.') return i == 1;
      ++at;
    }
  }
  return true;
}

bool at_least(const Server& s, int major, int minor, int patch) {
  return std::tie(s.major, s.minor, s.patch) >= std::tie(major, minor, patch);
}

const std::string* find_tag(const RemoteRun& run, std::string_view key) {
  for (const auto& [k, v] : run.tags)
    if (k == key) return &v;
  return nullptr;
}

}  // namespace

struct Api::Impl : Exchange {
  std::string body;  // of log_metrics, kept for its capacity
  std::unique_ptr<Registry> registry;
  std::unique_ptr<Models> models;

  Answer search(std::string text, std::vector<RemoteRun>* runs) {
    Reply reply;
    Answer answer = post(Expect::object, "runs/search", std::move(text), &reply);
    if (answer.verdict == Verdict::ok && !read_runs(reply, runs)) return unexpected(answer, "list of runs");
    return answer;
  }
};

Result<std::unique_ptr<Api>> Api::connect(const std::string& uri, const Credentials& credentials) {
  Result<std::unique_ptr<http::Connection>> connection = http::Connection::create(uri, credentials);
  if (!connection.ok()) return connection.status();
  return std::make_unique<Api>(std::move(*connection));
}
Api::Api(std::unique_ptr<http::Connection> connection) : impl_(std::make_unique<Impl>()) {
  impl_->connection = std::move(connection);
  impl_->registry = registry_over(impl_.get());
  impl_->models = models_over(impl_.get());
}
Api::~Api() = default;

Registry& Api::registry() { return *impl_->registry; }
Models& Api::models() { return *impl_->models; }

void Api::cancel() { impl_->connection->cancel(); }
std::uint64_t Api::bytes_sent() const { return impl_->connection->bytes_sent(); }
std::uint64_t Api::requests() const { return impl_->requests.load(std::memory_order_relaxed); }

Answer Api::probe(Server* out) {
  *out = Server{};
  http::Request request;
  request.path = "/api/3.0/mlflow/server-info";
  request.timeout = Millis(15'000);
  Reply reply;
  Answer info = impl_->call(Expect::optional, request, &reply);
  if (info.http_status == 0 && info.verdict != Verdict::ok) return info;  // nobody answered: that is the news
  if (info.verdict == Verdict::ok) {
    read_text_field(reply, "store_type", &out->store_type);
    out->multipart_uploads = read_flag(reply, "multipart_uploads_enabled");
    out->multipart_downloads = read_flag(reply, "multipart_downloads_enabled");
    out->whole_resend_ok = out->store_type == "SqlStore";  // the endpoint is as old as the fix: 3.10
  }
  request.path = "/version";
  Answer version = impl_->call(Expect::optional, request, &reply);
  if (version.http_status == 0 && version.verdict != Verdict::ok) return version;
  if (version.http_status == 200 && (reply.form == Form::text || reply.form == Form::json) &&
      reply.message.size() < 32 && parse_version(reply.message, out)) {
    out->version = reply.message;
    const bool file_store = out->store_type == "FileStore";
    out->whole_resend_ok = at_least(*out, 3, 10, 0) && !file_store;
    out->nan_resend_ok = at_least(*out, 3, 17, 2) && !file_store;
  } else {
    out->major = out->minor = out->patch = 0;
  }
  Answer ok;
  ok.http_status = version.http_status;
  return ok;
}

Answer Api::experiment_by_name(std::string_view name, std::string* id) {
  Reply reply;
  Answer answer = impl_->get(
      Expect::object, std::string(kPrefix) + "experiments/get-by-name?experiment_name=" + http::escape(name), &reply);
  if (answer.verdict != Verdict::ok) return answer;
  bool deleted = false;
  if (!read_experiment(reply, id, &deleted)) return unexpected(answer, "experiment");
  if (deleted) {
    answer.verdict = Verdict::run_gone;
    answer.status =
        Status(StatusCode::failed_precondition,
               "the experiment '" + std::string(name) +
                   "' was deleted on the server. Restore it there (mlflow experiments restore --experiment-id " + *id +
                   "), or log to another one; the data waits on disk");
  }
  return answer;
}

Answer Api::create_experiment(const model::Op& spec, std::string* id) {
  Reply reply;
  Answer answer = impl_->post(Expect::object, "experiments/create", encode_create_experiment(spec), &reply, true);
  if (answer.verdict == Verdict::ok && !read_text_field(reply, "experiment_id", id))
    return unexpected(answer, "experiment_id");
  return answer;
}

Answer Api::find_run(std::string_view experiment_id, std::string_view uid, RemoteRun* out, bool* found) {
  *found = false;
  std::string value;
  if (!quote(uid, &value)) value = "''";
  std::vector<RemoteRun> runs;
  Answer answer = impl_->search(encode_search_runs(experiment_id, "tags.`mlops.uid` = " + value, true, 2), &runs);
  if (answer.verdict != Verdict::ok) return answer;
  for (RemoteRun& run : runs) {  // the filter is checked: a server that ignores it must not give us somebody's run
    const std::string* tag = find_tag(run, "mlops.uid");
    if (!tag || *tag != uid) continue;
    const bool active = run.lifecycle_stage != "deleted";
    const bool better = !*found || (active && out->lifecycle_stage == "deleted") ||
                        (active == (out->lifecycle_stage != "deleted") && run.run_id < out->run_id);
    if (better) *out = std::move(run);  // of two, the same one on every machine
    *found = true;
  }
  return answer;
}

Answer Api::find_run_by_name(std::string_view experiment_id, std::string_view name, RemoteRun* out, bool* found) {
  *found = false;
  std::string value;
  const bool quoted = quote(name, &value);
  std::vector<RemoteRun> runs;
  Answer answer = impl_->search(
      encode_search_runs(experiment_id, quoted ? "attributes.run_name = " + value : "", false, quoted ? 10 : 1000),
      &runs);
  if (answer.verdict != Verdict::ok) return answer;
  for (RemoteRun& run : runs) {  // newest first
    const std::string* tag = find_tag(run, "mlflow.runName");
    if (run.name != name && (!tag || *tag != name)) continue;
    *out = std::move(run);
    *found = true;
    break;
  }
  return answer;
}

Answer Api::create_run(std::string_view experiment_id, const model::Op& start, const Pairs& tags, std::string* run_id) {
  Reply reply;
  Answer answer =
      impl_->post(Expect::object, "runs/create", encode_create_run(experiment_id, start, tags), &reply, true);
  if (answer.verdict != Verdict::ok) return answer;
  RemoteRun run;
  if (!read_run(reply, &run)) return unexpected(answer, "run");
  *run_id = run.run_id;
  return answer;
}

Answer Api::get_run(std::string_view run_id, RemoteRun* out) {
  Reply reply;
  Answer answer = impl_->get(Expect::object, std::string(kPrefix) + "runs/get?run_id=" + http::escape(run_id), &reply);
  if (answer.verdict == Verdict::ok && !read_run(reply, out)) return unexpected(answer, "run");
  return answer;
}

Answer Api::log_metrics(std::string_view run_id, const MetricPoint* points, std::size_t count, std::string_view tag_key,
                        std::string_view tag_value) {
  std::string body = std::move(impl_->body);
  body.clear();
  encode_log_batch(run_id, points, count, tag_key, tag_value, &body);
  http::Request request;
  request.method = http::Method::post;
  request.path = std::string(kPrefix) + "runs/log-batch";
  request.headers.emplace_back("Content-Type", "application/json");
  request.body = std::move(body);
  MLOPS_POINT("mlflow.log_metrics");
  const http::Response response = impl_->connection->send(request);
  MLOPS_POINT("mlflow.metrics_answered");
  impl_->requests.fetch_add(1, std::memory_order_relaxed);
  impl_->body = std::move(request.body);
  const Reply reply = read_reply(response);
  return classify(Expect::done, response, reply.form, reply.error_code, reply.message);
}

Answer Api::log_params(std::string_view run_id, const Pairs& params) {
  return impl_->change("runs/log-batch", encode_pairs(run_id, "params", params));
}

Answer Api::set_tags(std::string_view run_id, const Pairs& tags) {
  return impl_->change("runs/log-batch", encode_pairs(run_id, "tags", tags));
}

Answer Api::delete_tag(std::string_view run_id, std::string_view key) {
  Reply reply;
  Answer answer = impl_->post(Expect::done, "runs/delete-tag", encode_delete_tag(run_id, key), &reply);
  if (answer.http_status == 404 && reply.error_code == "RESOURCE_DOES_NOT_EXIST" &&
      reply.message.find("No tag with name") == 0) {
    Answer ok;
    ok.http_status = 404;
    return ok;
  }
  return answer;
}

Answer Api::update_run(std::string_view run_id, RunStatus status, std::int64_t end_ms, std::string_view name) {
  const bool name_only = status == RunStatus::running && end_ms == 0 && !name.empty();
  return impl_->change("runs/update",
                       encode_update_run(run_id, name_only ? nullptr : run_status_name(status), end_ms, name));
}

Answer Api::set_deleted(std::string_view run_id, bool deleted) {
  return impl_->change(deleted ? "runs/delete" : "runs/restore", encode_run_id(run_id));
}

Answer Api::metric_history(std::string_view run_id, std::string_view key, std::vector<model::Point>* out) {
  out->clear();
  const std::string base = std::string(kPrefix) + "metrics/get-history?run_id=" + http::escape(run_id) +
                           "&metric_key=" + http::escape(key) + "&max_results=" + std::to_string(kHistoryPage);
  std::string token;
  Answer answer;
  do {
    const std::string before = token;
    Reply reply;
    answer = impl_->get(Expect::object, token.empty() ? base : base + "&page_token=" + http::escape(token), &reply);
    if (answer.verdict != Verdict::ok) return answer;
    if (!read_metrics(reply, out, &token)) return unexpected(answer, "metrics");
    if (!token.empty() && token == before) return unexpected(answer, "next page (its token repeats)");
  } while (!token.empty());
  std::stable_sort(out->begin(), out->end(), [](const model::Point& a, const model::Point& b) {
    return std::tie(a.step, a.time_ms) < std::tie(b.step, b.time_ms);
  });
  return answer;
}

}  // namespace mlops::mlflow
