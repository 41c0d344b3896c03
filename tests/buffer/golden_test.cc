// Golden files: today's code reads what version 1 wrote and writes the same bytes (docs/format.md explains them).
#include "support/golden.h"

#include <string>

#include "buffer/envelope.h"
#include "buffer/outbox.h"
#include "data.h"

namespace mlops::buffer {
namespace {

Uid uid_of(std::uint8_t first) {
  Uid uid;
  for (std::size_t i = 0; i < uid.bytes.size(); ++i) uid.bytes[i] = static_cast<std::uint8_t>(first + i);
  return uid;
}

// Three steps of two metrics: 4-decimal accuracies and a float32 loss. Too small for zstd, whose output may change.
Block small_block() {
  Block block;
  block.first_seq = 41;
  block.beat = 7;
  block.metric = {0, 1, 0, 1, 0, 1};
  block.step = {5, 5, 6, 6, 7, 7};
  block.time_ms = {1'790'000'000'000, 1'790'000'000'000, 1'790'000'000'010,
                   1'790'000'000'010, 1'790'000'000'025, 1'790'000'000'025};
  block.value = {0.9312, 0.5f, 0.9401, 0.4375f, 0.9388, 0.3125f};
  return block;
}

// Long enough that columns are zstd frames; only read.
Block large_block() {
  Block block;
  block.first_seq = 1;
  block.beat = 2;
  std::uint64_t state = 42;
  for (int i = 0; i < 4000; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const double noise = static_cast<double>(state >> 40) / (1 << 24);
    block.metric.push_back(static_cast<std::uint32_t>(i % 4));
    block.step.push_back(i / 4);
    block.time_ms.push_back(1'790'000'000'000 + i / 4 * 10 + (i / 4 % 7));
    block.value.push_back(i % 4 == 0   ? 0.1 + noise * noise * noise
                          : i % 4 == 1 ? static_cast<float>(1 + noise)
                          : i % 4 == 2 ? std::floor(noise * 30)
                                       : 0.25);
  }
  return block;
}

Record op_record() {
  Record record;
  record.seq = 47;
  record.beat = 8;
  record.op.ticket = 9;
  record.op.time_ms = 1'790'000'000'030;
  record.op.run = uid_of(0x10);
  record.op.kind = model::OpKind::param;
  record.op.key = "lr";
  record.op.value = "0.001";
  return record;
}

struct Summaries {
  Identity identity;
  SlotCounters counters;
  std::vector<SummaryEntry> runs;
};
Summaries summaries() {
  Summaries s;
  s.identity = {uid_of(0x80), 2};
  s.counters.accepted = 1000;
  s.counters.merged = 1;
  s.counters.buffered = 990;
  s.counters.durable = 980;
  s.counters.dropped = {{"closed", "3"}};
  SummaryEntry entry;
  entry.row.uid = uid_of(0x10);
  entry.row.experiment = "digits";
  entry.row.name = "first";
  entry.row.start_ms = 1'790'000'000'000;
  entry.row.last_ms = 1'790'000'000'030;
  entry.row.starts = 1;
  entry.row.next_seq = 48;
  entry.row.points = 46;
  entry.row.params = {{"lr", "0.001"}};
  entry.row.tags = {{"note", "a"}, {"who", "b"}};
  entry.metrics = {metric_row(0), metric_row(1)};
  s.runs = {entry};
  return s;
}

TEST(Golden, Block) {
  const std::string bytes = golden_bytes("buffer", "block.v1", encode_block(small_block()));
  ASSERT_FALSE(bytes.empty());
  EXPECT_EQ(bytes[1], 1);
  EXPECT_EQ(encode_block(small_block()), bytes);
  Block back;
  ASSERT_TRUE(decode_block(bytes, &back).ok());
  EXPECT_TRUE(same_bits(back, small_block()));
}

TEST(Golden, BlockWithZstd) {
  const std::string bytes = golden_bytes("buffer", "block-zstd.v1", encode_block(large_block()));
  ASSERT_FALSE(bytes.empty());
  Block back;
  ASSERT_TRUE(decode_block(bytes, &back).ok());
  EXPECT_TRUE(same_bits(back, large_block()));
}

TEST(Golden, Op) {
  const std::string bytes = golden_bytes("buffer", "op.v1", encode_op_record(op_record()));
  ASSERT_FALSE(bytes.empty());
  EXPECT_EQ(encode_op_record(op_record()), bytes);
  Record back;
  ASSERT_TRUE(decode_record(bytes, 47, &back).ok());
  EXPECT_EQ(back.beat, 8u);
  EXPECT_FALSE(back.is_block);
  EXPECT_EQ(back.op.key, "lr");
  EXPECT_EQ(back.op.value, "0.001");
  EXPECT_EQ(back.op.run, uid_of(0x10));
  EXPECT_EQ(decode_record(bytes, 48, &back).code(), StatusCode::data_loss);  // under another key
}

TEST(Golden, Summary) {
  const Summaries want = summaries();
  const std::string bytes =
      golden_bytes("buffer", "summary.v1", encode_summary(want.identity, want.counters, want.runs));
  ASSERT_FALSE(bytes.empty());
  EXPECT_EQ(encode_summary(want.identity, want.counters, want.runs), bytes);
  Summaries got;
  ASSERT_TRUE(decode_summary(bytes, &got.identity, &got.counters, &got.runs).ok());
  EXPECT_EQ(got.identity.uid, want.identity.uid);
  EXPECT_EQ(got.identity.generation, 2u);
  EXPECT_EQ(got.counters.durable, 980u);
  EXPECT_EQ(got.counters.dropped, want.counters.dropped);
  ASSERT_EQ(got.runs.size(), 1u);
  EXPECT_EQ(got.runs[0].row.experiment, "digits");
  EXPECT_EQ(got.runs[0].row.tags, want.runs[0].row.tags);
  EXPECT_EQ(got.runs[0].row.next_seq, 48u);
  ASSERT_EQ(got.runs[0].metrics.size(), 2u);
  EXPECT_EQ(got.runs[0].metrics[1].name, "metric/1");
  EXPECT_EQ(got.runs[0].metrics[1].summary.count, 2u);
  EXPECT_EQ(got.runs[0].metrics[1].summary.last.step, 4);
}

TEST(Golden, Outbox) {
  const std::string block = encode_block(small_block()), op = encode_op_record(op_record());
  OutboxFile want;
  want.identity = {uid_of(0x80), 2};
  OutboxPart& part = want.parts.emplace_back();
  part.row = summaries().runs[0].row;
  part.from = 41;
  part.until = 48;
  part.metrics = {metric_row(1)};
  part.records = {{41, 6, block}, {47, 1, op}};
  want.files = {{uid_of(0x50), std::string(32, 's'), 1000, 8, "", uid_of(0x10), 47}};
  const std::string bytes = golden_bytes("buffer", "outbox.v1", encode_outbox(want));
  ASSERT_FALSE(bytes.empty());
  EXPECT_EQ(encode_outbox(want), bytes);
  OutboxFile got;
  ASSERT_TRUE(decode_outbox(bytes, &got).ok());
  EXPECT_EQ(got.identity.uid, uid_of(0x80));
  EXPECT_EQ(got.identity.generation, 2u);
  ASSERT_EQ(got.parts.size(), 1u);
  EXPECT_EQ(got.parts[0].row.next_seq, 48u);
  EXPECT_EQ(got.parts[0].from, 41u);
  EXPECT_EQ(got.parts[0].until, 48u);
  EXPECT_EQ(got.parts[0].metrics[0].name, "metric/1");
  ASSERT_EQ(got.parts[0].records.size(), 2u);
  EXPECT_EQ(got.parts[0].records[0].bytes, block);
  EXPECT_EQ(got.parts[0].records[1].seq, 47u);
  EXPECT_EQ(got.parts[0].records[1].bytes, op);
  ASSERT_EQ(got.files.size(), 1u);
  EXPECT_EQ(got.files[0].name, uid_of(0x50));
  EXPECT_EQ(got.files[0].run, uid_of(0x10));
  EXPECT_EQ(got.files[0].size, 1000u);
  EXPECT_EQ(got.files[0].seq, 47u);
}

TEST(Summary, FlagsOfARun) {
  for (const bool attached : {false, true}) {
    for (const bool left_open : {false, true}) {
      Summaries want = summaries(), got;
      want.runs[0].row.attached = attached;
      want.runs[0].row.left_open = left_open;
      const std::string bytes = encode_summary(want.identity, want.counters, want.runs);
      ASSERT_TRUE(decode_summary(bytes, &got.identity, &got.counters, &got.runs).ok());
      EXPECT_EQ(got.runs[0].row.attached, attached);
      EXPECT_EQ(got.runs[0].row.left_open, left_open);
    }
  }
}

// A deleted run has its flag beside `attached`, and then the time of its lifecycle record.
TEST(Golden, SummaryOfADeletedRun) {
  Summaries want = summaries();
  want.runs[0].row.deleted = true;
  want.runs[0].row.lifecycle_ms = 1'790'000'000'040;
  const std::string now = encode_summary(want.identity, want.counters, want.runs);
  EXPECT_EQ(now, golden_bytes("buffer", "summary-deleted.v1", now));
  Summaries got;
  ASSERT_TRUE(decode_summary(now, &got.identity, &got.counters, &got.runs).ok());
  EXPECT_TRUE(got.runs[0].row.deleted);
  EXPECT_FALSE(got.runs[0].row.attached);
  EXPECT_EQ(got.runs[0].row.lifecycle_ms, 1'790'000'000'040);
  EXPECT_EQ(got.runs[0].row.start_ms, want.runs[0].row.start_ms);
}

TEST(Summary, DamageIsSeenAndForgeryDoesNoHarm) {
  const Summaries want = summaries();
  const std::string bytes = encode_summary(want.identity, want.counters, want.runs);
  Summaries got;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string bad = bytes;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    EXPECT_EQ(decode_summary(bad, &got.identity, &got.counters, &got.runs).code(), StatusCode::data_loss);
  }
  for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
    std::mt19937_64 random(seed);
    std::string body = bytes.substr(kEnvelopeBytes);
    for (std::uint64_t flips = 1 + random() % 4; flips > 0; --flips)
      body[random() % body.size()] = static_cast<char>(random());
    if (seed % 3 == 0) body.resize(random() % body.size());
    const Status s = decode_summary(seal(kSummaryMark, body), &got.identity, &got.counters, &got.runs);
    EXPECT_TRUE(s.ok() || s.code() == StatusCode::data_loss) << "seed " << seed;
  }
}

}  // namespace
}  // namespace mlops::buffer
