#include "cli/spark.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace mlops::cli {

std::string spark(const Curve& curve, std::size_t columns) {
  constexpr std::array<const char*, 8> kBars = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  if (curve.x.empty()) return {};
  const double first = static_cast<double>(curve.x.front()), span = static_cast<double>(curve.x.back()) - first;
  std::vector<double> sum(columns, 0);
  std::vector<double> count(columns, 0);
  for (std::size_t i = 0; i < curve.x.size(); ++i) {
    if (!std::isfinite(curve.mean[i])) continue;
    const double share = span <= 0 ? 0 : (static_cast<double>(curve.x[i]) - first) / span;
    const auto at = std::min(columns - 1, static_cast<std::size_t>(share * static_cast<double>(columns)));
    const auto n = static_cast<double>(curve.count[i]);
    sum[at] += curve.mean[i] * n;
    count[at] += n;
  }
  double low = INFINITY, high = -INFINITY;
  for (std::size_t i = 0; i < columns; ++i) {
    if (count[i] == 0) continue;
    sum[i] /= count[i];
    low = std::min(low, sum[i]);
    high = std::max(high, sum[i]);
  }
  std::string out;
  for (std::size_t i = 0; i < columns; ++i) {
    if (count[i] == 0) {
      out += ' ';
      continue;
    }
    const double share = high > low ? (sum[i] - low) / (high - low) : 0.5;
    out += kBars[std::min<std::size_t>(kBars.size() - 1, static_cast<std::size_t>(share * kBars.size()))];
  }
  out.erase(out.find_last_not_of(' ') + 1);
  return out;
}

}  // namespace mlops::cli
