// What goes in comes out: threads, keys, ops, order, reuse, the full journal, closed handles.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "journal/room.h"
#include "journal/segment.h"

namespace mlops::journal {
namespace {

TEST(Journal, OnePointBitForBit) {
  Room room;
  room.open();
  const base::Uid run = base::Uid::random();
  const Handle loss = room.handle(run, "loss");
  const double values[] = {0.5, -0.0, std::nan("7"), HUGE_VAL, 5e-324};
  for (double v : values) loss.log(v, std::numeric_limits<std::int64_t>::min(), 1'700'000'000'123);
  auto c = Collector::of(room.writer.get());
  EXPECT_EQ(c->pending(), 5u);
  Taken t;
  t.all(c.get());
  ASSERT_EQ(t.points.size(), 5u);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(std::memcmp(&t.points[i].point.value, &values[i], 8), 0);
    EXPECT_EQ(t.points[i].point.step, std::numeric_limits<std::int64_t>::min());
    EXPECT_EQ(t.points[i].point.time_ms, 1'700'000'000'123);
  }
  ASSERT_EQ(t.keys.size(), 1u);
  EXPECT_EQ(t.keys.begin()->second.name, "loss");
  EXPECT_EQ(t.keys.begin()->second.run, run);
  EXPECT_EQ(c->pending(), 0u);
  EXPECT_EQ(room.writer->stats().accepted_points, 5u);
}

TEST(Journal, ThreadsWhileCollectingAndReleasing) {
  Room room;
  WriterOptions options;
  options.journal_mib = 4;
  options.full_wait = Millis(10'000);
  room.open(options);
  const base::Uid run = base::Uid::random();
  constexpr int kThreads = 4, kPoints = 100'000;
  std::atomic<int> left{kThreads};
  std::vector<std::thread> threads;
  for (int n = 0; n < kThreads; ++n) {
    threads.emplace_back([&, n] {
      const Handle own = room.handle(run, "m" + std::to_string(n));
      for (int i = 0; i < kPoints; ++i) own.log(n, i);
      --left;
    });
  }
  auto c = Collector::of(room.writer.get());
  Taken t;
  while (left > 0 || c->pending() > 0) {
    t.pass(c.get(), 20'000);
    c->release(c->cursors());
    room.writer->prepare();
  }
  for (auto& thread : threads) thread.join();
  t.all(c.get());
  EXPECT_EQ(room.writer->stats().dropped_full, 0u);
  for (int n = 0; n < kThreads; ++n) {
    const auto steps = t.steps("m" + std::to_string(n));
    ASSERT_EQ(steps.size(), static_cast<std::size_t>(kPoints));
    for (int i = 0; i < kPoints; ++i) ASSERT_EQ(steps[i], i);
  }
  EXPECT_EQ(t.damaged, 0u);
  EXPECT_EQ(room.writer->stats().dropped_full, 0u);
  EXPECT_LE(room.writer->stats().segments_in_use, 64u);
}

TEST(Journal, KeysAreOnePerRunAndNameAcrossThreads) {
  Room room;
  room.open();
  const base::Uid a = base::Uid::random(), b = base::Uid::random();
  std::vector<std::uint32_t> got[4];
  std::vector<std::thread> threads;
  for (auto& keys : got) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        keys.push_back(room.writer->key(a, "metric/" + std::to_string(i)).value());
        keys.push_back(room.writer->key(b, "metric/" + std::to_string(i)).value());
      }
    });
  }
  for (auto& t : threads) t.join();
  for (auto& keys : got) EXPECT_EQ(keys, got[0]);
  Taken t;
  auto c = Collector::of(room.writer.get());
  t.all(c.get());
  EXPECT_EQ(t.keys.size(), 1000u);
  for (int i = 0; i < 500; ++i) {
    EXPECT_EQ(t.keys.at(got[0][2 * i]).run, a);
    EXPECT_EQ(t.keys.at(got[0][2 * i + 1]).run, b);
    EXPECT_EQ(t.keys.at(got[0][2 * i]).name, "metric/" + std::to_string(i));
  }
}

