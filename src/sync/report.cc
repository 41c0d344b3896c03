// Core: what it says about itself. While standing by, the ledger's snapshot speaks.
#include <algorithm>
#include <utility>

#include "base/base.h"
#include "sync/core.h"

namespace mlops::sync {

std::uint64_t Core::bytes_sent() const {
  std::uint64_t bytes = bytes_before_;
  for (const auto& remote : remotes_) {
    if (remote) bytes += remote->bytes_sent();
  }
  return bytes;
}

LaneState Core::state() const {
  switch (gate_) {
    case Gate::offline:
      return LaneState::offline;
    case Gate::waiting:
      return LaneState::waiting;
    case Gate::auth:
      return LaneState::auth_blocked;
    case Gate::parked:
      return LaneState::parked;
    case Gate::open:
      break;
  }
  if (working_ > 0 || !ready_.empty()) return LaneState::sending;
  if (const LaneState files = uploads_->counts().state; files != LaneState::idle) return files;
  for (const auto& [due, entry] : delayed_) {
    if (entry->forbidden) return LaneState::auth_blocked;
  }
  if (!delayed_.empty()) return LaneState::waiting;
  return LaneState::idle;
}

/// What concerns the whole destination, else what a run waits for, else what files wait for.
Status Core::trouble(const UploadCounts& files) const {
  if (!last_error_.ok()) return last_error_;
  for (const auto& [uid, entry] : entries_) {
    if (!entry->waits_for.ok()) return entry->waits_for;
  }
  return files.error;
}

/// The cursor, where it is a place in the buffer at hand; before a lane has proved that it is: the beginning.
std::uint64_t Core::place(const Entry& entry) const {
  const bool same = entry.seen.buffer_uid == identity_.uid && entry.seen.buffer_generation == identity_.generation;
  return same && entry.seen.cursor <= entry.next_seq ? entry.seen.cursor : 1;
}

bool Core::done(const Entry& entry) const { return place(entry) >= entry.next_seq && entry.retries == 0; }

std::uint64_t Core::waiting_points() const {
  std::uint64_t waiting = 0;
  for (const auto& [uid, entry] : entries_) {
    if (!entry->has_row || done(*entry)) continue;
    const std::uint64_t done = entry->seen.delivered + entry->seen.dead_points;
    if (entry->points > done) waiting += entry->points - done;
  }
  return waiting;
}

double Core::lag_seconds(std::int64_t now_ms) const {
  std::int64_t oldest = 0;
  for (const auto& [uid, entry] : entries_) {
    if (!entry->has_row || done(*entry)) continue;
    const std::int64_t at = entry->oldest_ms != 0 ? entry->oldest_ms : entry->last_ms;
    if (at != 0 && (oldest == 0 || at < oldest)) oldest = at;
  }
  return oldest == 0 || oldest > now_ms ? 0 : static_cast<double>(now_ms - oldest) / 1000.0;
}

bool Core::is_deliverer() const {
  Lock lock(mu_);
  return ledger_ != nullptr;
}

DestinationHealth Core::health() const {
  Lock lock(mu_);
  DestinationHealth health;
  health.name = options_.destination.name;
  health.uri = options_.destination.uri;
  health.deliverer_here = ledger_ != nullptr;
  for (const auto& [uid, entry] : entries_) {
    health.delivered += entry->seen.delivered;
    health.dead_letters += entry->seen.dead;
    health.dropped += entry->seen.dead_points;
    health.reached = health.reached || entry->seen.answered();
  }
  health.waiting = waiting_points();
  const UploadCounts files = uploads_->counts();
  health.files_delivered = files.files;
  health.file_bytes_delivered = files.bytes;
  health.files_waiting = files.waiting_files;
  health.file_bytes_waiting = files.waiting_bytes;
  health.dead_letters += files.dead;
  if (ledger_) {
    health.state = state();
    health.retries = shared_.retries.load();
    health.requests = shared_.requests.load();
    health.bytes_sent = bytes_sent();
    health.lag_seconds = lag_seconds(base::now_ms());
    health.bytes_sent += files.bytes_sent;
    if (files.oldest_ms != 0) {
      health.lag_seconds = std::max(health.lag_seconds, static_cast<double>(base::now_ms() - files.oldest_ms) / 1000.0);
    }
    health.last_error = trouble(files);
    return health;
  }
  const ledger::LiveState& live = standby_.live;
  health.state = standby_.held ? static_cast<LaneState>(live.state) : LaneState::idle;
  health.retries = live.retries;
  health.requests = live.requests;
  health.bytes_sent = live.bytes_sent;
  health.lag_seconds = lag_seconds(base::now_ms());
  if (live.error_code != 0) health.last_error = Status(static_cast<StatusCode>(live.error_code), live.error);
  if (!last_error_.ok()) health.last_error = last_error_;
  return health;
}

DeliverProgress Core::progress() const {
  Lock lock(mu_);
  DeliverProgress progress;
  for (const auto& [uid, entry] : entries_) {
    if (!entry->has_row || uid == model::kRegistry) continue;
    ++progress.runs_total;
    progress.total += entry->points;
    progress.delivered += std::min(entry->seen.delivered, entry->points);
    if ((done(*entry) && !uploads_->waiting(uid)) || !entry->seen.parked.empty()) ++progress.runs_done;
  }
  const UploadCounts files = uploads_->counts();
  progress.files_total = files.files + files.waiting_files;
  progress.files_delivered = files.files;
  progress.file_bytes_total = files.bytes + files.waiting_bytes;
  progress.file_bytes_delivered = files.bytes;
  progress.points_per_second = points_per_second_;
  const std::uint64_t waiting = waiting_points();
  if (waiting == 0) {
    progress.seconds_left = 0;
  } else if (points_per_second_ > 0) {
    progress.seconds_left = static_cast<double>(waiting) / points_per_second_;
  }
  if (files.waiting_files != 0) progress.seconds_left = -1;  // of bytes there is no pace
  progress.last_error = trouble(files);
  return progress;
}

std::uint64_t Core::parked() const {
  Lock lock(mu_);
  std::uint64_t parked = 0;
  for (const auto& [uid, entry] : entries_) parked += entry->seen.parked.empty() ? 0 : 1;
  return parked;
}

std::uint64_t Core::dead_points() const {
  Lock lock(mu_);
  std::uint64_t dead = 0;
  for (const auto& [uid, entry] : entries_) dead += entry->seen.dead_points;
  return dead;
}

std::optional<ledger::IntentResult> Core::intent(const base::Uid& uid) const {
  Lock lock(mu_);
  if (ledger_) return ledger_->intent(uid);
  const auto it = standby_.intents.find(uid);
  if (it == standby_.intents.end()) return std::nullopt;
  return it->second;
}

std::optional<ledger::ModelState> Core::logged_model(const base::Uid& uid) const {
  Lock lock(mu_);
  if (ledger_) return ledger_->model(uid);
  const auto it = standby_.models.find(uid);
  if (it == standby_.models.end()) return std::nullopt;
  return it->second;
}

std::uint64_t Core::intents_waiting() const {
  Lock lock(mu_);
  const auto it = entries_.find(model::kRegistry);
  if (it == entries_.end() || !it->second->has_row) return 0;
  const std::uint64_t at = place(*it->second);
  return it->second->next_seq > at ? it->second->next_seq - at : 0;
}

Result<std::string> Core::server_id(const base::Uid& run) const {
  Lock lock(mu_);
  auto it = entries_.find(run);
  if (it != entries_.end() && !it->second->seen.server_id.empty()) return it->second->seen.server_id;
  if (it != entries_.end() && !it->second->seen.parked.empty()) {
    return Status(StatusCode::failed_precondition, "run " + run.hex() + " is parked: " + it->second->seen.parked);
  }
  const Status why = last_error_.ok() && it != entries_.end() ? it->second->waits_for : last_error_;
  return Status(StatusCode::not_found, "run " + run.hex() + " has not been created on " + options_.destination.uri +
                                           " yet" + (why.ok() ? "" : ": " + std::string(why.message())));
}

bool Core::delivered(const base::Uid& run, std::uint64_t seq) const {
  Lock lock(mu_);
  if (!run.zero()) {
    auto it = entries_.find(run);
    if (it == entries_.end()) return seq <= 1;
    return place(*it->second) >= seq && it->second->retries == 0 && uploads_->delivered_below(run, seq);
  }
  if (scans_ == 0) return false;  // nothing is known yet
  for (const auto& [uid, entry] : entries_) {
    if (entry->has_row && (place(*entry) < std::min(seq, entry->next_seq) || entry->retries != 0)) return false;
    if (!uploads_->delivered_below(uid, seq)) return false;
  }
  return true;
}

bool Core::settled(const Entry& entry, std::uint64_t target, std::uint64_t beat) const {
  if (!entry.seen.parked.empty()) return true;
  if (!uploads_->delivered_below(entry.seen.run, target)) return false;
  if (place(entry) >= target && entry.retries == 0) return true;
  return entry.dry && entry.dry_beat >= beat && !entry.queued && !entry.running && !entry.delayed;
}

Status Core::wait_idle(Millis deadline) {
  const auto until = std::chrono::steady_clock::now() + deadline;
  const std::uint64_t beat = options_.durable_beat();
  Lock lock(mu_);
  // A look at the rows that began after now.
  const bool quiet = !ledger_ || (!woken_ && !retry_asked_ && !scan_forced_);  // who stands by only reads
  const bool seen_all = scans_ > 0 && scanned_beat_ == beat && quiet;
  const std::uint64_t scans = scans_ + (seen_all ? 0 : ledger_ ? 2 : 1);
  while (!stopping_ && scans_ < scans) {
    scan_forced_ = true;
    coordinator_cv_.notify_one();
    if (idle_cv_.wait_until(lock, until) == std::cv_status::timeout) break;
  }
  std::unordered_map<base::Uid, std::uint64_t, base::UidHash> targets;
  bool known = false;  // the targets are what that look saw, however short the time given
  const auto idle = [&] {
    if (stopping_) return true;
    if (scans_ < scans) return false;
    if (!known) {
      known = true;
      for (const auto& [uid, entry] : entries_) {
        if (entry->has_row) targets[uid] = entry->next_seq;
      }
    }
    for (auto it = targets.begin(); it != targets.end();) {
      auto entry = entries_.find(it->first);
      if (entry == entries_.end() || !settled(*entry->second, it->second, beat)) return false;
      it = targets.erase(it);
    }
    return true;
  };
  if (idle_cv_.wait_until(lock, until, idle)) {
    if (stopping_) return Status(StatusCode::failed_precondition, "delivery is stopping");
    return Status();
  }
  std::string words = std::to_string(waiting_points()) + " points of " + std::to_string(targets.size()) +
                      " runs wait for " + options_.destination.uri;
  const UploadCounts files = uploads_->counts();
  if (files.waiting_files != 0) {
    words +=
        ", and " + std::to_string(files.waiting_files) + " files (" + std::to_string(files.waiting_bytes) + " bytes)";
  }
  const Status error = trouble(files);
  if (!error.ok()) words += ": " + std::string(error.message());
  return Status(StatusCode::deadline_exceeded, words);
}

}  // namespace mlops::sync
