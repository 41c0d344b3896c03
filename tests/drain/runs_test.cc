// Runs alone: rows, merging, summaries, packing. No database, no journal.
#include "drain/runs.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <cmath>
#include <limits>
#include <random>

namespace mlops::drain {
namespace {

using model::Op;
using model::OpKind;

Op make(OpKind kind, const Uid& run, std::string key = {}, std::string value = {}, std::int64_t number = 0,
        std::int64_t time = 1000) {
  Op op;
  op.kind = kind;
  op.run = run;
  op.key = std::move(key);
  op.value = std::move(value);
  op.number = number;
  op.time_ms = time;
  return op;
}

struct Fixture : testing::Test {
  void SetUp() override {
    writer = Uid::random();
    run = Uid::random();
    runs.add_op(make(OpKind::run_start, run, "exp", "name", 1), writer);
    keys.define({1, run, "a"});
    keys.define({2, run, "b"});
  }
  buffer::Beat beat() {
    buffer::Beat b;
    runs.pack(++number, &b);
    buffer::Beat copy = b;
    runs.written(std::move(b));
    return copy;
  }
  std::size_t points_in(const buffer::Beat& b) {
    std::size_t n = 0;
    for (const auto& part : b.runs) n += part.block.size();
    return n;
  }
  Runs runs;
  KeyTable keys;
  Uid writer, run;
  std::uint64_t number = 0;
};
using RunsTest = Fixture;

TEST_F(RunsTest, SummariesAreThoseOfTheModel) {
  std::mt19937_64 random(7);
  const double odd[] = {std::nan(""), 0.0, -0.0, INFINITY, -INFINITY, std::numeric_limits<double>::max(), 5e-324, 1.5};
  model::Summary a, b;
  std::vector<journal::KeyedPoint> points;
  for (int i = 0; i < 5'000; ++i) {
    const model::Point p{static_cast<std::int64_t>(random() % 50) - 25,
                         static_cast<std::int64_t>(1000 + i + random() % 3), odd[random() % 8]};
    const std::uint32_t key = 1 + random() % 2;
    points.push_back({key, p});
  }
  runs.add_points(points, keys, false);
  const buffer::Beat written = beat();
  ASSERT_EQ(written.runs.size(), 1u);
  const buffer::Block& block = written.runs[0].block;
  std::vector<model::Summary> expected(2);
  for (std::size_t i = 0; i < block.size(); ++i) {
    expected[block.metric[i]].add({block.step[i], block.time_ms[i], block.value[i]});
  }
  for (const auto& row : written.runs[0].metrics) {
    const model::Summary &x = row.summary, &y = expected[row.metric];
    EXPECT_EQ(x.count, y.count);
    EXPECT_EQ(x.last.step, y.last.step);
    EXPECT_EQ(x.last.time_ms, y.last.time_ms);
    EXPECT_EQ(model::server_value(x.last.value), model::server_value(y.last.value));
    EXPECT_EQ(x.min, y.min);
    EXPECT_EQ(x.max, y.max);
    EXPECT_EQ(x.min_step, y.min_step);
    EXPECT_EQ(x.max_step, y.max_step);
  }
}

TEST_F(RunsTest, MergesWhatTheServerCannotTellApart) {
  const double inf = INFINITY, max = std::numeric_limits<double>::max();
  const std::vector<journal::KeyedPoint> points = {
      {1, {5, 1000, 0.0}},          {1, {5, 1000, -0.0}},            // merged
      {1, {5, 1000, std::nan("")}}, {1, {5, 1000, -std::nan("1")}},  // kept (is-NaN), merged
      {1, {5, 1000, inf}},          {1, {5, 1000, max}},             // merged
      {1, {5, 1000, -inf}},         {1, {5, 1000, -max}},            // merged
      {1, {5, 1001, 0.0}},          {1, {4, 1000, 0.0}},             // another ms, another step
      {2, {5, 1000, 0.0}},                                           // another name
  };
  runs.add_points(points, keys, false);
  EXPECT_EQ(runs.totals().merged, 4u);
  EXPECT_EQ(points_in(beat()), points.size() - 4);
  // Across beats, and not two beats later (documented: this beat or the one before).
  runs.add_points({{1, {5, 1000, 0.0}}, {1, {6, 1002, 1.0}}}, keys, false);
  EXPECT_EQ(runs.totals().merged, 5u);
  EXPECT_EQ(points_in(beat()), 1u);
  EXPECT_EQ(runs.find(run)->row.merged, 5u);
  EXPECT_EQ(runs.totals().accepted, points.size() + 2);
  EXPECT_EQ(runs.totals().accepted, runs.totals().merged + runs.totals().stored);
}

TEST_F(RunsTest, AMergedPointOfAnUnindexedBeatBeforeIsFound) {
  runs.add_points({{1, {1, 10, 1.0}}, {1, {2, 11, 2.0}}}, keys, false);  // ascending: nothing is indexed
  beat();
  runs.add_points({{1, {2, 11, 2.0}}, {1, {1, 10, 1.0}}, {1, {1, 11, 1.0}}}, keys, false);
  EXPECT_EQ(runs.totals().merged, 2u);
}

TEST_F(RunsTest, BlocksAreCutAndNumbersFollowEachOther) {
  std::vector<journal::KeyedPoint> points;
  for (int i = 0; i < 45'000; ++i) points.push_back({1u + i % 2, {i, 1000 + i / 100, i * 0.5}});
  runs.add_op(make(OpKind::param, run, "p", "1"), writer);
  runs.add_points(points, keys, false);
  const buffer::Beat b = beat();
  ASSERT_EQ(b.runs.size(), 3u);
  std::uint64_t next = 2;  // after the start, numbered 1
  for (const auto& part : b.runs) {
    EXPECT_LE(part.block.size(), kBlockPoints);
    EXPECT_EQ(part.block.first_seq, next);
    EXPECT_EQ(part.row.next_seq, 45'003u);
    next += part.block.size();
  }
  EXPECT_EQ(next, 45'002u);
  ASSERT_EQ(b.runs.back().ops.size(), 2u);
  EXPECT_EQ(b.runs.back().ops[0].seq, 1u);
  EXPECT_EQ(b.runs.back().ops[1].seq, 45'002u);
  EXPECT_FALSE(b.runs.back().texts_unchanged);
  runs.add_points({{1, {50'000, 5'000, 1}}}, keys, false);
  const buffer::Beat again = beat();
  EXPECT_TRUE(again.runs.back().texts_unchanged);
  EXPECT_EQ(again.runs.back().block.first_seq, 45'003u);
  EXPECT_TRUE(again.runs.back().row.params.empty());
}

TEST_F(RunsTest, OpsOnRows) {
  runs.add_op(make(OpKind::param, run, "lr", "1"), writer);
  runs.add_op(make(OpKind::param, run, "lr", "2"), writer);
  runs.add_op(make(OpKind::set_tag, run, "t", "1"), writer);
  runs.add_op(make(OpKind::set_tag, run, "u", "1"), writer);
  runs.add_op(make(OpKind::set_tag, run, "t", "2"), writer);
  runs.add_op(make(OpKind::delete_tag, run, "t"), writer);
  runs.add_op(make(OpKind::set_tag, run, "u", "3"), writer);
  runs.add_op(make(OpKind::run_name, run, {}, "other"), writer);
  const model::RunRow& row = runs.find(run)->row;
  EXPECT_EQ(row.params, (Pairs{{"lr", "1"}}));
  EXPECT_EQ(row.tags, (Pairs{{"u", "3"}}));
  EXPECT_EQ(row.name, "other");
  EXPECT_EQ(row.starts, 1u);
  runs.add_op(make(OpKind::run_end, run, "1", {}, 3, 2000), writer);
  EXPECT_EQ(row.status, RunStatus::finished);
  EXPECT_EQ(row.end_ms, 2000);
  runs.add_op(make(OpKind::run_start, run, "exp", "", 2, 3000), writer);
  EXPECT_EQ(row.status, RunStatus::running);
  EXPECT_EQ(row.name, "other");
  EXPECT_EQ(row.starts, 2u);
  EXPECT_EQ(row.start_ms, 1000);
  runs.add_op(make(OpKind::run_end, run, "1", {}, 4, 4000), writer);  // of the older start
  EXPECT_EQ(row.status, RunStatus::running);
  runs.add_op(make(OpKind::run_detach, run, {}, {}, 0, 4000), writer);  // the slot owns the run
  EXPECT_EQ(row.status, RunStatus::running);
  runs.add_op(make(OpKind::run_end, run, "2", {}, 4, 5000), writer);
  EXPECT_EQ(row.status, RunStatus::failed);
}

TEST_F(RunsTest, ALeftRunStaysOpenUntilItsEnd) {
  const model::RunRow& row = runs.find(run)->row;
  runs.add_op(make(OpKind::run_leave, run, "7"), writer);  // of a start that is not there
  EXPECT_FALSE(row.left_open);
  runs.add_op(make(OpKind::run_leave, run, "1"), writer);
  EXPECT_TRUE(row.left_open);
  EXPECT_EQ(row.status, RunStatus::running);
  EXPECT_TRUE(beat().runs.back().row.left_open);
  runs.add_op(make(OpKind::run_start, run, "exp", "", 2, 3000), writer);
  EXPECT_FALSE(row.left_open);
  runs.add_op(make(OpKind::run_leave, run, "1"), writer);  // of the older start
  EXPECT_FALSE(row.left_open);
  runs.add_op(make(OpKind::run_leave, run, "2"), writer);
  runs.add_op(make(OpKind::run_end, run, "2", {}, 3, 4000), writer);
  EXPECT_FALSE(row.left_open);
  EXPECT_EQ(row.status, RunStatus::finished);
  runs.add_op(make(OpKind::run_leave, run, "2"), writer);  // after its end
  EXPECT_FALSE(row.left_open);
}

TEST_F(RunsTest, AttachedHasNoSay) {
  const Uid theirs = Uid::random();
  runs.add_op(make(OpKind::run_attach, theirs, "exp"), writer);
  const model::RunRow& row = runs.find(theirs)->row;
  EXPECT_TRUE(row.attached);
  runs.add_op(make(OpKind::run_detach, theirs), writer);
  EXPECT_EQ(row.status, RunStatus::finished);
  runs.add_op(make(OpKind::run_leave, theirs, "1"), writer);
  EXPECT_FALSE(row.left_open);
}

TEST_F(RunsTest, PointsWithoutAStartAreKept) {
  const Uid lost = Uid::random();
  keys.define({3, lost, "loss"});
  runs.add_points({{3, {1, 500, 0.5}}, {9, {1, 500, 0.5}}}, keys, false);
  EXPECT_EQ(runs.find(lost)->row.name, "recovered-" + lost.hex().substr(0, 8));
  EXPECT_EQ(runs.dropped_invalid(), 1u);  // key 9 is nobody's
  runs.add_op(make(OpKind::run_start, lost, "exp", "real", 1), writer);
  EXPECT_EQ(runs.find(lost)->row.name, "real");
}

TEST_F(RunsTest, OfRunsThatEndedLittleIsKeptAndTheyAreGoneOnWith) {
  constexpr int kRuns = 2'000;
  std::vector<Uid> all;
  std::size_t before = 0;
  for (int i = 0; i < kRuns; ++i) {
    if (i == kRuns / 2) before = ::mallinfo2().uordblks;  // 0 below a sanitizer
    const Uid& one = all.emplace_back(Uid::random());
    Op start = make(OpKind::run_start, one, "experiment", "name of a run", 1);
    for (int t = 0; t < 8; ++t) start.pairs.emplace_back("mlflow.source.tag" + std::to_string(t), "a value of a tag");
    runs.add_op(start, writer);
    runs.add_op(make(OpKind::param, one, "lr", "0.001"), writer);
    const auto key = static_cast<std::uint32_t>(10 + i);
    keys.define({key, one, "loss"});
    runs.add_points({{key, {1, 1000, 0.5}}, {key, {2, 1001, 0.25}}}, keys, false);
    runs.add_op(make(OpKind::run_end, one, "1", "", 3), writer);
    beat();
  }
  beat();
  const std::size_t each = (::mallinfo2().uordblks - before) / (kRuns / 2);
  EXPECT_LT(each, 3'000u) << "bytes of a run that has ended";  // 1,100 of them are its texts

  const Uid& one = all[7];
  runs.add_op(make(OpKind::set_tag, one, "mlflow.source.tag3", "another"), writer);
  runs.add_op(make(OpKind::param, one, "lr", "2"), writer);  // the first one stays
  runs.add_points({{17, {3, 1002, 0.125}}}, keys, false);
  keys.define({5, one, "loss"});  // by another thread
  keys.define({6, one, "other"});
  runs.add_points({{5, {4, 1003, 0.5}}, {6, {4, 1003, 0.5}}}, keys, false);
  const buffer::Beat late = beat();
  ASSERT_EQ(late.runs.size(), 1u);
  const model::RunRow& row = runs.find(one)->row;
  EXPECT_EQ(row.points, 5u);
  EXPECT_EQ(row.tags.size(), 8u);
  EXPECT_EQ(row.tags[3].second, "another");
  EXPECT_EQ(row.params, (Pairs{{"lr", "0.001"}}));
  ASSERT_EQ(runs.find(one)->metrics.size(), 2u);
  EXPECT_EQ(runs.find(one)->metrics[0]->summary.count, 4u);
}

TEST_F(RunsTest, OverQuotaPointsAreCounted) {
  runs.add_points({{1, {1, 500, 0.5}}, {1, {2, 500, 0.5}}}, keys, true);
  EXPECT_EQ(runs.dropped_quota(), 2u);
  EXPECT_EQ(runs.find(run)->row.dropped, 2u);
  EXPECT_EQ(points_in(beat()), 0u);
  EXPECT_EQ(runs.totals().accepted, 2u);
}

}  // namespace
}  // namespace mlops::drain
