// Outlet: what is published, what goes, what comes back; bounded, and no run holds up the others.
#include "drain/outlet.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/base.h"
#include "base/file.h"
#include "base/place.h"
#include "buffer/outbox.h"
#include "drain/rig.h"

namespace mlops::drain {
namespace {

using test::Folder;

class OutletTest : public testing::Test {
 protected:
  OutletTest() : slot_(root_.path + "/host/s-00000001") {
    EXPECT_TRUE(base::make_dirs(slot_).ok());
    EXPECT_TRUE(base::mark_network_root(root_.path).ok());
    buffer_ = std::move(buffer::Buffer::open(slot_).value());
    for (std::size_t i = 0; i < 2; ++i) runs_.push_back(base::Uid::random());
  }
  ~OutletTest() override { buffer_->flush_and_close().ignore(); }

  /// A beat with so many points of a run, whose values do not compress.
  void beat(std::size_t run, int points) {
    buffer::Beat b;
    b.beat = ++beat_;
    auto& part = b.runs.emplace_back();
    part.row.uid = runs_[run];
    part.row.experiment = "e";
    part.row.status = RunStatus::running;
    part.row.starts = 1;
    part.block.first_seq = next_[run];
    part.block.beat = beat_;
    for (int i = 0; i < points; ++i) {
      part.block.metric.push_back(0);
      part.block.step.push_back(static_cast<std::int64_t>(next_[run]) + i);
      part.block.time_ms.push_back(1'790'000'000'000);
      part.block.value.push_back(static_cast<double>(base::random_u64()));
    }
    next_[run] += static_cast<std::uint64_t>(points);
    part.row.next_seq = next_[run];
    part.row.points = next_[run] - 1;
    buffer::MetricRow metric;
    metric.name = "m";
    metric.summary.add({1, 1, 1});
    part.metrics = {metric};
    ASSERT_TRUE(buffer_->write(b).ok());
    ASSERT_TRUE(state_.load(*buffer_).ok());
  }
  void publish(Outlet& outlet, std::size_t run) {
    outlet.touch(runs_[run]);
    outlet.publish(*buffer_, state_, beat_);
    summarize(outlet);
  }
  void summarize(Outlet& outlet) {
    std::vector<buffer::SummaryEntry> entries;
    for (const auto& run : state_.all()) entries.push_back({run->row, {{0, "m", {}}}});
    ASSERT_TRUE(
        base::replace_file(slot_ + "/summary", buffer::encode_summary(buffer_->identity(), {}, entries), false).ok());
    outlet.summary_written();
  }
  /// A deliverer of another node that has passed everything below these numbers; `elsewhere`: and is at work.
  void deliverer(const std::string& name, std::vector<std::uint64_t> cursors, bool elsewhere, std::size_t parked = 9) {
    const std::string folder = slot_ + "/delivery/" + name;
    ::unlink((folder + "/lease").c_str());
    {
      auto ledger = ledger::Ledger::open(slot_, {name, "http://127.0.0.1:1"});
      ASSERT_TRUE(ledger.ok()) << ledger.status().to_string();
      for (std::size_t i = 0; i < cursors.size(); ++i) {
        ledger::Lane lane = (*ledger)->lane(runs_[i]);
        lane.buffer_uid = buffer_->identity().uid;
        lane.buffer_generation = buffer_->identity().generation;
        lane.cursor = cursors[i];
        lane.parked = i == parked ? "somebody must act" : "";
        ASSERT_TRUE((*ledger)->put(lane).ok());
      }
    }
    if (!elsewhere) return;
    ASSERT_TRUE(base::replace_file(folder + "/lease", "mlops-lease 1\nee 1 60000 9 node7 boot\n", false).ok());
  }
  std::size_t files() const { return base::list_dir(slot_ + "/outbox").value_or({}).size(); }
  /// The first and the last number that a reader gets from there on; 0, 0: none.
  std::pair<std::uint64_t, std::uint64_t> seen(std::size_t run, std::uint64_t from) {
    auto reader = buffer::open_outbox(slot_, false);
    if (!reader.ok()) return {0, 0};
    std::uint64_t first = 0, last = 0;
    const auto take = [&](const buffer::Record& r) {
      if (first == 0) first = r.seq;
      EXPECT_TRUE(last == 0 || r.seq == last) << "a record is missing";
      last = r.seq + r.count;
      return true;
    };
    (*reader)->scan(runs_[run], from, take, {}).ignore();
    return {first, last};
  }

