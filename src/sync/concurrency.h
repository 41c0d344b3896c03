// Concurrency: how many connections work at once, 1..most. Additive increase while one more connection brings more
// points per second, a step back when it only brought latency, halved on trouble (429, 5xx, time-outs).
#pragma once

#include <cstdint>

namespace mlops::sync {

class Concurrency {
 public:
  explicit Concurrency(int most, int first = 1) : most_(most < 1 ? 1 : most), limit_(first < most_ ? first : most_) {}

  int limit() const { return limit_; }
  /// One request for records came back well. `busy`: every allowed connection had work at that time, so the figures say
  /// something about the limit.
  void done(std::uint64_t records, double seconds, std::int64_t now_ms, bool busy);
  /// The server is in trouble: half the connections; `alone` (429): one.
  void trouble(std::int64_t now_ms, bool alone);

 private:
  void decide(std::int64_t now_ms);
  void restart(std::int64_t now_ms);

  int most_;
  int limit_;
  // The measurement in progress.
  std::int64_t since_ms_ = -1;
  std::uint64_t records_ = 0;
  int requests_ = 0;
  double seconds_ = 0;
  // The one before it.
  double rate_before_ = 0, latency_before_ = 0;
  int limit_before_ = 0;
  std::int64_t hold_until_ms_ = 0;
};

}  // namespace mlops::sync
