// Data: blocks, rows and folders for the tests of this room, from a printed seed.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "buffer/buffer.h"

namespace mlops::buffer {

/// A fresh folder, removed with all it holds.
class TempDir {
 public:
  TempDir() {
    path_ = testing::TempDir() + "/mlops-buffer-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) ADD_FAILURE() << "mkdtemp " << path_;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void spill(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

inline bool same_bits(const Block& a, const Block& b) {
  if (a.first_seq != b.first_seq || a.beat != b.beat || a.metric != b.metric || a.step != b.step ||
      a.time_ms != b.time_ms || a.value.size() != b.value.size())
    return false;
  for (std::size_t i = 0; i < a.value.size(); ++i) {
    if (std::bit_cast<std::uint64_t>(a.value[i]) != std::bit_cast<std::uint64_t>(b.value[i])) return false;
  }
  return true;
}

/// `steps` steps of `metrics` metrics; values by shape 0..: float64 noise, float32-origin, 4 decimals, small integers,
/// constant, anything at all (every bit random, with NaN payloads, -0, denormals, infinities).
inline constexpr int kShapes = 6;
inline double draw(std::mt19937_64& random, int shape, int metric, std::int64_t step) {
  std::normal_distribution<double> normal;
  const double base = (0.2 + 0.37 * metric) * std::exp(-static_cast<double>(step) / 2000);
  switch (shape) {
    case 0:
      return base * (1 + 0.1 * normal(random));
    case 1:
      return static_cast<float>(base * (1 + 0.1 * normal(random)));
    case 2:
      return std::round((0.9 - 0.5 * base / (1 + base) + 0.01 * normal(random)) * 1e4) / 1e4;
    case 3:
      return 75.0 + static_cast<double>(random() % 31);
    case 4:
      return 0.001 * metric;
    default: {
      const std::uint64_t odd[] = {0x7FF0000000000000u,
                                   0xFFF0000000000000u,
                                   0x7FF8000000000001u,
                                   0x7FF0000000000001u,
                                   0xFFF8DEADBEEF0001u,
                                   0x8000000000000000u,
                                   0u,
                                   1u,
                                   0x800FFFFFFFFFFFFFu,
                                   0x7FEFFFFFFFFFFFFFu,
                                   0x3FF0000000000000u,
                                   0x4340000000000001u};
      const std::uint64_t r = random();
      return std::bit_cast<double>(r % 3 == 0 ? odd[r / 3 % std::size(odd)] : random());
    }
  }
}
inline Block make_block(std::mt19937_64& random, int shape, int steps, int metrics, std::uint64_t first_seq = 1,
                        std::uint64_t beat = 1) {
  Block block;
  block.first_seq = first_seq;
  block.beat = beat;
  std::int64_t time = 1'790'000'000'000 + static_cast<std::int64_t>(random() % 100000);
  for (int s = 0; s < steps; ++s) {
    time += 8 + static_cast<std::int64_t>(random() % 5);
    for (int m = 0; m < metrics; ++m) {
      block.metric.push_back(static_cast<std::uint32_t>(m));
      block.step.push_back(s);
      block.time_ms.push_back(time);
      block.value.push_back(draw(random, shape, m, s));
    }
  }
  return block;
}

inline MetricRow metric_row(std::uint32_t number) {
  MetricRow row;
  row.metric = number;
  row.name = "metric/" + std::to_string(number);
  row.summary.add({3, 1'790'000'000'000, 0.5});
  row.summary.add({4, 1'790'000'000'010, 0.25 * number});
  return row;
}

}  // namespace mlops::buffer
