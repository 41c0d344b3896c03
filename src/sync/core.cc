// Core: the coordinator: who delivers, what is published, when the ledger is fsynced.
#include "sync/core.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/base.h"
#include "sync/model_root.h"

namespace mlops::sync {
namespace {

constexpr std::int64_t kTickMs = 200;      // a lost wake costs no more than this
constexpr std::int64_t kTakeOverMs = 500;  // "within 2 s of its release"
constexpr std::int64_t kPublishMs = 500;
constexpr std::int64_t kLedgerSyncMs = 2'000;
constexpr std::uint64_t kPaceSample = 1'000;  // points; fewer say more of one request than of the pace
constexpr double kRateMs = 10'000;

}  // namespace

Core::Core(EngineOptions options, Parts parts)
    : options_(std::move(options)),
      parts_(std::move(parts)),
      gate_backoff_(options_.backoff_first.count(), options_.backoff_most.count()),
      concurrency_(options_.max_connections) {
  shared_.reader = options_.reader.get();
  shared_.durable_beat = options_.durable_beat;
  shared_.turnstile = options_.turnstile;
  shared_.slot_dir = options_.slot_dir;
  shared_.experiment_of = options_.experiment_of;
  shared_.files_elsewhere = options_.files_elsewhere;
  shared_.model_root = [this](const base::Uid&, const base::Uid& model) { return model_root(*shared_.ledger, model); };
  shared_.model_place = [this](const base::Uid& model) { return model_place(*shared_.ledger, model); };
  shared_.watermark_key = watermark_key(options_.slot_dir);
  shared_.backoff_first = options_.backoff_first;
  shared_.backoff_most = options_.backoff_most;
  // Called from workers inside Lane::step, without mu_.
  shared_.may_send = [this] {
    {
      Lock lock(mu_);
      if (stopping_ || stepping_down_ || (ledger_ && !ledger_->held())) return false;
    }
    return !options_.lease_ok || options_.lease_ok();
  };
  shared_.on_done = [this](std::uint64_t records, double seconds) {
    if (records == 0) return;
    Lock lock(mu_);
    const int before = concurrency_.limit();
    concurrency_.done(records, seconds, base::steady_ms(), working_ >= before);
    if (concurrency_.limit() > before) worker_cv_.notify_one();
  };
  shared_.parent_of = [this](const base::Uid& run) {
    Lock lock(mu_);
    ParentState state;
    auto it = entries_.find(run);
    if (it == entries_.end() || (!it->second->has_row && it->second->seen.server_id.empty())) return state;
    state.known = true;
    state.server_id = it->second->seen.server_id;
    state.parked = it->second->seen.parked;
    return state;
  };
  UploadParts uploads;
  uploads.make_remote = parts_.make_remote;
  uploads.make_store = parts_.make_store;
  if (!uploads.make_store) {
    uploads.make_store = [](const store::Place&) -> Result<std::unique_ptr<store::Store>> {
      return Status(StatusCode::failed_precondition, "nobody delivers files here");
    };
  }
  uploads.open_file = parts_.open_file;
  uploads.server_id = [this](const base::Uid& run) { return shared_.parent_of(run).server_id; };
  uploads.done = [this](const base::Uid& run) { files_there(run); };
  uploads.tracking_uri = options_.destination.uri;
  uploads.credentials = options_.credentials;
  uploads.turnstile = options_.upload_turnstile;
  uploads.max_connections = options_.max_connections;
  uploads_ = std::make_unique<Uploads>(&shared_, std::move(uploads));
  shared_.artifacts_delivered = [this](const base::Uid& run, const base::Uid& model, std::uint64_t ticket) {
    return uploads_->delivered(run, model, ticket);
  };
}

/// A lane may have waited for it.
void Core::files_there(const base::Uid& run) {
  Lock lock(mu_);
  for (const base::Uid& uid : {run, model::kRegistry}) {
    const auto it = entries_.find(uid);
    if (it == entries_.end()) continue;
    Entry* const entry = it->second.get();
    if (entry->delayed) {
      std::erase_if(delayed_, [entry](const auto& waiting) { return waiting.second == entry; });
      entry->delayed = false;
      make_ready(entry);
    } else if (entry->running) {
      entry->again = true;
    }
  }
  idle_cv_.notify_all();
}

void Core::start() {
  Lock lock(mu_);
  const int workers = std::max(1, options_.max_connections);
  remotes_.resize(static_cast<std::size_t>(workers));
  auto self = shared_from_this();
  alive_ = 1 + workers;
  threads_.emplace_back([self] { self->coordinate(); });
  for (int i = 0; i < workers; ++i) {
    threads_.emplace_back([self, i] { self->work(i); });
  }
}

void Core::coordinate() {
  base::begin_own_thread("mlops-sync");
  Lock lock(mu_);
  while (!stopping_) {
    const std::int64_t now = base::steady_ms();
    if (!ledger_ && !try_take_over(lock)) {
      read_standby(lock, now);
      idle_cv_.notify_all();
      if (!stopping_) coordinator_cv_.wait_for(lock, Millis(kTakeOverMs));
      continue;
    }
    lock.unlock();
    const bool mine = ledger_->hold();  // only this thread lets go of the ledger
    lock.lock();
    if (!mine) {
      step_down(lock);
      continue;
    }
    if (options_.lease_ok) {
      lock.unlock();
      const bool lease = options_.lease_ok();
      lock.lock();
      if (!lease && gate_ == Gate::open) {
        mlflow::Answer answer;
        answer.status = Status(StatusCode::failed_precondition, "another node holds the lease of this slot");
        close_gate(Gate::waiting, answer, now);
      }
    }
    if (retry_asked_) {
      retry_asked_ = false;
      gate_until_ = 0;
      gate_backoff_.reset();
      for (auto& [due, entry] : delayed_) {
        entry->delayed = false;
        make_ready(entry);
      }
      delayed_.clear();
      for (auto& [uid, entry] : entries_) {
        if (entry->seen.parked.empty() || entry->running) continue;
        entry->seen.parked.clear();
        if (entry->lane) entry->lane->unpark();
        make_ready(entry.get());
      }
    }
    while (!delayed_.empty() && delayed_.begin()->first <= now) {
      Entry* entry = delayed_.begin()->second;
      delayed_.erase(delayed_.begin());
      entry->delayed = false;
      make_ready(entry);
    }
    const bool news = woken_ || scan_forced_ || options_.durable_beat() != scanned_beat_ || scans_ == 0;
    if (news && (scan_forced_ || now >= next_scan_)) {
      scan(lock, now);
    } else if (woken_) {
      woken_ = false;
      scan_hot(lock);
    }
    if (gate_ != Gate::open && now >= gate_until_) worker_cv_.notify_one();
    if (now - published_ >= kPublishMs) {
      take_requests(lock);
      publish(now);
    }
    if (ledger_dirty_ && now - ledger_synced_ >= kLedgerSyncMs) {
      ledger_dirty_ = false;
      ledger_synced_ = now;
      lock.unlock();
      Status status = ledger_->sync();  // only this thread lets go of the ledger
      lock.lock();
      if (!status.ok()) {
        note_error(status);
        ledger_dirty_ = true;
      }
    }
    std::int64_t sleep = kTickMs;
    if (!delayed_.empty())
      sleep = std::min(sleep, std::max<std::int64_t>(0, delayed_.begin()->first - base::steady_ms()));
    if (gate_ != Gate::open) sleep = std::min(sleep, std::max<std::int64_t>(1, gate_until_ - base::steady_ms()));
    const bool urgent = scan_forced_ || retry_asked_ || (woken_ && base::steady_ms() >= next_scan_);
    if (!stopping_ && !urgent && sleep > 0) coordinator_cv_.wait_for(lock, Millis(sleep));
  }
  end_ledger(lock);
}

bool Core::try_take_over(Lock& lock) {
  lock.unlock();
  Result<std::unique_ptr<ledger::Ledger>> opened = parts_.open_ledger();
  Result<ledger::Ledger::Snapshot> snapshot(Status(StatusCode::unavailable, "not read"));
  if (opened.ok() && parts_.asked) {  // what was asked while nobody looked
    for (const ledger::Asked& asked : parts_.asked()) {
      Status applied;
      for (const ledger::Request& request : asked.requests) {
        if (applied.ok()) applied = ledger::apply(request, opened->get());
      }
      if (applied.ok()) parts_.asked_done(asked);
    }
  }
  if (opened.ok()) snapshot = parts_.read_ledger();
  lock.lock();
  if (!opened.ok()) {
    if (opened.status().code() != StatusCode::unavailable) note_error(opened.status());
    return false;
  }
  ledger_ = std::move(*opened);
  shared_.ledger = ledger_.get();
  uploads_->take_over(ledger_.get());
  entries_.clear();
  dead_.clear();
  if (snapshot.ok()) {
    pace_ = snapshot->live.points_per_second;
    for (const ledger::DeadLetter& letter : snapshot->dead) {
      if (letter.artifact) continue;
      dead_[letter.run][letter.seq] = letter;
      if (letter.state == ledger::DeadLetter::State::retrying) ++entry_of(letter.run).retries;
    }
    for (const auto& [uid, model] : snapshot->models) entry_of(model.run).retries += model.pending() ? 1 : 0;
  }
  contact_due_ = false;
  for (ledger::Lane& lane : ledger_->lanes()) {
    Entry& entry = entry_of(lane.run);
    if (!lane.server_id.empty()) contact_due_ = true;
    lane.parked.clear();  // a new deliverer tries once more
    entry.seen = lane;
  }
  handshake_due_ = true;
  scan_forced_ = true;
  last_error_ = Status();
  ledger_synced_ = base::steady_ms();
  return true;
}

/// Another node delivers from here now, or may soon. No request begins any more; those under way end, and what they did
/// is not written down: the next deliverer proves it.
void Core::step_down(Lock& lock) {
  stepping_down_ = true;
  worker_cv_.notify_all();
  while (working_ > 0 && !stopping_) coordinator_cv_.wait_for(lock, Millis(20));
  if (stopping_) return;
  note_error(Status(StatusCode::unavailable, options_.slot_dir + ": the lease is lost; another node may deliver now"));
  for (auto& [uid, entry] : entries_) {
    entry->lane.reset();
    entry->queued = entry->delayed = entry->hot = entry->again = false;
  }
  ready_.clear();
  delayed_.clear();
  hot_.clear();
  lock.unlock();
  uploads_->let_go();
  lock.lock();
  shared_.ledger = nullptr;
  std::unique_ptr<ledger::Ledger> lost = std::move(ledger_);
  stepping_down_ = false;
  standby_read_ = 0;
  lock.unlock();
  lost.reset();
  lock.lock();
}

void Core::read_standby(Lock& lock, std::int64_t now) {
  if (now < standby_read_) return;
  lock.unlock();
  const std::uint64_t beat = options_.durable_beat();
  Result<ledger::Ledger::Snapshot> snapshot = parts_.read_ledger();
  Status refreshed = options_.reader->refresh();
  Result<std::vector<model::RunRow>> rows = options_.reader->runs();
  const buffer::Identity identity = options_.reader->identity();
  if (snapshot.ok()) uploads_->stand_by(*snapshot);
  if (rows.ok()) uploads_->see(*rows);
  const std::int64_t took = base::steady_ms() - now;
  lock.lock();
  identity_ = identity;
  standby_read_ = now + std::min<std::int64_t>(5'000, std::max<std::int64_t>(kTakeOverMs - 50, 50 * took));
  refreshed.ignore();
  if (snapshot.ok()) {
    standby_ = std::move(*snapshot);
    for (auto& [uid, entry] : entries_) entry->retries = 0;
    for (const ledger::DeadLetter& letter : standby_.dead) {
      if (letter.state == ledger::DeadLetter::State::retrying && !letter.artifact) ++entry_of(letter.run).retries;
    }
    for (const auto& [uid, model] : standby_.models) entry_of(model.run).retries += model.pending() ? 1 : 0;
  }
  if (rows.ok()) {
    for (const model::RunRow& row : *rows) {
      Entry& entry = entry_of(row.uid);
      entry.has_row = true;
      entry.next_seq = row.next_seq;
      entry.points = row.points;
      entry.last_ms = row.last_ms;
      auto lane = standby_.lanes.find(row.uid);
      if (lane != standby_.lanes.end()) entry.seen = lane->second;
    }
    ++scans_;
    scanned_beat_ = beat;
  }
}

/// Its lane is made anew from the ledger, and its turn comes at once.
void Core::reload(Entry* entry) {
  DeadMarks dead;
  entry->retries = 0;
  for (ledger::DeadLetter& letter : ledger_->dead(entry->seen.run)) {
    if (letter.artifact) continue;
    if (letter.state == ledger::DeadLetter::State::retrying) ++entry->retries;
    const std::uint64_t seq = letter.seq;
    dead[seq] = std::move(letter);
  }
  for (const ledger::ModelState& model : ledger_->models(entry->seen.run)) entry->retries += model.pending() ? 1 : 0;
  entry->lane.reset();
  dead_[entry->seen.run] = std::move(dead);
  entry->seen = ledger_->lane(entry->seen.run);
  entry->seen.parked.clear();
  if (entry->delayed) {
    std::erase_if(delayed_, [entry](const auto& waiting) { return waiting.second == entry; });
    entry->delayed = false;
  }
  make_ready(entry);
}

/// What people asked for. A run that a worker has in its hands waits for the next look.
void Core::take_requests(Lock& lock) {
  if (!parts_.asked) return;
  lock.unlock();
  const std::vector<ledger::Asked> all = parts_.asked();
  lock.lock();
  for (const ledger::Asked& asked : all) {
    const auto busy = [this](const ledger::Request& request) { return entry_of(request.run).running; };
    if (std::any_of(asked.requests.begin(), asked.requests.end(), busy)) continue;
    Status applied;
    std::set<Entry*> changed;
    {
      const auto hold = uploads_->hold();
      for (const ledger::Request& request : asked.requests) {
        if (applied.ok()) applied = ledger::apply(request, ledger_.get());
        changed.insert(&entry_of(request.run));
      }
    }
    for (Entry* entry : changed) {
      uploads_->reload(entry->seen.run);
      reload(entry);
    }
    scan_forced_ = true;
    ledger_dirty_ = true;
    if (applied.ok()) {
      parts_.asked_done(asked);
    } else {
      note_error(applied);
    }
  }
}

void Core::publish(std::int64_t now) {
  published_ = now;
  std::uint64_t done = 0;
  for (const auto& [uid, entry] : entries_) done += entry->seen.delivered;
  // The mean of all looks at first (newer ones count more: connections grow in number), of the last ten seconds or so
  // later: a server's batches come unevenly. While nothing waits there is no rate.
  if (rate_ms_ != 0 && now > rate_ms_ && done >= rate_points_ && (done > rate_points_ || waiting_points() != 0)) {
    const double rate = 1000.0 * static_cast<double>(done - rate_points_) / static_cast<double>(now - rate_ms_);
    const double weight = std::max(3.0 / (++rate_looks_ + 2), static_cast<double>(now - rate_ms_) / kRateMs);
    points_per_second_ += std::min(1.0, weight) * (rate - points_per_second_);
    // What was waiting already a look ago went at the server's pace, not at the program's.
    const std::uint64_t moved = done - rate_points_;
    if (moved >= kPaceSample && moved <= rate_waiting_ && (pace_ == 0 || moved < rate_waiting_)) {
      pace_ = pace_ == 0 ? rate : 0.8 * pace_ + 0.2 * rate;
    }
  }
  rate_points_ = done;
  rate_waiting_ = waiting_points();
  rate_ms_ = now;
  ledger::LiveState live;
  live.state = static_cast<int>(state());
  live.retries = shared_.retries.load();
  live.requests = shared_.requests.load();
  live.bytes_sent = bytes_sent();
  live.lag_seconds = lag_seconds(base::now_ms());
  live.points_per_second = pace_;
  const UploadCounts files = uploads_->counts();
  const Status error = trouble(files);
  live.error_code = static_cast<int>(error.code());
  live.error = std::string(error.message());
  live.files_waiting = files.waiting_files;
  live.file_bytes_waiting = files.waiting_bytes;
  ledger_->note_health(live).ignore();  // only for those who look on
}

void Core::end_ledger(Lock& lock) {
  // The workers go first: their lanes write the ledger.
  coordinator_cv_.wait(lock, [this] { return alive_ == 1; });
  if (ledger_) {
    publish(base::steady_ms());
    lock.unlock();
    uploads_->stop();
    ledger_->sync().ignore();  // what is lost is sent again and proved
    lock.lock();
    for (auto& [uid, entry] : entries_) entry->lane.reset();
    shared_.ledger = nullptr;
    ledger_.reset();
  }
  --alive_;
  idle_cv_.notify_all();
  coordinator_cv_.notify_all();
}

void Core::wake() {
  {
    Lock lock(mu_);
    if (woken_) return;
    woken_ = true;
  }
  coordinator_cv_.notify_one();
}

void Core::retry_now() {
  {
    Lock lock(mu_);
    retry_asked_ = true;
    scan_forced_ = true;
  }
  uploads_->retry_now();
  coordinator_cv_.notify_one();
  worker_cv_.notify_all();
}

void Core::stop(Millis deadline) {
  const auto until = std::chrono::steady_clock::now() + deadline;
  Lock lock(mu_);
  if (threads_.empty()) return;
  stopping_ = true;
  uploads_->ask_stop();
  coordinator_cv_.notify_all();
  worker_cv_.notify_all();
  idle_cv_.notify_all();
  // A request in flight may finish in the first half of the time; then it is cut, and proved by whoever comes next.
  const auto ended = [this] { return alive_ == 0; };
  if (!idle_cv_.wait_until(lock, std::chrono::steady_clock::now() + deadline / 2, ended)) {
    for (auto& remote : remotes_) {
      if (remote) remote->cancel();
    }
    uploads_->cancel();
  }
  const bool all = idle_cv_.wait_until(lock, until, ended);
  std::vector<std::thread> threads;
  threads.swap(threads_);
  lock.unlock();
  for (std::thread& thread : threads) {
    if (all) {
      thread.join();
    } else {
      thread.detach();  // it holds the core; the ledger is let go when the last one ends
    }
  }
}

}  // namespace mlops::sync
