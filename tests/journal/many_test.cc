// Many points of one key in one call: the same cells, times, drops and limits as one call for each.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>

#include "journal/room.h"

namespace mlops::journal {
namespace {

struct At {
  double value;
  std::int64_t step;
  std::int64_t time_ms = detail::kNow;
};

template <typename PointAt>
void log_many(const Handle& handle, std::size_t count, PointAt at) {
  detail::log_points(handle, count, at);
}

std::vector<KeyedPoint> taken(Room& room) {
  Taken t;
  auto c = Collector::of(room.writer.get());
  t.all(c.get());
  EXPECT_EQ(t.damaged, 0u);
  return t.points;
}

TEST(Many, AllOfThemInOrderAcrossSegments) {
  Room room;
  room.open();
  const Handle loss = room.handle(base::Uid::random(), "loss"), other = room.handle(base::Uid::random(), "other");
  const double odd[] = {-0.0, std::nan("7"), -HUGE_VAL, 5e-324, 1.5f};
  const std::int64_t before = detail::coarse_now_ms();
  constexpr int kRounds = 5;
  constexpr std::size_t kCount = 3'001;
  for (int round = 0; round < kRounds; ++round) {
    other.log(round, -round);
    log_many(loss, kCount, [&](std::size_t i) { return At{odd[i % 5], static_cast<std::int64_t>(i) - 7}; });
  }
  const std::int64_t after = detail::coarse_now_ms() + 50;
  const auto points = taken(room);
  ASSERT_EQ(points.size(), kRounds * (kCount + 1));
  std::int64_t last = before;
  for (std::size_t n = 0; n < points.size(); ++n) {
    const std::size_t i = n % (kCount + 1);
    const model::Point& point = points[n].point;
    EXPECT_EQ(points[n].key, i == 0 ? other.key() : loss.key());
    ASSERT_GE(point.time_ms, last);
    ASSERT_LE(point.time_ms, after);
    last = point.time_ms;
    if (i == 0) continue;
    ASSERT_EQ(point.step, static_cast<std::int64_t>(i - 1) - 7);
    ASSERT_EQ(std::memcmp(&point.value, &odd[(i - 1) % 5], sizeof(double)), 0);
  }
}

TEST(Many, TimesOfTheCallerAndOnesBeforeTheEpoch) {
  Room room;
  room.open();
  const Handle loss = room.handle(base::Uid::random(), "loss");
  log_many(loss, 5'000, [](std::size_t i) {
    const auto step = static_cast<std::int64_t>(i);
    return At{0.5, step, i % 100 == 99 ? -2 - step : 5'000 - step};
  });
  const auto points = taken(room);
  ASSERT_EQ(points.size(), 4'950u);
  for (const KeyedPoint& one : points) ASSERT_EQ(one.point.time_ms, 5'000 - one.point.step);
  EXPECT_EQ(room.writer->stats().dropped_invalid, 50u);
}

TEST(Many, ClosedUnmadeAndInvalidHandles) {
  Room room;
  room.open();
  const Handle loss = room.handle(base::Uid::random(), "loss");
  const auto at = [](std::size_t i) { return At{1, static_cast<std::int64_t>(i)}; };
  log_many(loss, 0, at);
  log_many(loss, 10, at);
  close_gate(loss.gate);
  log_many(loss, 3'000, at);
  log_many(Handle{}, 10, at);
  log_many(Handle{loss.gate, 0, 0}, 7, at);
  EXPECT_EQ(taken(room).size(), 10u);
  EXPECT_EQ(room.writer->stats().dropped_closed, 3'000u);
  EXPECT_EQ(room.writer->stats().dropped_invalid, 7u);
}

TEST(Many, WhatDoesNotFitIsDroppedAndCounted) {
  Room room;
  WriterOptions options;
  options.journal_mib = 1;
  options.when_full = WhenFull::drop;
  room.open(options);
  const Handle loss = room.handle(base::Uid::random(), "loss");
  constexpr std::size_t kCount = 100'000;
  log_many(loss, kCount, [](std::size_t i) { return At{1, static_cast<std::int64_t>(i)}; });
  const auto points = taken(room);
  EXPECT_GT(points.size(), 14 * kCellsPerSegment);
  EXPECT_LT(points.size(), kCount);
  EXPECT_EQ(room.writer->stats().dropped_full, kCount - points.size());
  for (std::size_t i = 0; i < points.size(); ++i) ASSERT_EQ(points[i].point.step, static_cast<std::int64_t>(i));
}

TEST(Many, WaitsForRoomBesideACollector) {
  Room room;
  WriterOptions options;
  options.journal_mib = 1;
  options.full_wait = Millis(60'000);
  room.open(options);
  constexpr std::size_t kCount = 300'000;
  std::atomic<bool> done{false};
  std::thread logger([&] {
    log_many(room.handle(base::Uid::random(), "loss"), kCount,
             [](std::size_t i) { return At{1, static_cast<std::int64_t>(i)}; });
    done = true;
  });
  Taken t;
  auto c = Collector::of(room.writer.get());
  while (!done || c->pending() > 0) {
    t.pass(c.get(), 20'000);
    c->release(c->cursors());
  }
  logger.join();
  t.all(c.get());
  EXPECT_EQ(room.writer->stats().dropped_full, 0u);
  const auto steps = t.steps("loss");
  ASSERT_EQ(steps.size(), kCount);
  for (std::size_t i = 0; i < kCount; ++i) ASSERT_EQ(steps[i], static_cast<std::int64_t>(i));
}

}  // namespace
}  // namespace mlops::journal
