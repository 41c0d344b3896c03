// Processes: SIGKILL against a counter outside the journal, and forked children.
#include <signal.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <new>
#include <random>
#include <thread>

#include "journal/room.h"

#if defined(__SANITIZE_THREAD__)
// Children of a process with threads start threads here on purpose.
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }
#endif

namespace mlops::journal {
namespace {

constexpr int kThreads = 3;

/// Raised by the trainer after each call that returned.
struct Oracle {
  std::atomic<std::int64_t> accepted[kThreads];
  std::atomic<std::int64_t> ops;
};

Oracle* shared_oracle() {
  void* p = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return new (p) Oracle{};
}

int exit_status(pid_t child) {
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

// The trainer: logs flat out from three threads beside a drain that collects what it can, writes its cursors to a page
// that survives, and only then releases.
struct Durable {
  std::atomic<std::uint32_t> version;
  std::uint64_t points[2];
  std::uint64_t ops[2];
  std::uint32_t count[2];
  Cursor cursors[2][16];
};

[[noreturn]] void train(Room& room, Oracle* oracle, Durable* durable) {
  WriterOptions options;
  options.journal_mib = 4;
  options.full_wait = Millis(60'000);
  room.open(options);
  const base::Uid run = base::Uid::random();
  for (int n = 0; n < kThreads; ++n) {
    std::thread([&room, run, oracle, n] {
      const Handle h = room.handle(run, "m" + std::to_string(n));
      if (n == 2) {  // in one call that never ends: a point is accepted when the next is asked for
        detail::log_points(h, SIZE_MAX, [oracle](std::size_t i) {
          const auto step = static_cast<std::int64_t>(i);
          oracle->accepted[2].store(step, std::memory_order_relaxed);
          return model::Point{step, detail::kNow, static_cast<double>(step)};
        });
      }
      for (std::int64_t i = 0;; ++i) {
        h.log(static_cast<double>(i), i);
        oracle->accepted[n].store(i + 1, std::memory_order_relaxed);
        if (n == 0 && i % 5'000 == 0) {
          model::Op op = tag(run, "k", std::to_string(i / 5'000));
          if (!room.writer->append(&op).ok()) std::abort();
          oracle->ops.store(i / 5'000 + 1, std::memory_order_relaxed);
        }
      }
    }).detach();
  }
  auto c = Collector::of(room.writer.get());
  std::uint64_t points = 0, ops = 0;
  for (;;) {
    Batch b;
    c->collect(&b, 50'000);
    points += b.points.size();
    ops += b.ops.size();
    const auto cursors = c->cursors();
    const std::uint32_t next = durable->version.load() + 1, half = next % 2;
    durable->points[half] = points;
    durable->ops[half] = ops;
    durable->count[half] = static_cast<std::uint32_t>(cursors.size());
    for (std::size_t i = 0; i < cursors.size(); ++i) durable->cursors[half][i] = cursors[i];
    durable->version.store(next, std::memory_order_release);
    c->release(cursors);
    room.writer->prepare();
  }
}

TEST(Processes, SixtySigkillsLoseNothingAndDoubleNothing) {
  Oracle* oracle = shared_oracle();
  void* page = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  const std::uint32_t seed = std::random_device()();
  std::mt19937 random(seed);
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::int64_t accepted = 0, from_journal = 0;
  for (int kill = 0; kill < 60; ++kill) {
    new (oracle) Oracle{};
    auto* durable = new (page) Durable{};
    Room room;
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) train(room, oracle, durable);
    while (oracle->accepted[0] == 0) ::usleep(200);
    ::usleep(random() % 30'000);
    ::kill(child, SIGKILL);
    ASSERT_TRUE(WIFSIGNALED(exit_status(child)));
    const auto found = find_journals(room.dir);
    ASSERT_TRUE(found.ok());
    ASSERT_EQ(found->size(), 1u);
    EXPECT_FALSE((*found)[0].alive);
    const std::uint32_t half = durable->version.load() % 2;
    const std::vector<Cursor> cursors(durable->cursors[half], durable->cursors[half] + durable->count[half]);
    auto c = Collector::open((*found)[0].dir, cursors);
    ASSERT_TRUE(c.ok());
    Taken t;
    t.all(c->get());
    EXPECT_TRUE((*c)->finished());
    EXPECT_EQ(t.damaged, 0u);
    // Per thread: no gap and no repetition in what was found; the total is what returned, plus at most the call in
    // flight.
    std::int64_t sum = 0;
    for (int n = 0; n < kThreads; ++n) {
      const std::int64_t want = oracle->accepted[n];
      const auto steps = t.steps("m" + std::to_string(n));
      for (std::size_t i = 1; i < steps.size(); ++i) ASSERT_EQ(steps[i], steps[i - 1] + 1);
      if (!steps.empty()) {
        ASSERT_GE(steps.back() + 1, want) << "lost";
        ASSERT_LE(steps.back() + 1, want + 1);
      }
      sum += want;
    }
    const auto held = static_cast<std::int64_t>(durable->points[half] + t.points.size());
    EXPECT_GE(held, sum);
    EXPECT_LE(held, sum + kThreads);
    const auto ops = static_cast<std::int64_t>(durable->ops[half] + t.ops.size());
    EXPECT_GE(ops, oracle->ops.load());
    EXPECT_LE(ops, oracle->ops.load() + 1);
    accepted += sum;
    from_journal += static_cast<std::int64_t>(t.points.size());
  }
  std::printf("  60 kills, seed %u: accepted %lld, found in the journal %lld, lost 0, duplicated 0\n", seed,
              static_cast<long long>(accepted), static_cast<long long>(from_journal));
  ::munmap(oracle, 4096);
  ::munmap(page, 8192);
}

struct Child {
  std::string dir;
  std::unique_ptr<Collector> collector;
};

Child find_child(const Room& room) {
  for (int i = 0; i < 5'000; ++i) {
    const auto found = find_journals(room.dir);
    for (const Found& f : *found) {
      if (f.writer != room.writer->uid()) return {f.dir, std::move(Collector::open(f.dir, {}).value())};
    }
    ::usleep(1'000);
  }
  ADD_FAILURE() << "the child made no journal";
  return {};
}

TEST(Processes, ChildLogsThroughInheritedHandlesAndParentCollects) {
  for (const bool quick : {true, false}) {
    Room room;
    room.open();
    const base::Uid run = base::Uid::random();
    const Handle loss = room.handle(run, "loss"), other = room.handle(run, "other");
    loss.log(1, 1);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      if (detail::tls_lane != nullptr) ::_exit(10);
      other.log(2, 2);
      loss.log(2, 3);
      room.handle(run, "new").log(2, 4);
      model::Op op = tag(run, "k", "v");
      if (!room.writer->append(&op).ok()) ::_exit(11);
      std::thread([&] { loss.log(2, 5); }).join();
      if (quick) ::_exit(0);
      std::exit(0);
    }
    ASSERT_EQ(exit_status(child), 0);
    loss.log(1, 6);
    Taken mine;
    auto own = Collector::of(room.writer.get());
    mine.all(own.get());
    EXPECT_EQ(mine.steps("loss"), (std::vector<std::int64_t>{1, 6}));
    Child c = find_child(room);
    Taken t;
    t.all(c.collector.get());
    EXPECT_EQ(t.steps("loss"), (std::vector<std::int64_t>{3, 5}));
    EXPECT_EQ(t.steps("other"), std::vector<std::int64_t>{2});
    EXPECT_EQ(t.steps("new"), std::vector<std::int64_t>{4});
    EXPECT_EQ(t.keys.at(loss.key()).name, "loss");
    EXPECT_EQ(t.ops.size(), 1u);
    EXPECT_EQ(t.ops[0].ticket, room.control->ticket.load()) << "tickets go on in the shared page";
    EXPECT_TRUE(c.collector->finished());
    ASSERT_TRUE(remove_journal(c.dir).ok());
  }
}

TEST(Processes, LivingChildsSegmentsAreGivenBack) {
  Room room;
  WriterOptions options;
  options.journal_mib = 2;
  options.full_wait = Millis(30'000);
  room.open(options);
  const Handle loss = room.handle(base::Uid::random(), "loss");
  constexpr std::int64_t kPoints = 500'000;  // 16 MB through a journal of 2
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    for (std::int64_t i = 0; i < kPoints; ++i) loss.log(0, i);
    ::_exit(room.writer->stats().dropped_full == 0 ? 0 : 12);
  }
  Child c = find_child(room);
  Taken t;
  for (const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
       !c.collector->finished() && std::chrono::steady_clock::now() < end;) {
    if (!t.pass(c.collector.get())) ::usleep(500);
    c.collector->release(c.collector->cursors());
  }
  EXPECT_EQ(exit_status(child), 0);
  t.all(c.collector.get());
  const auto steps = t.steps("loss");
  ASSERT_EQ(steps.size(), static_cast<std::size_t>(kPoints));
  for (std::int64_t i = 0; i < kPoints; ++i) ASSERT_EQ(steps[i], i);
  EXPECT_GT(room.control->hurry.load(), 0u) << "the child asked the parent's drain to hurry";
}

TEST(Processes, ForkWhileOtherThreadsLogAndDefineKeys) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "a sanitizer's allocator does not survive a fork in the middle of another thread's allocation";
#endif
  Room room;
  WriterOptions options;
  options.when_full = WhenFull::drop;
  room.open(options);
  const base::Uid run = base::Uid::random();
  const Handle loss = room.handle(run, "loss");
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    for (int i = 0; !stop; ++i) {
      room.handle(run, "k" + std::to_string(i % 3'000)).log(0, i);
      close_gate(open_gate(room.core));
    }
  });
  for (int i = 0; i < 20; ++i) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::alarm(20);
      loss.log(1, i);
      room.handle(run, "child").log(1, i);
      const pid_t grandchild = ::fork();
      if (grandchild == 0) {
        loss.log(2, i);
        ::_exit(0);
      }
      int status = 0;
      ::waitpid(grandchild, &status, 0);
      ::_exit(status == 0 ? 0 : 13);
    }
    ASSERT_EQ(exit_status(child), 0);
  }
  stop = true;
  busy.join();
  int from_children = 0, from_grandchildren = 0;
  const auto found = find_journals(room.dir);
  ASSERT_EQ(found->size(), 41u);
  for (const Found& f : *found) {
    if (f.writer == room.writer->uid()) continue;
    EXPECT_FALSE(f.alive);
    auto c = std::move(Collector::open(f.dir, {}).value());
    Taken t;
    t.all(c.get());
    EXPECT_EQ(t.damaged, 0u);
    for (const auto& p : t.points) (p.point.value == 1 ? from_children : from_grandchildren)++;
  }
  EXPECT_EQ(from_children, 40);
  EXPECT_EQ(from_grandchildren, 20);
}

TEST(Processes, ParentsDeathIsSeenWhileItsChildLives) {
  Room room;
  Oracle* oracle = shared_oracle();
  const pid_t parent = ::fork();
  ASSERT_GE(parent, 0);
  if (parent == 0) {
    room.open();
    const Handle loss = room.handle(base::Uid::random(), "loss");
    loss.log(1, 1);
    if (::fork() == 0) {
      loss.log(2, 2);
      oracle->ops = 1;
      for (int i = 0; i < 20'000 && oracle->ops != 2; ++i) ::usleep(1'000);
      loss.log(2, 3);
      ::_exit(0);
    }
    while (oracle->ops != 1) ::usleep(1'000);
    ::kill(::getpid(), SIGKILL);
  }
  exit_status(parent);
  const auto found = find_journals(room.dir);
  ASSERT_EQ(found->size(), 2u);
  int alive = 0;
  std::size_t points = 0;
  std::unique_ptr<Collector> living;
  Taken of_child;
  for (const Found& f : *found) {
    auto c = std::move(Collector::open(f.dir, {}).value());
    Taken t;
    t.all(c.get());
    points += t.points.size();
    EXPECT_EQ(c->finished(), !f.alive);
    if (!f.alive) continue;
    ++alive;
    of_child = t;
    living = std::move(c);
  }
  EXPECT_EQ(alive, 1) << "the child holds its own lock only";
  EXPECT_EQ(points, 2u);
  ASSERT_NE(living, nullptr);
  oracle->ops = 2;
  for (int i = 0; i < 20'000 && !living->finished(); ++i) {
    of_child.pass(living.get());
    ::usleep(1'000);
  }
  EXPECT_EQ(of_child.steps("loss"), (std::vector<std::int64_t>{2, 3}));
  ::munmap(oracle, 4096);
}

}  // namespace
}  // namespace mlops::journal
