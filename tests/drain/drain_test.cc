// Slot to journal to drain to buffer, in one process: what was logged is what the database holds.
#include "drain/drain.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/base.h"
#include "base/file.h"
#include "drain/rig.h"
#include "ledger/ledger.h"

namespace mlops::drain {
namespace {

using test::Contents;
using test::Folder;
using test::Rig;
using test::RigOptions;

Status flush(Rig& rig, Level level = Level::durable) { return rig.drain->flush(level, Millis(20'000)); }

TEST(Drain, EveryPointOfEveryThreadOnce) {
  Folder root;
  auto rig = Rig::open(root.path);
  constexpr int kThreads = 4, kSteps = 12'000;
  std::vector<base::Uid> runs = {rig->start_run("one"), rig->start_run("two")};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const base::Uid& run = runs[static_cast<std::size_t>(t % 2)];
      const std::uint32_t own = rig->key(run, "own" + std::to_string(t)), both = rig->key(run, "both");
      for (int i = 0; i < kSteps; ++i) {
        rig->log(own, i * 0.25, i);
        if (i % 3 == 0) rig->log(both, t, i);
        if (i % 4'000 == 0) rig->op(model::OpKind::param, run, "p" + std::to_string(t * 10 + i / 4'000), "v");
      }
    });
  }
  for (auto& t : threads) t.join();
  ASSERT_TRUE(flush(*rig).ok());
  const DrainStats stats = rig->drain->stats();
  constexpr std::uint64_t kPoints = kThreads * (kSteps + kSteps / 3);
  EXPECT_EQ(stats.accepted, kPoints);
  EXPECT_EQ(stats.buffered + stats.merged, kPoints);
  EXPECT_EQ(stats.durable, stats.buffered);
  EXPECT_TRUE(stats.buffer.ok());
  EXPECT_TRUE(rig->drain->recovered());
  EXPECT_EQ(rig->drain->durable_beat(), rig->control->beat.load());
  // Readable while open, and through the summary without RocksDB.
  auto reader = rig->drain->reader(Millis(1'000));
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ((*reader)->runs()->size(), 2u);
  buffer::Identity identity;
  buffer::SlotCounters counters;
  std::vector<buffer::SummaryEntry> entries;
  ASSERT_TRUE(buffer::decode_summary(*base::read_file(rig->dir + "/summary"), &identity, &counters, &entries).ok());
  EXPECT_EQ(entries.size(), 2u);
  EXPECT_EQ(counters.accepted, kPoints);
  for (const auto& run : runs) rig->end_run(run);
  const std::string dir = rig->dir;
  ASSERT_TRUE(rig->close().ok());
  EXPECT_EQ(base::list_dir(dir + "/journal")->size(), 0u);  // all durable: nothing is left to take over
  EXPECT_FALSE(base::FileLock::is_held(dir + "/lock"));

  const Contents got = test::contents_of(dir);
  EXPECT_TRUE(got.gapless);
  EXPECT_EQ(got.points.size(), kPoints);
  test::Seen expected;
  for (int t = 0; t < kThreads; ++t) {
    const std::string run = runs[static_cast<std::size_t>(t % 2)].hex();
    for (int i = 0; i < kSteps; ++i) {
      expected.insert({{run, "own" + std::to_string(t), i}, i * 0.25});
      if (i % 3 == 0) expected.insert({{run, "both", i}, static_cast<double>(t)});
    }
  }
  const auto sorted = [](const test::Seen& seen) {
    std::vector<std::pair<test::Seen::key_type, double>> v(seen.begin(), seen.end());
    std::sort(v.begin(), v.end());
    return v;
  };
  EXPECT_TRUE(sorted(got.points) == sorted(expected));
  for (const auto& run : runs) {
    const model::RunRow& row = got.rows.at(run);
    EXPECT_EQ(row.status, RunStatus::finished);
    EXPECT_EQ(row.params.size(), 6u);  // and they outlived beats of points alone
    EXPECT_EQ(row.tags.size(), 1u);
    EXPECT_EQ(row.points, kPoints / 2);
  }
  EXPECT_TRUE(got.cursors.empty());
}

TEST(Drain, OpsInTheOrderOfTheirTickets) {
  Folder root;
  auto rig = Rig::open(root.path, {.beat = Millis(10)});
  const base::Uid run = rig->start_run("r");
  std::mutex turn;
  std::vector<std::string> order;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const std::lock_guard lock(turn);
        order.push_back(std::to_string(t) + "." + std::to_string(i));
        rig->op(model::OpKind::set_tag, run, "last", order.back());
      }
    });
  }
  for (auto& t : threads) t.join();
  const std::string dir = rig->dir;
  ASSERT_TRUE(rig->close().ok());
  const Contents got = test::contents_of(dir);
  std::vector<std::string> seen;
  for (const model::Op& op : got.ops) {
    if (op.kind == model::OpKind::set_tag) seen.push_back(op.value);
  }
  EXPECT_EQ(seen, order);
  EXPECT_EQ(got.rows.at(run).tags.back().second, order.back());
}

