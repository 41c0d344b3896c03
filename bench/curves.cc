// Bytes per point of the example's own loss curves: examples/digits is trained for real, at several learning rates, and
// its mini-batch losses, with the time stamps they had, go through the buffer as one run each, one metric, cut every
// 1,000 points. One metric alone pays for the step and time columns, which twenty would share.
#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "../examples/digits/network.h"
#include "base/base.h"
#include "base/file.h"
#include "buffer/buffer.h"
#include "support.h"

namespace mlops::bench {
namespace {

constexpr std::size_t kBatch = 32;
constexpr int kEpochs = 60;

struct Curve {
  std::vector<float> loss;
  std::vector<std::int64_t> time_ms;
};

Curve train(const digits::Dataset& data, float rate) {
  digits::Network network(7);
  std::mt19937_64 random(7);
  std::vector<const digits::Sample*> order;
  for (const digits::Sample& sample : data.train) order.push_back(&sample);
  Curve curve;
  for (int epoch = 0; epoch < kEpochs; ++epoch, rate *= 0.97f) {
    std::shuffle(order.begin(), order.end(), random);
    for (std::size_t at = 0; at < order.size(); at += kBatch) {
      curve.loss.push_back(network.train(&order[at], std::min(kBatch, order.size() - at), rate, 0.9f));
      curve.time_ms.push_back(base::now_ms());
    }
  }
  return curve;
}

const Group g("buffer.curves", [](Report& report) {
  digits::Dataset data;
  std::string error;
  if (!digits::load(std::string(MLOPS_BENCH_SOURCE_DIR) + "/examples/digits/digits.csv", &data, &error))
    return report.note("curves: " + error);
  const TempFolder folder;
  auto buffer = buffer::Buffer::open(folder.path()).value();
  std::size_t points = 0, encoded = 0;
  buffer::Beat beat;
  for (const float rate : {0.003f, 0.01f, 0.03f, 0.1f}) {
    const Curve curve = train(data, rate);
    base::Uid run;
    run.bytes.fill(static_cast<std::uint8_t>(points % 251 + 1));
    model::Summary summary;
    for (std::size_t from = 0; from < curve.loss.size(); from += 1000) {
      buffer::Beat::RunPart part;
      ++beat.beat;
      part.block.first_seq = from + 1;
      part.block.beat = beat.beat;
      for (std::size_t i = from; i < std::min(from + 1000, curve.loss.size()); ++i) {
        const std::int64_t time = curve.time_ms[i];
        part.block.metric.push_back(0);
        part.block.step.push_back(static_cast<std::int64_t>(i));
        part.block.time_ms.push_back(time);
        part.block.value.push_back(curve.loss[i]);
        summary.add({static_cast<std::int64_t>(i), time, curve.loss[i]});
      }
      points += part.block.size();
      encoded += buffer::encode_block(part.block).size();
      part.row.uid = run;
      part.row.next_seq = part.block.first_seq + part.block.size();
      part.metrics = {{0, "loss", summary}};
      beat.runs = {std::move(part)};
      if (const Status s = buffer->write(beat); !s.ok()) return report.note("curves: " + s.to_string());
    }
  }
  if (const Status s = buffer->flush_and_close(); !s.ok()) return report.note("curves: " + s.to_string());
  const double n = static_cast<double>(points);
  const double raw = sizeof(std::int64_t) * 2 + sizeof(double);
  report.add({"bytes per point, loss of examples/digits, " + std::to_string(points) + " points, blocks alone",
              static_cast<double>(encoded) / n,
              "B/point",
              "step, time, value as they are",
              raw,
              Better::less,
              {}});
  report.add({"bytes per point, the same, closed database with RocksDB's own files",
              static_cast<double>(base::disk_usage(folder.path() + "/db")) / n,
              "B/point",
              "step, time, value as they are",
              raw,
              Better::less,
              {}});
});

}  // namespace
}  // namespace mlops::bench
