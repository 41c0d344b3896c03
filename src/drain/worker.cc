#include "drain/worker.h"

#include <algorithm>
#include <cstring>

#include "base/base.h"
#include "drain/proof.h"

namespace mlops::drain {
namespace {

constexpr std::int64_t kFsyncMs = 500;
constexpr std::int64_t kBackoffFirstMs = 100, kBackoffMostMs = 2'000;
constexpr std::int64_t kLookMs = 1'000, kChildPollMs = 10, kForkedPollMs = 50, kBusyPollMs = 10;

}  // namespace

Worker::Worker(std::shared_ptr<Shared> shared)
    : shared_(std::move(shared)),
      slot_(shared_->slot.get()),
      writer_(shared_->writer),
      options_(shared_->options),
      sources_(slot_, writer_),
      artifacts_(slot_, options_.client.spool_mib << 20, [shared = shared_.get()] { shared->ring(); }) {
  if (slot_->network && options_.publish) outlet_ = std::make_unique<Outlet>(slot_->dir);
}

/// Another node that took the slot while this process was not heard of has the database until it lets it go. What is
/// logged meanwhile waits in the journal.
Status Worker::may_write() {
  if (slot_->hold()) return {};
  return Status(StatusCode::unavailable, "another node has taken the slot, or the file system does not answer");
}

Worker::Asked Worker::asked() {
  const std::lock_guard lock(shared_->mutex);
  Asked a;
  a.flush = shared_->flushes;
  a.closing = shared_->closing;
  a.buffered = shared_->flushes > std::max(shared_->buffered_flush, shared_->failed_flush);
  a.durable = shared_->durable_flushes > std::max(shared_->durable_flush, shared_->failed_flush);
  return a;
}

Status Worker::open() {
  if (Status s = slot_->hold_again(); !s.ok()) return s;
  auto opened = buffer::Buffer::open(slot_->dir);
  if (!opened.ok()) return opened.status();
  std::unique_ptr<buffer::Buffer> fresh = std::move(*opened);
  MLOPS_POINT("drain.opened");
  Status ledgers;
  const Floors floors = floors_of(slot_->dir, *fresh, &ledgers);
  // Without what was sent, numbers could be given twice. For want of descriptors or memory: tried again.
  if (ledgers.code() == StatusCode::resource_exhausted || ledgers.code() == StatusCode::unavailable) return ledgers;
  if (!ledgers.ok()) base::log(base::LogLevel::warn, "reading a ledger: " + ledgers.to_string());
  if (floors.bump) {
    base::log(base::LogLevel::warn, slot_->dir +
                                        ": the database has lost records that were delivered (power loss, or db/ was "
                                        "removed); delivery proves its place on the server before it goes on");
    if (Status s = fresh->bump_generation(); !s.ok()) return s;
  }
  for (const auto& [run, next_seq] : floors.next_seq) runs_.set_floor(run, next_seq);
  runs_.set_history(nullptr);
  if (Status s = runs_.load(*fresh); !s.ok()) return s;
  if (Status s = artifacts_.opened(*fresh, !runs_.all().empty()); !s.ok()) return s;
  if (Status s = sources_.restart(*fresh); !s.ok()) return s;
  // Everything in the database becomes durable now, whichever beat wrote it: so the beat goes on above them all, also
  // where the control page has lost its place (power loss) or is of another node. Beats begin at the clock, in
  // microseconds.
  if (Status s = fresh->sync(); !s.ok()) return s;
  journal::Control* control = slot_->control();
  const auto clock = static_cast<std::uint64_t>(base::now_ms()) * 1000;
  const Result<std::uint64_t> newest = fresh->newest_beat();
  if (!newest.ok()) return newest.status();
  beat_ = std::max({beat_ + 1, *newest + 1, control->beat.load() + 1, control->durable_beat.load() + 1, clock});
  const base::Uid uid = fresh->identity().uid;
  if (std::memcmp(control->buffer_uid, uid.bytes.data(), uid.bytes.size()) != 0) {
    control->durable_beat.store(0);
    std::memcpy(control->buffer_uid, uid.bytes.data(), uid.bytes.size());
  }
  control->beat.store(beat_, std::memory_order_release);
  control->durable_beat.store(beat_, std::memory_order_release);
  durable_beat_ = beat_;
  durable_points_ = runs_.totals().stored;
  buffer_ = std::move(fresh);
  runs_.set_history(buffer_.get());
  if (outlet_) outlet_->restart(runs_, buffer_->identity(), beat_);
  if (slot_->network && !outlet_) Outlet::clear(slot_->dir);
  if (opened_at_ == 0) {  // reopened, it has this process's own drops
    const Result<buffer::Drops> before = buffer_->drops();
    if (!before.ok()) base::log(base::LogLevel::warn, "counters begin anew: " + before.status().to_string());
    if (before.ok()) drops_before_ = drops_written_ = *before;
    opened_at_ = base::steady_ms();
  }
  last_sync_ = base::steady_ms();
  summary_dirty_ = true;
  shared_->facade->set(buffer_.get(), {});
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->opened = true;
  }
  shared_->changed.notify_all();
  return {};
}

