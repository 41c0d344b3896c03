// Core: which runs have something new. A look at all rows costs time that grows with the runs ever made here, so it is
// taken at most once per beat and may use at most a hundredth of a core; in between only the runs that lately had
// records are looked at.
#include <algorithm>
#include <utility>

#include "base/base.h"
#include "sync/core.h"

namespace mlops::sync {
namespace {

constexpr std::int64_t kScanShare = 100;  // a scan that took t is not repeated before 100 t
constexpr std::int64_t kScanMostMs = 5'000;
constexpr std::size_t kHot = 256;

}  // namespace

Core::Entry& Core::entry_of(const base::Uid& run) {
  std::unique_ptr<Entry>& entry = entries_[run];
  if (!entry) {
    entry = std::make_unique<Entry>();
    entry->seen.run = run;
  }
  return *entry;
}

void Core::make_ready(Entry* entry) {
  if (entry->running) {
    entry->again = true;
    return;
  }
  if (entry->queued || entry->delayed) return;
  entry->queued = true;
  entry->dry = false;
  ready_.push_back(entry);
  worker_cv_.notify_one();
}

void Core::delay(Entry* entry, std::int64_t due) {
  entry->delayed = true;
  delayed_.emplace(due, entry);
  coordinator_cv_.notify_one();
}

void Core::see_row(const model::RunRow& row, std::uint64_t beat) {
  Entry& entry = entry_of(row.uid);
  entry.has_row = true;
  entry.next_seq = row.next_seq;
  entry.points = row.points;
  entry.last_ms = row.last_ms;
  if (done(entry) || !entry.seen.parked.empty()) return;
  if (entry.dry && entry.dry_beat >= beat) return;
  if (!entry.hot && hot_.size() < kHot) {
    entry.hot = true;
    hot_.push_back(&entry);
  }
  make_ready(&entry);
}

void Core::scan(Lock& lock, std::int64_t now) {
  woken_ = false;
  scan_forced_ = false;
  lock.unlock();
  const std::uint64_t beat = options_.durable_beat();
  Status refreshed = options_.reader->refresh();
  Result<std::vector<model::RunRow>> rows(refreshed);
  if (refreshed.ok()) rows = options_.reader->runs();
  if (rows.ok()) uploads_->see(*rows);
  const buffer::Identity identity = options_.reader->identity();
  const std::int64_t took = base::steady_ms() - now;
  lock.lock();
  next_scan_ = base::steady_ms() + std::min(kScanMostMs, kScanShare * took);
  if (!rows.ok()) {
    note_error(rows.status());
    next_scan_ = std::max(next_scan_, base::steady_ms() + 1'000);
    return;
  }
  identity_ = identity;
  for (Entry* entry : hot_) entry->hot = false;
  hot_.clear();
  for (const model::RunRow& row : *rows) see_row(row, beat);
  ++scans_;
  scanned_beat_ = beat;
  looked_beat_ = std::max(looked_beat_, beat);
  idle_cv_.notify_all();
}

void Core::scan_hot(Lock& lock) {
  std::vector<base::Uid> runs;
  runs.reserve(hot_.size());
  for (const Entry* entry : hot_) runs.push_back(entry->seen.run);
  lock.unlock();
  const std::uint64_t beat = options_.durable_beat();
  Status refreshed = options_.reader->refresh();
  std::vector<model::RunRow> rows;
  for (const base::Uid& run : runs) {
    Result<model::RunRow> row = options_.reader->run(run);
    if (row.ok()) rows.push_back(std::move(*row));
  }
  uploads_->see(rows);
  lock.lock();
  if (refreshed.ok()) looked_beat_ = std::max(looked_beat_, beat);
  for (const model::RunRow& row : rows) see_row(row, beat);
}

}  // namespace mlops::sync
