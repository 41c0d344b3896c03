// What the drain does now and then: the summary file, quota, retention, the clock thread's switch.
#include <algorithm>

#include "base/base.h"
#include "base/file.h"
#include "drain/proof.h"
#include "drain/worker.h"

namespace mlops::drain {
namespace {

constexpr std::int64_t kQuotaMs = 2'000, kEvictFirstMs = 5'000, kEvictMs = 60'000, kRateMs = 100, kSlowMs = 2'000;
constexpr double kTickerOn = 700'000, kTickerOff = 350'000;  // points per second
constexpr double kPolling = 200'000;                         // points per second; above, a wake is a cost that shows

}  // namespace

/// At most one percent of the time goes into summaries: a slot with many runs publishes more seldom.
void Worker::write_summary(bool now) {
  if (!summary_dirty_) return;
  const std::int64_t begin = base::steady_ms();
  if (!now && begin - last_summary_ < std::max<std::int64_t>(500, summary_took_ * 100)) return;
  buffer::SlotCounters counters;
  const RunCounters& totals = runs_.totals();
  counters.accepted = totals.accepted;
  counters.merged = totals.merged;
  counters.buffered = totals.stored;
  counters.durable = durable_points_;
  for (const auto& [reason, count] : drops_written_) counters.dropped.emplace_back(reason, std::to_string(count));
  if (totals.dropped > 0) counters.dropped.emplace_back("quota", std::to_string(totals.dropped));
  buffer::SummaryEncoder encoder(buffer_->identity(), counters, runs_.all().size());
  std::vector<buffer::MetricRow> metrics;
  for (const auto& run : runs_.all()) {
    metrics.clear();
    for (const auto& m : run->metrics) metrics.push_back({m->number, m->name, m->summary});
    encoder.add(run->row, metrics);
  }
  const Status s = base::replace_file(slot_->dir + "/summary", encoder.take(), false);
  if (!s.ok()) {
    base::log(base::LogLevel::warn, "writing the summary: " + s.to_string());
  } else {
    summary_dirty_ = false;
  }
  MLOPS_POINT("drain.summary");
  last_summary_ = base::steady_ms();
  summary_took_ = last_summary_ - begin;
  shared_->call_back();
}

/// What deliverers on other nodes have passed goes; what they lack is published again, new beats or none.
void Worker::look_at_outbox(bool now) {
  if (!outlet_) return;
  if (!summary_dirty_) outlet_->summary_written();
  outlet_->look(runs_, now && closing_);
  if (outlet_->waits() && durable_beat_ >= beat_) outlet_->publish(*buffer_, runs_, beat_);
}

void Worker::check_quota() {
  if (options_.client.quota_mib == 0 || options_.root.empty()) return;
  const std::int64_t now = base::steady_ms();
  if (last_quota_ != 0 && now - last_quota_ < kQuotaMs) return;
  last_quota_ = now;
  const std::uint64_t used = usage_without_spools(options_.root), most = options_.client.quota_mib << 20;
  const bool over = over_quota_ ? used > most / 20 * 19 : used > most;
  if (over && !over_quota_) {
    base::log(base::LogLevel::error, options_.root + " is above its quota of " +
                                         std::to_string(options_.client.quota_mib) +
                                         " MiB: new points are dropped; raise quota_mib or deliver and evict");
  }
  over_quota_ = over;
}

Status Worker::evict() {
  const std::int64_t now = base::steady_ms();
  if (now - last_evict_ < kEvictMs && last_evict_ != 0) return {};
  if (now - opened_at_ < kEvictFirstMs) return {};
  last_evict_ = now;
  const RetentionOptions options{options_.root, slot_->dir, options_.client.retention_mib,
                                 options_.client.retention_days,
                                 [this](const base::Uid& run) { return spool_bytes_of(*buffer_, run); }};
  for (const base::Uid& uid : evictable(options, runs_, *buffer_, buffer_->disk_bytes())) {
    if (Status s = evict_run(uid); !s.ok()) return s;
  }
  return {};
}

Status Worker::evict_run(const base::Uid& uid) {
  RunState* run = runs_.find(uid);
  if (run == nullptr) return {};
  MLOPS_POINT("drain.evict");
  buffer::Freed freed;
  if (Status s = buffer_->evict(uid, run->row.next_seq, &freed); !s.ok()) return s;
  artifacts_.freed(std::move(freed));
  const auto row = buffer_->run(uid);
  if (!row.ok()) return row.status();
  run->row.evicted_before = row->evicted_before;
  run->row.evicted_points = row->evicted_points;
  summary_dirty_ = true;
  base::log(base::LogLevel::info, "run " + uid.hex() + ": its records are evicted");
  return {};
}

/// Somebody wants to log an artifact and the spool is full: files of ended runs that every destination has go, the
/// oldest end first. Their records and digests stay.
Status Worker::make_room() {
  const std::uint64_t wanted = slot_->control()->spool_wanted.load(std::memory_order_acquire);
  const std::uint64_t most = options_.client.spool_mib << 20;
  if (wanted == 0) return {};
  const std::uint64_t used = journal::spool_used(slot_->control()->spool_bytes.load());
  std::uint64_t over = most != 0 && used + wanted > most ? used + wanted - most : 0;
  if (over > 0 && !options_.root.empty()) {
    const Proof proof(options_.root, slot_->dir, buffer_->identity(), buffer_.get());
    std::vector<const model::RunRow*> ended;
    for (const auto& run : runs_.all()) {
      const model::RunRow& row = run->row;
      if (row.status != RunStatus::running && row.end_ms > 0 && !run->touched && proof.whole(row))
        ended.push_back(&row);
    }
    std::sort(ended.begin(), ended.end(), [](const auto* a, const auto* b) { return a->end_ms < b->end_ms; });
    for (const model::RunRow* row : ended) {
      if (over == 0) break;
      const std::uint64_t bytes = spool_bytes_of(*buffer_, row->uid);
      if (bytes == 0) continue;
      buffer::Freed freed;
      const std::string why = "delivered, and removed from the spool to make room (spool_mib)";
      if (Status s = buffer_->let_go(row->uid, why, beat_, &freed); !s.ok()) return s;
      MLOPS_POINT("spool.let_go");
      artifacts_.freed(std::move(freed));
      over -= std::min(over, bytes);
    }
  }
  artifacts_.answer_wish();
  return {};
}

/// Who asked saw the files of a slot that was not his; now it is, and everything is looked at again.
Status Worker::evict_asked() {
  if (options_.evict.empty()) return {};
  const Proof proof(options_.root, slot_->dir, buffer_->identity(), buffer_.get());
  for (const base::Uid& uid : options_.evict) {
    const RunState* run = runs_.find(uid);
    if (run == nullptr || run->row.status == RunStatus::running || run->row.end_ms <= 0) continue;
    if (!proof.whole(run->row) && !(options_.evict_deleted && run->row.deleted)) continue;
    if (Status s = evict_run(uid); !s.ok()) return s;
  }
  return {};
}

/// The 1 kHz clock costs a few percent of a core, so it runs only while it saves the producers more than that. The same
/// rate tells whether producers wake this thread (a system call of theirs) or it looks by itself.
void Worker::follow_rate() {
  const std::int64_t now = base::steady_ms();
  const std::int64_t passed = now - rate_since_;
  if (passed < kRateMs) return;
  const double rate = static_cast<double>(rate_points_) * 1000.0 / static_cast<double>(passed);
  rate_since_ = now;
  rate_points_ = 0;
  if (rate >= kTickerOff) slow_since_ = now;
  const bool on = rate > kTickerOn || (ticker_ && now - slow_since_ < kSlowMs);
  shared_->polling.store(rate > kPolling, std::memory_order_relaxed);
  if (on != ticker_) journal::set_ticker(on);
  ticker_ = on;
}

}  // namespace mlops::drain