/// The database is let go; the journal holds everything since its cursors. Waiting flushes learn why.
void Worker::fail(const Status& why, const Asked& a) {
  if (buffer_status_.ok()) {
    base::log(base::LogLevel::error,
              "the buffer " + slot_->dir + " cannot be written: " + why.to_string() + "; the journal holds on");
  }
  buffer_status_ = why;
  say_to_others(why);
  shared_->facade->set(nullptr, why);
  runs_.set_history(nullptr);
  buffer_.reset();
  backoff_ = std::clamp(backoff_ * 2, kBackoffFirstMs, kBackoffMostMs);
  retry_at_ = base::steady_ms() + backoff_;
  publish_stats();
  const std::lock_guard lock(shared_->mutex);
  shared_->failed_flush = std::max(shared_->failed_flush, a.flush);
  shared_->failure = why;
  shared_->changed.notify_all();
}

/// What was read back does not count: on a full disk a database opens, and fails at the next write.
void Worker::well_again() {
  base::log(base::LogLevel::info, "the buffer " + slot_->dir + " is written again");
  buffer_status_ = Status();
  say_to_others(buffer_status_);
  backoff_ = 0;
}

void Worker::say_to_others(const Status& buffer) {
  journal::Control* control = slot_->control();
  control->buffer_code.store(0, std::memory_order_release);
  if (buffer.ok()) return;
  const std::size_t size = std::min(buffer.message().size(), sizeof control->buffer_words - 1);
  std::memcpy(control->buffer_words, buffer.message().data(), size);
  control->buffer_words[size] = '\0';
  control->buffer_code.store(static_cast<std::uint32_t>(buffer.code()), std::memory_order_release);
}

bool Worker::beat_due(const Asked& a) {
  hurry_ = slot_->control()->hurry.exchange(0, std::memory_order_acq_rel) != 0;  // a child's journal fills
  if (hurry_) return true;
  artifacts_.take();
  if (artifacts_.anything()) return true;
  if (a.buffered || a.durable || sources_.recovering()) return true;
  const std::int64_t now = base::steady_ms();
  if (now - last_beat_ >= options_.client.beat.count()) return true;
  if (sources_.pending() >= kBlockPoints) return true;
  if (writer_ == nullptr) return false;
  const journal::WriterStats stats = writer_->stats();
  return stats.segments_in_use * 2 > stats.segments_cap || (stats.segments_free == 0 && stats.segments_in_use > 0);
}

