// A deleted run: what its slot delivers before, behind and again; the server ends as the last record says.
#include <gtest/gtest.h>

#include "rig.h"

namespace mlops::sync::fake {
namespace {

const ServerRun& only(const Rig& rig) { return rig.server.runs.begin()->second; }

void lifecycle(Rig& rig, bool deleted) {
  rig.buffer->write(uid(1)).op(model::OpKind::lifecycle, "");
  rig.buffer->edit(uid(1), [deleted](Buffer::Run& run) {
    run.records.back().op.number = deleted ? 1 : 0;
    run.row.deleted = deleted;
    run.row.lifecycle_ms = 1'000;
  });
}

TEST(Lifecycle, DeletedAndRestored) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10)).end(RunStatus::finished, 1);
  lifecycle(rig, true);
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_TRUE(only(rig).deleted);
  EXPECT_EQ(only(rig).points.size(), 10u);
  EXPECT_EQ(only(rig).status, "FINISHED");
  lifecycle(rig, true);  // once more: nothing changes
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_TRUE(only(rig).deleted);
  lifecycle(rig, false);
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_FALSE(only(rig).deleted);
  EXPECT_EQ(rig.last.waiting, 0u);
}

// The end of a run whose process died is found out after somebody deleted it.
TEST(Lifecycle, WhatComesBehindADeletionIsDeliveredAndTheRunStaysDeleted) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10));
  lifecycle(rig, true);
  rig.buffer->write(uid(1)).points(series("a", 10, 15)).end(RunStatus::killed, 1);
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_TRUE(only(rig).deleted);
  EXPECT_EQ(only(rig).status, "KILLED");
  EXPECT_EQ(only(rig).points.size(), 15u);
  EXPECT_TRUE(rig.disk.state().lanes[uid(1)].parked.empty());
}

TEST(Lifecycle, ALostPlaceOrAKillAnywhereEndsTheSame) {
  const auto fill = [](Rig& rig) {
    rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10)).param("p", "1");
    lifecycle(rig, true);
    lifecycle(rig, false);
    rig.buffer->write(uid(1)).points(series("a", 10, 20)).end(RunStatus::finished, 1);
    lifecycle(rig, true);
  };
  Rig undisturbed(Server::Age::v3_17);
  fill(undisturbed);
  ASSERT_TRUE(undisturbed.deliver().ok());
  ASSERT_TRUE(only(undisturbed).deleted);
  const std::uint64_t requests = undisturbed.server.requests();
  for (std::uint64_t index = 0; index < requests; ++index) {
    for (const Fault fault : {Fault::response_lost, Fault::kill_after}) {
      Rig rig(Server::Age::v3_17);
      fill(rig);
      rig.fault_at(index, fault, true);
      ASSERT_TRUE(rig.deliver().ok()) << index;
      EXPECT_EQ(rig.server.dump(), undisturbed.server.dump()) << index;
      EXPECT_TRUE(only(rig).deleted) << index;
      EXPECT_TRUE(rig.disk.state().lanes[uid(1)].parked.empty()) << index;
      EXPECT_EQ(rig.last.delivered, 20u) << index;
    }
  }
  // The ledger is gone: everything is walked and proved again.
  undisturbed.disk.edit([](Disk::State& state) { state = Disk::State(); });
  const std::string before = undisturbed.server.dump();
  ASSERT_TRUE(undisturbed.deliver().ok());
  EXPECT_EQ(undisturbed.server.dump(), before);
  EXPECT_TRUE(only(undisturbed).deleted);
}

// Deleted by somebody else: that is not ours to undo.
TEST(Lifecycle, ADeletionThatIsNotOursParks) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10));
  ASSERT_TRUE(rig.deliver().ok());
  rig.server.runs.begin()->second.deleted = true;
  rig.buffer->write(uid(1)).points(series("a", 10, 20));
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_FALSE(rig.disk.state().lanes[uid(1)].parked.empty());
  EXPECT_EQ(rig.last.waiting, 10u);
}

}  // namespace
}  // namespace mlops::sync::fake
