// Death at any moment: SIGKILL at random and at every named point, parents that die before their children, databases
// that lose records, disks that fill up. Lost 0, duplicated 0, counted outside the code under test.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "base/base.h"
#include "base/file.h"
#include "drain/oracle.h"
#include "drain/rig.h"
#include "ledger/ledger.h"

namespace mlops::drain {
namespace {

using test::Contents;
using test::Folder;
using test::Oracle;
using test::Rig;

/// What `mlops sync` does first: takes the slot, collects, ends what a dead process left.
void recover(const std::string& root) {
  auto rig = Rig::open(root, {.with_writer = false});
  ASSERT_NE(rig, nullptr);
  ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(20'000)).ok());
  ASSERT_TRUE(rig->close().ok());
}

TEST(Recovery, SigkillAtRandomMoments) {
  constexpr int kKills = 32;
  Folder root;
  const std::string home = root.path + "/home";
  Oracle oracle(root.path + "/words");
  const base::Uid run = base::Uid::random();
  const std::uint64_t seed = base::random_u64();
  std::fprintf(stderr, "seed=%llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  for (int i = 0; i < kKills; ++i) {
    oracle.words[15] = 0;
    const pid_t pid = test::spawn(
        "Trainer", {{"T_ROOT", home}, {"T_WORDS", root.path + "/words"}, {"T_RUN", run.hex()}, {"T_MS", "0"}});
    for (int w = 0; w < 60'000 && oracle.words[15] == 0; ++w) ::usleep(1'000);
    ASSERT_EQ(oracle.words[15], 1u);
    ::usleep(static_cast<useconds_t>(random() % 120'000));
    ::kill(pid, SIGKILL);
    ASSERT_TRUE(WIFSIGNALED(test::wait_for(pid)));
    oracle.life_ended();
  }
  recover(home);
  const std::string dir = test::only_slot(home);
  EXPECT_EQ(base::list_dir(dir + "/journal")->size(), 0u);
  const Contents got = test::contents_of(dir);
  oracle.check(got, run);
  EXPECT_TRUE(got.cursors.empty());
  const model::RunRow& row = got.rows.at(run);
  EXPECT_EQ(row.status, RunStatus::killed);
  EXPECT_EQ(row.end_ms, row.last_ms);
  EXPECT_EQ(row.starts, static_cast<std::uint32_t>(kKills));
}

TEST(Recovery, SigkillAtEveryNamedPoint) {
#if !defined(MLOPS_FAULTS)
  GTEST_SKIP() << "the named kill points are compiled in with MLOPS_FAULTS only";
#endif
  Folder root;
  const std::string home = root.path + "/home", words = root.path + "/words", list = root.path + "/points";
  Oracle oracle(words);
  const base::Uid run = base::Uid::random();
  const auto life = [&](const std::map<std::string, std::string>& more) {
    std::map<std::string, std::string> e = {{"T_ROOT", home}, {"T_WORDS", words}, {"T_RUN", run.hex()}, {"T_MS", "60"}};
    e.insert(more.begin(), more.end());
    const int status = test::wait_for(test::spawn("Trainer", e));
    oracle.life_ended();
    return status;
  };
  // Two lives name the points: one from nothing, one that takes over what a kill left.
  life({{"MLOPS_KILL_AT", "drain.packed:3"}});
  ASSERT_EQ(life({{"MLOPS_POINTS_FILE", list}}), 0);
  std::ifstream in(list);
  std::set<std::string> points;
  for (std::string name; std::getline(in, name);) points.insert(name);
  int killed = 0;
  for (const std::string& point : points) {
    for (const char* nth : {":1", ":2"}) {
      if (nth[1] == '2' && point.rfind("drain.", 0) != 0) continue;
      const int status = life({{"MLOPS_KILL_AT", point + nth}});
      if (WIFSIGNALED(status)) {
        EXPECT_EQ(WTERMSIG(status), SIGKILL) << point;
        ++killed;
      } else {
        EXPECT_EQ(status, 0) << point << nth;  // not passed that often
      }
    }
  }
  recover(home);
  std::fprintf(stderr, "points=%zu kills=%d\n", points.size(), killed);
  EXPECT_GE(points.size(), 25u);
  EXPECT_GE(killed, 30);
  oracle.check(test::contents_of(test::only_slot(home)), run);
}

TEST(Recovery, AChildOutlivesItsParentAndTheTakeover) {
  Folder root;
  const std::string home = root.path + "/home";
  auto* words = test::shared_words(root.path + "/words", 16);
  const base::Uid run = base::Uid::random();
  const pid_t parent = test::spawn(
      "Forks", {{"T_ROOT", home}, {"T_WORDS", root.path + "/words"}, {"T_RUN", run.hex()}, {"T_POINTS", "500000"}});
  for (int i = 0; i < 60'000 && (words[0] == 0 || words[2] == 0); ++i) ::usleep(1'000);
  ASSERT_EQ(words[0], 1u);
  ::kill(parent, SIGKILL);
  test::wait_for(parent);
  // The slot is free at once although the child lives, and its new owner collects the child.
  auto rig = Rig::open(home);
  ASSERT_NE(rig, nullptr);
  EXPECT_EQ(rig->dir, test::only_slot(home));
  words[1] = 1;
  for (int i = 0; i < 1'000 && (words[3] == 0 || rig->drain->stats().buffered < 500'001); ++i) {
    ASSERT_TRUE(rig->drain->flush(Level::buffered, Millis(10'000)).ok());
    ::usleep(10'000);
  }
  const std::string dir = rig->dir;
  ASSERT_TRUE(rig->close().ok());
  const Contents got = test::contents_of(dir);
  EXPECT_EQ(got.points.size(), 500'001u);
  EXPECT_EQ(got.rows.at(run).name, "forks");
  EXPECT_EQ(got.rows.at(run).status, RunStatus::killed);
}

TEST(Recovery, DeadRunsEndUnlessResumedOrAttached) {
  Folder root;
  const base::Uid dead = base::Uid::random(), resumed = base::Uid::random(), shared = base::Uid::random();
  std::string dir;
  {
    auto rig = Rig::open(root.path);
    dir = rig->dir;
    for (const base::Uid& run : {dead, resumed, shared}) rig->start_run("r", run);
    rig->log(rig->key(dead, "m"), 1, 1);
    ASSERT_TRUE(rig->close().ok());  // without ending them: as if it had died
  }
  auto other = Rig::open(root.path);  // takes the slot over: give it its own first
  ASSERT_TRUE(other->drain->flush(Level::durable, Millis(10'000)).ok());
  auto attached = Rig::open(root.path);
  attached->op(model::OpKind::run_attach, shared, "experiment", "r");
  ASSERT_TRUE(attached->drain->flush(Level::durable, Millis(10'000)).ok());
  other->start_run("", resumed, 2);
  ASSERT_TRUE(other->drain->flush(Level::durable, Millis(10'000)).ok());
  auto reader = other->drain->reader(Millis(1'000));
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ((*reader)->run(dead)->status, RunStatus::running);  // two seconds of grace
  const auto ended = [&](const base::Uid& run) { return (*reader)->run(run)->status == RunStatus::killed; };
  for (int i = 0; i < 500 && !ended(dead); ++i) ::usleep(10'000);
  EXPECT_TRUE(ended(dead));
  EXPECT_EQ((*reader)->run(dead)->end_ms, (*reader)->run(dead)->last_ms);
  EXPECT_EQ((*reader)->run(resumed)->status, RunStatus::running);
  EXPECT_EQ((*reader)->run(shared)->status, RunStatus::running);
  attached->op(model::OpKind::run_detach, shared);
  ASSERT_TRUE(attached->close().ok());
  for (int i = 0; i < 500 && !ended(shared); ++i) ::usleep(10'000);
  EXPECT_TRUE(ended(shared));
  EXPECT_EQ((*reader)->run(resumed)->status, RunStatus::running);
}

TEST(Recovery, AJournalWithNothingNewHoldsNoRunOpen) {
#if !defined(MLOPS_FAULTS)
  GTEST_SKIP() << "the named kill points are compiled in with MLOPS_FAULTS only";
#endif
  // Killed before its first record, and killed when all of it was in the database.
  for (const char* point : {"journal.payload:1", "drain.written:2"}) {
    Folder root;
    const std::string home = root.path + "/home";
    const base::Uid dead = base::Uid::random();
    {
      auto rig = Rig::open(home);
      rig->start_run("r", dead);
      rig->log(rig->key(dead, "m"), 1, 1);
      ASSERT_TRUE(rig->close().ok());  // without ending it: as if it had died
    }
    test::shared_words(root.path + "/words", 16);
    const int status = test::wait_for(test::spawn("Trainer", {{"T_ROOT", home},
                                                              {"T_WORDS", root.path + "/words"},
                                                              {"T_RUN", base::Uid::random().hex()},
                                                              {"T_MS", "60"},
                                                              {"MLOPS_KILL_AT", point}}));
    ASSERT_TRUE(WIFSIGNALED(status)) << point;
    auto rig = Rig::open(home, {.with_writer = false});
    ASSERT_NE(rig, nullptr);
    ASSERT_EQ(base::list_dir(rig->dir + "/journal")->size(), 1u) << point;
    for (int i = 0; i < 500 && !rig->drain->settled(); ++i) {
      ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(10'000)).ok());
      ::usleep(10'000);
    }
    EXPECT_TRUE(rig->drain->settled()) << point;
    auto reader = rig->drain->reader(Millis(1'000));
    ASSERT_TRUE(reader.ok());
    EXPECT_EQ((*reader)->run(dead)->status, RunStatus::killed) << point;
    EXPECT_EQ(base::list_dir(rig->dir + "/journal")->size(), 0u) << point;
  }
}

ledger::Lane lane_at(const base::Uid& run, const buffer::Identity& identity, std::uint64_t cursor) {
  ledger::Lane lane;
  lane.run = run;
  lane.buffer_uid = identity.uid;
  lane.buffer_generation = identity.generation;
  lane.cursor = cursor;
  return lane;
}

TEST(Recovery, ALedgerAheadOfTheDatabaseBumpsTheGenerationOnce) {
  Folder root;
  const base::Uid run = base::Uid::random();
  std::string dir;
  {
    auto rig = Rig::open(root.path);
    dir = rig->dir;
    rig->start_run("r", run);
    const std::uint32_t k = rig->key(run, "m");
    for (int i = 0; i < 1'000; ++i) rig->log(k, i, i);
    rig->end_run(run);
    ASSERT_TRUE(rig->close().ok());
  }
  const Contents before = test::contents_of(dir);
  EXPECT_EQ(before.identity.generation, 1u);
  const std::uint64_t cursor = before.rows.at(run).next_seq;
  {
    auto ledger = ledger::Ledger::open(dir, {"", "http://127.0.0.1:1"});
    ASSERT_TRUE(ledger.ok());
    ASSERT_TRUE((*ledger)->put(lane_at(run, before.identity, cursor)).ok());
  }
  recover(root.path);
  EXPECT_EQ(test::contents_of(dir).identity.generation, 1u);  // all is there: nothing happens
  {
    // As after a power loss that took the WAL's tail: the ledger has seen 500 records more than are left.
    auto ledger = ledger::Ledger::open(dir, {"", "http://127.0.0.1:1"});
    ASSERT_TRUE(ledger.ok());
    ASSERT_TRUE((*ledger)->put(lane_at(run, before.identity, cursor + 500)).ok());
  }
  recover(root.path);
  EXPECT_EQ(test::contents_of(dir).identity.generation, 2u);
  recover(root.path);
  EXPECT_EQ(test::contents_of(dir).identity.generation, 2u);  // once
  auto rig = Rig::open(root.path);
  rig->start_run("r", run, 2);
  rig->log(rig->key(run, "m"), 5, 5'000);
  ASSERT_TRUE(rig->close().ok());
  EXPECT_EQ(test::contents_of(dir).rows.at(run).next_seq, cursor + 500 + 2);  // no number means two records
}

TEST(Recovery, ADeletedDatabaseStartsAboveEveryCursor) {
  Folder root;
  const base::Uid run = base::Uid::random();
  std::string dir;
  {
    auto rig = Rig::open(root.path);
    dir = rig->dir;
    rig->start_run("r", run);
    ASSERT_TRUE(rig->close().ok());
  }
  const buffer::Identity before = test::contents_of(dir).identity;
  {
    auto ledger = ledger::Ledger::open(dir, {"", "http://127.0.0.1:1"});
    ASSERT_TRUE((*ledger)->put(lane_at(run, before, 700)).ok());
  }
  ASSERT_TRUE(base::remove_tree(dir + "/db").ok());
  {
    auto rig = Rig::open(root.path);
    rig->log(rig->key(run, "m"), 5, 5);  // its start op is gone with the database
    ASSERT_TRUE(rig->close().ok());
  }
  const Contents after = test::contents_of(dir);
  EXPECT_NE(after.identity.uid, before.uid);
  EXPECT_EQ(after.identity.generation, 2u);
  EXPECT_EQ(after.rows.at(run).name, "recovered-" + run.hex().substr(0, 8));
  EXPECT_EQ(after.points.size(), 1u);
  EXPECT_GE(after.rows.at(run).next_seq, 701u);
}

TEST(Recovery, ATruncatedLogLosesOnlyItsTailAndIsNoticed) {
  Folder root;
  const std::string home = root.path + "/home";
  Oracle oracle(root.path + "/words");
  const base::Uid run = base::Uid::random();
  const pid_t pid = test::spawn(
      "Trainer", {{"T_ROOT", home}, {"T_WORDS", root.path + "/words"}, {"T_RUN", run.hex()}, {"T_MS", "0"}});
  const auto wal_bytes = [&]() -> std::uintmax_t {
    std::uintmax_t sum = 0;
    const auto slots = find_slots(home);
    if (!slots.ok() || slots->empty() || !base::exists(slots->front().dir + "/db")) return 0;
    std::error_code gone;
    for (const auto& file : std::filesystem::directory_iterator(slots->front().dir + "/db", gone)) {
      if (file.path().extension() == ".log") sum += file.file_size(gone);
    }
    return sum;
  };
  for (int w = 0; w < 20'000 && wal_bytes() < 60'000; ++w) ::usleep(1'000);
  ::kill(pid, SIGKILL);  // the memtable is not flushed: all is in the WAL
  test::wait_for(pid);
  const std::string dir = test::only_slot(home);
  std::filesystem::copy(dir, root.path + "/copy", std::filesystem::copy_options::recursive);
  const Contents whole = test::contents_of(root.path + "/copy");
  const std::uint64_t cursor = whole.rows.at(run).next_seq;
  ASSERT_GT(cursor, 100u);
  {
    auto ledger = ledger::Ledger::open(dir, {"", "http://127.0.0.1:1"});
    ASSERT_TRUE((*ledger)->put(lane_at(run, whole.identity, cursor)).ok());
  }
  for (const auto& file : std::filesystem::directory_iterator(dir + "/db")) {
    if (file.path().extension() == ".log") std::filesystem::resize_file(file.path(), file.file_size() / 2);
  }
  ASSERT_TRUE(base::remove_tree(dir + "/journal").ok());  // the cut took what the journal still held, too
  recover(home);
  const Contents got = test::contents_of(dir);
  EXPECT_EQ(got.identity.generation, whole.identity.generation + 1);
  EXPECT_LT(got.points.size(), whole.points.size());
  for (const auto& [key, value] : got.points) EXPECT_EQ(got.points.count(key), 1u);
  if (got.rows.contains(run)) {
    EXPECT_GE(got.rows.at(run).next_seq, cursor);
  }
}

TEST(Recovery, AFullDiskIsSurvivedAndEverythingArrivesAfter) {
  Folder root;
  const std::string small = root.path + "/small";
  std::filesystem::create_directory(small);
  if (::mount("none", small.c_str(), "tmpfs", 0, "size=64m,mode=0700") != 0) {
    GTEST_SKIP() << "NOT TESTED: no permission to mount a small tmpfs (" << std::strerror(errno) << ")";
  }
  constexpr int kPoints = 1'000'000;
  {
    auto rig = Rig::open(small, {.beat = Millis(20), .journal_mib = 8, .full_wait = Millis(20'000)});
    const base::Uid run = rig->start_run("r");
    ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(10'000)).ok());
    std::mt19937_64 random(1);
    std::uniform_real_distribution<double> noise;
    const std::uint32_t k = rig->key(run, "m");
    const std::string ballast = small + "/ballast";
    {
      std::ofstream fill(ballast, std::ios::binary);
      const std::string chunk(64 << 10, 'x');
      while (fill.write(chunk.data(), static_cast<std::streamsize>(chunk.size())).flush()) {
      }
    }
    std::thread trainer([&] {  // it waits while the journal is full, and lives on
      for (int i = 0; i < kPoints; ++i) rig->log(k, noise(random), i);
    });
    for (int i = 0; i < 1'500 && rig->drain->stats().buffer.ok(); ++i) ::usleep(10'000);
    const Status full = rig->drain->stats().buffer;
    EXPECT_EQ(full.code(), StatusCode::resource_exhausted) << full.to_string();
    EXPECT_EQ(rig->drain->flush(Level::durable, Millis(5'000)).code(), StatusCode::resource_exhausted);
    ::usleep(300'000);  // some retries in vain
    std::filesystem::remove(ballast);
    trainer.join();
    Status s;
    for (int i = 0; i < 100; ++i) {
      s = rig->drain->flush(Level::durable, Millis(10'000));
      if (s.ok()) break;
      ::usleep(100'000);
    }
    EXPECT_TRUE(s.ok()) << s.to_string();
    EXPECT_TRUE(rig->drain->stats().buffer.ok());
    EXPECT_EQ(rig->writer->stats().dropped_full, 0u);
    const std::string dir = rig->dir;
    EXPECT_TRUE(rig->close().ok());
    std::vector<std::uint8_t> seen(kPoints, 0);
    auto buffer = buffer::Buffer::open(dir);
    ASSERT_TRUE(buffer.ok()) << buffer.status().to_string();
    const auto rows = (*buffer)->runs();
    ASSERT_TRUE(rows.ok() && rows->size() == 1);
    EXPECT_EQ(rows->front().status, RunStatus::running) << "its owner lives, whatever the disk did";
    EXPECT_TRUE((*buffer)
                    ->scan(run, 1,
                           [&](const buffer::Record& r) {
                             for (const std::int64_t step : r.block.step) ++seen[static_cast<std::size_t>(step)];
                             return true;
                           },
                           {})
                    .ok());
    EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), kPoints);
    EXPECT_TRUE((*buffer)->flush_and_close().ok());
  }
  ::umount2(small.c_str(), MNT_DETACH);
}

}  // namespace
}  // namespace mlops::drain
