#include "ledger/ledger.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "ledger/frames.h"
#include "ledger/requests.h"

namespace mlops::ledger {
namespace {

struct LedgerTest : testing::Test {
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/mlops-ledger-XXXXXX";
    slot = ::mkdtemp(pattern.data());
  }
  void TearDown() override { base::remove_tree(slot).ignore(); }
  std::unique_ptr<Ledger> open() {
    auto l = Ledger::open(slot, {"d", "http://127.0.0.1:5000"});
    EXPECT_TRUE(l.ok()) << l.status().to_string();
    return l.ok() ? std::move(*l) : nullptr;
  }
  std::string file() const { return slot + "/delivery/d/ledger"; }
  static Lane lane(const Uid& run, std::uint64_t cursor) {
    Lane l;
    l.run = run;
    l.server_id = "server\xff";
    l.experiment_id = "7";
    l.buffer_uid = Uid::random();
    l.buffer_generation = 3;
    l.cursor = cursor;
    l.in_flight = cursor + 10;
    l.creating = l.resend = l.ended = true;
    l.delivered = 5;
    l.dead = 6;
    l.parked = "why \xfe";
    l.watermark = 9;
    return l;
  }
  std::string slot;
};

TEST_F(LedgerTest, RemembersLanesLettersAndHealth) {
  const Uid a = Uid::random(), b = Uid::random();
  Lane kept = lane(a, 42);
  {
    auto l = open();
    EXPECT_EQ(l->lane(a).cursor, 1u);
    ASSERT_TRUE(l->put(lane(a, 7)).ok());
    ASSERT_TRUE(l->put(kept).ok());
    ASSERT_TRUE(l->put(lane(b, 1)).ok());
    ASSERT_TRUE(l->add_dead({a, 3, 1, "param lr", "RESOURCE \xff", 99}).ok());
    ASSERT_TRUE(l->note_health({4, 1, 2, 3, 0.5, 8, "away", 12'000}).ok());
    auto seen = Ledger::read(slot, "d");
    ASSERT_TRUE(seen.ok());
    EXPECT_TRUE(seen->held);
    EXPECT_EQ(seen->lanes.at(a).cursor, 42u);
    ASSERT_TRUE(l->sync().ok());
  }
  auto l = open();
  const Lane got = l->lane(a);
  EXPECT_EQ(got.server_id, kept.server_id);
  EXPECT_EQ(got.experiment_id, kept.experiment_id);
  EXPECT_EQ(got.buffer_uid, kept.buffer_uid);
  EXPECT_EQ(got.buffer_generation, 3u);
  EXPECT_EQ(got.cursor, 42u);
  EXPECT_EQ(got.in_flight, 52u);
  EXPECT_TRUE(got.creating && got.resend && got.ended);
  EXPECT_EQ(got.delivered, 5u);
  EXPECT_EQ(got.dead, 6u);
  EXPECT_EQ(got.parked, kept.parked);
  EXPECT_EQ(got.watermark, 9u);
  EXPECT_EQ(l->lanes().size(), 2u);
  l.reset();
  auto seen = Ledger::read(slot, "d");
  ASSERT_TRUE(seen.ok());
  EXPECT_FALSE(seen->held);
  EXPECT_EQ(seen->destination.uri, "http://127.0.0.1:5000");
  ASSERT_EQ(seen->dead.size(), 1u);
  EXPECT_EQ(seen->dead[0].reason, "RESOURCE \xff");
  EXPECT_EQ(seen->live.state, 4);
  EXPECT_EQ(seen->live.error, "away");
  EXPECT_EQ(seen->live.points_per_second, 12'000);
  EXPECT_EQ(*Ledger::list(slot), std::vector<std::string>{"d"});
}

TEST_F(LedgerTest, ALaterLetterReplacesTheEarlierAndDeliveredForgetsIt) {
  const Uid a = Uid::random();
  DeadLetter first{a, 3, 1, "param lr", "no", 99}, second{a, 5, 1, "metric loss step 1", "no", 99};
  const auto what = [&] {
    std::string out;
    const auto seen = Ledger::read(slot, "d");
    for (const DeadLetter& l : seen->dead) out += std::to_string(l.seq) + l.reason + " ";
    return out;
  };
  auto l = open();
  ASSERT_TRUE(l->add_dead(first).ok() && l->add_dead(second).ok());
  EXPECT_EQ(what(), "3no 5no ");
  EXPECT_EQ(l->dead(a)[1].points, 0u);  // as given; a ledger that is read knows older letters did not say
  EXPECT_EQ(Ledger::read(slot, "d")->dead[1].points, 1u);
  first.reason = "again";
  ASSERT_TRUE(l->put(lane(a, 9), first).ok());
  EXPECT_EQ(what(), "3again 5no ");
  EXPECT_EQ(l->lane(a).cursor, 9u);
  second.state = DeadLetter::State::delivered;
  ASSERT_TRUE(l->put(lane(a, 9), second).ok());
  EXPECT_EQ(what(), "3again ");
  l.reset();
  EXPECT_EQ(open()->dead(a).size(), 1u);
  EXPECT_TRUE(open()->dead(Uid::random()).empty());
}

TEST_F(LedgerTest, OlderLanesCountThePointsOfTheirLetters) {
  const Uid a = Uid::random();
  {
    auto l = open();
    ASSERT_TRUE(l->add_dead({a, 3, 1, "param lr", "no", 99}).ok());
    ASSERT_TRUE(l->add_dead({a, 4, 2, "metric points of a damaged block, 2 records", "no", 99}).ok());
    ASSERT_TRUE(l->add_dead({a, 44, 1, "metric loss step 1", "no", 99}).ok());  // above the cursor: not counted yet
    ASSERT_TRUE(l->put(lane(a, 42)).ok());
  }
  EXPECT_EQ(Ledger::read(slot, "d")->lanes.at(a).dead_points, 2u);
}

TEST_F(LedgerTest, RequestsWaitForWhoeverHoldsTheLedger) {
  const Uid a = Uid::random();
  EXPECT_TRUE(asked(slot, "d").empty());
  auto l = open();
  DeadLetter letter{a, 3, 1, "metric loss step 1", "no", 99};
  letter.points = 1;
  Lane counted;
  counted.run = a;
  counted.cursor = 10;
  counted.dead = counted.dead_points = 1;
  ASSERT_TRUE(l->put(counted, letter).ok());
  Request retry;
  retry.run = a;
  retry.seq = 3;
  retry.key = "other";
  Result<std::string> path = ask(slot, "d", {retry});
  ASSERT_TRUE(path.ok()) << path.status().to_string();
  std::ofstream(slot + "/delivery/d/asked/not-one") << "x";
  std::ofstream(slot + "/delivery/d/asked/" + Uid::random().hex()) << "MLOPSRQ1 torn";
  const std::vector<Asked> all = asked(slot, "d");
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].path, *path);
  ASSERT_EQ(all[0].requests.size(), 1u);
  ASSERT_TRUE(apply(all[0].requests[0], l.get()).ok());
  ASSERT_TRUE(apply(all[0].requests[0], l.get()).ok());  // a deliverer that died before it could remove the file
  EXPECT_EQ(l->dead(a)[0].state, DeadLetter::State::retrying);
  EXPECT_EQ(l->dead(a)[0].key, "other");
  EXPECT_EQ(l->lane(a).dead, 0u);
  EXPECT_EQ(l->lane(a).dead_points, 0u);
  Request drop = all[0].requests[0];
  drop.verb = Request::Verb::drop;
  ASSERT_TRUE(apply(drop, l.get()).ok());
  EXPECT_EQ(l->lane(a).dead_points, 1u);
  EXPECT_EQ(l->dead(a)[0].state, DeadLetter::State::given_up);
}

TEST_F(LedgerTest, OneDelivererAtATime) {
  auto l = open();
  auto second = Ledger::open(slot, {"d", "http://127.0.0.1:5000"});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), StatusCode::unavailable);
}

TEST_F(LedgerTest, EveryTornTailIsCutToAPrefix) {
  const Uid a = Uid::random();
  std::vector<std::size_t> ends;
  {
    auto l = open();
    for (std::uint64_t i = 1; i <= 3; ++i) {
      ASSERT_TRUE(l->put(lane(a, i * 10)).ok());
      ends.push_back(std::filesystem::file_size(file()));
    }
  }
  const std::string whole = *base::read_file(file());
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    std::ofstream(file(), std::ios::binary | std::ios::trunc) << whole.substr(0, size);
    std::uint64_t expected = 1;
    for (std::size_t i = 0; i < ends.size(); ++i) {
      if (size >= ends[i]) expected = (i + 1) * 10;
    }
    auto seen = Ledger::read(slot, "d");
    ASSERT_TRUE(seen.ok());
    EXPECT_EQ(seen->lanes.contains(a) ? seen->lanes.at(a).cursor : 1u, expected) << size;
    auto l = open();
    EXPECT_EQ(l->lane(a).cursor, expected) << size;
    ASSERT_TRUE(l->put(lane(a, 77)).ok());
    EXPECT_EQ(Ledger::read(slot, "d")->lanes.at(a).cursor, 77u);
  }
}

