// RunLane: what is said of a logged model after it was made: params, tags, its deletion, whose output it is. Each is
// sent as often as it takes; params, which a server takes once, are read first. The model may be of another run, or of
// another slot: then it is looked for on the server, and after a while without it the record is refused, so that it
// holds back no run for good.
#include <algorithm>

#include "model/logged_model.h"
#include "sync/answers.h"
#include "sync/run_lane.h"

namespace mlops::sync {

using mlflow::Verdict;
using State = ledger::ModelState::State;

namespace {

constexpr int kAsks = 20;  // with the longest pauses of the backoff: more than an hour

bool has_prefix(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

/// The model is not there (any more): of a model that is no reason to doubt the run.
bool is_gone(const mlflow::Answer& answer) { return answer.verdict == Verdict::run_gone; }

}  // namespace

RunLane::Answer RunLane::name_model(Remote& remote, const base::Uid& uid, Named* out) {
  if (const std::optional<ledger::ModelState> model = shared_->ledger->model(uid)) {
    if (model->state == State::creating) return later(parent_backoff_.next_spaced());
    if (model->state == State::refused) out->refused = "the model was refused: " + model->reason;
    out->server_id = model->server_id;
    return Answer();
  }
  if (shared_->logged_models < 0) return Answer();
  if (const auto known = elsewhere_.find(uid); known != elsewhere_.end()) {
    out->server_id = known->second;
    return Answer();
  }
  mlflow::RemoteLoggedModel there;
  bool found = false;
  Answer answer =
      call(0, [&] { return remote.models().find_logged_model(state_.experiment_id, uid.hex(), &there, &found); });
  if (answer.verdict == Verdict::unsupported) return Answer();
  if (answer.verdict != Verdict::ok) return answer;
  if (found) {
    out->server_id = elsewhere_[uid] = there.model_id;
    return Answer();
  }
  if (!(asked_for_ == uid)) {
    asked_for_ = uid;
    asked_ = 0;
  }
  if (++asked_ <= kAsks) return later(parent_backoff_.next_spaced());
  out->refused = "the server has no model with mlops.uid " + uid.hex() +
                 " in the run's experiment: whoever made it has " + "not delivered it";
  return Answer();
}

RunLane::Answer RunLane::send_output(Remote& remote, const model::Op& op) {
  Named named;
  Answer answer = name_model(remote, op.parent, &named);
  if (answer.verdict != Verdict::ok) return answer;
  if (!named.refused.empty()) return refuse(window_.alone_seq, "a model as an output of its run", named.refused);
  if (named.server_id.empty()) return Answer();
  return link_output(remote, op.number, named.server_id, named.server_id);
}

/// Those that the model does not have. `other`: a key that it has with another value.
RunLane::Answer RunLane::send_new_params(Remote& remote, const std::string& model_id, Pairs params,
                                         std::string* other) {
  mlflow::RemoteLoggedModel there;
  Answer answer = call(0, [&] { return remote.models().get_logged_model(model_id, &there); });
  if (answer.verdict != Verdict::ok) return answer;
  params.erase(std::remove_if(params.begin(), params.end(),
                              [&](const auto& param) {
                                for (const auto& [key, value] : there.params) {
                                  if (key != param.first) continue;
                                  if (value != param.second) *other = key;
                                  return true;
                                }
                                return false;
                              }),
               params.end());
  if (params.empty()) return Answer();
  answer = call(0, [&] { return remote.models().log_model_params(model_id, params); });
  if (answer.verdict == Verdict::duplicate) answer.verdict = Verdict::ambiguous;  // by somebody, just now: read again
  return answer;
}

RunLane::Answer RunLane::send_model_change(Remote& remote, const model::Op& op) {
  Named named;
  Answer answer = name_model(remote, op.parent, &named);
  if (answer.verdict != Verdict::ok) return answer;
  const std::string what = "a change of model " + (named.server_id.empty() ? op.parent.hex() : named.server_id);
  if (!named.refused.empty()) return refuse(window_.alone_seq, what, named.refused);
  const std::string& id = named.server_id;
  if (id.empty()) return Answer();
  Pairs params, tags;
  std::vector<std::string> untagged;
  for (const auto& [key, value] : op.pairs) {
    if (has_prefix(key, model::kParamPrefix)) params.emplace_back(key.substr(model::kParamPrefix.size()), value);
    if (has_prefix(key, model::kModelTagPrefix)) tags.emplace_back(key.substr(model::kModelTagPrefix.size()), value);
    if (has_prefix(key, model::kUntagPrefix)) untagged.push_back(key.substr(model::kUntagPrefix.size()));
  }
  MLOPS_POINT("sync.before_model_change");
  std::string other;
  if (!tags.empty()) answer = call(0, [&] { return remote.models().set_model_tags(id, tags); });
  if (answer.verdict == Verdict::ok && !params.empty()) {
    answer = send_new_params(remote, id, std::move(params), &other);
  }
  for (std::size_t i = 0; answer.verdict == Verdict::ok && i < untagged.size(); ++i) {
    answer = call(0, [&] { return remote.models().delete_model_tag(id, untagged[i]); });
    if (is_gone(answer)) answer = Answer();  // the tag, or all of the model
  }
  if (answer.verdict == Verdict::ok && op.number == 1) {
    answer = call(0, [&] { return remote.models().delete_logged_model(id); });
    if (is_gone(answer)) answer = Answer();
  }
  if (answer.verdict == Verdict::unsupported) return Answer();
  if (answer.verdict == Verdict::ok) {
    if (other.empty()) return answer;
    return refuse(window_.alone_seq, what, "param " + other + " has another value there, and params are logged once");
  }
  if (waits(answer) && !is_gone(answer)) return answer;
  return refuse(window_.alone_seq, what, std::string(answer.status.message()));
}

}  // namespace mlops::sync
