// Files, locks and mappings: what is made, what is refused, and what the refusals say.
#include "base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace mlops::base {
namespace {

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/mlops-base-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { EXPECT_TRUE(remove_tree(dir_).ok()); }
  std::string at(const std::string& name) const { return dir_ + "/" + name; }
  std::string dir_;
};

unsigned mode_of(const std::string& path) {
  struct stat st{};
  return ::lstat(path.c_str(), &st) == 0 ? static_cast<unsigned>(st.st_mode & 0777) : 0;
}

TEST(ErrnoStatus, MapsAndSaysWhatToDo) {
  const struct {
    int error;
    StatusCode code;
    const char* hint;
  } cases[] = {
      {ENOENT, StatusCode::not_found, "check the path"},
      {EACCES, StatusCode::permission_denied, "MLOPS_HOME"},
      {EPERM, StatusCode::permission_denied, "MLOPS_HOME"},
      {EROFS, StatusCode::permission_denied, "read-only"},
      {ENOSPC, StatusCode::resource_exhausted, "free some space"},
      {EDQUOT, StatusCode::resource_exhausted, "quota"},
      {EFBIG, StatusCode::resource_exhausted, "ulimit -f"},
      {EMFILE, StatusCode::resource_exhausted, "ulimit -n"},
      {ENOTDIR, StatusCode::failed_precondition, "is a file"},
      {ELOOP, StatusCode::failed_precondition, "symbolic link"},
      {EIO, StatusCode::data_loss, "disk"},
      {EEXIST, StatusCode::already_exists, ""},
      {EAGAIN, StatusCode::unavailable, ""},
      {ENAMETOOLONG, StatusCode::invalid_argument, "shorter"},
      {EOPNOTSUPP, StatusCode::unimplemented, ""},
      {EPROTO, StatusCode::internal, ""},
  };
  for (const auto& c : cases) {
    const Status s = errno_status(c.error, "write", "/some/path");
    EXPECT_EQ(s.code(), c.code) << s.to_string();
    EXPECT_NE(s.message().find("cannot write /some/path: "), std::string_view::npos) << s.to_string();
    EXPECT_NE(s.message().find(c.hint), std::string_view::npos) << s.to_string();
  }
}

