// Outbox: bytes, and a reader that sees what is published, whole, in order, and knows what is not.
#include "buffer/outbox.h"

#include <chrono>
#include <filesystem>
#include <random>
#include <thread>

#include "base/base.h"
#include "base/file.h"
#include "buffer/envelope.h"
#include "data.h"

namespace mlops::buffer {
namespace {

constexpr Identity kIdentity{{{1, 2, 3}}, 1};

Uid uid_of(std::uint8_t first) {
  Uid uid;
  for (std::size_t i = 0; i < uid.bytes.size(); ++i) uid.bytes[i] = static_cast<std::uint8_t>(first + i);
  return uid;
}

/// A slot whose outbox and summary the test writes as an owner would.
class OutboxTest : public testing::Test {
 protected:
  OutboxTest() {
    EXPECT_TRUE(base::make_dirs(slot() + "/outbox").ok());
    row_.uid = uid_of(16);
    row_.experiment = "digits";
    row_.status = RunStatus::running;
  }
  std::string slot() const { return dir_.path() + "/slot"; }

  static std::string ten_points(std::uint64_t seq) {
    Block block;
    block.first_seq = seq;
    block.beat = 3;
    for (int i = 0; i < 10; ++i) {
      block.metric.push_back(static_cast<std::uint32_t>(i % 2));
      block.step.push_back(static_cast<std::int64_t>(seq) + i);
      block.time_ms.push_back(1'790'000'000'000);
      block.value.push_back(0.5 * i);
    }
    return encode_block(block);
  }
  /// Records of ten numbers each, from `from` to `until`.
  void publish(std::uint64_t number, std::uint64_t from, std::uint64_t until, const Identity& identity = kIdentity) {
    OutboxFile file;
    file.identity = identity;
    OutboxPart& part = file.parts.emplace_back();
    part.row = row_;
    part.row.next_seq = until;
    part.from = from;
    part.until = until;
    part.metrics = {metric_row(0), metric_row(1)};
    std::vector<std::string> bytes;
    for (std::uint64_t seq = from; seq < until; seq += 10) bytes.push_back(ten_points(seq));
    for (std::size_t i = 0; i < bytes.size(); ++i) part.records.push_back({from + 10 * i, 10, bytes[i]});
    spill(path(number), encode_outbox(file));
  }
  std::string path(std::uint64_t number) const { return slot() + "/outbox/" + outbox_name(number); }
  void summarize(std::uint64_t next_seq) {
    model::RunRow row = row_;
    row.next_seq = next_seq;
    spill(slot() + "/summary", encode_summary(kIdentity, {}, {{row, {metric_row(0), metric_row(1)}}}));
  }
  void look(OutboxReader& reader) {
    std::this_thread::sleep_for(std::chrono::milliseconds(110));
    ASSERT_TRUE(reader.refresh().ok());
  }
  /// The numbers of the records that come.
  std::vector<std::uint64_t> seqs(const Reader& reader, std::uint64_t from, Status* status = nullptr) {
    std::vector<std::uint64_t> out;
    damage_.clear();
    const Status s = reader.scan(
        row_.uid, from, [&](const Record& record) { return out.push_back(record.seq), true; },
        [&](std::uint64_t seq, std::uint64_t count, const Status&) { damage_.emplace_back(seq, count); });
    if (status != nullptr) *status = s;
    return out;
  }

