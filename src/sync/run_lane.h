// RunLane: delivers one run to one destination, a window at a time. A state machine: resolve the run on the server,
// prove what the server has, send windows, move the cursor.
//
// Exactly-once in effect rests on four rules. A create is looked up by mlops.uid before it is sent or repeated. Points
// travel with a watermark tag, which the server writes last. After any answer that leaves doubt, and at the first
// contact of a deliverer with a run that was there before, the watermark is read back and what lies above it is resent
// in the form that this server takes twice. A window that did not go through is gathered again from the cursor: nothing
// half done is kept in memory. The ledger is written before a create and after each confirmed window.
//
// The run's state is the server's last writer's, and a request that was given up (its sender killed, its answer lost)
// may still be on its way: the run's end waits as long as the first backoff from such a moment on.
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/base.h"
#include "ledger/ledger.h"
#include "sync/backoff.h"
#include "sync/call.h"
#include "sync/lane.h"
#include "sync/remote.h"
#include "sync/shared.h"
#include "sync/window.h"

namespace mlops::sync {

class RunLane final : public Lane {
 public:
  /// `dead`: what the ledger's dead letters say of this run.
  RunLane(Shared* shared, ledger::Lane state, DeadMarks dead);

  /// One step: at most one window.
  Outcome step(Remote& remote) override;
  const ledger::Lane& state() const override { return state_; }
  std::uint64_t retries() const override;
  std::int64_t oldest_ms() const override { return window_.first_ms; }
  void unpark() override { state_.parked.clear(); }
  void release() override {
    window_ = Window{};
    gatherer_.release();
  }

 private:
  using Answer = mlflow::Answer;
  // lane.cc
  Status check_identity(const model::RunRow& row);
  Outcome settle(const Answer& answer);  // what an answer that is not ok means for this lane
  Outcome park(std::string why);
  Outcome wait(std::int64_t ms, const Answer& answer);
  Outcome commit();
  /// A request of this run may still be on its way.
  void doubt() { late_until_ms_ = base::steady_ms() + shared_->backoff_first.count(); }
  Status bury(std::uint64_t seq, std::uint64_t count, std::uint64_t points, std::string what, std::string reason);
  // again.cc
  ledger::DeadLetter* to_retry();
  Outcome send_again(Remote& remote, const model::RunRow& row, ledger::DeadLetter* letter);
  Answer send_one(Remote& remote, const ledger::DeadLetter& letter);
  // resolve.cc
  Outcome resolve(Remote& remote, const model::RunRow& row);
  Answer find_experiment(Remote& remote, const std::string& name, bool may_create, std::string* id);
  Outcome wait_for_parent(const model::RunRow& row);
  bool parent_ready(Remote& remote, const model::RunRow& row, std::string* parent_id, Outcome* out);
  void adopt(const mlflow::RemoteRun& run, const model::RunRow& row);
  Answer prove(Remote& remote, const model::RunRow& row);
  void apply_proof(const mlflow::RemoteRun& run, const model::RunRow& row);
  // send.cc
  Answer send(Remote& remote);
  Answer send_points(Remote& remote);
  Answer send_some(Remote& remote, const std::vector<std::size_t>& which, std::string_view tag_key,
                   std::string_view tag_value);
  Answer split_points(Remote& remote, const std::vector<std::size_t>& which, std::size_t most);
  Answer leave_out_known(Remote& remote, std::vector<std::size_t>* which);
  Answer prove_point(Remote& remote, std::size_t index);
  Answer send_params(Remote& remote, std::vector<Text> params, bool reread);
  Answer send_tags(Remote& remote, std::vector<Text> tags);
  Answer send_state(Remote& remote);
  /// `send`, with the run restored for as long as it takes, when it was deleted by a record of its own.
  template <typename Send>
  Answer while_active(Remote& remote, const model::RunRow& row, Send&& send);
  // models.cc
  Answer later(std::int64_t ms);
  Answer refuse(std::uint64_t seq, std::string what, std::string why);
  Answer send_alone(Remote& remote);
  Answer send_input(Remote& remote, const model::Op& input);
  Answer send_model_input(Remote& remote, const model::Op& input);
  Answer send_model_metrics(Remote& remote);
  Answer send_model_points(Remote& remote, const std::vector<std::size_t>& which);
  // model_make.cc
  Answer send_model(Remote& remote, const model::Op& op);
  Answer find_or_create(Remote& remote, const model::Op& op, ledger::ModelState* state);
  Answer place_in_run(Remote& remote, const model::Op& op, ledger::ModelState* state);
  Answer link_output(Remote& remote, std::int64_t step, const std::string& model_id, const std::string& name);
  // model_change.cc
  struct Named {  // a logged model that a record names; both empty: the server has none
    std::string server_id, refused;
  };
  Answer name_model(Remote& remote, const base::Uid& uid, Named* out);
  Answer send_output(Remote& remote, const model::Op& op);
  Answer send_model_change(Remote& remote, const model::Op& op);
  Answer send_new_params(Remote& remote, const std::string& model_id, Pairs params, std::string* other);
  // model_finish.cc
  void load_models();
  bool models_left() const;
  Answer send_model_end(const model::Op& end);
  Answer end_model(ledger::ModelState state);
  Answer give_up_open_models();
  bool files_settled(const ledger::ModelState& model) const;
  bool files_refused(const ledger::ModelState& model) const;
  Answer finish_models(Remote& remote, bool* waits_for_files);
  Answer finish_model(Remote& remote, ledger::ModelState model);
  bool models_let_end(Remote& remote, Outcome* out);
  void learn_cap(const Pairs& pairs);
  bool resending() const;
  template <typename Call>
  Answer call(std::uint64_t records, Call&& call);