TEST(Journal, OpsOfAllSizesAcrossSegments) {
  Room room;
  room.open();
  const base::Uid run = base::Uid::random();
  const Handle loss = room.handle(run, "loss");
  std::vector<std::size_t> sizes = {0, 1, 31, 32, 33, 16'000, 48'000, 47'999, 20'000, 30'000};
  for (std::size_t i = 0; i < 40; ++i) {
    model::Op op = tag(run, "k" + std::to_string(i), std::string(sizes[i % sizes.size()], 'a' + i % 26));
    ASSERT_TRUE(room.writer->append(&op).ok());
    EXPECT_EQ(op.ticket, room.control->ticket.load());
    loss.log(0, static_cast<std::int64_t>(i));
  }
  model::Op big = tag(run, "big", std::string(49'152, 'x'));
  EXPECT_EQ(room.writer->append(&big).code(), StatusCode::invalid_argument);
  Taken t;
  auto c = Collector::of(room.writer.get());
  t.all(c.get());
  ASSERT_EQ(t.ops.size(), 40u);
  ASSERT_EQ(t.points.size(), 40u);
  for (std::size_t i = 0; i < 40; ++i) {
    EXPECT_EQ(t.ops[i].key, "k" + std::to_string(i));
    EXPECT_EQ(t.ops[i].value, std::string(sizes[i % sizes.size()], 'a' + i % 26));
    if (i > 0) {
      EXPECT_GT(t.ops[i].ticket, t.ops[i - 1].ticket);
    }
  }
}

// A point is logged on one thread before an op on another: no batch may hold the op without the point, and none a point
// without the op that was appended before its key was made.
TEST(Journal, WhatHappenedBeforeAnOpComesWithIt) {
  Room room;
  WriterOptions options;
  options.journal_mib = 32;
  room.open(options);
  const base::Uid run = base::Uid::random();
  constexpr int kRounds = 400;
  std::atomic<int> turn{0};
  std::atomic<bool> done{false};
  std::vector<Handle> handles(kRounds);
  std::thread first([&] {
    for (int i = 0; i < kRounds; ++i) {
      while (turn.load(std::memory_order_acquire) != 2 * i) std::this_thread::yield();
      model::Op start = tag(run, "start", std::to_string(i));
      EXPECT_TRUE(room.writer->append(&start).ok());
      handles[i] = room.handle(run, "m" + std::to_string(i));
      handles[i].log(1, i);
      turn.store(2 * i + 1, std::memory_order_release);
    }
  });
  std::thread second([&] {
    for (int i = 0; i < kRounds; ++i) {
      while (turn.load(std::memory_order_acquire) != 2 * i + 1) std::this_thread::yield();
      handles[i].log(2, i);
      model::Op end = tag(run, "end", std::to_string(i));
      EXPECT_TRUE(room.writer->append(&end).ok());
      turn.store(2 * i + 2, std::memory_order_release);
    }
    done = true;
  });
  auto c = Collector::of(room.writer.get());
  std::vector<int> started(kRounds), points(kRounds);
  int ended = 0, batches = 0;
  for (bool last = false; !last;) {
    last = done;
    Batch b;
    while (c->collect(&b, 3)) {
      ++batches;
      for (const auto& op : b.ops) {
        if (op.key == "start") started[std::stoi(op.value)] = 1;
      }
      for (const auto& p : b.points) {
        EXPECT_EQ(started[p.point.step], 1) << "point before its start";
        ++points[p.point.step];
      }
      for (const auto& op : b.ops) {
        if (op.key != "end") continue;
        ++ended;
        EXPECT_EQ(points[std::stoi(op.value)], 2) << "end before its points";
      }
      c->release(c->cursors());
      b = Batch();
    }
  }
  first.join();
  second.join();
  EXPECT_EQ(ended, kRounds);
  EXPECT_GT(batches, 0);
}

TEST(Journal, ThousandShortThreadsLeakNothing) {
  Room room;
  room.open();
  const Handle loss = room.handle(base::Uid::random(), "loss");
  for (int i = 0; i < 1000; ++i) std::thread([&] { loss.log(i, i); }).join();
  EXPECT_LE(room.writer->stats().segments_in_use, 3u);
  Taken t;
  auto c = Collector::of(room.writer.get());
  t.all(c.get());
  EXPECT_EQ(t.steps("loss").size(), 1000u);
  EXPECT_EQ(c->cursors().size(), 1u) << "one chain served them all";
}

TEST(Journal, AFastThreadTakesSegmentsAheadAndGivesThemBack) {
  for (const std::size_t more : {0, 5}) {  // it ends with its segment, or within one
    Room room;
    room.open();
    const Handle loss = room.handle(base::Uid::random(), "loss");
    const auto points = static_cast<std::int64_t>(5 * kCellsPerSegment + more);
    std::thread([&] {
      loss.log(0, 0);
      // With times of their own the clock of the thread stands still: as fast as can be.
      for (std::int64_t i = 1; i < points; ++i) loss.log(0, i, 1);
    }).join();
    EXPECT_GT(room.writer->stats().segments_in_use, 8u) << "nothing was taken ahead";
    auto c = Collector::of(room.writer.get());
    EXPECT_EQ(c->pending(), static_cast<std::uint64_t>(points)) << "what is taken ahead holds nothing";
    Taken t;
    t.all(c.get());
    c->release(c->cursors());
    EXPECT_EQ(room.writer->stats().segments_in_use, 1u);  // the dictionary's
    std::thread([&] { loss.log(0, points); }).join();
    t.all(c.get());
    const auto steps = t.steps("loss");
    ASSERT_EQ(steps.size(), static_cast<std::size_t>(points) + 1);
    EXPECT_TRUE(std::is_sorted(steps.begin(), steps.end()));
    EXPECT_EQ(t.damaged, 0u);
  }
}

TEST(Journal, ManyThreadsAtOnceGiveTheirSegmentsBack) {
  Room room;
  WriterOptions options;
  options.journal_mib = 2;  // 32 segments; a thread without any gets one above the cap
  room.open(options);
  const Handle loss = room.handle(base::Uid::random(), "loss");
  constexpr int kThreads = 100;
  std::atomic<int> here{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      loss.log(1, i);
      ++here;
      while (here < kThreads) std::this_thread::yield();
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(room.writer->stats().dropped_full, 0u);
  EXPECT_GE(room.writer->stats().segments_in_use, 100u);
  Taken t;
  auto c = Collector::of(room.writer.get());
  t.all(c.get());
  c->release(c->cursors());
  EXPECT_LE(room.writer->stats().segments_in_use, 1u);  // the dictionary's
  for (int i = 0; i < 50; ++i) std::thread([&] { loss.log(1, kThreads + i); }).join();
  t.all(c.get());
  auto steps = t.steps("loss");
  std::sort(steps.begin(), steps.end());
  ASSERT_EQ(steps.size(), 150u);
  for (int i = 0; i < 150; ++i) EXPECT_EQ(steps[i], i);
}

TEST(Journal, FullDropsAtOnceAndCountsExactly) {
  Room room;
  WriterOptions options;
  options.journal_mib = 2;
  options.when_full = WhenFull::drop;
  room.open(options);
  const Handle loss = room.handle(base::Uid::random(), "loss");
  constexpr int kPoints = 200'000;
  for (int i = 0; i < kPoints; ++i) loss.log(0, i);
  model::Op op = tag(base::Uid::random(), "k", "v");
  EXPECT_EQ(room.writer->append(&op).code(), StatusCode::resource_exhausted);
  Taken t;
  auto c = Collector::of(room.writer.get());
  t.all(c.get());
  const std::uint64_t dropped = room.writer->stats().dropped_full;
  EXPECT_EQ(t.points.size(), 31 * kCellsPerSegment);  // one segment is the dictionary's
  EXPECT_EQ(t.points.size() + dropped, static_cast<std::size_t>(kPoints));
  c->release(c->cursors());
  loss.log(0, kPoints);
  t.all(c.get());
  EXPECT_EQ(t.steps("loss").back(), kPoints) << "space is used again";
  EXPECT_EQ(room.writer->stats().dropped_full, dropped);
}

TEST(Journal, FullWaitsWithinItsBoundOnce) {
  Room room;
  std::atomic<int> wakes{0};
  WriterOptions options;
  options.journal_mib = 2;
  options.full_wait = Millis(60);
  options.wake = [&] { ++wakes; };
  room.open(options);
  const Handle loss = room.handle(base::Uid::random(), "loss");
  for (std::size_t i = 0; i < 31 * kCellsPerSegment; ++i) loss.log(0, static_cast<std::int64_t>(i));
  EXPECT_EQ(wakes, 32 / 16);
  const auto start = std::chrono::steady_clock::now();
  loss.log(0, -1);
  const auto waited = std::chrono::steady_clock::now() - start;
  EXPECT_GE(waited, std::chrono::milliseconds(55));
  EXPECT_EQ(wakes, 32 / 16 + 1);
  for (int i = 0; i < 1000; ++i) loss.log(0, -1);  // nobody frees anything: not another wait each
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  EXPECT_EQ(room.writer->stats().dropped_full, 1001u);
}

TEST(Journal, FullGoesOnWhenSomethingIsReleased) {
  Room room;
  WriterOptions options;
  options.journal_mib = 2;
  options.full_wait = Millis(20'000);
  room.open(options);
  const Handle loss = room.handle(base::Uid::random(), "loss");
  constexpr std::size_t kPoints = 300'000;
  std::thread logger([&] {
    for (std::size_t i = 0; i < kPoints; ++i) loss.log(0, static_cast<std::int64_t>(i));
  });
  Taken t;
  auto c = Collector::of(room.writer.get());
  while (t.points.size() < kPoints) {
    if (!t.pass(c.get())) std::this_thread::yield();
    c->release(c->cursors());
  }
  logger.join();
  EXPECT_EQ(room.writer->stats().dropped_full, 0u);
  const auto steps = t.steps("loss");
  for (std::size_t i = 0; i < kPoints; ++i) ASSERT_EQ(steps[i], static_cast<std::int64_t>(i));
}

TEST(Journal, ClosedInvalidAndUnmadeHandles) {
  Room room;
  room.open();
  const Handle loss = room.handle(base::Uid::random(), "loss");
  loss.log(1, 1);
  detail::log_slow(loss, 1, 2, detail::kInvalidTime);
  close_gate(loss.gate);
  loss.log(1, 3);
  detail::log_slow(loss, 1, 2, 5);
  Handle{}.log(1, 4);                 // never made: silent
  Handle{loss.gate, 0, 0}.log(1, 5);  // of an invalid name
  detail::Gate* again = open_gate(room.core);
  EXPECT_EQ(again, loss.gate);
  EXPECT_NE(again->generation.load(), loss.generation);
  loss.log(1, 6);  // the gate's next owner does not revive it
  const Handle next{again, again->generation.load(), loss.key()};
  next.log(1, 7);
  Taken t;
  auto c = Collector::of(room.writer.get());
  t.all(c.get());
  EXPECT_EQ(t.steps("loss"), (std::vector<std::int64_t>{1, 7}));
  const WriterStats s = room.writer->stats();
  EXPECT_EQ(s.dropped_closed, 3u);
  EXPECT_EQ(s.dropped_invalid, 2u);
  EXPECT_EQ(s.dropped_full, 0u);
  room.writer->close();
  std::thread([&] { next.log(1, 8); }).join();
  EXPECT_EQ(room.writer->stats().dropped_closed, 4u);
  model::Op op = tag(base::Uid::random(), "k", "v");
  EXPECT_EQ(room.writer->append(&op).code(), StatusCode::failed_precondition);
  EXPECT_EQ(room.writer->key(base::Uid::random(), "x").status().code(), StatusCode::failed_precondition);
}

TEST(Journal, TwoCoresAlternatingOnOneThread) {
  Room a, b;
  a.open();
  b.open();
  const Handle in_a = a.handle(base::Uid::random(), "a"), in_b = b.handle(base::Uid::random(), "b");
  for (int i = 0; i < 10'000; ++i) {
    in_a.log(1, i);
    in_b.log(2, i);
  }
  for (Room* room : {&a, &b}) {
    Taken t;
    auto c = Collector::of(room->writer.get());
    t.all(c.get());
    ASSERT_EQ(t.points.size(), 10'000u);
    for (int i = 0; i < 10'000; ++i) ASSERT_EQ(t.points[i].point.step, i);
    EXPECT_EQ(t.keys.begin()->second.name, room == &a ? "a" : "b");
  }
}

TEST(Journal, ClosedWritersDoNotPileUpOnAThread) {
  for (int i = 0; i < 20; ++i) {
    Room room;
    room.open();
    room.handle(base::Uid::random(), "loss").log(1, i);
    room.writer->close();
  }
  int lanes = 0;
  for (detail::Lane* lane = detail::tls_lane; lane != nullptr; lane = lane->next) ++lanes;
  EXPECT_LE(lanes, 4);
}

TEST(Journal, FinishedOnlyWhenNobodyCanStillLog) {
  Room room;
  room.open();
  const Handle loss = room.handle(base::Uid::random(), "loss");
  std::atomic<int> phase{0};
  std::thread other([&] {
    loss.log(1, 1);
    phase = 1;
    while (phase != 2) std::this_thread::yield();
  });
  while (phase != 1) std::this_thread::yield();
  loss.log(1, 2);
  auto c = Collector::of(room.writer.get());
  Taken t;
  t.all(c.get());
  EXPECT_FALSE(c->finished());
  room.writer->close();
  t.all(c.get());
  EXPECT_FALSE(c->finished()) << "a thread that passed the gate may be about to store";
  phase = 2;
  other.join();
  t.all(c.get());
  EXPECT_TRUE(c->finished());
  EXPECT_EQ(t.points.size(), 2u);
}

TEST(Journal, TickerRunsOnlyWhileAsked) {
  EXPECT_EQ(detail::the_clock.word.load(), 0);
  set_ticker(true);
  set_ticker(true);
  std::int64_t seen = 0;
  for (int i = 0; i < 2000 && seen == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    seen = detail::the_clock.word.load();
  }
  EXPECT_NEAR(static_cast<double>(seen), static_cast<double>(base::now_ms()), 500);
  set_ticker(false);
  for (int i = 0; i < 2000 && detail::the_clock.word.load() != 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(detail::the_clock.word.load(), 0);
}

// A param first is what programs do: it makes the thread's chain, and no point has looked at the clock yet.
TEST(Journal, TimeIsNowAlsoAfterARecordThatIsNoPoint) {
  Room room;
  room.open();
  const Handle loss = room.handle(base::Uid::random(), "loss");
  model::Op op;
  op.kind = model::OpKind::param;
  op.key = "lr";
  ASSERT_TRUE(room.writer->append(&op).ok());
  ASSERT_EQ(detail::the_clock.word.load(), 0) << "the clock sleeps, as it does in a program that has just begun";
  const std::int64_t before = base::now_ms();
  for (int i = 0; i < 100; ++i) loss.log(0, i);
  Taken t;
  auto c = Collector::of(room.writer.get());
  t.all(c.get());
  ASSERT_EQ(t.points.size(), 100u);
  for (const auto& p : t.points) ASSERT_GE(p.point.time_ms, before - 20);  // the coarse clock lags by a kernel tick
}

TEST(Journal, TimeIsNowAndNeverGoesBackOnAThread) {
  Room room;
  room.open();
  const Handle loss = room.handle(base::Uid::random(), "loss");
  const std::int64_t before = base::now_ms();
  for (int i = 0; i < 30'000; ++i) loss.log(0, i);
  Taken t;
  auto c = Collector::of(room.writer.get());
  t.all(c.get());
  std::int64_t last = before - 20;  // the coarse clock lags by a kernel tick
  for (const auto& p : t.points) {
    ASSERT_GE(p.point.time_ms, last);
    last = p.point.time_ms;
  }
  EXPECT_LE(last, base::now_ms());
}

}  // namespace
}  // namespace mlops::journal
