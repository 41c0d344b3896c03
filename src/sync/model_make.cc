// RunLane: a logged model comes to be on the server. On one that has logged models: looked up by mlops.uid, created,
// linked to its run. On others it is a folder below the run's artifacts, and nothing is sent until its files are there.
#include <algorithm>

#include "base/base.h"
#include "model/logged_model.h"
#include "sync/answers.h"
#include "sync/run_lane.h"

namespace mlops::sync {

using mlflow::Verdict;
using State = ledger::ModelState::State;

namespace {

constexpr int kLookups = 3;  // as of a run's create

/// Who made the run and with what: MLflow's pages show it of a model too.
bool is_source_tag(std::string_view key) { return key == "mlflow.user" || key.substr(0, 14) == "mlflow.source."; }

Pairs with_prefix(const Pairs& pairs, std::string_view prefix) {
  Pairs out;
  for (const auto& [key, value] : pairs) {
    if (std::string_view(key).substr(0, prefix.size()) == prefix) out.emplace_back(key.substr(prefix.size()), value);
  }
  return out;
}

bool is_open(const model::Op& op) {
  return std::any_of(op.pairs.begin(), op.pairs.end(), [](const auto& pair) { return pair.first == model::kOpen; });
}

}  // namespace

RunLane::Answer RunLane::send_model(Remote& remote, const model::Op& op) {
  ledger::ModelState state;
  const std::optional<ledger::ModelState> known = shared_->ledger->model(op.parent);
  if (known) state = *known;
  state.uid = op.parent;
  state.run = state_.run;
  state.name = op.key;
  state.seq = window_.alone_seq;
  state.open = is_open(op);
  if (state.state == State::creating || state.state == State::refused) {
    if (!(looked_for_ == op.parent)) {
      looked_for_ = op.parent;
      model_lookups_left_ = known && state.state == State::creating ? kLookups : 0;
    }
    Answer answer = find_or_create(remote, op, &state);
    if (answer.verdict != Verdict::ok || state.state == State::refused) return answer;
  }
  if (state.server_id.empty() || state.open) return Answer();
  return link_output(remote, op.number, state.server_id, op.key);
}

RunLane::Answer RunLane::find_or_create(Remote& remote, const model::Op& op, ledger::ModelState* state) {
  const auto keep = [&] {
    Status status = shared_->ledger->put(*state);
    return status.ok() ? Answer() : local_failure(std::move(status));
  };
  const auto refused = [&](const Answer& answer) {
    state->state = State::refused;
    state->reason = std::string(answer.status.message());
    Answer kept = keep();
    return kept.verdict == Verdict::ok ? refuse(window_.alone_seq, "model " + op.key, state->reason) : kept;
  };
  mlflow::RemoteLoggedModel there;
  bool found = false;
  if (shared_->logged_models >= 0) {
    Answer answer = call(
        0, [&] { return remote.models().find_logged_model(state_.experiment_id, op.parent.hex(), &there, &found); });
    if (answer.verdict != Verdict::unsupported && answer.verdict != Verdict::ok) return answer;
    shared_->logged_models = answer.verdict == Verdict::ok ? 1 : -1;
  }
  if (shared_->logged_models < 0) return place_in_run(remote, op, state);
  if (!found) {
    if (model_lookups_left_ > 0) {  // a create whose answer was lost may still be at work
      --model_lookups_left_;
      return later(backoff_.next_spaced());
    }
    mlflow::NewLoggedModel model;
    model.experiment_id = state_.experiment_id;
    model.name = op.key;
    model.type = op.value;
    model.run_id = state_.server_id;
    model.params = with_prefix(op.pairs, model::kParamPrefix);
    model.tags = with_prefix(op.pairs, model::kModelTagPrefix);
    model::Op start;
    bool started = false;
    if (Status s = gatherer_.find_start(shared_->durable_beat(), &start, &started); !s.ok()) return local_failure(s);
    for (const auto& tag : start.pairs) {
      const auto same = [&](const auto& own) { return own.first == tag.first; };
      if (is_source_tag(tag.first) && std::none_of(model.tags.begin(), model.tags.end(), same)) {
        model.tags.push_back(tag);
      }
    }
    model.tags.emplace_back("mlops.uid", op.parent.hex());
    state->state = State::creating;
    if (Answer kept = keep(); kept.verdict != Verdict::ok) return kept;
    MLOPS_POINT("sync.before_model");
    Answer answer = call(0, [&] { return remote.models().create_logged_model(model, &there); });
    MLOPS_POINT("sync.after_model");
    if (answer.verdict == Verdict::unsupported) {
      shared_->logged_models = -1;
      return place_in_run(remote, op, state);
    }
    if (answer.verdict == Verdict::ambiguous || answer.verdict == Verdict::duplicate) {
      model_lookups_left_ = kLookups;
      answer.verdict = Verdict::ambiguous;
      return answer;
    }
    if (answer.verdict != Verdict::ok) return waits(answer) ? answer : refused(answer);
  }
  state->server_id = there.model_id;
  state->root = there.artifact_uri;
  state->state = State::made;
  return keep();
}

/// Its folder has its name; one of a name that the run has already gets some of its uid behind it, so that no file
/// replaces another model's.
RunLane::Answer RunLane::place_in_run(Remote& remote, const model::Op& op, ledger::ModelState* state) {
  mlflow::RunLinks links;
  Answer answer = call(0, [&] { return remote.models().run_links(state_.server_id, &links); });
  if (answer.verdict != Verdict::ok) return answer;
  state->server_id.clear();
  state->root = links.artifact_uri + "/" + op.key;
  for (const ledger::ModelState& other : shared_->ledger->models(state_.run)) {
    if (!(other.uid == state->uid) && other.root == state->root) {
      state->root += "-" + op.parent.hex().substr(0, 8);
      break;
    }
  }
  for (const auto& [key, value] : op.pairs) {
    if (key == model::kHistory) state->history = value;
  }
  state->state = State::made;
  Status status = shared_->ledger->put(*state);
  return status.ok() ? Answer() : local_failure(std::move(status));
}

RunLane::Answer RunLane::link_output(Remote& remote, std::int64_t step, const std::string& model_id,
                                     const std::string& name) {
  Answer answer = call(0, [&] { return remote.models().log_model_output(state_.server_id, model_id, step); });
  if (answer.verdict == Verdict::unsupported) return Answer();
  if (answer.verdict == Verdict::duplicate) {
    mlflow::RunLinks links;
    Answer read = call(0, [&] { return remote.models().run_links(state_.server_id, &links); });
    if (read.verdict != Verdict::ok) return read;
    const auto same = [&](const auto& have) { return have.first == model_id; };
    if (std::any_of(links.outputs.begin(), links.outputs.end(), same)) return Answer();
    answer.verdict = Verdict::ambiguous;
    return answer;
  }
  if (answer.verdict == Verdict::ok || waits(answer)) return answer;
  return refuse(window_.alone_seq, "model " + name + " as an output of its run", std::string(answer.status.message()));
}

}  // namespace mlops::sync