  Shared* shared_;
  ledger::Lane state_;
  Gatherer gatherer_;
  Window window_;
  DeadMarks dead_;
  std::string* refusal_ = nullptr;  // while one record is sent again: its refusal goes here, and nothing is buried
  Backoff backoff_, parent_backoff_;
  bool identity_checked_ = false;
  bool deleted_there_ = false;                  // the server says so
  bool needs_proof_ = false;                    // read the watermark before anything is sent
  bool first_proof_ = true;                     // nothing of this run was sent by this engine yet
  int lookups_left_ = 0;                        // after a create of unknown fate: before it is sent again
  std::uint64_t resend_points_ = 0;             // as many points from here on may be there already
  int model_lookups_left_ = 0;                  // the same of a logged model's create
  base::Uid looked_for_;                        // that model
  std::int64_t late_until_ms_ = 0;              // before it, a request that was given up may still reach the server
  std::int64_t wait_ms_ = 0;                    // what a part of a window waits for, without a request
  std::vector<std::string> model_ids_;          // of the window's model metrics
  std::map<base::Uid, std::string> elsewhere_;  // server's ids of models that other slots made
  base::Uid asked_for_;                         // such a model that the server does not have yet
  int asked_ = 0;                               // how often
  std::vector<base::Uid> pending_models_;       // ended, not finalized
  bool models_loaded_ = false;
  static constexpr std::int64_t kModelPollMs = 100;
  int doubtful_ = 0;  // windows in a row without an answer: the next ones are smaller
  std::map<std::string, std::vector<model::Point>> histories_;  // read back, for this window
  std::vector<std::size_t> picks_;                              // scratch
};

template <typename Send>
mlflow::Answer RunLane::while_active(Remote& remote, const model::RunRow& row, Send&& send) {
  if (!window_.sends()) return Answer();
  const bool hidden = state_.deleted || (deleted_there_ && row.lifecycle_ms != 0);
  if (hidden) {
    Answer answer = call(0, [&] { return remote.set_deleted(state_.server_id, false); });
    if (answer.verdict != mlflow::Verdict::ok) return answer;
    deleted_there_ = false;
  }
  Answer answer = send();
  if (answer.verdict != mlflow::Verdict::ok || !state_.deleted) return answer;
  return call(0, [&] { return remote.set_deleted(state_.server_id, true); });
}

template <typename Call>
mlflow::Answer RunLane::call(std::uint64_t records, Call&& make) {
  return call_server(shared_, records, std::forward<Call>(make));
}

}  // namespace mlops::sync
