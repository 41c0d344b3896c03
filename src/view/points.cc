#include "view/points.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace mlops::view {
namespace {

void note(std::uint64_t points, const std::string& words, Damage* damage) {
  ++damage->blocks;
  damage->points += points;
  if (damage->words.empty()) damage->words = words;
}

}  // namespace

Status scan_part(const Part& part, std::uint64_t most_points, const TakePoints& take, bool* stopped, Damage* damage) {
  Result<std::unique_ptr<buffer::Reader>> reader = open_beside(part.slot_dir);
  if (!reader.ok()) return reader.status();
  const base::Uid& run = part.row.uid;
  Result<std::vector<buffer::MetricRow>> metrics = (*reader)->metrics(run);
  if (!metrics.ok()) return metrics.status().code() == StatusCode::not_found ? Status() : metrics.status();
  std::vector<std::string> names;
  for (buffer::MetricRow& row : *metrics) {
    if (names.size() <= row.metric) names.resize(row.metric + 1);
    names[row.metric] = std::move(row.name);
  }
  const auto where = [&](std::uint64_t seq, std::uint64_t count) {
    return "records " + std::to_string(seq) + " to " + std::to_string(seq + count - 1) + " of run " + run.hex() +
           " in " + part.slot_dir + ": ";
  };

  const std::uint64_t stride = most_points == 0 ? 1 : std::max<std::uint64_t>(1, part.row.points / most_points);
  std::uint64_t next = 0;  // the first record wanted
  bool more = true;
  while (more && !*stopped) {
    more = false;
    Status s = (*reader)->scan(
        run, next,
        [&](const buffer::Record& record) {
          if (!record.is_block) return true;
          const buffer::Block& b = record.block;
          if (std::any_of(b.metric.begin(), b.metric.end(), [&](std::uint32_t m) { return m >= names.size(); })) {
            note(b.size(), where(record.seq, record.count) + "a metric without a name", damage);
            return true;
          }
          PointBatch batch;
          batch.names = names.data();
          batch.size = b.size();
          batch.metric = b.metric.data();
          batch.step = b.step.data();
          batch.time_ms = b.time_ms.data();
          batch.value = b.value.data();
          if (!take(batch)) {
            *stopped = true;
            return false;
          }
          if (stride == 1) return true;
          next = record.seq + record.count * stride;  // look there
          more = true;
          return false;
        },
        [&](std::uint64_t seq, std::uint64_t count, const Status& why) {
          note(count, where(seq, count) + std::string(why.message()), damage);
        });
    if (!s.ok()) return s;
  }
  return {};
}

}  // namespace mlops::view
