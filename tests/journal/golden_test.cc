// Golden journal: today's collector reads the segments that version 1 left, and today's writer writes the same bytes
// when it is given their seeds. The files hold a segment's header and used cells; the rest of a segment is zero.
#include "support/golden.h"

#include <bit>
#include <fstream>
#include <limits>

#include "journal/local.h"
#include "journal/room.h"
#include "journal/segment.h"

namespace mlops::journal {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kTime = 1'790'000'000'000;
constexpr std::uint64_t kDictionarySeed = 0xD1C7D1C7D1C7D1C7u, kThreadSeed = 0x5EED5EED5EED5EEDu;

base::Uid uid_of(std::uint8_t first) {
  base::Uid uid;
  for (std::size_t i = 0; i < uid.bytes.size(); ++i) uid.bytes[i] = static_cast<std::uint8_t>(first + i);
  return uid;
}
const base::Uid kRun = uid_of(0x10), kWriter = uid_of(0x40);
const double kOddNan = std::bit_cast<double>(std::uint64_t{0x7FF8000000000001u});

model::Op start_op() {
  model::Op op;
  op.kind = model::OpKind::run_start;
  op.time_ms = kTime;
  op.run = kRun;
  op.number = 1;
  op.key = "digits";
  op.value = "first";
  op.pairs = {{"who", "a"}};
  return op;
}

// The header says who wrote and with which seed; both are random, and fixed here.
void fix(SegmentHeader* h, std::uint64_t seed) {
  std::memcpy(h->writer, kWriter.bytes.data(), sizeof h->writer);
  h->seed = seed;
  h->check = header_check(*h);
}
void advance_fixed(Chains* chains, Chain* chain, std::uint64_t seed) {
  ASSERT_TRUE(chains->advance(chain, milliseconds(0)));
  fix(chain->current, seed);
  chain->seed = lane_seed(chain->current);
}

std::string used_bytes(const SegmentHeader* h) {
  const std::string_view all(reinterpret_cast<const char*>(h), kSegmentBytes);
  const std::size_t last = all.find_last_not_of('\0') / sizeof(Cell);
  return std::string(all.substr(0, (last + 1) * sizeof(Cell)));
}

struct Segments3 {
  std::string dictionary, first, second;
};

// Two keys, a run's start, points, a record that finds no room and goes to the next segment, and a point behind it.
Segments3 written_today() {
  Segments3 out;
  Room room;
  room.control->ticket = 100;
  room.open();
  Chains* chains = dynamic_cast<WriterHandle*>(room.writer.get())->local()->open_chains();
  Chain* mine = chains->mine(room.core);
  advance_fixed(chains, &chains->dictionary(), kDictionarySeed);
  advance_fixed(chains, mine, kThreadSeed);
  SegmentHeader* const first = mine->current;
  const Handle loss = room.handle(kRun, "loss"), accuracy = room.handle(kRun, "val/accuracy");
  model::Op op = start_op();
  EXPECT_TRUE(room.writer->append(&op).ok());
  loss.log(0.5, 0, kTime + 1);
  accuracy.log(-0.0, -1, kTime + 1);
  loss.log(kOddNan, std::numeric_limits<std::int64_t>::max(), 0);
  mine->limit = mine->cursor + 2;  // as if the segment ended here
  op = tag(kRun, "note", "a longer one");
  op.time_ms = kTime + 2;
  EXPECT_TRUE(room.writer->append(&op).ok());
  loss.log(0.25, 1, kTime + 3);
  out.dictionary = used_bytes(chains->dictionary().current);
  out.first = used_bytes(first);
  fix(mine->current, mine->current->seed);  // taken inside append, so its seed is random
  out.second = used_bytes(mine->current);
  return out;
}

TEST(Golden, WriterWritesTheSameBytes) {
  const Segments3 today = written_today();
  EXPECT_EQ(today.dictionary, golden_bytes("journal", "dictionary.v1", today.dictionary));
  EXPECT_EQ(today.first, golden_bytes("journal", "thread-0.v1", today.first));
  EXPECT_EQ(today.second.size(), golden_bytes("journal", "thread-1.v1", today.second).size());
}

TEST(Golden, CollectorReadsThem) {
  const Room room;
  const std::string dir = room.dir + "/journal/" + kWriter.hex();
  ASSERT_TRUE(base::make_dirs(dir).ok());
  std::string chunk(kChunkBytes, '\0');
  std::size_t at = 0;
  for (const char* name : {"dictionary.v1", "thread-0.v1", "thread-1.v1"}) {
    std::ifstream in(golden_path("journal", name), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    ASSERT_GT(bytes.size(), sizeof(SegmentHeader)) << name;
    chunk.replace(at, bytes.size(), bytes);
    at += kSegmentBytes;
  }
  std::ofstream(dir + "/0000.seg", std::ios::binary) << chunk;

  auto collector = Collector::open(dir, {});
  ASSERT_TRUE(collector.ok()) << collector.status().to_string();
  Taken t;
  t.all(collector->get());
  EXPECT_EQ(t.damaged, 0u);
  ASSERT_EQ(t.keys.size(), 2u);
  EXPECT_EQ(t.keys.at(1).name, "loss");
  EXPECT_EQ(t.keys.at(2).name, "val/accuracy");
  EXPECT_EQ(t.keys.at(2).run, kRun);
  ASSERT_EQ(t.ops.size(), 2u);
  model::Op start = start_op();
  start.ticket = 103;
  EXPECT_EQ(model::encode_op(t.ops[0]), model::encode_op(start));
  EXPECT_EQ(t.ops[1].ticket, 104u);
  EXPECT_EQ(t.ops[1].value, "a longer one");
  ASSERT_EQ(t.points.size(), 4u);
  EXPECT_EQ(t.points[1].key, 2u);
  EXPECT_EQ(t.points[1].point.step, -1);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(t.points[1].point.value), std::bit_cast<std::uint64_t>(-0.0));
  EXPECT_EQ(t.points[2].point.step, std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(t.points[2].point.time_ms, 0);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(t.points[2].point.value), std::bit_cast<std::uint64_t>(kOddNan));
  EXPECT_EQ(t.points[3].point.value, 0.25);
  EXPECT_EQ(t.points[3].point.time_ms, kTime + 3);
}

// One that counted as empty would be removed, with what a newer library accepted.
TEST(Golden, AJournalOfANewerVersionIsRefused) {
  const Room room;
  const std::string dir = room.dir + "/journal/" + kWriter.hex();
  ASSERT_TRUE(base::make_dirs(dir).ok());
  std::ifstream in(golden_path("journal", "thread-0.v1"), std::ios::binary);
  std::string chunk{std::istreambuf_iterator<char>(in), {}};
  chunk.resize(kChunkBytes, '\0');
  chunk[offsetof(SegmentHeader, version)] = 2;
  std::ofstream(dir + "/0000.seg", std::ios::binary) << chunk;
  const auto collector = Collector::open(dir, {});
  EXPECT_EQ(collector.status().code(), StatusCode::failed_precondition);
  EXPECT_NE(collector.status().message().find("newer version"), std::string_view::npos);
}

}  // namespace
}  // namespace mlops::journal