TEST_F(FileTest, FdClosesAndMoves) {
  int pipes[2];
  ASSERT_EQ(::pipe(pipes), 0);
  Fd other(pipes[1]);
  {
    Fd one(pipes[0]);
    Fd two(std::move(one));
    EXPECT_FALSE(one);
    EXPECT_EQ(two.get(), pipes[0]);
  }
  char c = 0;
  EXPECT_EQ(::read(pipes[0], &c, 1), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST_F(FileTest, MakesFoldersPrivate) {
  ASSERT_TRUE(make_dirs(at("a/b//c/")).ok());
  for (const char* name : {"a", "a/b", "a/b/c"}) EXPECT_EQ(mode_of(at(name)), 0700u) << name;
  EXPECT_TRUE(make_dirs(at("a/b/c")).ok()) << "a second time";
  ASSERT_TRUE(replace_file(at("a/file"), "x", false).ok());
  for (const char* name : {"a/file", "a/file/below"}) {
    const Status s = make_dirs(at(name));
    EXPECT_EQ(s.code(), StatusCode::failed_precondition) << s.to_string();
    EXPECT_NE(s.message().find(at("a/file")), std::string_view::npos) << s.to_string();
    EXPECT_NE(s.message().find("is a file"), std::string_view::npos) << s.to_string();
  }
  EXPECT_EQ(make_dirs("").code(), StatusCode::invalid_argument);
}

TEST_F(FileTest, RefusesAnotherUsersFolder) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs chown";
  ASSERT_TRUE(make_dirs(at("theirs")).ok());
  ASSERT_EQ(::chown(at("theirs").c_str(), 12345, 12345), 0);
  const Status s = make_dirs(at("theirs"));
  EXPECT_EQ(s.code(), StatusCode::failed_precondition);
  EXPECT_NE(s.message().find("another user (uid 12345"), std::string_view::npos) << s.to_string();
  EXPECT_TRUE(make_dirs(at("theirs/ours")).ok()) << "only the last part must be ours";
}

TEST_F(FileTest, ReplacesWholly) {
  for (const bool sync : {false, true}) {
    for (const std::size_t size : {0u, 1u, 5000u, 300'000u}) {
      std::string bytes(size, '\0');
      for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 >> 3);
      ASSERT_TRUE(replace_file(at("f"), bytes, sync).ok());
      auto back = read_file(at("f"));
      ASSERT_TRUE(back.ok());
      EXPECT_EQ(*back, bytes);
    }
  }
  EXPECT_EQ(mode_of(at("f")), 0600u);
  EXPECT_EQ(list_dir(dir_).value(), std::vector<std::string>{"f"}) << "nothing is left beside";
  EXPECT_EQ(replace_file(at("none/f"), "x", false).code(), StatusCode::not_found);
  ASSERT_TRUE(make_dirs(at("folder/below")).ok());
  EXPECT_FALSE(replace_file(at("folder"), "x", true).ok());
  EXPECT_EQ(list_dir(dir_).value(), (std::vector<std::string>{"f", "folder"}));
}

TEST_F(FileTest, ReadsWithinBounds) {
  ASSERT_TRUE(replace_file(at("f"), std::string(1000, 'x'), false).ok());
  EXPECT_EQ(read_file(at("f"), 1000).value().size(), 1000u);
  EXPECT_EQ(read_file(at("f"), 999).status().code(), StatusCode::resource_exhausted);
  EXPECT_EQ(read_file(at("none")).status().code(), StatusCode::not_found);
  EXPECT_EQ(read_file(dir_).status().code(), StatusCode::failed_precondition);
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  EXPECT_EQ(read_file(at("fifo")).status().code(), StatusCode::failed_precondition) << "and does not block";
  EXPECT_FALSE(read_file("/proc/self/stat").value().empty()) << "a file whose size says 0";
  ASSERT_EQ(::symlink("f", at("link").c_str()), 0);
  EXPECT_EQ(read_file(at("link")).value().size(), 1000u);
}

TEST_F(FileTest, ListsRemovesAndMeasures) {
  ASSERT_TRUE(make_dirs(at("t/b")).ok());
  ASSERT_TRUE(make_dirs(at("t/a")).ok());
  ASSERT_TRUE(replace_file(at("t/a/f"), std::string(100'000, 'x'), true).ok());
  ASSERT_TRUE(replace_file(at("outside"), "keep", false).ok());
  ASSERT_EQ(::symlink("../../outside", at("t/b/link").c_str()), 0);
  ASSERT_EQ(::symlink("../..", at("t/b/up").c_str()), 0);
  EXPECT_EQ(list_dir(at("t")).value(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(list_dir(at("none")).status().code(), StatusCode::not_found);
  EXPECT_GE(disk_usage(at("t")), 100'000u);
  EXPECT_LT(disk_usage(at("t")), 200'000u);
  EXPECT_EQ(disk_usage(at("none")), 0u);
  EXPECT_TRUE(remove_tree(at("t")).ok());
  EXPECT_FALSE(exists(at("t")));
  EXPECT_EQ(read_file(at("outside")).value(), "keep") << "no link is followed";
  EXPECT_TRUE(remove_tree(at("t")).ok()) << "missing is fine";
  EXPECT_TRUE(remove_tree(at("outside")).ok()) << "a file too";
  ASSERT_EQ(::symlink("nowhere", at("dangling").c_str()), 0);
  EXPECT_TRUE(exists(at("dangling")));
  EXPECT_TRUE(remove_tree(at("dangling")).ok());
}

TEST_F(FileTest, KnowsLocalFileSystems) {
  EXPECT_FALSE(is_network_fs("/proc"));
  EXPECT_FALSE(is_network_fs("/dev/shm/not/there/yet"));
  EXPECT_FALSE(is_network_fs(""));
}

TEST_F(FileTest, LockIsExclusiveAndNamesItsOwner) {
  auto lock = FileLock::try_lock(at("lock"));
  ASSERT_TRUE(lock.ok()) << lock.status().to_string();
  EXPECT_EQ(mode_of(at("lock")), 0600u);
  EXPECT_TRUE(FileLock::is_held(at("lock")));
  auto second = FileLock::try_lock(at("lock"));
  EXPECT_EQ(second.status().code(), StatusCode::unavailable);
  EXPECT_NE(second.status().message().find(std::to_string(::getpid()) + " "), std::string_view::npos);
  lock->unlock();
  EXPECT_FALSE(FileLock::is_held(at("lock")));
  EXPECT_TRUE(FileLock::try_lock(at("lock")).ok());
  EXPECT_FALSE(FileLock::is_held(at("none")));
  EXPECT_FALSE(exists(at("none"))) << "asking makes no file";
  EXPECT_EQ(FileLock::try_lock(at("none/lock")).status().code(), StatusCode::not_found);
}

TEST_F(FileTest, LockThatIsTakenChangesItsTimeUnlessItsHolderTakesThatBack) {
  const auto time = [this] {
    struct stat st{};
    EXPECT_EQ(::stat(at("lock").c_str(), &st), 0);
    return st.st_mtim.tv_sec;
  };
  ASSERT_TRUE(FileLock::try_lock(at("lock")).ok());
  const timespec long_ago[2] = {{1'000, 0}, {1'000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, at("lock").c_str(), long_ago, 0), 0);
  {
    const auto lock = FileLock::try_lock(at("lock"));
    ASSERT_TRUE(lock.ok());
    EXPECT_GT(time(), 1'000);
    lock->untouch();
    EXPECT_EQ(time(), 1'000);
    EXPECT_TRUE(FileLock::is_held(at("lock")));
  }
  ASSERT_TRUE(FileLock::try_lock(at("lock")).ok());
  EXPECT_GT(time(), 1'000);
}

TEST_F(FileTest, LockIsNotTheForkedChilds) {
  auto lock = FileLock::try_lock(at("lock"));
  ASSERT_TRUE(lock.ok());
  int end[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, end), 0);
  char byte = 'x';
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(end[1]);
    // The number is free again: what takes it is not closed with the lock that the child does not have.
    const int taken = ::open(at("own").c_str(), O_RDWR | O_CREAT, 0600);
    lock->unlock();
    const bool waited = ::write(end[0], &byte, 1) == 1 && ::read(end[0], &byte, 1) == 1;
    const bool own = FileLock::try_lock(at("lock")).ok();  // its parent has let it go
    ::_exit(waited && own && ::write(taken, "x", 1) == 1 ? 0 : 1);
  }
  ::close(end[0]);
  EXPECT_EQ(::read(end[1], &byte, 1), 1);  // it runs
  EXPECT_TRUE(FileLock::is_held(at("lock")));
  lock->unlock();
  EXPECT_FALSE(FileLock::is_held(at("lock"))) << "the child lives on";
  EXPECT_EQ(::write(end[1], &byte, 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ::close(end[1]);
}

TEST_F(FileTest, LockFollowsThePathNotTheInode) {
  auto old = FileLock::try_lock(at("lock"));
  ASSERT_TRUE(old.ok());
  ASSERT_EQ(::unlink(at("lock").c_str()), 0);
  EXPECT_TRUE(FileLock::try_lock(at("lock")).ok()) << "a removed lock file locks nobody out";
}

TEST_F(FileTest, LockDiesWithItsProcess) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto lock = FileLock::try_lock(at("lock"));
    [[maybe_unused]] const ssize_t n = ::write(ready[1], lock.ok() ? "y" : "n", 1);
    ::pause();
    ::_exit(0);
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  EXPECT_TRUE(FileLock::is_held(at("lock")));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(FileLock::is_held(at("lock")));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(FileTest, ChildUnlocksNothingOfItsParents) {
  auto lock = FileLock::try_lock(at("lock"));
  ASSERT_TRUE(lock.ok());
  const pid_t child = ::fork();
  if (child == 0) {
    lock->unlock();
    ::_exit(FileLock::is_held(at("lock")) ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "still the parent's after the child closed its copy";
  EXPECT_TRUE(FileLock::is_held(at("lock")));
}

TEST_F(FileTest, MappingIsAllocatedAlignedAndShared) {
  for (const std::size_t align : {4096u, 65'536u, 1u << 20}) {
    const std::string path = at("m" + std::to_string(align));
    auto made = Mapping::create(path, 65'536, align);
    ASSERT_TRUE(made.ok()) << made.status().to_string();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(made->data()) % align, 0u);
    EXPECT_EQ(made->size(), 65'536u);
    EXPECT_EQ(mode_of(path), 0600u);
    EXPECT_GE(disk_usage(path), 65'536u) << "not sparse";
    made->data()[0] = 'a';
    made->data()[65'535] = 'z';
    auto again = Mapping::open(path, false, align);
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(again->data()[0], 'a');
    EXPECT_EQ(again->data()[65'535], 'z');
    EXPECT_EQ(again->data()[100], 0);
    made->data()[1] = 'b';
    EXPECT_EQ(again->data()[1], 'b');
  }
}

TEST_F(FileTest, MappingRefusals) {
  ASSERT_TRUE(replace_file(at("f"), "", false).ok());
  EXPECT_EQ(Mapping::create(at("f"), 4096, 4096).status().code(), StatusCode::already_exists);
  EXPECT_EQ(Mapping::create(at("g"), 0, 4096).status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(Mapping::create(at("g"), 4096, 3).status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(Mapping::create(at("none/g"), 4096, 4096).status().code(), StatusCode::not_found);
  EXPECT_EQ(Mapping::open(at("f"), true, 4096).status().code(), StatusCode::data_loss);
  EXPECT_EQ(Mapping::open(at("none"), true, 4096).status().code(), StatusCode::not_found);
  EXPECT_EQ(Mapping::open(dir_, false, 4096).status().code(), StatusCode::failed_precondition);
  EXPECT_FALSE(exists(at("g")));

  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const rlimit small{1000, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status s = Mapping::create(at("g"), 65'536, 4096).status();
  ::setrlimit(RLIMIT_FSIZE, &old);
  EXPECT_EQ(s.code(), StatusCode::resource_exhausted) << "and no SIGXFSZ: " << s.to_string();
}

TEST_F(FileTest, MappingMovesAndLeaks) {
  auto made = Mapping::create(at("m"), 4096, 4096);
  ASSERT_TRUE(made.ok());
  char* const data = made->data();
  {
    Mapping moved(std::move(*made));
    EXPECT_EQ(moved.data(), data);
    EXPECT_EQ(made->data(), nullptr);
    moved.leak();
  }
  data[0] = 'x';  // still mapped
  EXPECT_EQ(read_file(at("m")).value()[0], 'x');
}

}  // namespace
}  // namespace mlops::base