TEST_F(LedgerTest, AFlippedBitEndsTheFile) {
  const Uid a = Uid::random();
  std::size_t first = 0;
  {
    auto l = open();
    ASSERT_TRUE(l->put(lane(a, 10)).ok());
    first = std::filesystem::file_size(file());
    ASSERT_TRUE(l->put(lane(a, 20)).ok());
  }
  std::string bytes = *base::read_file(file());
  bytes[first + 20] = static_cast<char>(bytes[first + 20] ^ 1);
  std::ofstream(file(), std::ios::binary | std::ios::trunc) << bytes;
  EXPECT_EQ(open()->lane(a).cursor, 10u);
}

TEST_F(LedgerTest, AFileOfSomebodyElseIsKeptAside) {
  open().reset();
  std::ofstream(file(), std::ios::binary | std::ios::trunc) << "something quite different";
  EXPECT_EQ(Ledger::read(slot, "d").status().code(), StatusCode::data_loss);
  auto l = open();
  ASSERT_TRUE(l->put(lane(Uid::random(), 3)).ok());
  EXPECT_EQ(*base::read_file(file() + ".damaged"), "something quite different");
  std::ofstream(file(), std::ios::binary | std::ios::trunc) << "MLOPSLG9 of the future";
  l.reset();
  EXPECT_EQ(Ledger::open(slot, {"d", "http://127.0.0.1:5000"}).status().code(), StatusCode::failed_precondition);
}

