// Bytes per point in a closed RocksDB directory, everything included (step, time, value, keys, rows, RocksDB's own
// files), and what it costs to encode a block. Peer: the same points as plain columns through zstd -1, cut alike.
#include <zstd.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "base/file.h"
#include "buffer/buffer.h"
#include "support.h"

namespace mlops::bench {
namespace {

constexpr int kMetrics = 20;
constexpr std::int64_t kStart = 1'790'000'000'000;

struct Kind {
  const char* name;
  double most_bytes;  // goal, per point
  double (*draw)(std::mt19937_64&, std::int64_t step, int metric);
};

double noisy_loss(std::mt19937_64& random, std::int64_t step, int metric) {
  static thread_local std::normal_distribution<double> normal;
  const double trend = (0.2 + 0.37 * metric) * (0.1 + std::exp(-static_cast<double>(step) / 20'000));
  return trend * (1 + 0.1 * normal(random));
}

const Kind kKinds[] = {
    {"float64 noise", 7.2, noisy_loss},
    {"float32-origin", 3.3,
     [](std::mt19937_64& r, std::int64_t step, int m) -> double { return static_cast<float>(noisy_loss(r, step, m)); }},
    {"four decimals", 1.7,
     [](std::mt19937_64& r, std::int64_t step, int m) {
       return std::round(1e4 / (1 + std::fabs(noisy_loss(r, step, m)))) / 1e4;
     }},
    {"small integers", 1.0, [](std::mt19937_64& r, std::int64_t, int) { return 75.0 + static_cast<double>(r() % 31); }},
};

buffer::Block make_block(const Kind& kind, std::mt19937_64& random, std::int64_t first_step, std::int64_t steps) {
  buffer::Block block;
  block.first_seq = static_cast<std::uint64_t>(first_step) * kMetrics + 1;
  for (std::int64_t step = first_step; step < first_step + steps; ++step) {
    const std::int64_t time = kStart + step * 5 + static_cast<std::int64_t>(random() % 3);  // 200 steps/s with jitter
    for (int m = 0; m < kMetrics; ++m) {
      block.metric.push_back(static_cast<std::uint32_t>(m));
      block.step.push_back(step);
      block.time_ms.push_back(time);
      block.value.push_back(kind.draw(random, step, m));
    }
  }
  return block;
}

// What somebody would do in an afternoon: four columns, zstd -1.
std::size_t plain_columns(const buffer::Block& block, std::string* out) {
  std::string raw;
  const auto append = [&raw](const auto& column) {
    raw.append(reinterpret_cast<const char*>(column.data()), column.size() * sizeof column[0]);
  };
  append(block.metric);
  append(block.step);
  append(block.time_ms);
  append(block.value);
  out->resize(ZSTD_compressBound(raw.size()));
  return ZSTD_compress(out->data(), out->size(), raw.data(), raw.size(), 1);
}

void measure_bytes(Report& report, const Kind& kind, std::int64_t cut) {
  const TempFolder folder;
  auto buffer = buffer::Buffer::open(folder.path()).value();
  const std::int64_t steps = 60'000;
  std::mt19937_64 random(1);
  std::size_t plain = 0;
  std::string scratch;
  std::vector<model::Summary> summaries(kMetrics);
  buffer::Beat beat;
  for (std::int64_t step = 0; step < steps; step += cut) {
    beat = buffer::Beat{};
    beat.beat = static_cast<std::uint64_t>(step / cut + 1);
    buffer::Beat::RunPart part;
    part.block = make_block(kind, random, step, cut);
    part.block.beat = beat.beat;
    plain += plain_columns(part.block, &scratch);
    part.row.uid.bytes.fill(1);
    part.row.experiment = "bench";
    part.row.next_seq = part.block.first_seq + part.block.size();
    part.row.points = part.row.next_seq - 1;
    for (std::size_t i = 0; i < part.block.size(); ++i)
      summaries[part.block.metric[i]].add({part.block.step[i], part.block.time_ms[i], part.block.value[i]});
    for (std::uint32_t m = 0; m < kMetrics; ++m) {
      buffer::MetricRow row;
      row.metric = m;
      row.name = "train/metric_" + std::to_string(m);
      row.summary = summaries[m];
      part.metrics.push_back(row);
    }
    beat.runs.push_back(std::move(part));
    model::JournalCursor cursor;
    cursor.segment = beat.beat;
    beat.cursors = {cursor};
    if (const Status s = buffer->write(beat); !s.ok()) return report.note("bytes: " + s.to_string());
  }
  if (const Status s = buffer->flush_and_close(); !s.ok()) return report.note("bytes: " + s.to_string());
  const double points = static_cast<double>(steps) * kMetrics;
  const double bytes = static_cast<double>(base::disk_usage(folder.path() + "/db")) / points;
  report.add(
      {std::string("bytes per point on disk, ") + kind.name + ", 20 metrics, cuts of " + std::to_string(cut) + " steps",
       bytes, "B/point", "plain columns, zstd -1", static_cast<double>(plain) / points, Better::less, kind.most_bytes});
}

// CPU time of this thread; the block is 1,000 steps, or what the drain makes of 20,000 waiting points.
void measure_encode(Report& report, const Kind& kind, double goal) {
  std::mt19937_64 random(1);
  const buffer::Block block = make_block(kind, random, 0, 1000);
  const auto points = static_cast<double>(block.size());
  std::vector<double> ours, decode, peer;
  std::string scratch;
  for (int round = 0; round < 25; ++round) {
    std::uint64_t begin = thread_cpu_ns();
    const std::string bytes = buffer::encode_block(block);
    ours.push_back(points * 1e9 / static_cast<double>(thread_cpu_ns() - begin));
    begin = thread_cpu_ns();
    buffer::Block back;
    const bool good = buffer::decode_block(bytes, &back).ok();
    decode.push_back(points * 1e9 / static_cast<double>(thread_cpu_ns() - begin));
    if (!good || back.value != block.value) return report.note("encode: a block did not come back");
    begin = thread_cpu_ns();
    keep(plain_columns(block, &scratch));
    peer.push_back(points * 1e9 / static_cast<double>(thread_cpu_ns() - begin));
  }
  const double plain = median(peer);
  report.add({std::string("encode a block, ") + kind.name + ", 20,000 points, one core", median(ours), "points/s",
              "plain columns, zstd -1", plain, Better::more, goal});
  report.add({std::string("decode a block, ") + kind.name + ", 20,000 points, one core",
              median(decode),
              "points/s",
              "plain columns, zstd -1 (encoding)",
              plain,
              Better::more,
              {}});
}

const Group gbytes("buffer.bytes", [](Report& report) {
  for (const Kind& kind : kKinds) {
    for (const std::int64_t cut : {100, 1000}) measure_bytes(report, kind, cut);
  }
});
const Group gencode("buffer.encode", [](Report& report) {
  const double goals[] = {5e6, 10e6, 10e6, 10e6};
  for (std::size_t k = 0; k < std::size(kKinds); ++k) measure_encode(report, kKinds[k], goals[k]);
});

}  // namespace
}  // namespace mlops::bench
