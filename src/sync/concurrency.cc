// Concurrency: a hill climb over rounds of a few requests each.
#include "sync/concurrency.h"

#include <algorithm>

namespace mlops::sync {
namespace {

constexpr int kRoundRequestsEach = 4;     // per connection: enough to see a rate, few enough to react in seconds
constexpr std::int64_t kRoundMs = 500;    // at least
constexpr double kWorthIt = 1.10;         // one more connection must bring a tenth more
constexpr std::int64_t kHoldMs = 20'000;  // after a step back: stay before trying again
constexpr std::int64_t kTroubleHoldMs = 5'000;

}  // namespace

void Concurrency::restart(std::int64_t now_ms) {
  since_ms_ = now_ms;
  records_ = 0;
  requests_ = 0;
  seconds_ = 0;
}

void Concurrency::done(std::uint64_t records, double seconds, std::int64_t now_ms, bool busy) {
  if (!busy || since_ms_ < 0) return restart(now_ms);
  records_ += records;
  ++requests_;
  seconds_ += seconds;
  if (requests_ >= kRoundRequestsEach * limit_ && now_ms - since_ms_ >= kRoundMs) decide(now_ms);
}

void Concurrency::decide(std::int64_t now_ms) {
  const double rate =
      1000.0 * static_cast<double>(records_) / static_cast<double>(std::max<std::int64_t>(1, now_ms - since_ms_));
  const double latency = seconds_ / requests_;
  const bool in_vain = limit_before_ != 0 && limit_before_ < limit_ && rate < rate_before_ * kWorthIt;
  const bool slower = limit_ > 1 && limit_before_ == limit_ && latency > 2 * latency_before_ && rate < rate_before_;
  if (in_vain || slower) {
    // The last step up brought latency, not points, or the server has less to give: back, and stay there for a while.
    --limit_;
    limit_before_ = 0;
    hold_until_ms_ = now_ms + kHoldMs;
  } else {
    limit_before_ = limit_;
    if (limit_ < most_ && now_ms >= hold_until_ms_) ++limit_;
  }
  rate_before_ = rate;
  latency_before_ = latency;
  restart(now_ms);
}

void Concurrency::trouble(std::int64_t now_ms, bool alone) {
  limit_ = alone ? 1 : std::max(1, limit_ / 2);
  limit_before_ = 0;
  hold_until_ms_ = now_ms + kTroubleHoldMs;
  restart(now_ms);
}

}  // namespace mlops::sync
