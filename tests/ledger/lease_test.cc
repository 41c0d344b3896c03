// A ledger on a network file system: who lost its lease writes nothing more.
#include "base/lease.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <thread>

#include "base/file.h"
#include "base/place.h"
#include "ledger/ledger.h"

namespace mlops::ledger {
namespace {

TEST(LedgerLease, LostNothingIsWritten) {
  std::string pattern = testing::TempDir() + "/mlops-ledger-XXXXXX";
  const std::string root = ::mkdtemp(pattern.data()), slot = root + "/host/s-00000001";
  ASSERT_TRUE(base::make_dirs(slot).ok());
  ASSERT_TRUE(base::mark_network_root(root).ok());
  base::set_lease_silence(Millis(600));
  const auto wait = [](int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); };
  const std::string lease = slot + "/delivery/d/lease";
  Lane lane;
  lane.run = Uid::random();
  lane.cursor = 7;
  {
    auto ledger = Ledger::open(slot, {"d", "http://127.0.0.1:5000"});
    ASSERT_TRUE(ledger.ok()) << ledger.status().to_string();
    EXPECT_TRUE(base::exists(lease));
    ASSERT_TRUE((*ledger)->put(lane).ok());
    EXPECT_FALSE(Ledger::held_elsewhere(slot, "d"));
    wait(120);
    ASSERT_TRUE(base::replace_file(lease, "mlops-lease 1\nee 1 600 9 node7 boot\n", false).ok());
    EXPECT_FALSE((*ledger)->hold());
    lane.cursor = 9;
    EXPECT_EQ((*ledger)->put(lane).code(), StatusCode::unavailable);
    EXPECT_EQ((*ledger)->sync().code(), StatusCode::unavailable);
    EXPECT_EQ((*ledger)->note_health({}).code(), StatusCode::unavailable);
    EXPECT_EQ(Ledger::read(slot, "d")->lanes.at(lane.run).cursor, 7u);
    EXPECT_TRUE(Ledger::read(slot, "d")->held) << "by the other node";
    EXPECT_TRUE(Ledger::held_elsewhere(slot, "d"));
  }
  // The lock is free here; the lease says that another node delivers, until it was silent for long enough.
  EXPECT_EQ(Ledger::open(slot, {"d", "http://127.0.0.1:5000"}).status().code(), StatusCode::unavailable);
  wait(700);
  auto ledger = Ledger::open(slot, {"d", "http://127.0.0.1:5000"});
  ASSERT_TRUE(ledger.ok()) << ledger.status().to_string();
  EXPECT_TRUE((*ledger)->put(lane).ok());
  ledger->reset();
  EXPECT_FALSE(base::exists(lease));
  base::set_lease_silence(Millis(60'000));
  base::remove_tree(root).ignore();
}

}  // namespace
}  // namespace mlops::ledger
