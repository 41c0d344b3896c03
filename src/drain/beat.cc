// One beat: collect every journal, order, pack, write, fsync; and the end of runs whose process died.
#include <algorithm>
#include <atomic>

#include "base/base.h"
#include "drain/worker.h"

namespace mlops::drain {
namespace {

constexpr std::size_t kMostPerWrite = 2 * kBlockPoints;  // points of one WriteBatch: what the cache holds of a batch
constexpr std::size_t kKeptPoints = 4 * kMostPerWrite;   // capacity kept from one pass to the next
constexpr std::uint64_t kChildPressure = 500'000;        // points of another writer given back before they are durable
constexpr std::int64_t kDeadRunsAfterMs = 2'000, kDeadRunsAgainMs = 2'000;

}  // namespace

/// Takes one pass of a journal into ops_ and batches_. `more`: it may have more right now.
void Worker::take(Source* source, std::size_t most, bool* more) {
  if (batches_used_ == batches_.size()) batches_.emplace_back();
  batches_[batches_used_].first = source;
  journal::Batch& batch = batches_[batches_used_++].second;
  batch.points.clear();
  if (batch.points.capacity() > kKeptPoints) batch.points.shrink_to_fit();
  batch.ops.clear();
  batch.keys.clear();
  batch.damaged = 0;
  const bool some = source->collector->collect(&batch, most);
  if (batch.damaged > 0) {
    damaged_ += batch.damaged;
    base::log(base::LogLevel::warn, source->dir + ": " + std::to_string(batch.damaged) + " damaged records given up");
  }
  for (const journal::KeyDef& def : batch.keys) source->keys.define(def);
  for (model::Op& op : batch.ops) ops_.emplace_back(std::move(op), source->writer);
  if (some) source->moved = true;
  *more = some && batch.points.size() >= most;
  if (!some) {
    --batches_used_;
    if (source->dead_at_open) {
      source->dead_at_open = false;
      dead_runs_open_ = true;
    }
  }
}

Status Worker::write_some(bool* more) {
  *more = false;
  ops_.clear();
  batches_used_ = 0;
  const bool recovering = sources_.recovering();
  const auto& all = sources_.all();
  std::size_t points = 0;
  for (const auto& source : all) {
    // What a predecessor left goes first, all of it: its ops are older than any of ours.
    if (recovering && !source->dead_at_open) {
      *more = true;
      continue;
    }
    bool again = false;
    const std::size_t before = batches_used_;
    // Of every journal all published ops, however many points: a run's start may lie in another journal than its
    // points.
    take(source.get(), points < kMostPerWrite ? kMostPerWrite - points : 1, &again);
    for (std::size_t i = before; i < batches_used_; ++i) points += batches_[i].second.points.size();
    *more = *more || again || source->dead_at_open;
  }
  std::stable_sort(ops_.begin(), ops_.end(),
                   [](const auto& a, const auto& b) { return a.first.ticket < b.first.ticket; });
  for (const auto& [op, writer] : ops_) runs_.add_op(op, writer);
  for (std::size_t i = 0; i < batches_used_; ++i) {
    const auto& [source, batch] = batches_[i];
    runs_.add_points(batch.points, source->keys, over_quota_);
    if (source->own) rate_points_ += batch.points.size();
    source->since_sync += batch.points.size();
    MLOPS_POINT("drain.taken");
  }
  if (!recovering) end_dead_runs();

  const bool moved = std::any_of(all.begin(), all.end(), [](const auto& s) { return s->moved; });
  artifacts_.take();
  take_drops_of_children();
  buffer::Drops drops = this->drops();
  const bool dropped = drops != drops_written_;
  if (!runs_.anything() && !moved && !sources_.has_gone() && !artifacts_.anything() && !dropped) return {};
  buffer::Beat beat;
  if (dropped) {
    say_drops(drops);
    beat.drops = drops;
  }
  runs_.pack(++beat_, &beat);
  sources_.describe(&beat);
  artifacts_.describe(&beat);
  MLOPS_POINT("drain.packed");
  if (Status s = buffer_->write(beat); !s.ok()) return s;
  MLOPS_POINT("drain.written");
  slot_->control()->beat.store(beat_, std::memory_order_release);
  if (outlet_) {
    for (const buffer::Beat::RunPart& part : beat.runs) outlet_->touch(part.row.uid);
    for (const buffer::FileRow& row : beat.files) outlet_->touch(row);
  }
  drops_written_ = std::move(drops);
  artifacts_.written(beat);
  runs_.written(std::move(beat));
  bool pressure = false;
  if (writer_ != nullptr) {
    // Nothing free is pressure, too: the pool keeps some free unless it cannot grow (full disk).
    const journal::WriterStats stats = writer_->stats();
    pressure = stats.segments_in_use * 2 > stats.segments_cap || stats.segments_free == 0;
  }
  sources_.written(pressure, hurry_ ? 0 : kChildPressure);
  hurry_ = false;
  MLOPS_POINT("drain.released");
  ++beats_;
  summary_dirty_ = true;
  return {};
}

void Worker::take_drops_of_children() {
  journal::Control* control = slot_->control();
  const auto take = [this](const char* reason, std::atomic<std::uint64_t>* count) {
    if (count->load(std::memory_order_relaxed) != 0) drops_of_children_[reason] += count->exchange(0);
  };
  take("closed", &control->child_closed);
  take("journal_full", &control->child_full);
  take("invalid", &control->child_invalid);
}

buffer::Drops Worker::drops() const {
  buffer::Drops all = drops_before_;
  for (const auto& [reason, count] : drops_of_children_) all[reason] += count;
  const auto add = [&all](const char* reason, std::uint64_t count) {
    if (count > 0) all[reason] += count;
  };
  add("damaged", damaged_);
  add("invalid", runs_.dropped_invalid());
  if (writer_ != nullptr) {
    const journal::WriterStats stats = writer_->stats();
    add("closed", stats.dropped_closed);
    add("journal_full", stats.dropped_full);
    add("invalid", stats.dropped_invalid);
  }
  return all;
}

/// Once per process and reason: handles drop in nanoseconds and say nothing.
void Worker::say_drops(const buffer::Drops& drops) {
  const auto begins = [&](const char* reason) {
    const auto count = [reason](const buffer::Drops& all) {
      const auto found = all.find(reason);
      return found == all.end() ? 0 : found->second;
    };
    return count(drops) > count(drops_before_) && count(drops_written_) == count(drops_before_);
  };
  if (begins("closed")) {
    base::log(base::LogLevel::warn,
              "points logged on runs that have ended are dropped (reason closed); `mlops status` counts them");
  }
  if (begins("invalid")) {
    base::log(base::LogLevel::warn,
              "points of invalid names or times are dropped (reason invalid); `mlops status` counts them");
  }
  if (begins("journal_full")) {
    base::log(base::LogLevel::warn,
              "points are dropped because the journal is full (reason journal_full); free disk space, or raise "
              "Options::journal_mib");
  }
}

Status Worker::beat() {
  last_beat_ = base::steady_ms();
  if (writer_ != nullptr && !closing_) writer_->prepare();
  bool more = true;
  while (more) {
    if (Status s = write_some(&more); !s.ok()) return s;
    follow_rate();
    if (more && durable_beat_ < beat_ && base::steady_ms() - last_sync_ >= 500) {
      if (Status s = sync(); !s.ok()) return s;
    }
    if (more) check_quota();
  }
  artifacts_.recovered(*buffer_, sources_.whole());
  check_quota();
  return {};
}

Status Worker::sync() {
  const std::uint64_t upto = beat_;
  const std::uint64_t points = runs_.totals().stored;
  MLOPS_POINT("drain.sync");
  if (Status s = buffer_->sync(); !s.ok()) return s;
  MLOPS_POINT("drain.synced");
  ++fsyncs_;
  last_sync_ = base::steady_ms();
  durable_beat_ = upto;
  durable_points_ = points;
  // Before anybody here can deliver it: what a ledger says is delivered, other nodes have heard of.
  if (outlet_) outlet_->publish(*buffer_, runs_, upto);
  slot_->control()->durable_beat.store(upto, std::memory_order_release);
  MLOPS_POINT("drain.durable");
  artifacts_.synced();
  let_journals_go();
  shared_->call_back();
  return {};
}

/// Everything is durable: journals that are finished go, and whose they were owns no run any more.
void Worker::let_journals_go() {
  if (!sources_.synced()) return;
  dead_runs_open_ = true;
  last_dead_ = 0;
}

/// A run that a dead process had RUNNING is KILLED at its last record, unless it was left open on purpose; one it was
/// attached to is let go. Not before this process had two seconds to resume it, nor while a forked child that may own
/// it, or another attached process, lives.
void Worker::end_dead_runs() {
  const std::int64_t now = base::steady_ms();
  if (!options_.end_dead_runs || !dead_runs_open_ || now - last_dead_ < (closing_ ? 0 : kDeadRunsAgainMs)) return;
  if (writer_ != nullptr && !closing_ && now - opened_at_ < kDeadRunsAfterMs) return;
  last_dead_ = now;
  dead_runs_open_ = false;
  const base::Uid own = writer_ != nullptr ? writer_->uid() : base::Uid{};
  for (const auto& run : runs_.all()) {
    model::RunRow& row = run->row;
    if (row.status != RunStatus::running && row.status != RunStatus::scheduled) continue;
    if (row.left_open) continue;
    if (writer_ != nullptr && run->owner == own) continue;
    const bool child = run->owner.zero() ? sources_.others() : sources_.holds(run->owner);
    if (child || (!row.attached && has_live_attachment(options_.root, row.uid))) {
      dead_runs_open_ = true;
      continue;
    }
    model::Op op;
    op.ticket = slot_->control()->ticket.fetch_add(1) + 1;
    op.time_ms = row.last_ms;
    op.run = row.uid;
    op.kind = row.attached ? model::OpKind::run_detach : model::OpKind::run_end;
    op.number = static_cast<std::int64_t>(RunStatus::killed);
    op.key = std::to_string(row.starts);
    base::log(base::LogLevel::info, "run " + row.uid.hex() + " was left by a dead process: ended");
    runs_.add_op(op, {});
  }
}

}  // namespace mlops::drain