  TempDir dir_;
  model::RunRow row_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> damage_;
};

TEST_F(OutboxTest, Names) {
  EXPECT_EQ(outbox_name(42), "00000000000000000042");
  std::uint64_t number = 0;
  EXPECT_TRUE(parse_outbox_name("00000000000000000042", &number));
  EXPECT_EQ(number, 42u);
  for (const char* bad : {"", "42", "0000000000000000004x", "00000000000000000042.tmp.1.2"}) {
    EXPECT_FALSE(parse_outbox_name(bad, &number)) << bad;
  }
}

TEST_F(OutboxTest, NothingYet) { EXPECT_EQ(open_outbox(slot(), false).status().code(), StatusCode::not_found); }

TEST_F(OutboxTest, FilesFollowEachOtherAndGo) {
  publish(100, 1, 31);
  auto opened = open_outbox(slot(), false);
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  OutboxReader& reader = **opened;
  EXPECT_EQ(reader.newest(), 100u);
  EXPECT_TRUE(reader.identity().uid == kIdentity.uid);
  EXPECT_EQ(seqs(reader, 0), (std::vector<std::uint64_t>{1, 11, 21}));
  EXPECT_EQ(seqs(reader, 15), (std::vector<std::uint64_t>{11, 21})) << "the record that reaches past it comes too";
  publish(105, 31, 51);
  publish(106, 21, 51);  // published again: no record comes twice
  look(reader);
  EXPECT_EQ(reader.newest(), 106u);
  EXPECT_EQ(reader.run(row_.uid)->next_seq, 51u);
  EXPECT_EQ(seqs(reader, 0), (std::vector<std::uint64_t>{1, 11, 21, 31, 41}));
  EXPECT_EQ(reader.metrics(row_.uid)->size(), 2u);
  // What has been passed goes; the summary still knows the run.
  summarize(51);
  for (const std::uint64_t n : {100, 105, 106}) std::filesystem::remove(path(n));
  look(reader);
  EXPECT_EQ(reader.newest(), 106u) << "what is durable does not become less";
  EXPECT_EQ(reader.runs()->size(), 1u);
  EXPECT_EQ(reader.run(row_.uid)->next_seq, 51u);
  EXPECT_EQ(seqs(reader, 51), std::vector<std::uint64_t>{});
}

TEST_F(OutboxTest, AHoleIsNoLoss) {
  publish(100, 1, 21);
  publish(101, 41, 61);
  auto reader = open_outbox(slot(), false);
  ASSERT_TRUE(reader.ok());
  Status status;
  EXPECT_EQ(seqs(**reader, 0, &status), (std::vector<std::uint64_t>{1, 11}));
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(seqs(**reader, 21, &status), std::vector<std::uint64_t>{});
  EXPECT_EQ(status.code(), StatusCode::unavailable) << "a deliverer must wait, not pass it";
  EXPECT_TRUE(damage_.empty());
  auto people = open_outbox(slot(), true);
  ASSERT_TRUE(people.ok());
  EXPECT_EQ(seqs(**people, 0, &status), (std::vector<std::uint64_t>{1, 11, 41, 51}));
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(damage_, (std::vector<std::pair<std::uint64_t, std::uint64_t>>{{21, 20}}));
  publish(102, 21, 41);  // it is published
  look(**reader);
  EXPECT_EQ(seqs(**reader, 21, &status), (std::vector<std::uint64_t>{21, 31, 41, 51}));
}

TEST_F(OutboxTest, DamageIsNamedOrWaitedFor) {
  publish(100, 1, 21);
  publish(101, 21, 41);
  std::string bytes = slurp(path(101));
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  spill(path(101), bytes);
  auto reader = open_outbox(slot(), false);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(seqs(**reader, 0), (std::vector<std::uint64_t>{1, 11})) << "a file that is not whole is not there (yet)";
  EXPECT_TRUE(damage_.empty());
  // A record that its owner's database has damaged is damage.
  OutboxFile file;
  file.identity = kIdentity;
  file.parts.emplace_back();
  file.parts[0].row = row_;
  file.parts[0].row.next_seq = 41;
  file.parts[0].from = 21;
  file.parts[0].until = 41;
  std::string bad = ten_points(21), good = ten_points(31);
  bad[20] = static_cast<char>(bad[20] ^ 1);
  file.parts[0].records = {{21, 10, bad}, {31, 10, good}};
  spill(path(102), encode_outbox(file));
  look(**reader);
  EXPECT_EQ(seqs(**reader, 21), std::vector<std::uint64_t>{31});
  EXPECT_EQ(damage_, (std::vector<std::pair<std::uint64_t, std::uint64_t>>{{21, 10}}));
}

TEST_F(OutboxTest, AnotherDatabasesFilesAreNotMixedIn) {
  publish(100, 1, 31);
  publish(101, 1, 11, {{{9}}, 1});
  auto reader = open_outbox(slot(), false);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ((*reader)->identity().uid.bytes[0], 9);
  EXPECT_EQ((*reader)->run(row_.uid)->next_seq, 11u);
  EXPECT_EQ(seqs(**reader, 0), std::vector<std::uint64_t>{1});
}

TEST_F(OutboxTest, NoBytesCrashTheDecoder) {
  publish(100, 1, 31);
  const std::string good = slurp(path(100));
  OutboxFile file;
  ASSERT_TRUE(decode_outbox(good, &file).ok());
  std::mt19937_64 random(20261127);
  for (int i = 0; i < 20'000; ++i) {
    std::string body = good.substr(kEnvelopeBytes);
    for (std::uint64_t n = 1 + random() % 4; n > 0; --n) body[random() % body.size()] = static_cast<char>(random());
    if (random() % 3 == 0) body.resize(random() % body.size());
    const std::string sealed = seal(kOutboxMark, body);
    decode_outbox(sealed, &file).ignore();  // any answer, no crash
  }
  EXPECT_EQ(decode_outbox(good.substr(0, good.size() - 1), &file).code(), StatusCode::data_loss);
}

TEST_F(OutboxTest, CopyGivesTheRecordsAsTheyLie) {
  auto opened = Buffer::open(dir_.path() + "/db-slot");
  if (!opened.ok()) {
    ASSERT_TRUE(base::make_dirs(dir_.path() + "/db-slot").ok());
    opened = Buffer::open(dir_.path() + "/db-slot");
  }
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  Buffer& buffer = **opened;
  EXPECT_EQ(*buffer.newest_beat(), 0u);
  for (std::uint64_t beat = 1; beat <= 3; ++beat) {
    Beat b;
    b.beat = beat;
    Beat::RunPart& part = b.runs.emplace_back();
    part.row = row_;
    part.row.next_seq = beat * 10 + 1;
    std::mt19937_64 random(beat);
    part.block = make_block(random, 1, 5, 2, beat * 10 - 9, beat);
    ASSERT_TRUE(buffer.write(b).ok());
  }
  EXPECT_EQ(*buffer.newest_beat(), 3u);
  std::vector<std::uint64_t> seen;
  ASSERT_TRUE(buffer
                  .copy(row_.uid, 15,
                        [&](std::uint64_t seq, std::uint64_t count, std::string_view bytes) {
                          Block block;
                          EXPECT_TRUE(decode_block(bytes, &block).ok());
                          EXPECT_EQ(block.first_seq, seq);
                          EXPECT_EQ(block.size(), count);
                          seen.push_back(seq);
                          return seq < 21;
                        })
                  .ok());
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{11, 21}));
}

}  // namespace
}  // namespace mlops::buffer