TEST(Drain, MergedIsCountedThroughBeats) {
  Folder root;
  auto rig = Rig::open(root.path);
  const base::Uid run = rig->start_run("r");
  const std::uint32_t k = rig->key(run, "m");
  const double values[] = {std::nan(""), std::nan("2"), 0.0, -0.0, INFINITY, std::numeric_limits<double>::max()};
  for (int beat = 0; beat < 2; ++beat) {
    for (const double v : values) rig->log(k, v, 7, 5'000);
    ASSERT_TRUE(flush(*rig, Level::buffered).ok());
  }
  const DrainStats stats = rig->drain->stats();
  EXPECT_EQ(stats.accepted, 12u);
  EXPECT_EQ(stats.buffered, 3u);
  EXPECT_EQ(stats.merged, 9u);
}

TEST(Drain, MergesWithWhatAPredecessorWrote) {
  Folder root;
  const base::Uid run = base::Uid::random();
  std::string dir;
  for (int life = 0; life < 2; ++life) {
    auto rig = Rig::open(root.path);
    dir = rig->dir;
    rig->start_run("r", run, life + 1);
    const std::uint32_t k = rig->key(run, "m");
    for (int i = 0; i < 100; ++i) rig->log(k, i, 100 - i, 5'000);
    ASSERT_TRUE(rig->close().ok());
  }
  const Contents got = test::contents_of(dir);
  EXPECT_EQ(got.points.size(), 100u);
  EXPECT_EQ(got.rows.at(run).merged, 100u);
  EXPECT_EQ(got.rows.at(run).starts, 2u);
}

TEST(Drain, ManyShortLivedThreads) {
  Folder root;
  auto rig = Rig::open(root.path, {.beat = Millis(20), .journal_mib = 8});
  const base::Uid run = rig->start_run("r");
  const std::uint32_t k = rig->key(run, "m");
  for (int i = 0; i < 300; ++i) std::thread([&, i] { rig->log(k, i, i); }).join();
  ASSERT_TRUE(flush(*rig).ok());
  EXPECT_EQ(rig->drain->stats().buffered, 300u);
  EXPECT_EQ(rig->writer->stats().dropped_full, 0u);
}

TEST(Drain, AFullJournalWaitsForTheDrain) {
  Folder root;
  auto rig = Rig::open(root.path, {.beat = Millis(500), .journal_mib = 2});
  const base::Uid run = rig->start_run("r");
  const std::uint32_t k = rig->key(run, "m");
  constexpr int kPoints = 1'000'000;  // sixteen times the journal
  for (int i = 0; i < kPoints; ++i) rig->log(k, i, i);
  ASSERT_TRUE(flush(*rig).ok());
  EXPECT_EQ(rig->drain->stats().buffered, static_cast<std::uint64_t>(kPoints));
  EXPECT_EQ(rig->writer->stats().dropped_full, 0u);
}

TEST(Drain, AForkedChildsJournalIsCollected) {
  Folder root;
  auto rig = Rig::open(root.path, {.beat = Millis(50)});
  const base::Uid run = rig->start_run("r");
  rig->log(rig->key(run, "parent"), 1, 1);
  ASSERT_TRUE(flush(*rig).ok());
  constexpr int kPoints = 3'500'000;  // 112 MB in cells, through a journal of 64 MiB
  rig->drain->before_fork();
  const pid_t child = ::fork();
  if (child == 0) {
    rig->in_child();
    const auto key = rig->writer->key(run, "child");
    for (int i = 0; i < kPoints; ++i) rig->log(*key, i, i);
    ::_exit(rig->drain->flush(Level::buffered, Millis(10)).code() == StatusCode::failed_precondition ? 0 : 1);
  }
  rig->drain->after_fork_in_parent();
  EXPECT_EQ(test::wait_for(child), 0);
  for (int i = 0; i < 3000 && (!rig->drain->recovered() || rig->drain->stats().buffered < kPoints + 1u); ++i) {
    ASSERT_TRUE(flush(*rig).ok());
    ::usleep(10'000);
  }
  EXPECT_EQ(rig->drain->stats().buffered, kPoints + 1u);
  EXPECT_TRUE(rig->drain->recovered());
  EXPECT_EQ(base::list_dir(rig->dir + "/journal")->size(), 1u);  // the child's is removed
}

// Read first, as what a predecessor left is, its records would lack the run's start, and a beat with a run of another
// name in another experiment could be delivered before the start is read.
TEST(Drain, AForkedChildThatDiesBeforeTheFirstLookIsNoPredecessor) {
  Folder root;
  base::Uid run;
  const auto fork_child = [&run](Rig* rig) {
    run = rig->start_run("r");
    const pid_t child = ::fork();
    if (child == 0) {
      rig->in_child();
      rig->op(model::OpKind::param, run, "child", "yes");
      rig->log(rig->key(run, "m"), 1, 1);
      ::_exit(0);
    }
    EXPECT_EQ(test::wait_for(child), 0);
  };
  auto rig = Rig::open(root.path, {.before_drain = fork_child});
  ASSERT_TRUE(flush(*rig).ok());
  const std::string dir = rig->dir;
  ASSERT_TRUE(rig->close().ok());
  const Contents got = test::contents_of(dir);
  ASSERT_EQ(got.ops.size(), 2u);
  EXPECT_EQ(got.ops[0].kind, model::OpKind::run_start);
  EXPECT_EQ(got.ops[1].kind, model::OpKind::param);
  EXPECT_EQ(got.rows.at(run).name, "r");
  EXPECT_EQ(got.points.size(), 1u);
}

TEST(Drain, OverQuotaNewPointsAreDroppedAndCounted) {
  Folder root;
  std::ofstream(root.path + "/ballast") << std::string(2 << 20, 'x');
  auto rig = Rig::open(root.path, {.quota_mib = 1});
  const base::Uid run = rig->start_run("r");
  ASSERT_TRUE(flush(*rig).ok());
  const std::uint32_t k = rig->key(run, "m");
  for (int i = 0; i < 100; ++i) rig->log(k, i, i);
  rig->op(model::OpKind::param, run, "p", "kept");
  ASSERT_TRUE(flush(*rig).ok());
  const DrainStats stats = rig->drain->stats();
  EXPECT_EQ(stats.dropped_quota, 100u);
  EXPECT_EQ(stats.accepted, 100u);
  EXPECT_EQ(stats.buffered, 0u);
  const std::string dir = rig->dir;
  ASSERT_TRUE(rig->close().ok());
  const Contents got = test::contents_of(dir);
  EXPECT_EQ(got.rows.at(run).params, (Pairs{{"p", "kept"}}));
  EXPECT_EQ(got.rows.at(run).dropped, 100u);
}

TEST(Drain, ClosedMeansClosed) {
  Folder root;
  auto rig = Rig::open(root.path);
  auto reader = rig->drain->reader(Millis(10'000));
  ASSERT_TRUE(reader.ok());
  rig->writer->close();
  ASSERT_TRUE(rig->drain->close(Millis(10'000)).ok());
  ASSERT_TRUE(rig->drain->close(Millis(10'000)).ok());
  EXPECT_EQ(flush(*rig).code(), StatusCode::failed_precondition);
  EXPECT_EQ((*reader)->runs().status().code(), StatusCode::failed_precondition);
}

TEST(Drain, ADatabaseThatCannotBeOpenedIsSaidAndTheJournalHolds) {
  Folder root;
  std::string dir;
  {
    auto rig = Rig::open(root.path);
    dir = rig->dir;
    rig->start_run("r");
    ASSERT_TRUE(flush(*rig).ok());
    ASSERT_TRUE(rig->close().ok());
  }
  std::filesystem::rename(dir + "/db", dir + "/away");
  std::ofstream(dir + "/db") << "a file where the folder should be";
  auto rig = Rig::open(root.path);
  const base::Uid run = rig->start_run("s");
  rig->log(rig->key(run, "m"), 1, 1);
  const Status failed = flush(*rig);
  EXPECT_FALSE(failed.ok());
  EXPECT_EQ(failed.code(), StatusCode::failed_precondition) << failed.to_string();
  EXPECT_FALSE(rig->drain->stats().buffer.ok());
  EXPECT_FALSE(rig->drain->reader(Millis(10)).ok());
  std::filesystem::remove(dir + "/db");
  std::filesystem::rename(dir + "/away", dir + "/db");
  ASSERT_TRUE(flush(*rig).ok());
  EXPECT_EQ(rig->drain->stats().buffered, 1u);
  EXPECT_EQ((*rig->drain->reader(Millis(10)))->runs()->size(), 2u);
}

}  // namespace
}  // namespace mlops::drain
