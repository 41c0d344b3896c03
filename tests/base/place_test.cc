// Place: halves of slots, found, listed, swept, never removed with a journal in them.
#include "base/place.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/file.h"

namespace mlops::base {
namespace {

class PlaceTest : public testing::Test {
 protected:
  PlaceTest() {
    std::string pattern = testing::TempDir() + "/mlops-place-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    slot_ = folder_ + "/root/host/s-01234567";
    EXPECT_TRUE(make_dirs(slot_).ok());
    EXPECT_TRUE(make_dirs(folder_ + "/node").ok());
    placing_.folder = folder_ + "/node";
  }
  ~PlaceTest() override { remove_tree(folder_).ignore(); }
  std::string folder_, slot_;
  Placing placing_;
};

TEST_F(PlaceTest, MadeListedFound) {
  EXPECT_EQ(*local_half(slot_), slot_) << "without a list all is in the slot";
  auto half = make_half(placing_, slot_);
  ASSERT_TRUE(half.ok()) << half.status().to_string();
  EXPECT_TRUE(half->here());
  EXPECT_TRUE(half->in(placing_));
  EXPECT_EQ(*local_half(slot_), slot_) << "it is in use once it is listed";
  Half far{"cc", "boot", "node9", "/tmp/with spaces/mlops-1/s-01234567-00000000"};
  ASSERT_TRUE(write_place(slot_, {*half, far}).ok());
  const auto read = read_place(slot_);
  ASSERT_TRUE(read.ok());
  ASSERT_EQ(read->size(), 2u);
  EXPECT_EQ((*read)[0].path, half->path);
  EXPECT_EQ((*read)[1].path, far.path);
  EXPECT_EQ((*read)[1].host, "node9");
  EXPECT_FALSE((*read)[1].here());
  EXPECT_EQ(*local_half(slot_), half->path);
  struct stat st{};
  ASSERT_EQ(::stat(half->path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700u);
}

TEST_F(PlaceTest, OnAnotherNodeIsSaidWhere) {
  ASSERT_TRUE(write_place(slot_, {{"cc", "boot", "node9", "/tmp/mlops-1/s-01234567-00000000"}}).ok());
  const Status there = local_half(slot_).status();
  EXPECT_EQ(there.code(), StatusCode::unavailable);
  EXPECT_NE(std::string(there.message()).find("node9"), std::string::npos);
  EXPECT_NE(std::string(there.message()).find("/tmp/mlops-1/"), std::string::npos);
  // A folder of that name that is another slot's is not it.
  ASSERT_TRUE(make_dirs(folder_ + "/node/x").ok());
  ASSERT_TRUE(replace_file(folder_ + "/node/x/slot", "dd\n/elsewhere\n", false).ok());
  EXPECT_FALSE((Half{"cc", "boot", "node9", folder_ + "/node/x"}).here());
}

TEST_F(PlaceTest, AJournalKeepsItsHalf) {
  auto half = make_half(placing_, slot_);
  ASSERT_TRUE(half.ok());
  ASSERT_TRUE(make_dirs(half->path + "/journal/0123").ok());
  EXPECT_FALSE(remove_half(*half));
  EXPECT_TRUE(half->here());
  ASSERT_TRUE(remove_tree(half->path + "/journal/0123").ok());
  EXPECT_TRUE(remove_half(*half));
  EXPECT_FALSE(exists(half->path));
}

TEST_F(PlaceTest, UnlistedOnesOfASlotAreFound) {
  auto half = make_half(placing_, slot_);
  auto other = make_half(placing_, folder_ + "/root/host/s-89abcdef");
  ASSERT_TRUE(half.ok() && other.ok());
  const auto found = find_halves(placing_, slot_);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].token, half->token);
  EXPECT_TRUE(found[0].here());
}

TEST_F(PlaceTest, UnlistedOnesAreSweptWhenOld) {
  auto dead = make_half(placing_, slot_);
  auto full = make_half(placing_, slot_);
  auto listed = make_half(placing_, slot_);
  ASSERT_TRUE(dead.ok() && full.ok() && listed.ok());
  ASSERT_TRUE(make_dirs(full->path + "/journal/0123").ok());
  ASSERT_TRUE(write_place(slot_, {*listed}).ok());
  const auto age = [](const std::string& path) {
    const timespec old[2] = {{1'700'000'000, 0}, {1'700'000'000, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), old, 0), 0);
  };
  ASSERT_TRUE(make_half(placing_, slot_).ok());
  EXPECT_TRUE(exists(dead->path)) << "it may be a moment old";
  for (const Half* half : {&*dead, &*full, &*listed}) age(half->path);
  ASSERT_TRUE(make_half(placing_, slot_).ok());
  EXPECT_FALSE(exists(dead->path));
  EXPECT_TRUE(exists(full->path) && exists(listed->path));
}

TEST_F(PlaceTest, BadListsAndFoldersAreRefused) {
  ASSERT_TRUE(replace_file(slot_ + "/place", "mlops-place 2\n", false).ok());
  EXPECT_EQ(read_place(slot_).status().code(), StatusCode::failed_precondition);
  ASSERT_TRUE(replace_file(slot_ + "/place", "mlops-place 1\nonly-a-token\n", false).ok());
  EXPECT_EQ(read_place(slot_).status().code(), StatusCode::data_loss);
  EXPECT_EQ(make_half({false, "relative"}, slot_).status().code(), StatusCode::invalid_argument);
  if (::geteuid() == 0) {  // somebody was there first
    const std::string mine = folder_ + "/node/mlops-0";
    ASSERT_EQ(::mkdir(mine.c_str(), 0755), 0);
    ASSERT_EQ(::chown(mine.c_str(), 65534, 65534), 0);
    EXPECT_EQ(make_half(placing_, slot_).status().code(), StatusCode::failed_precondition);
  }
}

TEST_F(PlaceTest, TheMarkOfARoot) {
  const std::string root = root_of_slot(slot_);
  EXPECT_EQ(root, folder_ + "/root");
  EXPECT_FALSE(is_network_root(root));
  ASSERT_TRUE(mark_network_root(root).ok());
  ASSERT_TRUE(mark_network_root(root).ok());
  EXPECT_TRUE(is_network_root(root));
  EXPECT_EQ(*read_file(root + "/network"), "mlops-network 1\n");
}

}  // namespace
}  // namespace mlops::base
