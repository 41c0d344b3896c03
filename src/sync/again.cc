// RunLane: a dead letter is sent once more, because a person asked, as it was or with another key or value. Alone and
// without the watermark: every point below the cursor is accounted for already, and this one by its letter.
#include <utility>

#include "base/base.h"
#include "model/limits.h"
#include "sync/run_lane.h"

namespace mlops::sync {

using mlflow::Verdict;
using State = ledger::DeadLetter::State;

std::uint64_t RunLane::retries() const {
  std::uint64_t count = 0;
  for (const auto& [seq, letter] : dead_) count += letter.state == State::retrying ? 1 : 0;
  return count + pending_models_.size();
}

/// Above the cursor the walk comes first: it is what counts the letters it passes.
ledger::DeadLetter* RunLane::to_retry() {
  for (auto& [seq, letter] : dead_) {
    if (seq >= state_.cursor) break;
    if (letter.state == State::retrying) return &letter;
  }
  return nullptr;
}

RunLane::Answer RunLane::send_one(Remote& remote, const ledger::DeadLetter& letter) {
  const auto correct = [&letter](std::vector<Text>* texts) {
    for (Text& t : *texts) {
      if (letter.key) t.key = *letter.key;
      if (letter.value) t.value = *letter.value;
    }
  };
  if (!window_.points.empty()) {
    if (letter.key) window_.points.front().key = *letter.key;
    histories_.clear();  // of what an earlier window read back
    return send_some(remote, {0}, std::string_view(), std::string_view());
  }
  correct(&window_.params);
  correct(&window_.tags);
  return send(remote);
}

Outcome RunLane::send_again(Remote& remote, const model::RunRow& row, ledger::DeadLetter* letter) {
  Gatherer::Limits limits;
  limits.durable_beat = shared_->durable_beat();
  limits.starts = std::max<std::uint64_t>(1, row.starts);
  limits.attached = row.attached;
  std::string refusal, gone;
  ledger::DeadLetter after = *letter;
  if (letter->count != 1 || !gatherer_.one(letter->seq, limits, &window_, &gone)) {
    refusal = letter->count != 1 ? letter->reason : gone;
  } else {
    refusal_ = &refusal;
    const Answer answer = while_active(remote, row, [&] { return send_one(remote, *letter); });
    refusal_ = nullptr;
    if (wait_ms_ != 0) return wait(std::exchange(wait_ms_, 0), Answer());
    if (answer.verdict != Verdict::ok) return settle(answer);
  }
  ledger::Lane next = state_;
  if (refusal.empty()) {
    after.state = after.key || after.value ? State::corrected : State::delivered;
    next.delivered += after.points;
  } else {
    after.state = State::refused;
    after.reason = refusal;
    after.time_ms = base::now_ms();
    ++next.dead;
    next.dead_points += after.points;
    base::log(base::LogLevel::error, "run " + state_.run.hex() + ": refused again: " + after.what + ": " + refusal);
  }
  MLOPS_POINT("sync.again");
  Outcome out;
  out.answer.status = shared_->ledger->put(next, after);
  if (!out.answer.status.ok()) {
    out.step = Step::local;
    return out;
  }
  state_ = std::move(next);
  backoff_.reset();
  doubtful_ = 0;
  if (after.state == State::delivered) {
    dead_.erase(after.seq);
  } else {
    *letter = std::move(after);
  }
  out.step = Step::more;
  return out;
}

}  // namespace mlops::sync
