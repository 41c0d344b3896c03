// SIGKILL while the buffer writes, and a disk that is full: what write() answered OK is there, the process lives on.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <thread>

#include "data.h"

namespace mlops::buffer {
namespace {

constexpr int kPoints = 500;

Beat make_beat(std::uint64_t n) {  // n = 1..: points (n-1)*kPoints + 1 ..
  Beat beat;
  beat.beat = n;
  Beat::RunPart part;
  std::mt19937_64 random(n);
  part.block = make_block(random, 0, kPoints, 1, (n - 1) * kPoints + 1, n);
  part.row.uid.bytes.fill(7);
  part.row.next_seq = n * kPoints + 1;
  part.row.points = n * kPoints;
  beat.runs = {part};
  return beat;
}

// Beats 1..n are all there and bit-exact, whatever came after; answers how many.
std::uint64_t count_beats(const Buffer& buffer) {
  std::uint64_t beats = 0;
  const Status s = buffer.scan(
      make_beat(1).runs[0].row.uid, 1,
      [&](const Record& record) {
        ++beats;
        EXPECT_TRUE(same_bits(record.block, make_beat(beats).runs[0].block)) << "beat " << beats;
        return true;
      },
      [](std::uint64_t seq, std::uint64_t, const Status& bad) { ADD_FAILURE() << seq << ": " << bad.to_string(); });
  EXPECT_TRUE(s.ok()) << s.to_string();
  return beats;
}

// The child of the next test: writes for ever and counts in a shared word after each write that returned OK.
TEST(BufferKillChild, Writes) {
  const char* dir = std::getenv("MLOPS_KILL_DIR");
  if (dir == nullptr) GTEST_SKIP() << "runs as the child of BufferKill only";
  const int fd = ::open((std::string(dir) + "/count").c_str(), O_RDWR | O_CLOEXEC);
  void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ASSERT_NE(page, MAP_FAILED);
  auto* count = static_cast<std::atomic<std::uint64_t>*>(page);
  Result<std::unique_ptr<Buffer>> buffer = Buffer::open(dir);
  ASSERT_TRUE(buffer.ok()) << buffer.status().to_string();
  for (std::uint64_t n = count_beats(**buffer) + 1;; ++n) {
    ASSERT_TRUE((*buffer)->write(make_beat(n)).ok());
    count->store(n, std::memory_order_release);
    if (n % 16 != 0) continue;
    ASSERT_TRUE((*buffer)->sync().ok());
  }
}

TEST(BufferKill, WhatWasWrittenStays) {
  TempDir dir;
  const int fd = ::open((dir.path() + "/count").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(::ftruncate(fd, 4096), 0);
  void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ASSERT_NE(page, MAP_FAILED);
  auto* count = static_cast<std::atomic<std::uint64_t>*>(page);
  std::mt19937_64 random(20261124);
  for (int round = 0; round < 12; ++round) {
    const std::uint64_t before = count->load();
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::setenv("MLOPS_KILL_DIR", dir.path().c_str(), 1);
      ::execl("/proc/self/exe", "test_buffer", "--gtest_filter=BufferKillChild.*", static_cast<char*>(nullptr));
      ::_exit(127);
    }
    for (int i = 0; i < 10'000 && count->load() == before; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 60'000));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself in round " << round;
    const std::uint64_t accepted = count->load();
    ASSERT_GT(accepted, before);
    Result<std::unique_ptr<Buffer>> buffer = Buffer::open(dir.path());
    ASSERT_TRUE(buffer.ok()) << buffer.status().to_string();
    EXPECT_GE(count_beats(**buffer), accepted) << "round " << round;
    EXPECT_TRUE((*buffer)->flush_and_close().ok());
  }
  ::munmap(page, 4096);
  ::close(fd);
}

TEST(BufferFullDisk, FailsCleanlyAndGoesOnWithSpace) {
  TempDir dir;
  const std::string mount = dir.path() + "/small";
  std::filesystem::create_directory(mount);
  if (::mount("tmpfs", mount.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "size=12m,mode=0700") != 0) {
    std::fprintf(stderr, "SKIPPED: no full-disk test: mounting a tmpfs needs privileges (%s)\n", std::strerror(errno));
    GTEST_SKIP() << "cannot mount a tmpfs";
  }
  const std::string slot = mount + "/slot", ballast = mount + "/ballast";
  {
    std::uint64_t written = 0;
    std::unique_ptr<Buffer> buffer = Buffer::open(slot).value();
    for (std::uint64_t n = 1; n <= 200; ++n, ++written) ASSERT_TRUE(buffer->write(make_beat(n)).ok());
    {  // somebody fills the disk
      std::ofstream out(ballast, std::ios::binary);
      const std::string megabyte(1 << 20, 'x');
      while (out.write(megabyte.data(), 4096)) {
      }
    }
    Status s;
    while (s = buffer->write(make_beat(written + 1)), s.ok()) ASSERT_LT(++written, 100'000u);
    EXPECT_EQ(s.code(), StatusCode::resource_exhausted) << s.to_string();
    EXPECT_GE(count_beats(*buffer), written);                               // reads go on
    s = buffer->flush_and_close();                                          // as the drain does after any write error
    const Result<std::unique_ptr<Buffer>> while_full = Buffer::open(slot);  // may work or not; must not kill us
    if (!while_full.ok())
      EXPECT_EQ(while_full.status().code(), StatusCode::resource_exhausted) << while_full.status().to_string();
    else
      EXPECT_GE(count_beats(**while_full), written);
    if (while_full.ok()) (*while_full)->flush_and_close().ignore();
    std::filesystem::remove(ballast);
    Result<std::unique_ptr<Buffer>> again = Buffer::open(slot);
    ASSERT_TRUE(again.ok()) << again.status().to_string();
    const std::uint64_t found = count_beats(**again);
    EXPECT_GE(found, written);
    for (std::uint64_t n = found + 1; n <= found + 50; ++n) ASSERT_TRUE((*again)->write(make_beat(n)).ok());
    ASSERT_TRUE((*again)->flush_and_close().ok());
  }
  EXPECT_EQ(::umount(mount.c_str()), 0);
}

}  // namespace
}  // namespace mlops::buffer