  Folder root_;
  const std::string slot_;
  std::unique_ptr<buffer::Buffer> buffer_;
  Runs state_;
  std::vector<base::Uid> runs_;
  std::uint64_t next_[2] = {1, 1};
  std::uint64_t beat_ = 100;
};

using Pair = std::pair<std::uint64_t, std::uint64_t>;

TEST_F(OutletTest, WhatEverybodyHasGoes) {
  Outlet outlet(slot_);
  outlet.restart(state_, buffer_->identity(), beat_);
  for (int i = 0; i < 5; ++i) {
    beat(0, 10);
    publish(outlet, 0);
  }
  EXPECT_EQ(files(), 5u);
  EXPECT_EQ(seen(0, 1), Pair(1, 51));
  outlet.look(state_, true);
  EXPECT_EQ(files(), 5u) << "without a ledger the bound alone decides";
  deliverer("a", {31, 1}, true);
  outlet.look(state_, true);
  EXPECT_EQ(files(), 2u);
  EXPECT_EQ(seen(0, 31), Pair(31, 51));
  deliverer("b", {41, 1}, false);
  deliverer("a", {51, 1}, true);
  outlet.look(state_, true);
  EXPECT_EQ(files(), 1u) << "the other one is not at work, but it is known";
  deliverer("b", {51, 1}, false);
  outlet.look(state_, true);
  EXPECT_EQ(files(), 0u);
  EXPECT_FALSE(outlet.waits());
}

TEST_F(OutletTest, WhatIsNotInTheSummaryStays) {
  Outlet outlet(slot_);
  outlet.restart(state_, buffer_->identity(), beat_);
  beat(0, 10);
  outlet.touch(runs_[0]);
  outlet.publish(*buffer_, state_, beat_);
  deliverer("a", {11, 1}, true);
  outlet.look(state_, true);
  EXPECT_EQ(files(), 1u) << "a reader that comes now would not know the run";
  summarize(outlet);
  outlet.look(state_, true);
  EXPECT_EQ(files(), 0u);
}

TEST_F(OutletTest, ALateDelivererGetsWhatWasThereBefore) {
  for (int i = 0; i < 3; ++i) beat(0, 10);
  Outlet outlet(slot_);
  outlet.restart(state_, buffer_->identity(), beat_);
  outlet.look(state_, true);
  EXPECT_FALSE(outlet.waits()) << "nobody asked for it";
  beat(0, 10);
  publish(outlet, 0);
  EXPECT_EQ(seen(0, 31), Pair(31, 41));
  EXPECT_EQ(seen(0, 1), Pair(0, 0));
  deliverer("a", {11, 1}, true);
  outlet.look(state_, true);
  EXPECT_TRUE(outlet.waits());
  outlet.publish(*buffer_, state_, beat_);
  EXPECT_EQ(seen(0, 11), Pair(11, 41));
  deliverer("b", {}, true);  // has nothing, and says so by having no lane
  outlet.look(state_, true);
  outlet.publish(*buffer_, state_, beat_);
  EXPECT_EQ(seen(0, 1), Pair(1, 41));
}

TEST_F(OutletTest, FullItRollsOrWaits) {
  Outlet outlet(slot_, {.bytes = 1u << 20, .files = 4, .file_bytes = 1u << 20});
  outlet.restart(state_, buffer_->identity(), beat_);
  for (int i = 0; i < 10; ++i) {
    beat(0, 10);
    publish(outlet, 0);
  }
  EXPECT_EQ(files(), 4u) << "nobody reads: the newest stay";
  EXPECT_EQ(seen(0, 61), Pair(61, 101));
  deliverer("a", {61, 1}, true);
  outlet.look(state_, true);
  for (int i = 0; i < 3; ++i) {
    beat(0, 10);
    publish(outlet, 0);
  }
  EXPECT_EQ(files(), 4u);
  EXPECT_TRUE(outlet.waits()) << "what a deliverer has not passed is not thrown away";
  EXPECT_EQ(seen(0, 61), Pair(61, 101));
  deliverer("a", {91, 1}, true);
  outlet.look(state_, true);
  outlet.publish(*buffer_, state_, beat_);
  EXPECT_EQ(seen(0, 91), Pair(91, 131)) << "and what waited comes in one";
  EXPECT_EQ(files(), 2u);
}

TEST_F(OutletTest, AParkedRunHoldsNothingUp) {
  Outlet outlet(slot_, {.bytes = 1u << 20, .files = 3, .file_bytes = 1u << 20});
  outlet.restart(state_, buffer_->identity(), beat_);
  deliverer("a", {1, 1}, true, 1);
  for (int i = 0; i < 3; ++i) {
    for (const std::size_t run : {0, 1}) {
      beat(run, 10);
      outlet.touch(runs_[run]);
    }
    outlet.publish(*buffer_, state_, beat_);
    summarize(outlet);
    deliverer("a", {next_[0], 1}, true, 1);
    outlet.look(state_, true);
    EXPECT_EQ(files(), 0u);
  }
  deliverer("a", {next_[0], 1}, true);  // somebody acted
  outlet.look(state_, true);
  outlet.publish(*buffer_, state_, beat_);
  EXPECT_EQ(seen(1, 1), Pair(1, 31));
}

TEST_F(OutletTest, ALargeBacklogComesInPieces) {
  deliverer("a", {1, 1}, true);
  for (int i = 0; i < 20; ++i) beat(0, 1'000);
  Outlet outlet(slot_, {.bytes = 64u << 20, .files = 100, .file_bytes = 20'000});
  outlet.restart(state_, buffer_->identity(), beat_);
  outlet.look(state_, true);
  outlet.publish(*buffer_, state_, beat_);
  EXPECT_GE(files(), 5u);
  EXPECT_EQ(seen(0, 1), Pair(1, 20'001));
  EXPECT_FALSE(outlet.waits());
}

TEST_F(OutletTest, WhoOpensTheSlotBeginsWithAnEmptyOne) {
  Outlet outlet(slot_);
  outlet.restart(state_, buffer_->identity(), beat_);
  beat(0, 10);
  publish(outlet, 0);
  ASSERT_TRUE(base::replace_file(slot_ + "/outbox/00000000000000000099.tmp.1.2", "half", false).ok());
  Outlet next(slot_);
  next.restart(state_, buffer_->identity(), beat_);
  EXPECT_EQ(files(), 0u);
}

}  // namespace
}  // namespace mlops::drain
