// Axis: the range of what is drawn, with marks at round numbers.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

#include "cli/chart.h"

namespace mlops::cli {
namespace {

Axis axis(double low, double high, bool log, std::size_t wanted) {
  Axis out;
  out.log = log;
  if (!(low <= high)) {  // nothing to show
    low = 0;
    high = 1;
  }
  if (high - low <= std::abs(high) * 1e-12) {
    const double room = high == 0 ? 1 : std::abs(high) * 0.1;
    low -= room;
    high += room;
  }
  out.low = low;
  out.high = high;
  // 1, 2 or 5 times a power of ten apart.
  const double raw = (high - low) / static_cast<double>(std::max<std::size_t>(1, wanted));
  const double power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= raw) {
      step = factor * power;
      break;
    }
  }
  if (log) step = std::max(1.0, std::round(step));
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + step * 1e-9; ++k) out.ticks.push_back(k * step);
  if (out.ticks.empty()) out.ticks = {low, high};
  return out;
}

}  // namespace

double Axis::share(double value) const {
  if (log) value = value > 0 ? std::log10(value) : std::numeric_limits<double>::quiet_NaN();
  return std::isfinite(value) ? (value - low) / (high - low) : std::numeric_limits<double>::quiet_NaN();
}

std::string Axis::text_of(double tick) const {
  std::array<char, 32> out{};
  const double value = log ? std::pow(10, tick) : (std::abs(tick) < (high - low) * 1e-9 ? 0 : tick);
  std::snprintf(out.data(), out.size(), "%.6g", value);
  return out.data();
}

Axis x_axis(const Chart& chart, std::size_t wanted) {
  double low = INFINITY, high = -INFINITY;
  for (const Line& line : chart.lines) {
    for (const double x : line.x) {
      low = std::min(low, x);
      high = std::max(high, x);
    }
  }
  return axis(low, high, false, wanted);
}

Axis y_axis(const Chart& chart, std::size_t wanted) {
  double low = INFINITY, high = -INFINITY;
  for (const Line& line : chart.lines) {
    for (double y : line.y) {
      if (chart.log_y) y = y > 0 ? std::log10(y) : std::numeric_limits<double>::quiet_NaN();
      if (!std::isfinite(y)) continue;
      low = std::min(low, y);
      high = std::max(high, y);
    }
  }
  return axis(low, high, chart.log_y, wanted);
}

}  // namespace mlops::cli
