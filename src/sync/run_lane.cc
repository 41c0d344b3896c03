// RunLane: the steps, and what an answer means for the run.
#include "sync/run_lane.h"

#include <algorithm>
#include <utility>

#include "base/base.h"
#include "model/limits.h"

namespace mlops::sync {

using mlflow::Verdict;

namespace {

constexpr std::int64_t kFilesMs = 1'000;  // whoever brings the files says when they are there; this is for a lost word

}  // namespace

RunLane::RunLane(Shared* shared, ledger::Lane state, DeadMarks dead)
    : shared_(shared),
      state_(std::move(state)),
      gatherer_(shared->reader, state_.run),
      dead_(std::move(dead)),
      backoff_(shared->backoff_first.count(), shared->backoff_most.count()),
      parent_backoff_(std::min<std::int64_t>(shared->backoff_first.count(), 50),
                      std::min<std::int64_t>(shared->backoff_most.count(), 30'000)) {
  needs_proof_ = !state_.server_id.empty();
  if (needs_proof_) doubt();
  if (state_.creating) lookups_left_ = 3;
}

/// The cursor is a place in one buffer and generation. In any other one it says nothing: everything the buffer holds is
/// walked again, what the watermark proves is passed over, the rest is resent in the form that may be there already.
Status RunLane::check_identity(const model::RunRow& row) {
  const buffer::Identity identity = shared_->reader->identity();
  const bool fresh = state_.buffer_uid.zero();
  const bool same = state_.buffer_uid == identity.uid && state_.buffer_generation == identity.generation &&
                    state_.cursor <= row.next_seq;
  const bool evicted = state_.cursor < row.evicted_before;
  if (same && !fresh && !evicted) return Status();
  if (!fresh && !same) {
    base::log(base::LogLevel::warn, "run " + state_.run.hex() +
                                        ": the ledger's cursor belongs to another state of the buffer; delivery proves "
                                        "again what the server has");
    gatherer_.release();
    const bool other_buffer = !(state_.buffer_uid == identity.uid);
    const bool past_evicted = !other_buffer && state_.cursor >= row.evicted_before;
    state_.cursor = 1;
    state_.watermark = 0;
    state_.delivered = 0;
    state_.dead = state_.dead_points = 0;
    state_.ended = state_.deleted = false;
    if (past_evicted && row.evicted_before > 1) {  // retention only takes what was delivered
      state_.cursor = row.evicted_before;
      state_.delivered = row.evicted_points;
    }
    state_.resend = true;
    state_.in_flight = row.next_seq;
    needs_proof_ = !state_.server_id.empty();
  }
  state_.buffer_uid = identity.uid;
  state_.buffer_generation = identity.generation;
  if (state_.cursor < row.evicted_before) {
    // A destination that was not known when retention ran is told what is no longer there.
    Status buried = bury(state_.cursor, row.evicted_before - state_.cursor,
                         row.evicted_points - std::min(row.evicted_points, state_.delivered + state_.dead_points),
                         "records before seq " + std::to_string(row.evicted_before),
                         "removed by retention before this destination had them");
    if (!buried.ok()) return buried;
    ++state_.dead;
    state_.dead_points += dead_.at(state_.cursor).points;
    state_.cursor = row.evicted_before;
  }
  return shared_->ledger->put(state_);
}

Status RunLane::bury(std::uint64_t seq, std::uint64_t count, std::uint64_t points, std::string what,
                     std::string reason) {
  if (refusal_ != nullptr) {
    *refusal_ = std::move(reason);
    return Status();
  }
  if (dead_.count(seq) != 0) return Status();
  ledger::DeadLetter letter;
  letter.run = state_.run;
  letter.seq = seq;
  letter.count = count;
  letter.points = points;
  letter.what = std::move(what);
  letter.reason = std::move(reason);
  letter.time_ms = base::now_ms();
  base::log(base::LogLevel::error, "run " + state_.run.hex() + ": given up: " + letter.what + ": " + letter.reason);
  MLOPS_POINT("sync.bury");
  Status status = shared_->ledger->add_dead(letter);
  if (!status.ok()) return status;
  // On disk before the watermark passes it: else the proof would count it as delivered.
  status = shared_->ledger->sync();
  if (!status.ok()) return status;
  dead_[seq] = std::move(letter);
  return Status();
}

Outcome RunLane::park(std::string why) {
  base::log(base::LogLevel::error, "run " + state_.run.hex() + " is parked: " + why);
  state_.parked = std::move(why);
  if (state_.parked_ms == 0) state_.parked_ms = base::now_ms();
  Outcome out;
  out.step = Step::parked;
  Status status = shared_->ledger->put(state_);
  if (!status.ok()) {
    out.step = Step::local;
    out.answer.status = status;
  }
  return out;
}

Outcome RunLane::wait(std::int64_t ms, const Answer& answer) {
  Outcome out;
  out.step = Step::wait;
  out.delay_ms = ms;
  out.answer = answer;
  return out;
}

Outcome RunLane::settle(const Answer& answer) {
  Outcome out;
  out.answer = answer;
  switch (answer.verdict) {
    case Verdict::ok:
      out.step = Step::more;
      return out;
    case Verdict::offline:
    case Verdict::throttled:
    case Verdict::auth:
    case Verdict::misconfigured:
    case Verdict::unsupported:
      out.step = Step::blocked;
      return out;
    case Verdict::run_gone:
      return park(std::string(answer.status.message()));
    case Verdict::rejected:
    case Verdict::exists:
      if (!answer.status.ok() && answer.http_status == 0) {  // not the server: our own ledger
        out.step = Step::local;
        return out;
      }
      return park("the server refuses it: " + std::string(answer.status.message()));
    case Verdict::too_large:
    case Verdict::duplicate:
    case Verdict::ambiguous:
      break;
  }
  shared_->retries.fetch_add(1, std::memory_order_relaxed);
  needs_proof_ = !state_.server_id.empty();
  doubt();
  ++doubtful_;
  return wait(backoff_.next(answer.retry_after_ms), answer);
}

Outcome RunLane::commit() {
  std::uint64_t not_now = 0;
  for (auto it = dead_.lower_bound(window_.begin); it != dead_.end() && it->first < window_.end; ++it) {
    const ledger::DeadLetter& letter = it->second;
    if (letter.state == ledger::DeadLetter::State::corrected) continue;  // delivered, in other words
    not_now += letter.points;
    if (!letter.dead()) continue;  // its turn comes
    ++state_.dead;
    state_.dead_points += letter.points;
  }
  state_.delivered += window_.all_points - std::min(not_now, window_.all_points);
  state_.parked_ms = 0;
  state_.cursor = window_.end;
  if (window_.reopen) state_.ended = false;
  if (window_.ends) state_.ended = true;
  if (window_.lifecycle) state_.deleted = window_.deleted;
  resend_points_ -= std::min<std::uint64_t>(resend_points_, window_.points.size());
  if (state_.in_flight <= state_.cursor) state_.in_flight = 0;
  state_.resend = state_.in_flight != 0;
  if (state_.watermark < state_.cursor) state_.watermark = 0;  // only needed while it is ahead
  MLOPS_POINT("sync.confirmed");
  Outcome out;
  Status status = shared_->ledger->put(state_);
  MLOPS_POINT("sync.cursor");
  if (!status.ok()) {
    out.step = Step::local;
    out.answer.status = status;
    return out;
  }
  backoff_.reset();
  doubtful_ = 0;
  histories_.clear();
  out.step = Step::more;
  return out;
}

Outcome RunLane::step(Remote& remote) {
  Outcome out;
  auto local = [&out](const Status& status) {
    out.step = Step::local;
    out.answer.status = status;
    return out;
  };
  Result<model::RunRow> row = shared_->reader->run(state_.run);
  if (!row.ok()) {
    if (row.status().code() == StatusCode::not_found) return out;  // not durable yet, or another slot's: dry
    return local(row.status());
  }
  if (!identity_checked_ || state_.cursor > row->next_seq || state_.cursor < row->evicted_before) {
    Status status = check_identity(*row);
    if (!status.ok()) return local(status);
    identity_checked_ = true;
  }
  Gatherer::Limits limits;
  limits.durable_beat = shared_->durable_beat();
  limits.starts = std::max<std::uint64_t>(1, row->starts);
  limits.attached = row->attached;
  if (shared_->artifacts_delivered) {
    limits.files_there = [this](std::uint64_t ticket) {
      return shared_->artifacts_delivered(state_.run, base::Uid(), ticket) &&
             !(shared_->files_elsewhere && shared_->files_elsewhere(state_.run));
    };
  }
  auto gather = [&]() {
    limits.skip_points_below = state_.watermark;
    // A window that got no answer several times comes in smaller ones: perhaps it is too much for one request.
    limits.max_points = std::max<std::size_t>(1, model::kBatchPoints >> std::min(10, std::max(0, doubtful_ - 2)));
    limits.max_bytes = shared_->body_cap.load(std::memory_order_relaxed);
    std::vector<Damage> damaged;
    Status status = gatherer_.gather(state_.cursor, limits, dead_, &window_, &damaged);
    for (const Damage& d : damaged) {
      if (!status.ok()) break;
      status = bury(d.seq, d.count, d.count,
                    "metric points of a damaged block, " + std::to_string(d.count) + " records", d.reason);
    }
    return status;
  };
  Status gathered = gather();
  if (!gathered.ok()) return local(gathered);
  ledger::DeadLetter* const again = to_retry();
  load_models();
  if (window_.empty() && again == nullptr && pending_models_.empty()) {
    gatherer_.release();
    if (window_.held) return wait(kFilesMs, Answer());
    return out;  // dry
  }
  if (state_.server_id.empty()) {
    Outcome resolved = resolve(remote, *row);
    if (state_.server_id.empty()) return resolved;
  }
  if (needs_proof_) {
    Answer proved = prove(remote, *row);
    if (proved.verdict != Verdict::ok) return settle(proved);
  }
  bool waits_for_files = false;
  if (!pending_models_.empty()) {
    const Answer finished = finish_models(remote, &waits_for_files);
    if (finished.verdict != Verdict::ok) return settle(finished);
    out.step = Step::more;
    if (window_.empty() && again == nullptr) return waits_for_files ? wait(kModelPollMs, Answer()) : out;
  }
  if (again != nullptr) return send_again(remote, *row, again);
  if (state_.watermark > window_.begin) {  // a proof moved it: fewer points are left to send
    gathered = gather();
    if (!gathered.ok()) return local(gathered);
  }
  const std::int64_t late_ms = late_until_ms_ - base::steady_ms();
  if (window_.ends && (late_ms > 0 || models_left())) {
    if (window_.begin != window_.end_seq) {  // what stands before the end does not wait with it
      window_.ends = false;
      window_.end = window_.end_seq;
    } else if (late_ms > 0) {
      return wait(late_ms, Answer());
    } else if (!models_let_end(remote, &out)) {
      return out;
    }
  }
  Answer sent = window_.lifecycle ? send(remote) : while_active(remote, *row, [&] { return send(remote); });
  if (wait_ms_ != 0) return wait(std::exchange(wait_ms_, 0), Answer());
  if (sent.verdict != Verdict::ok) {
    if (sent.verdict == Verdict::ambiguous || sent.verdict == Verdict::duplicate) {
      state_.in_flight = std::max(state_.in_flight, window_.end);
      state_.resend = true;
      Status status = shared_->ledger->put(state_);
      if (!status.ok()) return local(status);
    }
    return settle(sent);
  }
  return commit();
}

}  // namespace mlops::sync