TEST_F(LedgerTest, CompactsWhileOthersRead) {
  const Uid a = Uid::random();
  auto l = open();
  std::atomic<bool> stop{false};
  std::uint64_t reads = 0;
  std::thread reader([&] {
    std::uint64_t last = 0;
    while (!stop) {
      auto seen = Ledger::read(slot, "d");
      ASSERT_TRUE(seen.ok()) << seen.status().to_string();
      const std::uint64_t now = seen->lanes.contains(a) ? seen->lanes.at(a).cursor : 0;
      EXPECT_GE(now, last);  // never backwards, never empty between old file and new one
      last = now;
      ++reads;
    }
  });
  std::uint64_t largest = 0, cursor = 0;
  bool shrunk = false;
  for (int round = 0; round < 40; ++round) {
    for (int i = 0; i < 500; ++i) ASSERT_TRUE(l->put(lane(a, ++cursor)).ok());
    const std::uint64_t before = std::filesystem::file_size(file());
    largest = std::max(largest, before);
    ASSERT_TRUE(l->sync().ok());
    if (std::filesystem::file_size(file()) < before) shrunk = true;
  }
  stop = true;
  reader.join();
  EXPECT_TRUE(shrunk);
  EXPECT_GT(reads, 0u);
  EXPECT_LT(largest, 2u << 20);
  l.reset();
  EXPECT_EQ(open()->lane(a).cursor, cursor);
}

#if defined(MLOPS_FAULTS)
constexpr char kKilledRun[] = "00112233445566778899aabbccddeeff";
constexpr std::uint64_t kKilledPuts = 12'000;  // well above a mebibyte

// The child of the next test: dies in the compaction of its sync.
TEST(LedgerKillChild, Compacts) {
  const char* slot = std::getenv("MLOPS_KILL_DIR");
  if (slot == nullptr) GTEST_SKIP() << "runs as the child of KilledInACompaction only";
  Uid run;
  ASSERT_TRUE(Uid::parse(kKilledRun, &run));
  auto l = Ledger::open(slot, {"d", "http://127.0.0.1:5000"});
  ASSERT_TRUE(l.ok()) << l.status().to_string();
  ASSERT_TRUE((*l)->add_dead({run, 3, 1, "param lr", "refused", 99}).ok());
  for (std::uint64_t i = 1; i <= kKilledPuts; ++i) ASSERT_TRUE((*l)->put(LedgerTest::lane(run, i)).ok());
  (*l)->sync().ignore();
  FAIL() << "lives on";
}

