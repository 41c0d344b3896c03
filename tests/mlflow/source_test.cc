// Source tags: git facts from .git's files, in a plain clone, packed, detached, in a worktree, and when there is none.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "mlflow/mlflow.h"

namespace mlops::mlflow {
namespace {

namespace fs = std::filesystem;
constexpr char kCommit[] = "0123456789abcdef0123456789abcdef01234567";
constexpr char kOther[] = "fedcba9876543210fedcba9876543210fedcba98";

class SourceTags : public testing::Test {
 protected:
  void SetUp() override {
    before_ = fs::current_path();
    folder_ = fs::canonical(testing::TempDir()).string() + "/mlops-git-XXXXXX";
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
    enter("");
  }
  void TearDown() override {
    fs::current_path(before_);
    fs::remove_all(folder_);
  }
  void write(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(folder_ + "/" + path).parent_path());
    ASSERT_TRUE(base::replace_file(folder_ + "/" + path, text, false).ok());
  }
  void enter(const std::string& path) {
    fs::create_directories(folder_ + "/" + path);
    fs::current_path(folder_ + "/" + path);
  }
  static std::string tag(const std::string& key) {
    for (const auto& [k, v] : source_tags())
      if (k == key) return v;
    return "-";
  }
  std::string folder_;
  fs::path before_;
};

TEST_F(SourceTags, LooseRefFoundFromBelowAndNoPasswordInTheUrl) {
  write(".git/HEAD", "ref: refs/heads/feature/x\n");
  write(".git/refs/heads/feature/x", std::string(kCommit) + "\n");
  write(".git/config",
        "[core]\n\turl = no\n[remote \"origin\"]\n\turl = https://user:s3cret@github.example/a/b.git\n\tfetch = x\n");
  enter("src/deep");
  EXPECT_EQ(tag("mlflow.source.git.commit"), kCommit);
  EXPECT_EQ(tag("mlflow.source.git.branch"), "feature/x");
  EXPECT_EQ(tag("mlflow.source.git.repoURL"), "https://github.example/a/b.git");
  EXPECT_EQ(tag("mlflow.source.type"), "LOCAL");
  EXPECT_NE(tag("mlflow.source.name").find("test_mlflow"), std::string::npos);
}

TEST_F(SourceTags, PackedRefAndScpUrl) {
  write(".git/HEAD", "ref: refs/heads/main\n");
  write(".git/packed-refs", std::string("# pack-refs with: peeled\n") + kOther + " refs/heads/main2\n" + kCommit +
                                " refs/heads/main\n^" + kOther + "\n");
  write(".git/config", "[remote \"origin\"]\nurl=git@github.example:a/b.git\n");
  EXPECT_EQ(tag("mlflow.source.git.commit"), kCommit);
  EXPECT_EQ(tag("mlflow.source.git.repoURL"), "git@github.example:a/b.git");
}

TEST_F(SourceTags, DetachedHeadHasNoBranch) {
  write(".git/HEAD", std::string(kCommit) + "\n");
  EXPECT_EQ(tag("mlflow.source.git.commit"), kCommit);
  EXPECT_EQ(tag("mlflow.source.git.branch"), "-");
  EXPECT_EQ(tag("mlflow.source.git.repoURL"), "-");
}

TEST_F(SourceTags, Worktree) {
  write("main/.git/worktrees/w/HEAD", "ref: refs/heads/w\n");
  write("main/.git/worktrees/w/commondir", "../..\n");
  write("main/.git/refs/heads/w", std::string(kCommit) + "\n");
  write("main/.git/config", "[remote \"origin\"]\n url = ssh://git@h.example/r\n");
  write("w/.git", "gitdir: " + folder_ + "/main/.git/worktrees/w\n");
  enter("w");
  EXPECT_EQ(tag("mlflow.source.git.commit"), kCommit);
  EXPECT_EQ(tag("mlflow.source.git.branch"), "w");
  EXPECT_EQ(tag("mlflow.source.git.repoURL"), "ssh://h.example/r");
}

TEST_F(SourceTags, OddRepositoriesAreLeftOut) {
  for (const char* head : {"ref: refs/heads/unborn\n", "ref: ../../etc/passwd\n", "garbage", ""}) {
    write(".git/HEAD", head);
    EXPECT_EQ(tag("mlflow.source.git.commit"), "-") << head;
    EXPECT_EQ(tag("mlflow.source.git.branch"), "-") << head;
  }
}

TEST_F(SourceTags, UserFromTheGivenEnvironmentElsePasswd) {
  const auto tags = source_tags([](const char* name) { return std::string(name) == "USER" ? "ann" : nullptr; });
  ASSERT_FALSE(tags.empty());
  EXPECT_EQ(tags[0], (std::pair<std::string, std::string>{"mlflow.user", "ann"}));
}

}  // namespace
}  // namespace mlops::mlflow