std::int64_t Worker::wait_ms() const {
  const std::int64_t now = base::steady_ms();
  if (!buffer_) return std::max<std::int64_t>(0, retry_at_ - now);
  std::int64_t next = last_beat_ + std::clamp<std::int64_t>(options_.client.beat.count(), 10, 10'000);
  if (durable_beat_ < beat_) next = std::min(next, last_sync_ + kFsyncMs);
  if (shared_->polling.load(std::memory_order_relaxed)) next = std::min(next, now + kBusyPollMs);
  if (slot_->network) next = std::min(next, now + kLookMs);  // the lease, and what other nodes have read
  if (sources_.others()) next = std::min(next, now + kChildPollMs);
  if (shared_->forked.load(std::memory_order_relaxed)) next = std::min(next, now + kForkedPollMs);
  return std::max<std::int64_t>(0, next - now);
}

/// The newest flush whose records are durable, and so are the bytes and names of artifacts recorded before it.
std::uint64_t Worker::answered_durable(std::uint64_t flush, bool durable) {
  if (durable_goals_.empty() || durable_goals_.back().first < flush)
    durable_goals_.emplace_back(flush, artifacts_.given());
  std::uint64_t newest = 0;
  while (durable && !durable_goals_.empty() && durable_goals_.front().second <= artifacts_.done()) {
    newest = durable_goals_.front().first;
    durable_goals_.pop_front();
  }
  return newest;
}

void Worker::answer(const Asked& a, bool durable) {
  const std::lock_guard lock(shared_->mutex);
  shared_->buffered_flush = std::max(shared_->buffered_flush, a.flush);
  shared_->durable_flush = std::max(shared_->durable_flush, answered_durable(a.flush, durable));
  shared_->recovered = !sources_.others();
  shared_->settled =
      shared_->recovered && !(dead_runs_open_ && options_.end_dead_runs) && artifacts_.given() == artifacts_.done();
  shared_->changed.notify_all();
}

void Worker::publish_stats() {
  DrainStats s;
  const RunCounters& totals = runs_.totals();
  s.buffer = buffer_status_;
  s.journals = sources_.broken();
  s.accepted = totals.accepted;
  s.merged = totals.merged;
  s.buffered = totals.stored;
  s.durable = durable_points_;
  s.dropped_damaged = damaged_;
  s.dropped_quota = totals.dropped;
  s.dropped_invalid = runs_.dropped_invalid();
  s.dropped_elsewhere = drops_before_;
  for (const auto& [reason, count] : drops_of_children_) s.dropped_elsewhere[reason] += count;
  const std::int64_t now = base::steady_ms();
  if (buffer_ && (last_disk_ == 0 || now - last_disk_ >= 1'000)) {
    last_disk_ = now;
    disk_bytes_ = buffer_->disk_bytes();
  }
  s.disk_bytes = disk_bytes_;
  s.spool_bytes = journal::spool_used(slot_->control()->spool_bytes.load());
  s.artifacts_waiting = artifacts_.given() - artifacts_.done();
  s.artifacts_lost = artifacts_.lost();
  s.beats = beats_;
  s.fsyncs = fsyncs_;
  const std::lock_guard lock(shared_->mutex);
  shared_->stats = std::move(s);
}

void Worker::run() {
  say_to_others({});  // what a predecessor said of its disk
  if (slot_->taken_ns != 0) {
    slot_->control()->spool_bytes.fetch_add(buffer::Spool(slot_->dir).bytes(std::exchange(slot_->taken_ns, 0)));
  }
  for (;;) {
    const Asked a = asked();
    closing_ = a.closing;
    if (!buffer_ && (a.buffered || a.durable || closing_ || base::steady_ms() >= retry_at_)) {
      if (Status s = open(); !s.ok()) fail(s, a);
    }
    if (buffer_) {
      if (Status s = may_write(); !s.ok()) fail(s, a);
    }
    if (buffer_) {
      const std::int64_t now = base::steady_ms();
      const bool look = now - last_look_ >= kLookMs || closing_ ||
                        (shared_->forked.load(std::memory_order_relaxed) && sources_.folder_changed());
      if (look || a.buffered) {
        last_look_ = now;
        sources_.look();
      }
      Status s;
      const bool beat_now = closing_ || beat_due(a);
      if (beat_now) s = beat();
      if (s.ok() && durable_beat_ < beat_ && (a.durable || closing_ || base::steady_ms() - last_sync_ >= kFsyncMs)) {
        s = sync();
      }
      // A journal in which there was nothing new brings no beat that would be synced.
      if (s.ok() && beat_now && durable_beat_ >= beat_ && sources_.others()) let_journals_go();
      if (s.ok() && beat_now) s = evict();
      if (s.ok() && beat_now) s = make_room();
      if (!s.ok()) {
        fail(s, a);
      } else if (beat_now) {
        if (!buffer_status_.ok()) well_again();
        write_summary(a.buffered || a.durable || closing_);
        publish_stats();
        answer(a, durable_beat_ >= beat_);
      }
      if (s.ok()) look_at_outbox(look);
    }
    if (closing_) break;
    shared_->sleep(wait_ms());
  }
  close();
}

void Worker::close() {
  Status end = buffer_status_;
  if (buffer_) {
    artifacts_.wind_down();
    // Once more: journals that turn out finished are removed, and then their cursors.
    for (int i = 0; i < 2 && end.ok(); ++i) {
      end = beat();
      if (end.ok()) end = sync();
    }
    if (end.ok()) end = evict_asked();
    artifacts_.stop();
    write_summary(true);
    publish_stats();
    shared_->facade->set(nullptr, Status(StatusCode::failed_precondition, "the buffer is closed"));
    MLOPS_POINT("drain.closing");
    const Status closed = buffer_->flush_and_close();
    if (end.ok()) end = closed;
    buffer_.reset();
    MLOPS_POINT("drain.closed");
    if (slot_->network && slot_->hold()) Outlet::clear(slot_->dir);
    // A forked child may begin a journal there at any time.
    if (end.ok() && slot_->hold() && !shared_->forked.load()) slot_->tidy();
  }
  if (ticker_) journal::set_ticker(false);
  const std::lock_guard lock(shared_->mutex);
  slot_->lease.reset();
  slot_->lock.unlock();
  shared_->finished = true;
  shared_->end = end;
  shared_->changed.notify_all();
}

}  // namespace mlops::drain
