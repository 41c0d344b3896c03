#include "drain/slot.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "base/base.h"
#include "base/file.h"
#include "drain/rig.h"

namespace mlops::drain {
namespace {

using test::Folder;

TEST(Slot, NamedLockedMapped) {
  Folder root;
  auto a = acquire_slot(root.path, "my host/é", {});
  ASSERT_TRUE(a.ok()) << a.status().to_string();
  const std::string name = (*a)->dir.substr((*a)->dir.rfind('/') + 1);
  EXPECT_EQ(name.size(), 10u);
  EXPECT_EQ(name.substr(0, 2), "s-");
  EXPECT_EQ((*a)->control()->magic, kControlMagic);
  auto b = acquire_slot(root.path, "my host/é", {});
  ASSERT_TRUE(b.ok());
  EXPECT_NE((*a)->dir, (*b)->dir);
  EXPECT_EQ(acquire_slot_at((*a)->dir).status().code(), StatusCode::unavailable);
  auto found = find_slots(root.path);
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->size(), 2u);
  EXPECT_TRUE((*found)[0].alive && (*found)[1].alive);
  EXPECT_EQ(find_slots(root.path + "/none").status().code(), StatusCode::not_found);
}

TEST(Slot, AFreeOneIsTakenOverAndTicketsGoOn) {
  Folder root;
  std::string dir;
  {
    auto a = acquire_slot(root.path, "h", {});
    ASSERT_TRUE(a.ok());
    dir = (*a)->dir;
    (*a)->control()->ticket.store(1ull << 60);
  }
  auto b = acquire_slot(root.path, "h", {});
  ASSERT_TRUE(b.ok());
  EXPECT_EQ((*b)->dir, dir);
  EXPECT_EQ((*b)->control()->ticket.load(), 1ull << 60);
  // After a power loss the page may be older than the journals: tickets start above the clock.
  (*b)->control()->ticket.store(5);
  b->reset();
  auto c = acquire_slot_at(dir);
  ASSERT_TRUE(c.ok());
  EXPECT_GT((*c)->control()->ticket.load(), static_cast<std::uint64_t>(base::now_ms() - 60'000) * 1000);
}

TEST(Slot, ControlPages) {
  Folder root;
  std::string dir;
  {
    auto a = acquire_slot(root.path, "h", {});
    ASSERT_TRUE(a.ok());
    dir = (*a)->dir;
    (*a)->control()->version = kControlVersion + 1;
  }
  EXPECT_EQ(acquire_slot_at(dir).status().code(), StatusCode::failed_precondition);
  EXPECT_FALSE(open_control(dir).ok());
  auto other = acquire_slot(root.path, "h", {});  // a slot of the future is passed over
  ASSERT_TRUE(other.ok());
  EXPECT_NE((*other)->dir, dir);
  std::ofstream(dir + "/control", std::ios::trunc) << "short";  // its maker died half way
  auto again = acquire_slot_at(dir);
  ASSERT_TRUE(again.ok()) << again.status().to_string();
  auto map = open_control(dir);
  ASSERT_TRUE(map.ok()) << map.status().to_string();
}

TEST(Slot, PrefersTheOneThatHoldsTheRun) {
  Folder root;
  const base::Uid run = base::Uid::random();
  std::vector<std::string> dirs;
  {
    std::vector<std::unique_ptr<Slot>> held;
    for (int i = 0; i < 4; ++i) {
      auto s = acquire_slot(root.path, "h", {});
      ASSERT_TRUE(s.ok());
      dirs.push_back((*s)->dir);
      held.push_back(std::move(*s));
    }
  }
  std::sort(dirs.begin(), dirs.end());
  buffer::SummaryEntry entry;
  entry.row.uid = run;
  ASSERT_TRUE(base::replace_file(dirs[3] + "/summary", buffer::encode_summary({}, {}, {entry}), false).ok());
  auto s = acquire_slot(root.path, "h", {run});
  ASSERT_TRUE(s.ok());
  EXPECT_EQ((*s)->dir, dirs[3]);
  // An attached process's slot does not hold the run, but it lives: its owner's death does not end the run.
  EXPECT_FALSE(has_live_attachment(root.path, run));
  entry.row.attached = true;
  ASSERT_TRUE(base::replace_file(dirs[3] + "/summary", buffer::encode_summary({}, {}, {entry}), false).ok());
  EXPECT_TRUE(has_live_attachment(root.path, run));
  s->reset();
  EXPECT_FALSE(has_live_attachment(root.path, run));
}

TEST(Slot, OfAJobIsForItsFirstRank) {
  Folder root;
  std::vector<std::string> dirs;
  {
    const auto a = acquire_slot(root.path, "h", {}), b = acquire_slot(root.path, "h", {});
    ASSERT_TRUE(a.ok() && b.ok());
    dirs = {(*a)->dir, (*b)->dir};
  }
  std::sort(dirs.begin(), dirs.end());
  ASSERT_TRUE(mark_slot(dirs[1], "one").ok());
  const auto taken_by = [&root](const SlotWish& wish) {
    const auto slot = acquire_slot(root.path, "h", wish);
    return slot.ok() ? (*slot)->dir : slot.status().to_string();
  };
  EXPECT_EQ(taken_by({{}, "one", true}), dirs[1]);
  EXPECT_EQ(taken_by({{}, "one", false}), dirs[0]);
  EXPECT_EQ(taken_by({{}, "two", false}), dirs[0]);  // another job's mark says nothing
  EXPECT_EQ(taken_by({}), dirs[0]);
  const auto held = acquire_slot_at(dirs[0]);
  ASSERT_TRUE(held.ok());
  const std::string other = taken_by({{}, "one", false});  // rather a new one than that of rank 0
  EXPECT_EQ(std::count(dirs.begin(), dirs.end(), other), 0) << other;
  ASSERT_TRUE(mark_slot(dirs[1], "two").ok());  // the newest job counts
  EXPECT_EQ(taken_by({{}, "one", false}), std::min(dirs[1], other));
}

TEST(Slot, SixtyFourProcessesAtOnceEachOwnOne) {
  constexpr int kProcesses = 64;
  Folder root;
  auto* words = test::shared_words(root.path + "/words", 16);
  const std::string home = root.path + "/home";
  std::vector<pid_t> pids;
  for (int i = 0; i < kProcesses; ++i) {
    pids.push_back(test::spawn("Owner", {{"T_ROOT", home}, {"T_WORDS", root.path + "/words"}}));
  }
  for (int i = 0; i < 20'000 && words[0].load() < kProcesses; ++i) ::usleep(1'000);
  EXPECT_EQ(words[0].load(), static_cast<std::uint64_t>(kProcesses));
  auto slots = find_slots(home);
  ASSERT_TRUE(slots.ok());
  std::set<std::string> owners;
  for (const SlotInfo& s : *slots) {
    if (s.alive) owners.insert(*base::read_file(s.dir + "/lock"));
  }
  EXPECT_EQ(owners.size(), static_cast<std::size_t>(kProcesses));
  for (const pid_t pid : pids) ::kill(pid, SIGKILL);
  for (const pid_t pid : pids) test::wait_for(pid);
  auto after = acquire_slot(home, "host", {});  // and no more slots than there were processes at once
  ASSERT_TRUE(after.ok());
  EXPECT_EQ(find_slots(home)->size(), slots->size());
}

TEST(Slot, RootsThatCannotBe) {
  Folder root;
  std::ofstream(root.path + "/file") << "x";
  EXPECT_EQ(acquire_slot(root.path + "/file", "h", {}).status().code(), StatusCode::failed_precondition);
}

}  // namespace
}  // namespace mlops::drain
