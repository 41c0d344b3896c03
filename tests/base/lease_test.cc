// Lease: who may follow whom, and when a holder must stop.
#include "base/lease.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/base.h"
#include "base/file.h"

namespace mlops::base {
namespace {

using std::chrono::milliseconds;

class LeaseTest : public testing::Test {
 protected:
  LeaseTest() {
    std::string pattern = testing::TempDir() + "/mlops-lease-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ + "/lease";
    set_lease_silence(Millis(300));
  }
  ~LeaseTest() override {
    set_lease_silence(Millis(60'000));
    remove_tree(folder_).ignore();
  }
  /// As a process of another node would write it.
  void beat_elsewhere(int count, int dead_ms = 300, const std::string& nonce = "aa") {
    ASSERT_TRUE(replace_file(path_,
                             "mlops-lease 1\n" + nonce + " " + std::to_string(count) + " " + std::to_string(dead_ms) +
                                 " 12 node7 another-boot\n",
                             false)
                    .ok());
  }
  static void wait(int ms) { std::this_thread::sleep_for(milliseconds(ms)); }

  std::string folder_, path_;
};

TEST_F(LeaseTest, FreeTakenRenewedGivenBack) {
  auto lease = Lease::take(path_);
  ASSERT_TRUE(lease.ok()) << lease.status().to_string();
  const std::string first = *read_file(path_);
  EXPECT_EQ(first.rfind("mlops-lease 1\n", 0), 0u);
  EXPECT_NE(first.find(" " + std::to_string(::getpid()) + " "), std::string::npos);
  EXPECT_TRUE((*lease)->hold());
  EXPECT_EQ(*read_file(path_), first) << "renewed before it was due";
  wait(80);
  EXPECT_TRUE((*lease)->hold());
  EXPECT_NE(*read_file(path_), first);
  EXPECT_EQ(lease_holder(path_), "process " + std::to_string(::getpid()) + " on " + host_name());
  EXPECT_FALSE(lease_alive_elsewhere(path_));
  lease->reset();
  EXPECT_FALSE(exists(path_));
}

TEST_F(LeaseTest, OfThisNodeTheLockDecides) {
  // A process that died here left it: whoever has the flock beside it need not wait.
  ASSERT_TRUE(replace_file(path_, "mlops-lease 1\nbb 7 300 12 " + host_name() + " " + boot_id() + "\n", false).ok());
  EXPECT_TRUE(Lease::take(path_).ok());
}

TEST_F(LeaseTest, AnotherNodesIsTakenAfterItsSilenceOnly) {
  beat_elsewhere(1);
  const Status held = Lease::take(path_).status();
  EXPECT_EQ(held.code(), StatusCode::unavailable);
  EXPECT_NE(std::string(held.message()).find("process 12 on node7"), std::string::npos);
  EXPECT_TRUE(lease_alive_elsewhere(path_));
  for (int i = 2; i < 8; ++i) {  // it lives: for longer than the silence, but never silent for so long
    wait(100);
    beat_elsewhere(i);
    EXPECT_EQ(Lease::take(path_).status().code(), StatusCode::unavailable);
  }
  wait(330);
  EXPECT_FALSE(lease_alive_elsewhere(path_));
  auto lease = Lease::take(path_);
  ASSERT_TRUE(lease.ok()) << lease.status().to_string();
  EXPECT_TRUE((*lease)->held());
}

TEST_F(LeaseTest, TheLongerSilenceCounts) {
  beat_elsewhere(1, 700);
  EXPECT_EQ(Lease::take(path_).status().code(), StatusCode::unavailable);
  wait(400);
  EXPECT_EQ(Lease::take(path_).status().code(), StatusCode::unavailable);
  wait(350);
  EXPECT_TRUE(Lease::take(path_).ok());
}

TEST_F(LeaseTest, WhoCouldNotRenewStopsBeforeOthersMayFollow) {
  auto lease = Lease::take(path_);
  ASSERT_TRUE(lease.ok());
  wait(170);  // more than half of it
  EXPECT_FALSE((*lease)->held()) << "it may still send when another one begins";
  EXPECT_TRUE((*lease)->hold()) << "nobody took it: it goes on";
  EXPECT_TRUE((*lease)->held());
}

TEST_F(LeaseTest, ALostOneIsLostForGood) {
  auto lease = Lease::take(path_);
  ASSERT_TRUE(lease.ok());
  wait(80);
  beat_elsewhere(1);
  EXPECT_FALSE((*lease)->hold());
  EXPECT_FALSE((*lease)->held());
  wait(80);
  EXPECT_FALSE((*lease)->hold());
  const std::string theirs = *read_file(path_);
  lease->reset();
  EXPECT_EQ(*read_file(path_), theirs) << "what is another's was given back";
}

TEST_F(LeaseTest, ARemovedOneIsLost) {
  auto lease = Lease::take(path_);
  ASSERT_TRUE(lease.ok());
  ::unlink(path_.c_str());
  wait(80);
  EXPECT_FALSE((*lease)->hold());
}

TEST_F(LeaseTest, AForkedChildGivesNothingBack) {
  auto lease = Lease::take(path_);
  ASSERT_TRUE(lease.ok());
  const pid_t child = ::fork();
  if (child == 0) {
    lease->reset();
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(exists(path_));
}

TEST_F(LeaseTest, OtherBytesAreSomebodys) {
  ASSERT_TRUE(replace_file(path_, "mlops-lease 2\nwhat is to come", false).ok());
  EXPECT_EQ(Lease::take(path_).status().code(), StatusCode::unavailable);
  wait(330);
  EXPECT_TRUE(Lease::take(path_).ok());
}

}  // namespace
}  // namespace mlops::base
