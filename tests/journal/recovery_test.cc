// What a dead writer left: cursors, torn tails, stale bytes, garbage. The writer is closed in this process, so its
// folder reads like a dead one's.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <random>
#include <thread>

#include "journal/room.h"
#include "journal/segment.h"

namespace mlops::journal {
namespace {

std::unique_ptr<Collector> open_dead(const Room& room, const std::vector<Cursor>& cursors = {}) {
  auto c = Collector::open(room.journal(), cursors);
  EXPECT_TRUE(c.ok()) << c.status().to_string();
  return std::move(c.value());
}

// The chunk file's segments, to be changed as a power cut would.
struct Chunk {
  explicit Chunk(const Room& room)
      : map(std::move(base::Mapping::open(room.journal() + "/0000.seg", true, kSegmentBytes).value())) {}
  SegmentHeader* find(std::uint32_t thread, std::uint64_t position) {
    for (std::size_t i = 0; i < kSegmentsPerChunk; ++i) {
      auto* h = reinterpret_cast<SegmentHeader*>(map.data() + i * kSegmentBytes);
      if (h->state == kSegmentUsed && h->thread == thread && h->position == position) return h;
    }
    return nullptr;
  }
  base::Mapping map;
};

TEST(Recovery, EverythingThenFromTheCursors) {
  Room room;
  room.open();
  const base::Uid run = base::Uid::random();
  const Handle loss = room.handle(run, "loss");
  for (int i = 0; i < 5'000; ++i) loss.log(0, i);
  auto live = Collector::of(room.writer.get());
  Taken t;
  t.pass(live.get(), 3'000);
  const std::vector<Cursor> cursors = live->cursors();
  ASSERT_EQ(t.points.size(), 3'000u);
  live->release(cursors);
  model::Op op = tag(run, "k", "v");
  ASSERT_TRUE(room.writer->append(&op).ok());
  room.writer->close();
  auto dead = open_dead(room, cursors);
  EXPECT_EQ(dead->pending(), 2'000u + record_cells(model::encode_op(op).size()));
  Taken rest;
  rest.all(dead.get());
  ASSERT_EQ(rest.points.size(), 2'000u);
  EXPECT_EQ(rest.points.front().point.step, 3'000);
  EXPECT_EQ(rest.points.back().point.step, 4'999);
  ASSERT_EQ(rest.ops.size(), 1u);
  EXPECT_EQ(rest.ops[0].ticket, op.ticket);
  EXPECT_EQ(rest.damaged, 0u);
  EXPECT_TRUE(dead->finished());
  auto again = open_dead(room, dead->cursors());
  Taken none;
  none.all(again.get());
  EXPECT_TRUE(none.points.empty());
  EXPECT_TRUE(again->finished());
}

TEST(Recovery, RewindGivesAgainWhatWasNotReleased) {
  Room room;
  room.open();
  const Handle loss = room.handle(base::Uid::random(), "loss");
  for (int i = 0; i < 10'000; ++i) loss.log(0, i);
  auto c = Collector::of(room.writer.get());
  Taken first;
  first.pass(c.get(), 4'500);
  const std::vector<Cursor> persisted = c->cursors();
  c->release(persisted);
  Taken lost;
  lost.keys = first.keys;
  lost.pass(c.get());
  EXPECT_EQ(lost.points.size(), 5'500u);
  c->rewind(persisted);
  for (int i = 10'000; i < 10'100; ++i) loss.log(0, i);
  Taken second;
  second.all(c.get());
  ASSERT_EQ(second.points.size(), 5'600u);
  EXPECT_EQ(second.points.front().point.step, 4'500);
  EXPECT_EQ(second.points.back().point.step, 10'099);
}

TEST(Recovery, SegmentsTakenAheadAreEmpty) {
  Room room;
  room.open();
  const Handle loss = room.handle(base::Uid::random(), "loss");
  constexpr std::int64_t kPoints = 5'000;
  loss.log(0, 0);
  for (std::int64_t i = 1; i < kPoints; ++i) loss.log(0, i, 1);
  EXPECT_GT(room.writer->stats().segments_in_use, 8u) << "nothing was taken ahead";
  const std::string dir = room.journal();
  room.writer.reset();  // as dead as by SIGKILL to who comes after: the lock is free, nothing was tidied
  auto c = Collector::open(dir, {});
  ASSERT_TRUE(c.ok()) << c.status().to_string();
  Taken t;
  t.all(c->get());
  EXPECT_EQ(t.steps("loss").size(), static_cast<std::size_t>(kPoints));
  EXPECT_EQ(t.damaged, 0u);
  EXPECT_TRUE((*c)->finished());
}

TEST(Recovery, RewindPastAnIdleChainsSegment) {
  Room room;
  room.open();
  const Handle loss = room.handle(base::Uid::random(), "loss");
  auto c = Collector::of(room.writer.get());
  Taken t;
  std::thread([&] { loss.log(0, 1); }).join();
  t.all(c.get());
  const std::vector<Cursor> persisted = c->cursors();
  c->release(persisted);  // the chain has no thread: its segment goes back
  EXPECT_EQ(room.writer->stats().segments_in_use, 1u);
  c->rewind(persisted);
  std::thread([&] { loss.log(0, 2); }).join();
  Taken again;
  again.pass(c.get());
  again.pass(c.get());
  EXPECT_EQ(again.steps("loss"), std::vector<std::int64_t>{2});
  room.writer->close();
  auto dead = open_dead(room, persisted);
  Taken rest;
  rest.all(dead.get());
  EXPECT_EQ(rest.steps("loss"), std::vector<std::int64_t>{2});
  EXPECT_EQ(rest.damaged, 0u);
}

TEST(Recovery, RecycledSegmentsShowNoStaleRecord) {
  Room room;
  WriterOptions options;
  options.journal_mib = 2;
  room.open(options);
  const base::Uid run = base::Uid::random();
  const Handle loss = room.handle(run, "loss");
  auto c = Collector::of(room.writer.get());
  Taken t;
  std::int64_t step = 0;
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 30'000; ++i) loss.log(0, step++);
    model::Op op = tag(run, "k", std::string(40'000, '\xff'));  // payload words that would pass for heads
    ASSERT_TRUE(room.writer->append(&op).ok());
    t.all(c.get());
    c->release(c->cursors());
  }
  const auto steps = t.steps("loss");
  ASSERT_EQ(steps.size(), static_cast<std::size_t>(step));
  for (std::int64_t i = 0; i < step; ++i) ASSERT_EQ(steps[i], i);
  EXPECT_EQ(t.ops.size(), 20u);
  room.writer->close();
  Taken rest;
  auto dead = open_dead(room, c->cursors());
  rest.all(dead.get());
  EXPECT_TRUE(rest.points.empty());
  EXPECT_EQ(rest.damaged, 0u);
}

TEST(Recovery, TornTailKeepsThePrefix) {
  for (const char* part : {"value", "head", "unpublished"}) {
    Room room;
    room.open();
    const Handle loss = room.handle(base::Uid::random(), "loss");
    for (int i = 0; i < 3'000; ++i) loss.log(i, i);
    room.writer->close();
    {
      Chunk chunk(room);
      Cell* cell = cells_of(chunk.find(0, 1)) + 500;
      if (part[0] == 'v') cell->value = 3;
      if (part[0] == 'h') cell->head ^= 1ull << 40;
      if (part[0] == 'u') cell->head = 0;
    }
    auto c = open_dead(room);
    Taken t;
    t.all(c.get());
    ASSERT_EQ(t.points.size(), kCellsPerSegment + 500) << part;
    EXPECT_EQ(t.points.back().point.step, static_cast<std::int64_t>(kCellsPerSegment + 499));
    if (part[0] != 'u') {
      EXPECT_EQ(t.damaged, 3'000 - kCellsPerSegment - 500) << part;
    }
    EXPECT_TRUE(c->finished());
  }
}

TEST(Recovery, MissingSegmentEndsItsThreadOnly) {
  Room room;
  room.open();
  const base::Uid run = base::Uid::random();
  const Handle loss = room.handle(run, "loss"), other = room.handle(run, "other");
  for (int i = 0; i < 7'000; ++i) loss.log(i, i);
  std::thread([&] {
    for (int i = 0; i < 100; ++i) other.log(i, i);
  }).join();
  room.writer->close();
  Chunk(room).find(0, 1)->check ^= 1;
  auto c = open_dead(room);
  Taken t;
  t.all(c.get());
  EXPECT_EQ(t.steps("loss").size(), kCellsPerSegment);
  EXPECT_EQ(t.steps("other").size(), 100u);
  EXPECT_GT(t.damaged, 0u);
  EXPECT_TRUE(c->finished());
}

TEST(Recovery, BytesOfAnotherUseAreNotTaken) {
  Room room;
  room.open();
  const Handle loss = room.handle(base::Uid::random(), "loss");
  for (int i = 0; i < 3'000; ++i) loss.log(i, i);
  room.writer->close();
  {
    Chunk chunk(room);  // a page of segment 0 where segment 1's belongs: valid cells of another seed
    std::memcpy(reinterpret_cast<char*>(chunk.find(0, 1)) + 4096, reinterpret_cast<char*>(chunk.find(0, 0)) + 4096,
                4096);
  }
  auto c = open_dead(room);
  Taken t;
  t.all(c.get());
  EXPECT_EQ(t.points.size(), kCellsPerSegment + 4096 / 32 - 2);
}

TEST(Recovery, GarbageNeverCrashes) {
  for (std::uint32_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    Room room;
    room.open();
    const base::Uid run = base::Uid::random();
    const Handle loss = room.handle(run, "loss");
    for (int i = 0; i < 2'500; ++i) {
      loss.log(i, i);
      if (i % 100 == 0) {
        model::Op op = tag(run, "k" + std::to_string(i), std::string(random() % 300, 'v'));
        ASSERT_TRUE(room.writer->append(&op).ok());
      }
    }
    const bool alive = seed % 2 == 0;
    if (!alive) room.writer->close();
    {
      Chunk chunk(room);
      const int spots = 1 + static_cast<int>(random() % 200);
      for (int i = 0; i < spots; ++i) {
        const std::size_t at = random() % (4 * kSegmentBytes);
        const std::size_t bytes = 1 + random() % (seed % 3 == 0 ? 4000 : 8);
        for (std::size_t b = at; b < at + bytes; ++b) chunk.map.data()[b] = static_cast<char>(random());
      }
      if (seed % 5 == 0) {  // lengths out of range behind a good checksum
        if (SegmentHeader* h = chunk.find(0, 0); h != nullptr && header_valid(*h, room.writer->uid())) {
          const std::int64_t size = static_cast<std::int64_t>(random()) << 20;
          detail::put_cell(cells_of(h), lane_seed(h), (1 << 8) | detail::kCellRecord, size, 1, 1);
        }
      }
    }
    auto c = open_dead(room);
    Batch b;
    for (int i = 0; i < 100 && c->collect(&b, 1'000); ++i) {
    }
    c->pending();
    c->release(c->cursors());
    for (const auto& p : b.points) EXPECT_GT(p.key, 0u);
    if (!alive) {
      EXPECT_TRUE(c->finished());
    }
  }
}

/// No file can be opened while it lives.
struct NoDescriptors {
  NoDescriptors() {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    const int next = ::dup(0);
    ::close(next);
    const rlimit none{static_cast<rlim_t>(next), before.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  }
  ~NoDescriptors() { EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0); }
  rlimit before{};
};

// A journal that counts as finished is removed: not one whose writer lives, and not one that was not seen whole.
TEST(Recovery, WithoutDescriptorsNoJournalIsFinished) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "UBSan, beside ASan, asks a pipe whether an object can be read";
#endif
  Room room;
  room.open();
  const Handle loss = room.handle(base::Uid::random(), "loss");
  loss.log(1, 1);
  auto c = open_dead(room);
  Taken t;
  t.all(c.get());
  ASSERT_EQ(t.points.size(), 1u);
  EXPECT_FALSE(c->finished());
  {
    const NoDescriptors none;
    ASSERT_EQ(::open("/dev/null", O_RDONLY), -1);
    EXPECT_TRUE(base::FileLock::is_held(room.journal() + "/lock"));
    Batch b;
    EXPECT_FALSE(c->collect(&b, 1'000));
    EXPECT_FALSE(c->finished()) << "its writer lives";
  }
  for (int i = 2; i < 50'000; ++i) loss.log(1, i);  // into chunks that nobody has mapped yet
  room.writer->close();
  {
    const NoDescriptors none;
    Batch b;
    EXPECT_FALSE(c->collect(&b, 1'000));
    EXPECT_FALSE(c->finished()) << "not all of it was seen";
  }
  t.all(c.get());
  EXPECT_EQ(t.points.size(), 49'999u);
  EXPECT_EQ(t.damaged, 0u);
  EXPECT_TRUE(c->finished());
}

TEST(Recovery, ForeignFilesAreLeftAlone) {
  Room room;
  room.open();
  const Handle loss = room.handle(base::Uid::random(), "loss");
  loss.log(1, 1);
  ASSERT_TRUE(base::replace_file(room.journal() + "/0001.seg", "short", false).ok());
  ASSERT_TRUE(base::replace_file(room.journal() + "/notes.txt", "hello", false).ok());
  ASSERT_TRUE(base::make_dirs(room.dir + "/journal/not-a-journal").ok());
  room.writer->close();
  const auto found = find_journals(room.dir);
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->size(), 1u);
  EXPECT_FALSE((*found)[0].alive);
  auto c = open_dead(room);
  Taken t;
  t.all(c.get());
  EXPECT_EQ(t.points.size(), 1u);
  EXPECT_EQ(Collector::open(room.dir + "/journal/not-a-journal", {}).status().code(), StatusCode::invalid_argument);
  ASSERT_TRUE(remove_journal((*found)[0].dir).ok());
  EXPECT_TRUE(find_journals(room.dir)->empty());
  EXPECT_EQ(Collector::open((*found)[0].dir, {}).status().code(), StatusCode::not_found);
}

}  // namespace
}  // namespace mlops::journal
