// Core: the workers, the gate, the handshake.
#include <algorithm>
#include <utility>

#include "base/base.h"
#include "sync/core.h"
#include "sync/registry_lane.h"
#include "sync/run_lane.h"

namespace mlops::sync {

using mlflow::Answer;
using mlflow::Verdict;

namespace {

constexpr int kDoubtfulMost = 3;        // answers of unknown fate in a row before the whole destination is doubted
constexpr std::size_t kReadBacks = 20;  // server ids tried before another server is suspected
constexpr std::int64_t kSlowMs = 30'000;
constexpr std::size_t kForbiddenMost = 3;  // lanes refused with 403 in a row before the credentials are doubted
constexpr std::size_t kReadAhead = 8;      // lanes in line that keep what they read ahead: half a megabyte each
constexpr int kTurn = 8;                   // windows that a lane sends at once where more are in line

/// With basic-auth the word on one run or experiment, elsewhere on the credentials.
bool forbidden(const Answer& answer) { return answer.verdict == Verdict::auth && answer.http_status == 403; }

}  // namespace

void Core::note_error(const Status& status) {
  last_error_ = status;
  say_error(status);
}

void Core::say_error(const Status& status) const {
  const std::string words(status.message()), &uri = options_.destination.uri;
  const bool named = words.find(uri) != std::string::npos;
  base::log(options_.says_trouble ? base::LogLevel::warn : base::LogLevel::info, (named ? "" : uri + ": ") + words);
}

void Core::close_gate(Gate gate, const Answer& answer, std::int64_t now) {
  if (gate_ == Gate::open) gate_backoff_.reset();
  gate_ = gate;
  gate_tried_ = false;
  good_when_closed_ = shared_.good.load();
  std::int64_t pause = gate_backoff_.next(answer.retry_after_ms);
  // A person must act: slowly, but not so slowly that good credentials are noticed late.
  if (gate == Gate::auth || gate == Gate::parked) {
    pause = std::min<std::int64_t>(std::max<std::int64_t>(pause, options_.backoff_first.count()), kSlowMs);
  }
  gate_until_ = now + pause;
  handshake_due_ = true;  // the server that comes back may be another version
  if (!answer.status.ok()) note_error(answer.status);
  concurrency_.trouble(now, gate == Gate::waiting);
  shared_.retries.fetch_add(1);
  coordinator_cv_.notify_one();
}

void Core::open_gate() {
  if (gate_ != Gate::open) {
    worker_cv_.notify_all();
    uploads_->retry_now();  // what was away is back, perhaps the store too
  }
  gate_ = Gate::open;
  gate_tried_ = false;
  gate_backoff_.reset();
  doubtful_streak_ = 0;
  last_error_ = Status();
}

bool Core::may_take(std::int64_t now, std::int64_t* until) const {
  *until = -1;
  if (!ledger_ || stepping_down_ || ready_.empty() || handshaking_) return false;
  if (gate_ != Gate::open) {
    if (gate_tried_) return false;
    if (now < gate_until_) {
      *until = gate_until_;
      return false;
    }
    return true;
  }
  return working_ < concurrency_.limit();
}

Answer Core::handshake(Lock& lock, Remote& remote) {
  handshaking_ = true;
  const bool contact = contact_due_;
  std::vector<std::string> ids;
  if (contact) {
    for (const bool ended : {false, true}) {  // what goes on is hardly ever purged
      for (const auto& [uid, entry] : entries_) {
        if (ids.size() == kReadBacks) break;
        if (entry->seen.ended == ended && !entry->seen.server_id.empty()) ids.push_back(entry->seen.server_id);
      }
    }
  }
  lock.unlock();
  mlflow::Server server;
  const Pass pass(shared_.turnstile.get(), shared_.may_send);
  Answer answer;
  if (pass.given()) {
    shared_.requests.fetch_add(1);
    answer = remote.probe(&server);
  } else {
    answer.verdict = Verdict::offline;
    answer.status = Status(StatusCode::unavailable, "delivery is stopping");
  }
  const bool reachable =
      answer.verdict != Verdict::offline && answer.verdict != Verdict::throttled && answer.verdict != Verdict::auth;
  if (reachable) {  // never mandatory: an unknown version is taken for an old one
    shared_.set_server(answer.verdict == Verdict::ok ? server : mlflow::Server());
    answer = Answer();
    // An old ledger: is what it made still there? Else another server is behind the URI, and nothing may be sent.
    std::size_t absent = 0;
    for (const std::string& id : ids) {
      mlflow::RemoteRun run;
      shared_.requests.fetch_add(1);
      Answer read = remote.get_run(id, &run);
      if (read.verdict == Verdict::ok) break;
      if (read.verdict == Verdict::run_gone) {
        ++absent;
        continue;
      }
      if (forbidden(read)) continue;  // of this run; a user who sees nothing at all is told from it by what lanes get
      answer = read;
      break;
    }
    if (answer.verdict == Verdict::ok && !ids.empty() && absent == ids.size()) {
      answer.verdict = Verdict::misconfigured;
      answer.status = Status(StatusCode::failed_precondition,
                             "another server is behind " + options_.destination.uri +
                                 ": it does not know the runs delivered there before (first: " + ids.front() +
                                 "). Point the URI at the old server, or deliver to this one under another name");
    }
  }
  lock.lock();
  handshaking_ = false;
  if (answer.verdict == Verdict::ok) {
    handshake_due_ = false;
    contact_due_ = false;
    worker_cv_.notify_all();
  }
  return answer;
}

void Core::work(int index) {
  base::begin_own_thread(("mlops-send-" + std::to_string(index)).c_str());
  Lock lock(mu_);
  while (!stopping_) {
    std::int64_t until = -1;
    if (!may_take(base::steady_ms(), &until)) {
      if (until >= 0) {
        worker_cv_.wait_for(lock, Millis(std::max<std::int64_t>(1, until - base::steady_ms())));
      } else {
        worker_cv_.wait(lock);
      }
      continue;
    }
    if (gate_ != Gate::open) gate_tried_ = true;
    ++working_;
    std::unique_ptr<Remote>& remote = remotes_[static_cast<std::size_t>(index)];
    if (!remote) {
      lock.unlock();
      Result<std::unique_ptr<Remote>> made = parts_.make_remote();
      lock.lock();
      if (!made.ok()) {
        Answer answer;
        answer.status = made.status();
        --working_;
        close_gate(Gate::parked, answer, base::steady_ms());
        continue;
      }
      remote = std::move(*made);
      if (stopping_) {
        --working_;
        break;
      }
    }
    Answer shaken;
    if (handshake_due_ && !handshaking_) shaken = handshake(lock, *remote);
    if (stopping_) {
      --working_;
      break;
    }
    if (shaken.verdict != Verdict::ok) {
      --working_;
      const Gate gate = shaken.verdict == Verdict::auth            ? Gate::auth
                        : shaken.verdict == Verdict::misconfigured ? Gate::parked
                        : shaken.verdict == Verdict::throttled     ? Gate::waiting
                                                                   : Gate::offline;
      if (gate == Gate::auth) {
        bytes_before_ += remote->bytes_sent();
        remote.reset();  // the next one reads its credentials again
      }
      close_gate(gate, shaken, base::steady_ms());
      continue;
    }
    if (ready_.empty() || handshaking_) {
      --working_;
      gate_tried_ = false;
      continue;
    }
    Entry* entry = ready_.front();
    ready_.pop_front();
    run_lane(lock, entry, *remote, index);
    --working_;
  }
  --alive_;
  coordinator_cv_.notify_all();
  idle_cv_.notify_all();
}

/// Round robin, a window each. In a long line what a lane has read would wait in memory until its next turn: there a
/// turn is several windows, and ends with nothing kept.
void Core::take_turns(Entry* entry) {
  if (ready_.size() < kReadAhead) {
    entry->turn = 0;
    make_ready(entry);
  } else if (++entry->turn < kTurn) {
    ready_.push_front(entry);
    entry->queued = true;
  } else {
    entry->turn = 0;
    entry->lane->release();
    make_ready(entry);
  }
}

/// Whether a 403 is this lane's own trouble: the credentials have done something since the gate was closed (or since
/// the beginning), and few other lanes were turned away since they last did.
bool Core::only_here(const Entry& entry) {
  const std::uint64_t good = shared_.good.load();
  if (good != good_when_forbidden_) forbidden_.clear();
  good_when_forbidden_ = good;
  forbidden_.insert(entry.seen.run);
  return good != good_when_closed_ && forbidden_.size() < kForbiddenMost;
}

/// Slowly: somebody must give the user more rights.
void Core::hold_back(Entry* entry, const Answer& answer, std::int64_t now, bool said) {
  entry->forbidden = true;
  entry->waits_for =
      Status(answer.status.code(), "run " + entry->seen.run.hex() + ": " + std::string(answer.status.message()));
  if (!said) say_error(entry->waits_for);
  concurrency_.trouble(now, false);
  entry->lane->release();
  delay(entry, now + kSlowMs);
}

void Core::run_lane(Lock& lock, Entry* entry, Remote& remote, int index) {
  entry->queued = false;
  entry->running = true;
  entry->again = false;
  const std::uint64_t beat = looked_beat_;  // of later beats a reader may not see everything yet
  if (!entry->lane && entry->seen.run == model::kRegistry) {
    entry->lane = std::make_unique<RegistryLane>(&shared_, entry->seen);
  } else if (!entry->lane) {
    DeadMarks dead;
    auto it = dead_.find(entry->seen.run);
    if (it != dead_.end()) {
      dead = std::move(it->second);
      dead_.erase(it);
    }
    entry->lane = std::make_unique<RunLane>(&shared_, entry->seen, std::move(dead));
  }
  Lane& lane = *entry->lane;
  const std::uint64_t cursor_before = lane.state().cursor;
  lock.unlock();
  const Outcome outcome = lane.step(remote);
  lock.lock();
  const std::int64_t now = base::steady_ms();
  entry->running = false;
  if (lane.state().cursor != cursor_before || lane.state().server_id != entry->seen.server_id) ledger_dirty_ = true;
  if (lane.state().server_id != entry->seen.server_id) uploads_->wake();
  entry->seen = lane.state();
  entry->retries = lane.retries();
  entry->oldest_ms = lane.oldest_ms();
  const bool said = std::exchange(entry->forbidden, false);
  entry->waits_for =
      outcome.step == Step::wait && outcome.answer.verdict == Verdict::ok ? outcome.answer.status : Status();
  if (stopping_) return;
  switch (outcome.step) {
    case Step::more:
      open_gate();
      take_turns(entry);
      break;
    case Step::dry:
      entry->dry = true;
      entry->dry_beat = beat;
      entry->oldest_ms = 0;
      gate_tried_ = false;
      lane.release();
      if (entry->again) make_ready(entry);
      break;
    case Step::wait:
      if (outcome.answer.verdict == Verdict::ok) {
        gate_tried_ = false;
      } else {
        concurrency_.trouble(now, false);
        note_error(outcome.answer.status);
        gate_tried_ = false;
        // A 500 is the server's word on this request, and concerns this run. Silence concerns them all.
        if (outcome.answer.http_status != 500 && (++doubtful_streak_ >= kDoubtfulMost || gate_ != Gate::open)) {
          close_gate(Gate::offline, outcome.answer, now);
        }
      }
      lane.release();
      delay(entry, now + outcome.delay_ms);
      break;
    case Step::parked:
      open_gate();
      note_error(Status(StatusCode::failed_precondition,
                        (entry->seen.run == model::kRegistry ? "the registry is parked: "
                                                             : "run " + entry->seen.run.hex() + " is parked: ") +
                            entry->seen.parked));
      lane.release();
      break;
    case Step::blocked: {
      const Verdict verdict = outcome.answer.verdict;
      if (verdict == Verdict::auth) {
        std::unique_ptr<Remote>& slot = remotes_[static_cast<std::size_t>(index)];
        bytes_before_ += slot->bytes_sent();
        slot.reset();
      }
      if (forbidden(outcome.answer) && only_here(*entry)) {
        open_gate();
        hold_back(entry, outcome.answer, now, said);
        break;
      }
      if (forbidden(outcome.answer)) {
        make_ready(entry);  // another one may be let in
      } else {
        ready_.push_front(entry);  // its turn is not used up
        entry->queued = true;
      }
      close_gate(verdict == Verdict::auth        ? Gate::auth
                 : verdict == Verdict::throttled ? Gate::waiting
                 : verdict == Verdict::offline   ? Gate::offline
                                                 : Gate::parked,
                 outcome.answer, now);
      break;
    }
    case Step::local:
      gate_tried_ = false;
      note_error(outcome.answer.status);
      delay(entry, now + std::max<std::int64_t>(1, options_.backoff_first.count()));
      break;
  }
  idle_cv_.notify_all();
}

}  // namespace mlops::sync
