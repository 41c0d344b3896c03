// The buffer on a real RocksDB: what a beat writes is read back, also in the middle, beside a writer, after damage.
#include <atomic>
#include <map>
#include <thread>

#include "buffer/envelope.h"
#include "buffer/kv.h"
#include "buffer/rows.h"
#include "data.h"

namespace mlops::buffer {
namespace {

Uid uid_of(int n) {
  Uid uid;
  uid.bytes.fill(static_cast<std::uint8_t>(n));
  return uid;
}

std::unique_ptr<Buffer> open_buffer(const std::string& dir) {
  Result<std::unique_ptr<Buffer>> buffer = Buffer::open(dir);
  EXPECT_TRUE(buffer.ok()) << buffer.status().to_string();
  return buffer.ok() ? std::move(*buffer) : nullptr;
}

model::Op param(const Uid& run, int i) {
  model::Op op;
  op.run = run;
  op.kind = model::OpKind::param;
  op.key = "p" + std::to_string(i);
  op.value = "v" + std::to_string(i);
  return op;
}

// A run that grows beat by beat: a block of `points` (one metric), then one param.
struct Writer {
  Uid run;
  std::uint64_t next = 1, beat = 1;
  std::uint64_t points_total = 0;
  Pairs params;
  std::mt19937_64 random{5};

