// A slot on a network file system: what is mapped is on the node, what is published is in the database and durable, and
// no kill and no other node makes anything come twice or not at all.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <set>

#include "base/base.h"
#include "base/file.h"
#include "base/lease.h"
#include "buffer/outbox.h"
#include "drain/oracle.h"
#include "drain/rig.h"
#include "ledger/ledger.h"

namespace mlops::drain {
namespace {

using test::Contents;
using test::Folder;
using test::Oracle;
using test::Rig;
using test::RigOptions;

struct Node {
  Node() {
    EXPECT_TRUE(base::make_dirs(home()).ok());
    EXPECT_TRUE(base::make_dirs(disk()).ok());
    EXPECT_TRUE(base::mark_network_root(home()).ok());
  }
  std::string home() const { return root.path + "/home"; }
  std::string disk() const { return root.path + "/node"; }
  RigOptions options(bool with_writer = true) const {
    RigOptions o;
    o.with_writer = with_writer;
    o.placing = {true, disk()};
    return o;
  }
  std::vector<std::string> halves() const {
    return base::list_dir(disk() + "/mlops-" + std::to_string(::geteuid())).value_or({});
  }
  Folder root;
};

TEST(Network, WhatIsMappedIsOnTheNode) {
  Node node;
  auto rig = Rig::open(node.home(), node.options());
  ASSERT_NE(rig, nullptr);
  const base::Uid run = rig->start_run("r");
  const std::uint32_t key = rig->key(run, "m");
  for (int i = 0; i < 100; ++i) rig->log(key, i, i);
  ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(10'000)).ok());
  for (const char* absent : {"/control", "/journal"}) EXPECT_FALSE(base::exists(rig->dir + absent)) << absent;
  ASSERT_EQ(node.halves().size(), 1u);
  EXPECT_EQ(base::lease_holder(rig->dir + "/lease"),
            "process " + std::to_string(::getpid()) + " on " + base::host_name());
  auto reader = buffer::open_outbox(rig->dir, false);
  ASSERT_TRUE(reader.ok()) << reader.status().to_string();
  EXPECT_EQ((*reader)->run(run)->points, 100u);
  EXPECT_GE((*reader)->newest(), rig->drain->durable_beat());
  EXPECT_EQ((*reader)->metrics(run)->at(0).name, "m");
  std::uint64_t points = 0;
  ASSERT_TRUE((*reader)
                  ->scan(run, 0, [&](const buffer::Record& r) { return points += r.is_block ? r.count : 0, true; }, {})
                  .ok());
  EXPECT_EQ(points, 100u);
  const std::string dir = rig->dir;
  rig->end_run(run);
  ASSERT_TRUE(rig->close().ok());
  EXPECT_TRUE(node.halves().empty());
  EXPECT_TRUE(base::read_place(dir)->empty());
  EXPECT_FALSE(base::exists(dir + "/lease") || base::exists(dir + "/outbox"));
  EXPECT_EQ(test::contents_of(dir).points.size(), 100u);
}

TEST(Network, SigkillAtEveryNamedPoint) {
#if !defined(MLOPS_FAULTS)
  GTEST_SKIP() << "the named kill points are compiled in with MLOPS_FAULTS only";
#endif
  Node node;
  const std::string words = node.root.path + "/words", list = node.root.path + "/points";
  Oracle oracle(words);
  const base::Uid run = base::Uid::random();
  std::map<std::uint64_t, std::uint64_t> published;  // record: how long
  const auto life = [&](const std::map<std::string, std::string>& more) {
    std::map<std::string, std::string> e = {
        {"T_ROOT", node.home()}, {"T_NODE", node.disk()}, {"T_WORDS", words}, {"T_RUN", run.hex()}, {"T_MS", "1300"}};
    for (const auto& [key, value] : more) e[key] = value;
    const int status = test::wait_for(test::spawn("Trainer", e));
    oracle.life_ended();
    const auto slots = find_slots(node.home());  // killed before it had made a slot, there is none
    if (!slots.ok() || slots->empty()) return status;
    auto reader = buffer::open_outbox(slots->front().dir, true);
    if (!reader.ok()) return status;
    const auto take = [&](const buffer::Record& r) {
      const auto [it, fresh] = published.emplace(r.seq, r.count);
      EXPECT_TRUE(fresh || it->second == r.count) << "record " << r.seq << " is another one now";
      return true;
    };
    EXPECT_TRUE((*reader)->scan(run, 0, take, {}).ok());
    return status;
  };
  life({{"MLOPS_KILL_AT", "outbox.sealed:2"}});
  ASSERT_EQ(life({{"MLOPS_POINTS_FILE", list}, {"T_MS", "3000"}}), 0);
  EXPECT_TRUE(WIFSIGNALED(life({{"MLOPS_KILL_AT", "base.half_made:1"}})));  // after a clean end there is none
  std::ifstream in(list);
  std::set<std::string> points;
  for (std::string name; std::getline(in, name);) points.insert(name);
  for (const char* must : {"outbox.seal", "outbox.sealed", "outbox.remove", "outbox.removed", "outbox.clear",
                           "drain.slot.placed", "drain.slot.tidy", "base.half_emptied", "base.lease", "base.leased",
                           "base.replace_written", "base.replace_renamed"}) {
    EXPECT_TRUE(points.contains(must)) << must;
  }
  int killed = 0;
  for (const std::string& point : points) {
    const bool ours =
        point.rfind("outbox.", 0) == 0 || point.rfind("base.", 0) == 0 || point.rfind("drain.slot", 0) == 0;
    if (!ours) continue;
    for (const char* nth : {":1", ":4"}) {
      const bool soon = point.rfind("outbox.rem", 0) != 0;  // files go after a second or two
      const int status = life({{"MLOPS_KILL_AT", point + nth}, {"T_MS", soon ? "400" : "3000"}});
      if (WIFSIGNALED(status)) {
        EXPECT_EQ(WTERMSIG(status), SIGKILL) << point;
        ++killed;
      } else {
        EXPECT_EQ(status, 0) << point << nth;  // not passed that often
      }
    }
  }
  {
    auto rig = Rig::open(node.home(), node.options(false));
    ASSERT_NE(rig, nullptr);
    ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(20'000)).ok());
    ASSERT_TRUE(rig->close().ok());
  }
  std::fprintf(stderr, "points=%zu kills=%d published=%zu\n", points.size(), killed, published.size());
  EXPECT_GE(killed, 10);  // of two tries at each, some come too late
  EXPECT_GE(published.size(), 20u);
  const std::string dir = find_slots(node.home())->front().dir;
  EXPECT_TRUE(base::read_place(dir)->empty());
  oracle.check(test::contents_of(dir), run);
  auto buffer = buffer::Buffer::open(dir);
  ASSERT_TRUE(buffer.ok());
  std::map<std::uint64_t, std::uint64_t> there;
  ASSERT_TRUE((*buffer)->scan(run, 0, [&](const buffer::Record& r) { return there[r.seq] = r.count, true; }, {}).ok());
  for (const auto& [seq, count] : published)
    EXPECT_EQ(there[seq], count) << "published, and not in the database: " << seq;
  ASSERT_TRUE((*buffer)->flush_and_close().ok());
}

/// Who comes next may want its journal elsewhere, or in the slot: what is in the older halves is collected all the
/// same.
TEST(Network, AJournalFolderThatChanges) {
  Node node;
  base::remove_tree(node.home() + "/network").ignore();  // a local root
  const std::string words = node.root.path + "/words";
  Oracle oracle(words);
  const base::Uid run = base::Uid::random();
  const auto killed = [&](const std::string& disk) {
    oracle.words[15] = 0;
    const pid_t pid = test::spawn(
        "Trainer",
        {{"T_ROOT", node.home()}, {"T_DISK", disk}, {"T_WORDS", words}, {"T_RUN", run.hex()}, {"T_MS", "0"}});
    for (int w = 0; w < 10'000 && oracle.words[15] == 0; ++w) ::usleep(1'000);
    ::usleep(150'000);
    const std::string slot = test::only_slot(node.home());
    EXPECT_TRUE(open_control(slot).ok()) << "who reads beside it finds its page";
    const std::string local = base::local_half(slot).value_or("");
    EXPECT_TRUE(disk.empty() ? local == slot : local.rfind(disk, 0) == 0) << local;
    ::kill(pid, SIGKILL);
    test::wait_for(pid);
    oracle.life_ended();
  };
  killed(node.disk());
  killed("");
  killed(node.root.path + "/third");
  killed("");
  auto rig = Rig::open(node.home(), {.with_writer = false});
  ASSERT_NE(rig, nullptr);
  ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(20'000)).ok());
  ASSERT_TRUE(rig->close().ok());
  const std::string dir = test::only_slot(node.home());
  oracle.check(test::contents_of(dir), run);
  EXPECT_TRUE(base::read_place(dir)->empty());
  EXPECT_TRUE(node.halves().empty());
}

/// Another node takes the slot of a dead process: the journal it cannot see keeps its place, and comes once.
TEST(Network, WhatIsOnAnotherNodeIsCollectedThereOnce) {
  Node node;
  const std::string words = node.root.path + "/words";
  Oracle oracle(words);
  const base::Uid run = base::Uid::random();
  const pid_t pid = test::spawn(
      "Trainer",
      {{"T_ROOT", node.home()}, {"T_NODE", node.disk()}, {"T_WORDS", words}, {"T_RUN", run.hex()}, {"T_MS", "0"}});
  for (int w = 0; w < 10'000 && oracle.words[15] == 0; ++w) ::usleep(1'000);
  ::usleep(700'000);
  ::kill(pid, SIGKILL);
  test::wait_for(pid);
  oracle.life_ended();
  const std::string dir = test::only_slot(node.home()), hidden = node.disk() + ".hidden",
                    other = node.root.path + "/other";
  ASSERT_TRUE(base::make_dirs(other).ok());
  // As another node sees it: the half's folder is not there, and its line names another host.
  ASSERT_EQ(::rename(node.disk().c_str(), hidden.c_str()), 0);
  auto halves = *base::read_place(dir);
  ASSERT_EQ(halves.size(), 1u);
  halves[0].host = "node7";
  ASSERT_TRUE(base::write_place(dir, halves).ok());
  RigOptions there = node.options(false);
  there.placing.folder = other;
  std::size_t first = 0;
  for (int i = 0; i < 2; ++i) {
    auto rig = Rig::open(node.home(), there, dir);
    ASSERT_NE(rig, nullptr);
    EXPECT_EQ(rig->drain->slot().far.size(), 1u);
    ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(20'000)).ok());
    ASSERT_TRUE(rig->close().ok());
    const Contents got = test::contents_of(dir);
    EXPECT_FALSE(got.cursors.empty()) << "its place in the journals it cannot see is forgotten";
    EXPECT_EQ(got.rows.at(run).status, RunStatus::killed);
    EXPECT_TRUE(i == 0 || first == got.points.size());
    first = got.points.size();
  }
  ASSERT_EQ(::rename(hidden.c_str(), node.disk().c_str()), 0);
  auto rig = Rig::open(node.home(), node.options(false), dir);
  ASSERT_NE(rig, nullptr);
  EXPECT_TRUE(rig->drain->slot().far.empty());
  ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(20'000)).ok());
  ASSERT_TRUE(rig->close().ok());
  const Contents got = test::contents_of(dir);
  oracle.check(got, run);
  EXPECT_TRUE(got.cursors.empty());
  EXPECT_TRUE(base::read_place(dir)->empty());
}

/// Another node took the slot although this process lives (it was not heard of): nothing is written until it is let go.
TEST(Network, ALostSlotIsNotWritten) {
  Node node;
  base::set_lease_silence(Millis(600));
  auto rig = Rig::open(node.home(), node.options());
  ASSERT_NE(rig, nullptr);
  const base::Uid run = rig->start_run("r");
  const std::uint32_t key = rig->key(run, "m");
  rig->log(key, 1, 1);
  ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(10'000)).ok());
  const std::string lease = rig->dir + "/lease";
  int count = 0;
  const auto beat = [&] {
    ASSERT_TRUE(
        base::replace_file(lease, "mlops-lease 1\nee " + std::to_string(++count) + " 600 9 node7 boot\n", false).ok());
  };
  beat();
  Status lost;
  for (int i = 0; i < 100 && lost.ok(); ++i) {
    beat();
    rig->log(key, 2, 2 + i);
    ::usleep(50'000);
    lost = rig->drain->stats().buffer;
  }
  EXPECT_EQ(lost.code(), StatusCode::unavailable) << lost.to_string();
  {  // the database is free: the other node may open it
    auto theirs = buffer::Buffer::open(rig->dir);
    ASSERT_TRUE(theirs.ok()) << theirs.status().to_string();
    beat();
    ASSERT_TRUE((*theirs)->flush_and_close().ok());
  }
  ::unlink(lease.c_str());
  rig->log(key, 3, 1'000);
  Status flushed;
  for (int i = 0; i < 50; ++i) {
    flushed = rig->drain->flush(Level::durable, Millis(5'000));
    if (flushed.ok()) break;
    ::usleep(100'000);
  }
  EXPECT_TRUE(flushed.ok()) << flushed.to_string();
  const std::string dir = rig->dir;
  ASSERT_TRUE(rig->close().ok());
  base::set_lease_silence(Millis(60'000));
  const Contents got = test::contents_of(dir);
  EXPECT_EQ(got.points.count({run.hex(), "m", 1'000}), 1u);
  EXPECT_EQ(got.points.count({run.hex(), "m", 2}), 1u);
}

}  // namespace
}  // namespace mlops::drain
