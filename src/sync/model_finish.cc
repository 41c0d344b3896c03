// RunLane: a logged model's end. Its record only notes that the end has come; the model is finalized once its files are
// there, while the run's other records go on. The run's own end waits for it. A model that its program never ended
// (it died) ends with the run, as failed.
#include <algorithm>
#include <limits>

#include "base/base.h"
#include "sync/answers.h"
#include "sync/run_lane.h"

namespace mlops::sync {

using mlflow::Verdict;
using State = ledger::ModelState::State;

void RunLane::load_models() {
  if (models_loaded_) return;
  models_loaded_ = true;
  for (const ledger::ModelState& model : shared_->ledger->models(state_.run)) {
    if (model.pending()) pending_models_.push_back(model.uid);
  }
}

bool RunLane::models_left() const {
  const std::vector<ledger::ModelState> models = shared_->ledger->models(state_.run);
  return std::any_of(models.begin(), models.end(),
                     [](const auto& model) { return model.pending() || (model.state == State::made && !model.open); });
}

RunLane::Answer RunLane::end_model(ledger::ModelState state) {
  state.state = State::ending;
  Status status = shared_->ledger->put(state);
  if (!status.ok()) return local_failure(std::move(status));
  if (std::find(pending_models_.begin(), pending_models_.end(), state.uid) == pending_models_.end()) {
    pending_models_.push_back(state.uid);
  }
  return Answer();
}

RunLane::Answer RunLane::send_model_end(const model::Op& end) {
  std::optional<ledger::ModelState> state = shared_->ledger->model(end.parent);
  if (!state || state->state == State::refused) return Answer();
  const bool settled = state->state == State::ready || state->state == State::failed;
  if (settled && refusal_ == nullptr) return Answer();
  state->end_seq = window_.alone_seq;
  state->end_ticket = end.ticket;
  state->complete = end.number == 1;
  return end_model(std::move(*state));
}

/// Models of this run that have no end when it has.
RunLane::Answer RunLane::give_up_open_models() {
  for (ledger::ModelState& model : shared_->ledger->models(state_.run)) {
    if (model.state != State::made || model.open) continue;
    model.end_seq = window_.end_seq;
    model.end_ticket = std::numeric_limits<std::uint64_t>::max();
    model.complete = false;
    Answer answer = end_model(model);
    if (answer.verdict != Verdict::ok) return answer;
  }
  return Answer();
}

/// Every file is delivered or refused.
bool RunLane::files_settled(const ledger::ModelState& model) const {
  if (shared_->artifacts_delivered) return shared_->artifacts_delivered(model.run, model.uid, model.end_ticket);
  const Result<std::vector<buffer::ArtifactRow>> rows = shared_->reader->artifacts(model.run);
  return rows.ok() &&
         std::none_of(rows->begin(), rows->end(), [&](const auto& row) { return row.op.parent == model.uid; });
}

bool RunLane::files_refused(const ledger::ModelState& model) const {
  const std::vector<ledger::DeadLetter> dead = shared_->ledger->dead(model.run);
  if (dead.empty()) return false;
  const Result<std::vector<buffer::ArtifactRow>> rows = shared_->reader->artifacts(model.run);
  if (!rows.ok()) return false;
  return std::any_of(dead.begin(), dead.end(), [&](const ledger::DeadLetter& letter) {
    return letter.dead() && std::any_of(rows->begin(), rows->end(), [&](const buffer::ArtifactRow& row) {
             return row.seq == letter.seq && row.op.parent == model.uid;
           });
  });
}

RunLane::Answer RunLane::finish_models(Remote& remote, bool* waits_for_files) {
  *waits_for_files = false;
  for (std::size_t i = 0; i < pending_models_.size();) {
    const std::optional<ledger::ModelState> model = shared_->ledger->model(pending_models_[i]);
    if (model && model->pending()) {
      if (!files_settled(*model)) {
        *waits_for_files = true;
        ++i;
        continue;
      }
      Answer answer = finish_model(remote, *model);
      if (answer.verdict != Verdict::ok) return answer;
    }
    pending_models_.erase(pending_models_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return Answer();
}

RunLane::Answer RunLane::finish_model(Remote& remote, ledger::ModelState model) {
  const bool ready = model.complete && !files_refused(model);
  Answer answer;
  MLOPS_POINT("sync.before_model_end");
  if (!model.server_id.empty()) {
    answer = call(0, [&] { return remote.models().finalize_logged_model(model.server_id, ready); });
  } else if (ready) {  // log-model appends every time: what is there is read first
    mlflow::RunLinks links;
    answer = call(0, [&] { return remote.models().run_links(state_.server_id, &links); });
    if (answer.verdict != Verdict::ok) return answer;
    const std::string path = model.root.substr(model.root.rfind('/') + 1);
    if (std::find(links.recorded.begin(), links.recorded.end(), model.uid.hex()) == links.recorded.end()) {
      answer = call(0, [&] { return remote.models().record_model(state_.server_id, path, model.history); });
    }
  }
  const bool gone = answer.verdict == Verdict::run_gone && !model.server_id.empty();  // the model: not the run
  if (answer.verdict != Verdict::ok && waits(answer) && !gone) return answer;
  if (answer.verdict == Verdict::ok) {
    model.state = ready ? State::ready : State::failed;
  } else {
    model.state = State::failed;
    model.reason = std::string(answer.status.message());
    // Its record is below the cursor already: counted here.
    Status status = bury(model.end_seq, 1, 0, "end of model " + model.name, model.reason);
    if (!status.ok()) return local_failure(std::move(status));
    ++state_.dead;
    status = shared_->ledger->put(state_);
    if (!status.ok()) return local_failure(std::move(status));
  }
  Status status = shared_->ledger->put(model);
  MLOPS_POINT("sync.model_ended");
  return status.ok() ? Answer() : local_failure(std::move(status));
}

/// Before a window that ends the run is sent: nothing of its models may be left. `out` is set when this step ends here.
bool RunLane::models_let_end(Remote& remote, Outcome* out) {
  Answer answer = give_up_open_models();
  bool waits_for_files = false;
  if (answer.verdict == Verdict::ok) answer = finish_models(remote, &waits_for_files);
  if (answer.verdict != Verdict::ok) {
    *out = settle(answer);
    return false;
  }
  if (!waits_for_files) return true;
  *out = wait(kModelPollMs, Answer());
  return false;
}

}  // namespace mlops::sync
