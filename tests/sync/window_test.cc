#include "sync/window.h"

#include <gtest/gtest.h>

#include "rig.h"

namespace mlops::sync::fake {
namespace {

struct Gather : testing::Test {
  std::shared_ptr<Buffer> buffer = std::make_shared<Buffer>();
  Gatherer gatherer{buffer.get(), uid(1)};
  DeadMarks dead;
  Window window;
  std::vector<Damage> damaged;
  Gatherer::Limits limits;
  Gather() {
    limits.durable_beat = 10;
    limits.max_points = 999;
    limits.max_bytes = 900'000;
  }
  const Window& from(std::uint64_t seq) {
    damaged.clear();
    Status status = gatherer.gather(seq, limits, dead, &window, &damaged);
    EXPECT_TRUE(status.ok());
    return window;
  }
};

TEST_F(Gather, SlicesBlocksWithoutLosingAPoint) {
  buffer->write(uid(1)).start("e", "n").points(series("a", 0, 2'500));
  std::uint64_t cursor = 1, next_step = 0;
  std::vector<std::size_t> sizes;
  for (;;) {
    const Window& w = from(cursor);
    if (w.empty()) break;
    sizes.push_back(w.points.size());
    for (std::size_t i = 0; i < w.points.size(); ++i) {
      EXPECT_EQ(w.points[i].point.step, static_cast<std::int64_t>(next_step));
      EXPECT_EQ(w.seqs[i], 2 + next_step);
      EXPECT_EQ(w.points[i].key, "a");
      ++next_step;
    }
    cursor = w.end;
  }
  EXPECT_EQ(next_step, 2'500u);
  EXPECT_EQ(sizes, (std::vector<std::size_t>{999, 999, 502}));
}

TEST_F(Gather, TakesOnlyDurableBeats) {
  buffer->write(uid(1)).start("e", "n").points(series("a", 0, 3));
  buffer->set_beat(11);
  buffer->write(uid(1)).points(series("a", 3, 6));
  EXPECT_EQ(from(1).points.size(), 3u);
  EXPECT_TRUE(from(5).empty());
  limits.durable_beat = 11;
  EXPECT_EQ(from(5).points.size(), 3u);
}

TEST_F(Gather, RespectsTheBodyAndAlwaysTakesOne) {
  buffer->write(uid(1)).start("e", "n").points(series("a", 0, 100));
  limits.max_bytes = 2'000;
  const std::size_t n = from(1).points.size();
  EXPECT_GT(n, 5u);
  EXPECT_LT(n, 50u);
  limits.max_bytes = 1;
  EXPECT_EQ(from(1).points.size(), 1u);
}

TEST_F(Gather, CoalescesTagsInOrder) {
  buffer->write(uid(1))
      .start("e", "n")
      .tag("a", "1")
      .tag("b", "1")
      .op(model::OpKind::delete_tag, "b")
      .tag("a", "2")
      .op(model::OpKind::delete_tag, "c")
      .tag("c", "3");
  const Window& w = from(1);
  ASSERT_EQ(w.tags.size(), 2u);
  EXPECT_EQ(w.tags[0].key + w.tags[0].value, "a2");
  EXPECT_EQ(w.tags[1].key + w.tags[1].value, "c3");
  ASSERT_EQ(w.deletes.size(), 1u);
  EXPECT_EQ(w.deletes[0].key, "b");
}

TEST_F(Gather, LimitsParamsAndTagsPerRequest) {
  auto run = buffer->write(uid(1));
  run.start("e", "n");
  for (int i = 0; i < 250; ++i) run.param("p" + std::to_string(i), "v");
  std::uint64_t cursor = 1;
  std::vector<std::size_t> sizes;
  while (!from(cursor).empty()) {
    sizes.push_back(window.params.size());
    cursor = window.end;
  }
  EXPECT_EQ(sizes, (std::vector<std::size_t>{100, 100, 50}));
}

TEST_F(Gather, TheSameParamTwiceDoesNotTravelInOneRequest) {
  buffer->write(uid(1)).start("e", "n").param("p", "1").param("p", "1").param("p", "2");
  EXPECT_EQ(from(1).params.size(), 1u);
  EXPECT_EQ(window.end, 4u);
  EXPECT_EQ(from(4).params.size(), 1u);
}

TEST_F(Gather, OnlyTheEndOfTheLastStartEnds) {
  buffer->write(uid(1))
      .start("e", "n")
      .end(RunStatus::killed, 1)
      .start("e", "n")
      .end(RunStatus::finished, 2)
      .tag("x", "y");
  limits.starts = 2;
  const Window& w = from(1);
  EXPECT_TRUE(w.ends);
  EXPECT_EQ(w.end_status, RunStatus::finished);
  EXPECT_EQ(w.end, 5u) << "nothing is taken behind the end";
  EXPECT_TRUE(w.tags.empty());
  EXPECT_EQ(from(5).tags.size(), 1u);
  limits.attached = true;
  EXPECT_FALSE(from(1).ends);
}

TEST_F(Gather, PassesOverWhatTheWatermarkProves) {
  buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10)).param("p", "1");
  limits.skip_points_below = 7;
  const Window& w = from(1);
  EXPECT_EQ(w.points.size(), 5u);
  EXPECT_EQ(w.points[0].point.step, 5);
  EXPECT_EQ(w.all_points, 10u);
  EXPECT_EQ(w.params.size(), 1u);
}

TEST_F(Gather, ReportsDamageOnceAndGoesOn) {
  buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10)).points(series("a", 10, 15));
  buffer->edit(uid(1), [](Buffer::Run& run) { run.damaged[2] = 10; });
  EXPECT_EQ(from(1).points.size(), 5u);
  EXPECT_EQ(window.all_points, 15u);
  ASSERT_EQ(damaged.size(), 1u);
  EXPECT_EQ(damaged[0].seq, 2u);
  EXPECT_EQ(damaged[0].count, 10u);
  dead[2].count = dead[2].points = 10;
  from(1);
  EXPECT_TRUE(damaged.empty());
}

TEST(Watermark, IsBoundToSlotBufferAndGeneration) {
  EXPECT_EQ(watermark_key("/a/root/host/slot"), watermark_key("/b/elsewhere/host/slot/"));
  EXPECT_NE(watermark_key("/a/root/host/slot"), watermark_key("/a/root/host/slot2"));
  EXPECT_EQ(watermark_key("/a/b").size(), std::string("mlops.sync.").size() + 8);
  buffer::Identity identity{uid(7), 3};
  const std::string value = watermark_value(identity, 12'345);
  EXPECT_EQ(value, "07070707.3.12345");
  EXPECT_EQ(parse_watermark(value, identity), 12'345u);
  identity.generation = 4;
  EXPECT_EQ(parse_watermark(value, identity), 0u);
  EXPECT_EQ(parse_watermark("", identity), 0u);
  EXPECT_EQ(parse_watermark("07070707.4.12x", identity), 0u);
}

}  // namespace
}  // namespace mlops::sync::fake