TEST_F(LedgerTest, KilledInACompaction) {
  Uid run;
  ASSERT_TRUE(Uid::parse(kKilledRun, &run));
  for (const std::string point : {"ledger.compact.written", "ledger.compact.renamed"}) {
    base::remove_tree(slot + "/delivery").ignore();
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::setenv("MLOPS_KILL_DIR", slot.c_str(), 1);
      ::setenv("MLOPS_KILL_AT", (point + ":1").c_str(), 1);
      ::execl("/proc/self/exe", "test_ledger", "--gtest_filter=LedgerKillChild.*", static_cast<char*>(nullptr));
      ::_exit(127);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << point;
    for (std::uint64_t cursor : {kKilledPuts, kKilledPuts + 1}) {  // as it was left, and written on
      auto seen = Ledger::read(slot, "d");
      ASSERT_TRUE(seen.ok()) << seen.status().to_string();
      EXPECT_EQ(seen->lanes.at(run).cursor, cursor) << point;
      ASSERT_EQ(seen->dead.size(), 1u) << point;
      EXPECT_EQ(seen->dead[0].reason, "refused");
      auto l = open();
      EXPECT_EQ(l->lane(run).cursor, cursor) << point;
      ASSERT_TRUE(l->put(lane(run, cursor + 1)).ok());
      ASSERT_TRUE(l->sync().ok());
    }
    EXPECT_LT(std::filesystem::file_size(file()), 10'000u) << point;
  }
}
#endif

TEST_F(LedgerTest, AChildOfForkKeepsNoLock) {
  auto l = open();
  int stay[2];
  ASSERT_EQ(::pipe(stay), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(stay[1]);
    const bool refused = !l->put(lane(Uid::random(), 5)).ok();
    char c;
    const ssize_t n = ::read(stay[0], &c, 1);
    ::_exit(refused && n == 0 ? 0 : 1);
  }
  ::close(stay[0]);
  l.reset();
  // While the child lives; it may need a moment to come up.
  for (int i = 0; i < 2'000 && base::FileLock::is_held(slot + "/delivery/d/lock"); ++i) ::usleep(1'000);
  EXPECT_FALSE(base::FileLock::is_held(slot + "/delivery/d/lock"));
  EXPECT_TRUE(open() != nullptr);
  ::close(stay[1]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(LedgerTest, CredentialsAreNeverWritten) {
  {
    auto l = Ledger::open(slot, {"", "https://user:geheim@ml.example.org/base/?token=geheim#geheim"});
    ASSERT_TRUE(l.ok()) << l.status().to_string();
    EXPECT_EQ((*l)->destination().uri, "https://ml.example.org/base");
    EXPECT_EQ((*l)->destination().name, "ml.example.org_443_base");
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(slot)) {
    if (!entry.is_regular_file()) continue;
    EXPECT_EQ(base::read_file(entry.path())->find("geheim"), std::string::npos) << entry.path();
    EXPECT_EQ(entry.path().string().find("geheim"), std::string::npos);
    struct stat st{};
    ASSERT_EQ(::stat(entry.path().c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600u) << entry.path();
  }
}

TEST_F(LedgerTest, NamesOfDestinations) {
  EXPECT_EQ(destination_name("http://127.0.0.1:5000"), "127.0.0.1_5000");
  EXPECT_EQ(destination_name("http://127.0.0.1:5000/"), "127.0.0.1_5000");
  EXPECT_EQ(destination_name("http://h"), "h_80");
  EXPECT_NE(destination_name("http://h"), destination_name("https://h"));
  EXPECT_NE(destination_name("http://h/a/b"), destination_name("http://h/a_b"));
  EXPECT_NE(destination_name("http://h/a b"), destination_name("http://h/a_b"));
  EXPECT_EQ(destination_name("http://me:pw@h:1"), "h_1");
  for (const char* odd : {"", "/../..", "http://../x", "http://[::1]:5000", "databricks://profile"}) {
    const std::string name = destination_name(odd);
    EXPECT_EQ(name.find('/'), std::string::npos);
    EXPECT_NE(name.front(), '.');
    EXPECT_EQ(name.find(".."), std::string::npos);
  }
  EXPECT_EQ(destination_name(std::string("http://h/") + std::string(500, 'x')).size(), 70u);
}

TEST_F(LedgerTest, NothingThere) {
  EXPECT_EQ(Ledger::read(slot, "d").status().code(), StatusCode::not_found);
  EXPECT_TRUE(Ledger::list(slot)->empty());
}

}  // namespace
}  // namespace mlops::ledger