  Beat make(int points) {
    Beat out;
    out.beat = beat++;
    Beat::RunPart part;
    if (points > 0) part.block = make_block(random, 0, points, 1, next, out.beat);
    for (std::size_t i = 0; i < part.block.size(); ++i) part.block.step[i] = static_cast<std::int64_t>(next + i);
    next += static_cast<std::uint64_t>(points);
    points_total += static_cast<std::uint64_t>(points);
    Record op;
    op.seq = next++;
    op.op = param(run, static_cast<int>(op.seq));
    params.emplace_back(op.op.key, op.op.value);
    part.ops = {op};
    part.row.uid = run;
    part.row.experiment = "e";
    part.row.next_seq = next;
    part.row.points = points_total;
    part.row.params = params;
    part.metrics = {metric_row(0)};
    out.runs = {part};
    model::JournalCursor cursor;
    cursor.writer = uid_of(200);
    cursor.thread = 1;
    cursor.segment = out.beat;
    cursor.cell = 5;
    out.cursors = {cursor};
    return out;
  }
};

struct Scanned {
  std::vector<Record> records;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> damaged;
  Status status;
};
Scanned scan(const Reader& reader, const Uid& run, std::uint64_t from = 1) {
  Scanned out;
  out.status = reader.scan(
      run, from, [&](const Record& r) { return out.records.push_back(r), true; },
      [&](std::uint64_t seq, std::uint64_t count, const Status& s) {
        EXPECT_EQ(s.code(), StatusCode::data_loss);
        out.damaged.emplace_back(seq, count);
      });
  return out;
}

// Overwrites one row of a closed database.
void put_row(const std::string& slot, const std::string& key, const std::string& value) {
  Result<std::unique_ptr<Kv>> kv = Kv::open(slot + "/db");
  ASSERT_TRUE(kv.ok());
  Batch batch;
  batch.put(key, value);
  ASSERT_TRUE((*kv)->write(batch).ok());
}
std::string get_row(const std::string& slot, const std::string& key) {
  Result<std::unique_ptr<Kv>> kv = Kv::open(slot + "/db");
  EXPECT_TRUE(kv.ok());
  std::string value;
  EXPECT_TRUE((*kv)->get(key, &value).ok());
  return value;
}

TEST(Buffer, WhatABeatWroteIsReadBackAfterReopen) {
  TempDir dir;
  Writer writer;
  writer.run = uid_of(1);
  Beat first = writer.make(100), second = writer.make(50);
  model::Op experiment;
  experiment.kind = model::OpKind::experiment;
  experiment.key = "e";
  experiment.value = "s3://x";
  first.experiments = {experiment};
  first.runs[0].row.parent = uid_of(9);
  second.runs[0].row.parent = uid_of(9);
  second.runs[0].row.tags = {{"k", std::string("\0\xFF", 2)}};
  second.runs[0].row.start_ms = -5;
  second.runs[0].row.attached = true;
  second.runs[0].row.status = RunStatus::failed;
  Identity identity;
  {
    auto buffer = open_buffer(dir.path());
    identity = buffer->identity();
    EXPECT_FALSE(identity.uid.zero());
    ASSERT_TRUE(buffer->write(first).ok());
    ASSERT_TRUE(buffer->write(second).ok());
    ASSERT_TRUE(buffer->sync().ok());
    EXPECT_GT(buffer->disk_bytes(), 0u);
    ASSERT_TRUE(buffer->flush_and_close().ok());
    EXPECT_EQ(buffer->write(second).code(), StatusCode::failed_precondition);
    EXPECT_EQ(buffer->run(writer.run).status().code(), StatusCode::failed_precondition);
    EXPECT_EQ(buffer->flush_and_close().code(), StatusCode::failed_precondition);
  }
  auto buffer = open_buffer(dir.path());
  EXPECT_EQ(buffer->identity().uid, identity.uid);
  Result<std::vector<model::RunRow>> runs = buffer->runs();
  ASSERT_TRUE(runs.ok());
  ASSERT_EQ(runs->size(), 1u);
  for (const model::RunRow& row : {(*runs)[0], buffer->run(writer.run).value()}) {
    EXPECT_EQ(row.uid, writer.run);
    EXPECT_EQ(row.parent, uid_of(9));
    EXPECT_EQ(row.next_seq, 153u);
    EXPECT_EQ(row.points, 150u);
    EXPECT_EQ(row.start_ms, -5);
    EXPECT_TRUE(row.attached);
    EXPECT_EQ(row.status, RunStatus::failed);
    EXPECT_EQ(row.params.size(), 2u);
    EXPECT_EQ(row.tags, second.runs[0].row.tags);
  }
  EXPECT_EQ(buffer->run(uid_of(2)).status().code(), StatusCode::not_found);
  Scanned got = scan(*buffer, writer.run);
  ASSERT_TRUE(got.status.ok());
  ASSERT_EQ(got.records.size(), 4u);
  EXPECT_TRUE(same_bits(got.records[0].block, first.runs[0].block));
  EXPECT_EQ(got.records[1].seq, 101u);
  EXPECT_EQ(got.records[1].op.key, "p101");
  EXPECT_EQ(got.records[1].beat, 1u);
  EXPECT_TRUE(same_bits(got.records[2].block, second.runs[0].block));
  EXPECT_EQ(got.records[3].seq, 152u);
  Result<std::vector<MetricRow>> metrics = buffer->metrics(writer.run);
  ASSERT_TRUE(metrics.ok());
  ASSERT_EQ(metrics->size(), 1u);
  EXPECT_EQ((*metrics)[0].name, "metric/0");
  EXPECT_EQ((*metrics)[0].summary.count, 2u);
  Result<std::vector<model::Op>> experiments = buffer->experiments();
  ASSERT_TRUE(experiments.ok());
  ASSERT_EQ(experiments->size(), 1u);
  EXPECT_EQ((*experiments)[0].value, "s3://x");
  Result<std::vector<model::JournalCursor>> cursors = buffer->cursors();
  ASSERT_TRUE(cursors.ok());
  ASSERT_EQ(cursors->size(), 1u);
  EXPECT_EQ((*cursors)[0].writer, uid_of(200));
  EXPECT_EQ((*cursors)[0].thread, 1u);
  EXPECT_EQ((*cursors)[0].segment, 2u);
  EXPECT_EQ((*cursors)[0].cell, 5u);
  Beat last;
  last.beat = 3;
  last.writers_gone = {uid_of(200)};
  ASSERT_TRUE(buffer->write(last).ok());
  EXPECT_TRUE(buffer->cursors().value().empty());
}

TEST(Buffer, ScanStartsInTheMiddleAndStops) {
  TempDir dir;
  auto buffer = open_buffer(dir.path());
  Writer writer;
  writer.run = uid_of(1);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(buffer->write(writer.make(10)).ok());  // 1..10, 11, 12..21, 22, 23..32, 33
  Writer other;  // neighbours in the key space are not met
  for (const int n : {0, 2, 255}) {
    other.run = uid_of(n);
    other.next = 1;
    ASSERT_TRUE(buffer->write(other.make(4)).ok());
  }
  const std::map<std::uint64_t, std::uint64_t> first_seen = {{0, 1},   {1, 1},   {10, 1},  {11, 11},
                                                             {12, 12}, {21, 12}, {22, 22}, {23, 23},
                                                             {32, 23}, {33, 33}, {34, 0},  {~0ull, 0}};
  for (const auto& [from, seq] : first_seen) {
    Scanned got = scan(*buffer, writer.run, from);
    ASSERT_TRUE(got.status.ok());
    EXPECT_EQ(got.records.empty() ? 0 : got.records[0].seq, seq) << "from " << from;
  }
  int taken = 0;
  ASSERT_TRUE(buffer->scan(writer.run, 1, [&](const Record&) { return ++taken < 2; }, nullptr).ok());
  EXPECT_EQ(taken, 2);
}

TEST(Buffer, LargeBlocksAreCut) {
  TempDir dir;
  auto buffer = open_buffer(dir.path());
  Writer writer;
  writer.run = uid_of(1);
  const int points = 2 * static_cast<int>(kCutPoints) + 10;
  Beat beat = writer.make(points);
  ASSERT_TRUE(buffer->write(beat).ok());
  Scanned got = scan(*buffer, writer.run);
  ASSERT_EQ(got.records.size(), 4u);
  std::vector<double> values;
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(got.records[i].seq, 1 + i * kCutPoints);
    values.insert(values.end(), got.records[i].block.value.begin(), got.records[i].block.value.end());
  }
  EXPECT_EQ(values, beat.runs[0].block.value);
  EXPECT_EQ(got.records[3].seq, static_cast<std::uint64_t>(points) + 1);
}

TEST(Buffer, DamagedRecordsAreReportedAndSkipped) {
  TempDir dir;
  Writer writer;
  writer.run = uid_of(1);
  {
    auto buffer = open_buffer(dir.path());
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(buffer->write(writer.make(10)).ok());
    ASSERT_TRUE(buffer->flush_and_close().ok());
  }
  for (const std::uint64_t seq : {12u, 44u}) {  // a block in the middle, the last op
    std::string bytes = get_row(dir.path(), record_key(writer.run, seq));
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
    put_row(dir.path(), record_key(writer.run, seq), bytes);
  }
  auto buffer = open_buffer(dir.path());
  using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;
  Scanned got = scan(*buffer, writer.run);
  EXPECT_TRUE(got.status.ok());
  EXPECT_EQ(got.records.size(), 6u);
  EXPECT_EQ(got.damaged, (Ranges{{12, 10}, {44, 1}}));
  EXPECT_EQ(scan(*buffer, writer.run, 15).damaged, (Ranges{{12, 10}, {44, 1}}));
  EXPECT_EQ(scan(*buffer, writer.run, 22).damaged, (Ranges{{44, 1}}));
  // Retention drops damaged records too, counted by the place they took.
  ASSERT_TRUE(buffer->evict(writer.run, 15).ok());
  EXPECT_EQ(buffer->run(writer.run)->evicted_before, 12u);
  ASSERT_TRUE(buffer->evict(writer.run, 22).ok());
  EXPECT_EQ(buffer->run(writer.run)->evicted_before, 22u);
  EXPECT_EQ(buffer->run(writer.run)->evicted_points, 20u);
  ASSERT_TRUE(buffer->evict(writer.run, 45).ok());
  EXPECT_EQ(buffer->run(writer.run)->evicted_before, 45u);
}

TEST(Buffer, WhatIsSaidOfLoggedModelsOutlivesEviction) {
  TempDir dir;
  auto buffer = open_buffer(dir.path());
  Beat beat;
  beat.beat = 1;
  Beat::RunPart& part = beat.runs.emplace_back();
  part.row.uid = uid_of(1);
  std::uint64_t seq = 0;
  for (const model::OpKind kind : {model::OpKind::model, model::OpKind::set_tag, model::OpKind::model_change,
                                   model::OpKind::output, model::OpKind::model_metric, model::OpKind::model_end}) {
    Record& record = part.ops.emplace_back();
    record.seq = ++seq;
    record.op.kind = kind;
    record.op.run = uid_of(1);
    record.op.parent = uid_of(7);
    record.op.key = "net";
  }
  part.row.next_seq = seq + 1;
  ASSERT_TRUE(buffer->write(beat).ok());
  ASSERT_TRUE(buffer->evict(uid_of(1), seq + 1).ok());
  EXPECT_TRUE(scan(*buffer, uid_of(1)).records.empty());
  const std::vector<Record> models = buffer->models().value();
  ASSERT_EQ(models.size(), 4u);
  EXPECT_EQ(models[0].op.kind, model::OpKind::model);
  EXPECT_EQ(models[0].op.key, "net");
  EXPECT_EQ(models[3].seq, 6u);
  EXPECT_EQ(models[3].op.run, uid_of(1));
}

TEST(Buffer, EvictTakesWholeRecordsAndGivesTheDiskBack) {
  TempDir dir;
  auto buffer = open_buffer(dir.path());
  Writer writer, other;
  writer.run = uid_of(1);
  other.run = uid_of(2);
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(buffer->write(writer.make(40'000)).ok());  // 60 × 270 kB
  ASSERT_TRUE(buffer->write(other.make(1000)).ok());
  const std::uint64_t before = buffer->disk_bytes();
  ASSERT_TRUE(buffer->evict(writer.run, 40'000).ok());  // inside the first block: nothing
  EXPECT_EQ(buffer->run(writer.run)->evicted_points, 0u);
  ASSERT_TRUE(buffer->evict(writer.run, 40'001 + 20'000).ok());
  model::RunRow row = buffer->run(writer.run).value();
  EXPECT_EQ(row.evicted_before, 40'002u);  // one block, one op
  EXPECT_EQ(row.evicted_points, 40'000u);
  EXPECT_EQ(scan(*buffer, writer.run).records[0].seq, 40'002u);
  ASSERT_TRUE(buffer->write(writer.make(10)).ok());  // the drain's row knows nothing of it
  EXPECT_EQ(buffer->run(writer.run)->evicted_points, 40'000u);
  ASSERT_TRUE(buffer->evict(writer.run, ~0ull).ok());
  EXPECT_TRUE(scan(*buffer, writer.run).records.empty());
  row = buffer->runs().value()[0];
  EXPECT_EQ(row.evicted_points, writer.points_total);
  EXPECT_EQ(row.points, writer.points_total);
  EXPECT_EQ(scan(*buffer, other.run).records.size(), 2u);
  std::uint64_t after = before;  // RocksDB lets go of files in the background
  for (int i = 0; i < 100 && after > before / 2; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    after = buffer->disk_bytes();
  }
  EXPECT_LE(after, before / 2) << "of " << before;
}

TEST(Buffer, GenerationGrowsAndStays) {
  TempDir dir;
  Uid uid;
  {
    auto buffer = open_buffer(dir.path());
    uid = buffer->identity().uid;
    ASSERT_TRUE(buffer->bump_generation().ok());
    EXPECT_EQ(buffer->identity().generation, 2u);
  }
  auto buffer = open_buffer(dir.path());
  EXPECT_EQ(buffer->identity().uid, uid);
  EXPECT_EQ(buffer->identity().generation, 2u);
}

TEST(Buffer, RefusesWhatItCannotRead) {
  TempDir dir;
  const std::string db = dir.path() + "/db";
  open_buffer(dir.path()).reset();
  const std::string identity = get_row(dir.path(), "i");
  std::string newer = identity;
  newer[1] = 2;  // field 1, format
  put_row(dir.path(), "i", newer);
  Result<std::unique_ptr<Buffer>> opened = Buffer::open(dir.path());
  EXPECT_EQ(opened.status().code(), StatusCode::failed_precondition);
  EXPECT_NE(opened.status().message().find("newer mlops"), std::string_view::npos);
  put_row(dir.path(), "i", "\x08");
  EXPECT_EQ(Buffer::open(dir.path()).status().code(), StatusCode::data_loss);
  put_row(dir.path(), "i", identity);
  EXPECT_TRUE(Buffer::open(dir.path()).ok());
  const std::string current = slurp(db + "/CURRENT");
  spill(db + "/CURRENT", "MANIFEST-999999\n");
  EXPECT_FALSE(Buffer::open(dir.path()).ok());
  std::filesystem::remove(db + "/CURRENT");
  EXPECT_EQ(Buffer::open(dir.path()).status().code(), StatusCode::data_loss);  // never made anew over data
  spill(db + "/CURRENT", current);
  EXPECT_TRUE(Buffer::open(dir.path()).ok());
  std::string manifest = current.substr(0, current.find('\n'));
  for (const auto& entry : std::filesystem::directory_iterator(db)) {  // reopening made another one
    if (entry.path().filename().string().starts_with("MANIFEST")) manifest = entry.path().filename().string();
  }
  std::string bytes = slurp(db + "/" + manifest);
  for (std::size_t i = 10; i < bytes.size(); i += 7) bytes[i] = static_cast<char>(bytes[i] ^ 0x55);
  spill(db + "/" + manifest, bytes);
  EXPECT_EQ(Buffer::open(dir.path()).status().code(), StatusCode::data_loss);
}

TEST(Buffer, TwoWritersAreRefused) {
  TempDir dir;
  auto buffer = open_buffer(dir.path());
  EXPECT_EQ(Buffer::open(dir.path()).status().code(), StatusCode::unavailable);
  EXPECT_EQ(std::filesystem::status(dir.path() + "/db").permissions(), std::filesystem::perms::owner_all);
}

TEST(Buffer, CloseWaitsForReadersAndEndsTheirScans) {
  TempDir dir;
  std::shared_ptr<Buffer> buffer = open_buffer(dir.path());
  Writer writer;
  writer.run = uid_of(1);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(buffer->write(writer.make(10)).ok());
  std::atomic<bool> reading{false}, closed{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      Status s;
      while (s.ok()) {
        s = buffer->scan(
            writer.run, 1,
            [&](const Record&) {
              if (closed) ++wrong;  // a reader inside after close came back
              reading = true;
              std::this_thread::sleep_for(std::chrono::microseconds(100));
              return buffer->run(writer.run).ok() || true;  // reads inside a scan do not wait for the closer
            },
            nullptr);
      }
      if (s.code() != StatusCode::failed_precondition) ++wrong;
    });
  }
  while (!reading) std::this_thread::yield();
  ASSERT_TRUE(buffer->flush_and_close().ok());
  closed = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Secondary, FollowsALiveWriter) {
  TempDir dir;
  const std::string scratch = dir.path() + "/scratch";
  EXPECT_EQ(open_secondary(dir.path(), scratch).status().code(), StatusCode::not_found);
  auto buffer = open_buffer(dir.path());
  Writer writer;
  writer.run = uid_of(1);
  ASSERT_TRUE(buffer->write(writer.make(100)).ok());
  Result<std::unique_ptr<Reader>> opened = open_secondary(dir.path(), scratch);
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  Reader& reader = **opened;
  EXPECT_EQ(reader.identity().uid, buffer->identity().uid);
  EXPECT_EQ(scan(reader, writer.run).records.size(), 2u);

  // Beside a thread that writes, evicts and flushes memtables over, a reader sees a gapless prefix of the records.
  std::atomic<bool> done{false};
  std::thread thread([&] {
    for (int i = 0; i < 120; ++i) {
      if (!buffer->write(writer.make(8000)).ok()) ADD_FAILURE();
      if (i % 40 == 39 && !buffer->evict(writer.run, writer.next / 2).ok()) ADD_FAILURE();
    }
    done = true;
  });
  std::uint64_t seen = 0;
  for (bool last = false; !last;) {
    last = done;
    const Status s = reader.refresh();
    ASSERT_TRUE(s.ok()) << s.to_string();
    Scanned got = scan(reader, writer.run);
    ASSERT_TRUE(got.status.ok()) << got.status.to_string();
    EXPECT_TRUE(got.damaged.empty());
    for (std::size_t i = 1; i < got.records.size(); ++i)
      ASSERT_EQ(got.records[i].seq, got.records[i - 1].seq + got.records[i - 1].count);
    const std::uint64_t end = got.records.empty() ? 0 : got.records.back().seq + got.records.back().count;
    EXPECT_GE(end, seen);
    seen = end;
  }
  thread.join();
  EXPECT_EQ(seen, writer.next);
  EXPECT_EQ(reader.run(writer.run)->evicted_before, buffer->run(writer.run)->evicted_before);

  // Through a reopen of the owner.
  ASSERT_TRUE(buffer->flush_and_close().ok());
  buffer = open_buffer(dir.path());
  ASSERT_TRUE(buffer->write(writer.make(5)).ok());
  ASSERT_TRUE(reader.refresh().ok());
  EXPECT_EQ(reader.run(writer.run)->next_seq, writer.next);
  // And through a database made anew.
  buffer.reset();
  std::filesystem::remove_all(dir.path() + "/db");
  buffer = open_buffer(dir.path());
  Writer again;
  again.run = uid_of(3);
  ASSERT_TRUE(buffer->write(again.make(5)).ok());
  ASSERT_TRUE(reader.refresh().ok());
  EXPECT_EQ(reader.identity().uid, buffer->identity().uid);
  EXPECT_EQ(scan(reader, again.run).records.size(), 2u);
  opened->reset();
  EXPECT_FALSE(std::filesystem::exists(scratch));
}

}  // namespace
}  // namespace mlops::buffer
