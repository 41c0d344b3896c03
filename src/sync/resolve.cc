// Lane, its first half: which run on the server this is, and what of it is there already.
#include <algorithm>
#include <utility>

#include "base/base.h"
#include "model/limits.h"
#include "sync/run_lane.h"

namespace mlops::sync {

using mlflow::Verdict;

namespace {

constexpr int kLookups = 3;     // a create whose answer was lost may still be at work on the server
constexpr int kQuietWaits = 5;  // for a parent, before it is said: about two seconds

bool absent(const mlflow::Answer& answer) { return answer.status.code() == StatusCode::not_found; }

/// Of a run id that need not exist: with basic-auth a missing run is a 403.
bool no_such_run(const mlflow::Answer& answer) {
  return answer.verdict == Verdict::run_gone || answer.verdict == Verdict::rejected ||
         (answer.verdict == Verdict::auth && answer.http_status == 403);
}

const std::string* find(const Pairs& pairs, std::string_view key) {
  for (const auto& pair : pairs) {
    if (pair.first == key) return &pair.second;
  }
  return nullptr;
}

}  // namespace

RunLane::Answer RunLane::find_experiment(Remote& remote, const std::string& name, bool may_create, std::string* id) {
  *id = shared_->experiment(name);
  if (!id->empty()) return Answer();
  Answer answer = call(0, [&] { return remote.experiment_by_name(name, id); });
  if (absent(answer)) {
    answer = Answer();
    id->clear();
  }
  if (answer.verdict != Verdict::ok) return answer;
  if (id->empty() && may_create) {
    model::Op spec;
    spec.kind = model::OpKind::experiment;
    spec.key = name;
    Result<std::vector<model::Op>> specs = shared_->reader->experiments();
    if (specs.ok()) {
      for (const model::Op& op : *specs) {
        if (op.key == name) spec = op;
      }
    }
    answer = call(0, [&] { return remote.create_experiment(spec, id); });
    if (answer.verdict == Verdict::exists || answer.verdict == Verdict::duplicate) {  // somebody was faster
      id->clear();
      answer = call(0, [&] { return remote.experiment_by_name(name, id); });
    }
    if (answer.verdict != Verdict::ok) return answer;
  }
  if (!id->empty()) shared_->set_experiment(name, *id);
  return Answer();
}

bool RunLane::parent_ready(Remote& remote, const model::RunRow& row, std::string* parent_id, Outcome* out) {
  if (row.parent.zero()) return true;
  const ParentState parent = shared_->parent_of ? shared_->parent_of(row.parent) : ParentState();
  if (!parent.server_id.empty()) {
    *parent_id = parent.server_id;
    return true;
  }
  if (parent.known) {
    *out = parent.parked.empty() ? wait_for_parent(row)
                                 : park("its parent run " + row.parent.hex() + " is parked: " + parent.parked);
    return false;
  }
  // Another slot's run, or one that the server made.
  mlflow::RemoteRun run;
  bool found = false;
  std::string place = state_.experiment_id;
  Answer answer;
  if (const std::string named = shared_->experiment_of ? shared_->experiment_of(row.parent) : ""; !named.empty()) {
    answer = find_experiment(remote, named, false, &place);
  }
  if (answer.verdict == Verdict::ok && !place.empty()) {
    answer = call(0, [&] { return remote.find_run(place, row.parent.hex(), &run, &found); });
  }
  if (answer.verdict == Verdict::ok && !found) {
    answer = call(0, [&] { return remote.get_run(row.parent.hex(), &run); });
    found = answer.verdict == Verdict::ok && !run.run_id.empty();
    if (no_such_run(answer)) answer = Answer();
  }
  if (answer.verdict != Verdict::ok) {
    *out = settle(answer);
    return false;
  }
  if (!found) {
    *out = wait_for_parent(row);
    return false;
  }
  *parent_id = run.run_id;
  return true;
}

/// A parent that is on its way too is no news; one that stays away is.
Outcome RunLane::wait_for_parent(const model::RunRow& row) {
  Answer answer;
  if (parent_backoff_.tries() >= kQuietWaits) {
    answer.status = Status(StatusCode::unavailable, "run " + row.uid.hex() + " waits for its parent run " +
                                                        row.parent.hex() + ", which is not on the server yet");
  }
  return wait(parent_backoff_.next_spaced(), answer);
}

Outcome RunLane::resolve(Remote& remote, const model::RunRow& row) {
  Outcome out;
  model::Op start;
  bool found = false;
  Status status = gatherer_.find_start(shared_->durable_beat(), &start, &found);
  if (!status.ok()) {
    out.step = Step::local;
    out.answer.status = status;
    return out;
  }
  if (!found) {  // retention took it: the row knows what counts
    start = model::Op{};
    start.kind = model::OpKind::run_start;
    start.number = 1;
    start.pairs = row.tags;
    start.value = row.name;
    start.time_ms = row.start_ms;
  }
  start.run = row.uid;
  start.parent = row.parent;
  if (start.key.empty()) start.key = row.experiment;
  if (row.attached && shared_->experiment_of) {  // who attached before the owner's first beat had to guess
    if (std::string owners = shared_->experiment_of(row.uid); !owners.empty()) start.key = std::move(owners);
  }
  if (start.key.empty()) start.key = "Default";
  if (start.value.empty()) start.value = row.name;

  Answer answer = find_experiment(remote, start.key, !row.attached, &state_.experiment_id);
  if (answer.verdict != Verdict::ok) {
    if (answer.verdict == Verdict::run_gone) return park(std::string(answer.status.message()));
    return settle(answer);
  }
  if (state_.experiment_id.empty())
    return wait(parent_backoff_.next_spaced(), Answer());  // attached: its owner makes it

  mlflow::RemoteRun run;
  const std::string uid = row.uid.hex();
  found = false;
  answer = call(0, [&] { return remote.find_run(state_.experiment_id, uid, &run, &found); });
  if (answer.verdict == Verdict::ok && !found && (row.attached || row.starts > 1)) {
    // Perhaps the server's own id was given: a run that another client made.
    answer = call(0, [&] { return remote.get_run(uid, &run); });
    found = answer.verdict == Verdict::ok && !run.run_id.empty();
    if (no_such_run(answer)) answer = Answer();
  }
  if (answer.verdict != Verdict::ok) return settle(answer);
  if (found) {
    adopt(run, row);
    status = shared_->ledger->put(state_);
    if (!status.ok()) {
      out.step = Step::local;
      out.answer.status = status;
    } else {
      out.step = Step::more;
    }
    return out;
  }
  if (row.attached) return wait(parent_backoff_.next_spaced(), Answer());
  if (state_.creating && lookups_left_ > 0) {
    --lookups_left_;
    return wait(backoff_.next_spaced(), Answer());
  }

  std::string parent_id;
  if (!parent_ready(remote, row, &parent_id, &out)) return out;
  Pairs tags;
  for (const auto& pair : start.pairs) {
    // A parent that only the server knows is named by the program's tag alone.
    const bool replaced = pair.first == "mlops.uid" || (pair.first == "mlflow.parentRunId" && !parent_id.empty());
    if (!replaced) tags.push_back(pair);
  }
  tags.emplace_back("mlops.uid", uid);
  if (!parent_id.empty()) tags.emplace_back("mlflow.parentRunId", parent_id);
  start.pairs.clear();

  state_.creating = true;
  status = shared_->ledger->put(state_);
  if (!status.ok()) {
    out.step = Step::local;
    out.answer.status = status;
    return out;
  }
  MLOPS_POINT("sync.before_create");
  std::string run_id;
  answer = call(0, [&] { return remote.create_run(state_.experiment_id, start, tags, &run_id); });
  MLOPS_POINT("sync.after_create");
  if (answer.verdict == Verdict::ambiguous || answer.verdict == Verdict::duplicate ||
      (answer.verdict == Verdict::ok && run_id.empty())) {
    answer.verdict = Verdict::ambiguous;
    lookups_left_ = kLookups;
    return settle(answer);
  }
  state_.creating = false;  // created, or certainly not
  if (answer.verdict == Verdict::ok) {
    state_.server_id = run_id;
    needs_proof_ = false;
    first_proof_ = false;
    backoff_.reset();
  }
  status = shared_->ledger->put(state_);
  MLOPS_POINT("sync.created");
  if (!status.ok()) {
    state_.server_id.clear();  // not before the ledger knows it
    state_.creating = true;
    lookups_left_ = kLookups;
    out.step = Step::local;
    out.answer.status = status;
    return out;
  }
  if (answer.verdict == Verdict::run_gone) {  // the experiment was deleted there
    shared_->set_experiment(start.key, std::string());
    return park(std::string(answer.status.message()));
  }
  return settle(answer);
}

void RunLane::adopt(const mlflow::RemoteRun& run, const model::RunRow& row) {
  state_.server_id = run.run_id;
  if (!run.experiment_id.empty()) state_.experiment_id = run.experiment_id;
  const bool was_creating = state_.creating;
  state_.creating = false;
  lookups_left_ = 0;
  doubt();
  apply_proof(run, row);
  if (was_creating && state_.watermark == 0) {
    // We made it and lost the answer: at most one window can have followed.
    state_.resend = false;
    state_.in_flight = 0;
    resend_points_ = model::kBatchPoints;
  }
}

RunLane::Answer RunLane::prove(Remote& remote, const model::RunRow& row) {
  mlflow::RemoteRun run;
  MLOPS_POINT("sync.before_proof");
  Answer answer = call(0, [&] { return remote.get_run(state_.server_id, &run); });
  if (answer.verdict == Verdict::ok) apply_proof(run, row);
  return answer;
}

void RunLane::apply_proof(const mlflow::RemoteRun& run, const model::RunRow& row) {
  deleted_there_ = run.lifecycle_stage == "deleted";
  const std::string* value = find(run.tags, shared_->watermark_key);
  std::uint64_t seq = value == nullptr ? 0 : parse_watermark(*value, shared_->reader->identity());
  if (seq > row.next_seq) seq = 0;  // not of this run's sequence
  if (seq > state_.watermark) state_.watermark = seq;
  if (first_proof_) {
    if (seq == 0) {  // nothing proved: whatever is here by now may be there
      state_.in_flight = std::max(state_.in_flight, row.next_seq);
      state_.resend = true;
    }
    resend_points_ = model::kBatchPoints;  // the window behind the watermark may have lost its answer
  } else if (state_.in_flight != 0 && seq >= state_.in_flight) {
    state_.in_flight = 0;
    state_.resend = false;
  }
  needs_proof_ = false;
  first_proof_ = false;
}

}  // namespace mlops::sync
