// Chart: lines over x, for a terminal's cells or as SVG.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cli/terminal.h"

namespace mlops::cli {

struct Line {
  std::string label;
  std::vector<double> x, y;       // equal lengths; y may hold NaN: a gap
  std::vector<double> low, high;  // the band around y; empty: none
};

struct Chart {
  std::vector<Line> lines;
  std::string x_name;  // "step", "seconds"
  bool log_y = false;  // values at or below 0 are gaps
};

/// Axes, dots and a legend in so many columns and rows, the legend's among them. Braille dots in colours where the
/// terminal takes them; else a letter for each line.
std::string draw(const Chart& chart, const Terminal& out, std::size_t width, std::size_t height);
/// A whole SVG 1.1 document.
std::string draw_svg(const Chart& chart, std::size_t width, std::size_t height);

/// What an axis covers and where its marks are.
struct Axis {
  double low = 0, high = 1;  // of log10(y) when `log`
  bool log = false;
  std::vector<double> ticks;         // round numbers inside, about `wanted` of them; in low's terms
  double share(double value) const;  // 0 at low, 1 at high; NaN for what cannot be shown
  std::string text_of(double tick) const;
};
Axis x_axis(const Chart& chart, std::size_t wanted);
Axis y_axis(const Chart& chart, std::size_t wanted);

}  // namespace mlops::cli
