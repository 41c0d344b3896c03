#include "sync/backoff.h"

#include <gtest/gtest.h>

#include "sync/concurrency.h"

namespace mlops::sync {
namespace {

TEST(Backoff, JitterFillsTheWholeBoundAndTheBoundDoubles) {
  std::int64_t bound = 1'000;
  Backoff backoff(1'000, 300'000);
  for (int i = 0; i < 30; ++i) {
    const std::int64_t delay = backoff.next();
    EXPECT_GE(delay, 0);
    EXPECT_LE(delay, bound);
    bound = std::min<std::int64_t>(300'000, bound * 2);
  }
  EXPECT_EQ(backoff.tries(), 30);
  std::int64_t least = 1'000, most = 0;
  for (int i = 0; i < 200; ++i) {
    backoff.reset();
    const std::int64_t delay = backoff.next();
    least = std::min(least, delay);
    most = std::max(most, delay);
  }
  EXPECT_LT(least, 100);
  EXPECT_GT(most, 900);
}

TEST(Backoff, RetryAfterIsAFloor) {
  Backoff backoff(10, 100);
  for (int i = 0; i < 50; ++i) {
    const std::int64_t delay = backoff.next(5'000);
    EXPECT_GE(delay, 5'000);
    EXPECT_LE(delay, 5'500);
  }
}

TEST(Backoff, SpacedDelaysLeaveHalfOfTheBound) {
  Backoff backoff(1'000, 300'000);
  for (std::int64_t bound : {1'000, 2'000, 4'000}) {
    const std::int64_t delay = backoff.next_spaced();
    EXPECT_GE(delay, bound / 2);
    EXPECT_LE(delay, bound);
  }
}

// A server with `cores`: points per second grow with the connections up to there.
int settle(int cores, int most, int rounds) {
  Concurrency concurrency(most);
  std::int64_t now = 0;
  int last = 0;
  for (int round = 0; round < rounds; ++round) {
    const int n = concurrency.limit();
    const double seconds = 0.2 * std::max(1.0, static_cast<double>(n) / cores);
    now += static_cast<std::int64_t>(seconds * 1000);
    for (int i = 0; i < n; ++i) concurrency.done(999, seconds, now, true);
    last = concurrency.limit();
  }
  return last;
}

TEST(Concurrency, GrowsWhileItBringsPointsAndNoFurther) {
  EXPECT_EQ(settle(8, 4, 200), 4);
  EXPECT_EQ(settle(1, 4, 60), 1);
  const int two = settle(2, 4, 60);
  EXPECT_EQ(two, 2);
}

TEST(Concurrency, TroubleHalvesAndThrottlingLeavesOne) {
  Concurrency concurrency(4);
  std::int64_t now = 0;
  while (concurrency.limit() < 4) {
    now += 200;
    for (int i = 0; i < concurrency.limit(); ++i) concurrency.done(999, 0.2, now, true);
    ASSERT_LT(now, 100'000);
  }
  concurrency.trouble(now, false);
  EXPECT_EQ(concurrency.limit(), 2);
  concurrency.trouble(now, true);
  EXPECT_EQ(concurrency.limit(), 1);
}

TEST(Concurrency, StaysWhenThereIsNothingToDo) {
  Concurrency concurrency(4);
  for (int i = 0; i < 100; ++i) concurrency.done(10, 0.1, i * 1'000, false);
  EXPECT_EQ(concurrency.limit(), 1);
}

}  // namespace
}  // namespace mlops::sync
