// Paced bursts: how a trainer calls. One figure per burst: its mean per call, the timer's own cost taken off.
#pragma once

#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "support.h"

namespace mlops::bench {

struct Pacing {
  std::string words;
  int burst;
  std::int64_t every_ns;
  int bursts;   // per contender and round
  bool sleeps;  // between bursts the thread sleeps (caches and predictors go to others); else it spins
};

struct Paced {
  std::vector<double> p50, p99, p999;  // one per round
  double at50() const { return median(p50); }
  double at99() const { return median(p99); }
  double at999() const { return median(p999); }
};

inline double timer_cost() {
  static const double cost = [] {
    std::vector<double> all;
    for (int i = 0; i < 20'000; ++i) {
      const std::uint64_t a = ticks(), b = ticks();
      all.push_back(static_cast<double>(b - a));
    }
    return median(all);
  }();
  return cost;
}

inline void wait_until(std::uint64_t deadline, bool sleeps) {
  if (!sleeps) {
    while (now_ns() < deadline) {
    }
    return;
  }
  const timespec t{static_cast<time_t>(deadline / 1'000'000'000u), static_cast<long>(deadline % 1'000'000'000u)};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr) != 0) {
  }
}

/// Calls `call(i)` for each i of a burst. Contenders run at the same pace, their bursts evenly between each other's, so
/// that they share the machine's moods. `between` runs after each round.
template <typename... Calls>
std::vector<Paced> pace(const Pacing& p, int rounds, const std::function<void()>& between, Calls&&... calls) {
  constexpr std::size_t kCount = sizeof...(Calls);
  std::vector<Paced> result(kCount);
  const double off = timer_cost(), scale = ns_per_tick() / p.burst;
  std::int64_t step = 0;
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::vector<double>> samples(kCount);
    std::uint64_t next = now_ns();
    for (int b = 0; b < p.bursts; ++b) {
      std::size_t which = 0;
      const auto one = [&](auto& call) {
        next += static_cast<std::uint64_t>(p.every_ns) / kCount;
        if (const std::uint64_t now = now_ns(); now > next + 10'000'000) next = now;  // preempted: no catching up
        wait_until(next, p.sleeps);
        const std::uint64_t start = ticks();
        for (int i = 0; i < p.burst; ++i) call(step + i);
        const std::uint64_t end = ticks();
        samples[which++].push_back(std::max(0.0, static_cast<double>(end - start) - off) * scale);
      };
      (one(calls), ...);
      step += p.burst;
    }
    for (std::size_t n = 0; n < kCount; ++n) {
      result[n].p50.push_back(percentile(samples[n], 0.50));
      result[n].p99.push_back(percentile(samples[n], 0.99));
      result[n].p999.push_back(percentile(samples[n], 0.999));
    }
    if (between) between();
  }
  return result;
}

inline const Pacing kBursts20{"bursts of 20 every 15 us", 20, 15'000, 20'000, false};
inline const Pacing kBursts1000{"bursts of 1,000 every ms", 1000, 1'000'000, 500, false};
inline const Pacing kCold{"20 calls every 200 us, asleep between, ticker asleep", 20, 200'000, 2'500, true};

/// A value that compresses no better than a loss does.
inline double noise(std::int64_t step) {
  const std::uint64_t x = static_cast<std::uint64_t>(step) * 0x9E3779B97F4A7C15ull;
  return static_cast<double>(x >> 11) * 0x1p-53;
}

/// Peers that need other libraries; each returns false with a reason when it is not there. ns per call at
/// p50/p99/p99.9.
bool pace_spdlog(const Pacing& p, int rounds, Paced* out, std::string* why);
bool pace_rocksdb(const Pacing& p, int rounds, Paced* out, std::string* why);
bool pace_sqlite(const Pacing& p, int rounds, Paced* out, std::string* why);
bool pace_quill(const Pacing& p, int rounds, Paced* out, std::string* why);

}  // namespace mlops::bench
