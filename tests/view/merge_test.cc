// How parts of a run in several slots become one row.
#include "view/merge.h"

#include <gtest/gtest.h>

#include <cmath>

namespace mlops::view {
namespace {

Part part(bool attached, bool alive, std::uint64_t points) {
  Part p;
  p.alive = alive;
  p.row.uid = base::Uid{};
  p.row.uid.bytes[0] = 1;
  p.row.attached = attached;
  p.row.points = points;
  p.row.start_ms = attached ? 2000 : 1000;
  p.row.name = attached ? "rank" : "owner";
  return p;
}

buffer::MetricRow metric(const std::string& name, std::initializer_list<model::Point> points) {
  buffer::MetricRow row;
  row.name = name;
  for (const model::Point& point : points) row.summary.add(point);
  return row;
}

RunSummary merged(const std::vector<Part>& parts, const std::string& server_id) {
  Merger merger;
  for (const Part& p : parts) merger.add(p, server_id);
  std::vector<RunSummary> runs = merger.take();
  EXPECT_EQ(runs.size(), 1u);
  return runs.at(0);
}

TEST(Merge, OwnerSpeaksForTheRunAndPointsAddUp) {
  Part owner = part(false, false, 3), rank = part(true, true, 2);
  owner.row.status = RunStatus::finished;
  owner.row.end_ms = 5000;
  owner.row.params = {{"lr", "1"}};
  rank.row.params = {{"lr", "2"}, {"rank", "1"}};
  owner.metrics = {metric("loss", {{1, 10, 5.0}, {2, 20, 1.0}}), metric("only", {{0, 1, NAN}})};
  rank.metrics = {metric("loss", {{3, 15, 9.0}, {1, 5, 0.5}})};
  const RunSummary run = merged({owner, rank}, "server");
  EXPECT_EQ(run.name, "owner");
  EXPECT_EQ(run.server_id, "server");
  EXPECT_EQ(run.status, RunStatus::finished);
  EXPECT_EQ(run.end_ms, 5000);
  EXPECT_EQ(run.points, 5u);
  EXPECT_EQ(run.params, (Pairs{{"lr", "1"}, {"rank", "1"}}));
  ASSERT_EQ(run.metrics.size(), 2u);
  EXPECT_EQ(run.metrics[0].name, "loss");
  EXPECT_EQ(run.metrics[0].count, 4u);
  EXPECT_EQ(run.metrics[0].last, 9.0);
  EXPECT_EQ(run.metrics[0].last_step, 3);
  EXPECT_EQ(run.metrics[0].min, 0.5);
  EXPECT_EQ(run.metrics[0].max, 9.0);
  EXPECT_EQ(run.metrics[0].max_step, 3);
  EXPECT_TRUE(std::isnan(run.metrics[1].last));
}

TEST(Merge, ARunIsLiveWhileSomebodyWhoRunsItIs) {
  Part owner = part(false, false, 0), rank = part(true, true, 0);
  EXPECT_TRUE(merged({owner, rank}, "").live);
  rank.row.status = RunStatus::finished;
  EXPECT_FALSE(merged({owner, rank}, "").live);
  EXPECT_EQ(merged({owner}, "").end_ms, 0);
}

TEST(Merge, ADestinationWaitsForWhatIsNeitherDeliveredNorRefused) {
  Part owner = part(false, false, 10);
  ledger::Ledger::Snapshot snapshot;
  snapshot.destination = {"d", "http://d"};
  ledger::Lane lane;
  lane.run = owner.row.uid;
  lane.delivered = 6;
  lane.dead = 1;
  lane.dead_points = 1;
  lane.parked = "deleted on the server";
  snapshot.lanes[lane.run] = lane;
  DestinationHealth out;
  add_ledger(snapshot, {&owner.row}, &out);
  EXPECT_EQ(out.delivered, 6u);
  EXPECT_EQ(out.dead_letters, 1u);
  EXPECT_EQ(out.waiting, 3u);
  EXPECT_EQ(out.state, LaneState::parked);
  EXPECT_EQ(out.last_error.message(), "deleted on the server");
}

}  // namespace
}  // namespace mlops::view
