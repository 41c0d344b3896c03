#include "cli/chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

namespace mlops::cli {
namespace {

constexpr std::array<Paint, 6> kPaints = {Paint::cyan,  Paint::yellow, Paint::magenta,
                                          Paint::green, Paint::red,    Paint::blue};

// Cells of dots: 2 x 4 to a cell in braille, else 1 x 1.
class Canvas {
 public:
  Canvas(std::size_t columns, std::size_t rows, bool braille)
      : columns_(columns), rows_(rows), braille_(braille), bits_(columns * rows, 0), owner_(columns * rows, -1) {}
  std::size_t dots_wide() const { return columns_ * (braille_ ? 2 : 1); }
  std::size_t dots_high() const { return rows_ * (braille_ ? 4 : 1); }

  void dot(std::ptrdiff_t x, std::ptrdiff_t y, int line) {
    if (x < 0 || y < 0 || x >= static_cast<std::ptrdiff_t>(dots_wide()) ||
        y >= static_cast<std::ptrdiff_t>(dots_high()))
      return;
    const auto dx = static_cast<std::size_t>(x), dy = static_cast<std::size_t>(y);
    constexpr std::array<std::array<unsigned, 2>, 4> kBits = {{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}};
    const std::size_t cell = braille_ ? (dy / 4) * columns_ + dx / 2 : dy * columns_ + dx;
    bits_[cell] |= braille_ ? kBits[dy % 4][dx % 2] : 1;
    owner_[cell] = line;
  }
  // Bresenham's.
  void stroke(std::ptrdiff_t x0, std::ptrdiff_t y0, std::ptrdiff_t x1, std::ptrdiff_t y1, int line) {
    const std::ptrdiff_t dx = std::abs(x1 - x0), dy = -std::abs(y1 - y0);
    const std::ptrdiff_t sx = x0 < x1 ? 1 : -1, sy = y0 < y1 ? 1 : -1;
    for (std::ptrdiff_t error = dx + dy;;) {
      dot(x0, y0, line);
      if (x0 == x1 && y0 == y1) return;
      const std::ptrdiff_t twice = 2 * error;
      if (twice >= dy) {
        error += dy;
        x0 += sx;
      }
      if (twice <= dx) {
        error += dx;
        y0 += sy;
      }
    }
  }
  std::string row(std::size_t y, const Terminal& out) const {
    std::string text;
    for (std::size_t x = 0; x < columns_; ++x) {
      const unsigned bits = bits_[y * columns_ + x];
      const int owner = owner_[y * columns_ + x];
      if (bits == 0) {
        text += ' ';
      } else if (!braille_) {
        text += letter(owner);
      } else {
        const unsigned code = 0x2800 + bits;
        const std::array<char, 4> utf8 = {static_cast<char>(0xE0 | (code >> 12)),
                                          static_cast<char>(0x80 | ((code >> 6) & 0x3F)),
                                          static_cast<char>(0x80 | (code & 0x3F)), 0};
        text += paint(out, kPaints[static_cast<std::size_t>(owner) % kPaints.size()], utf8.data());
      }
    }
    if (!out.colours) text.erase(text.find_last_not_of(' ') + 1);
    return text;
  }
  static char letter(int line) { return static_cast<char>('a' + line % 26); }

 private:
  std::size_t columns_, rows_;
  bool braille_;
  std::vector<unsigned> bits_;
  std::vector<int> owner_;
};

void draw_line(const Line& line, int number, const Axis& x, const Axis& y, Canvas* canvas) {
  const double wide = static_cast<double>(canvas->dots_wide() - 1), high = static_cast<double>(canvas->dots_high() - 1);
  bool before = false;
  std::ptrdiff_t last_x = 0, last_y = 0;
  for (std::size_t i = 0; i < line.x.size(); ++i) {
    const double sx = x.share(line.x[i]), sy = y.share(line.y[i]);
    if (std::isnan(sx) || std::isnan(sy)) {
      before = false;
      continue;
    }
    const auto px = static_cast<std::ptrdiff_t>(std::lround(sx * wide));
    const auto py = static_cast<std::ptrdiff_t>(std::lround((1 - sy) * high));
    if (before) {
      canvas->stroke(last_x, last_y, px, py, number);
    } else {
      canvas->dot(px, py, number);
    }
    before = true;
    last_x = px;
    last_y = py;
  }
}

}  // namespace

std::string draw(const Chart& chart, const Terminal& out, std::size_t width, std::size_t height) {
  const bool braille = out.colours && out.utf8;
  const std::size_t legend = chart.lines.size();
  const std::size_t rows = std::max<std::size_t>(4, height - std::min(height, legend + 2));
  const Axis y = y_axis(chart, std::max<std::size_t>(2, rows / 4));
  std::size_t margin = 0;
  for (const double tick : y.ticks) margin = std::max(margin, y.text_of(tick).size());
  const std::size_t columns = std::max<std::size_t>(10, width - std::min(width, margin + 2));
  const Axis x = x_axis(chart, std::max<std::size_t>(2, columns / 14));
  Canvas canvas(columns, rows, braille);
  for (std::size_t i = 0; i < chart.lines.size(); ++i) {
    draw_line(chart.lines[i], static_cast<int>(i), x, y, &canvas);
  }

  std::vector<std::string> labels(rows);
  for (const double tick : y.ticks) {
    const double share = (tick - y.low) / (y.high - y.low);
    const auto row = static_cast<std::size_t>(std::lround((1 - share) * static_cast<double>(rows - 1)));
    if (row < rows) labels[row] = y.text_of(tick);
  }
  std::string text;
  for (std::size_t row = 0; row < rows; ++row) {
    text += std::string(margin - labels[row].size(), ' ') + labels[row] + (out.utf8 ? " │" : " |");
    text += canvas.row(row, out) + "\n";
  }
  text += std::string(margin + 1, ' ') + (out.utf8 ? "└" : "+");
  for (std::size_t i = 0; i < columns; ++i) text += out.utf8 ? "─" : "-";
  text += "\n";
  std::string under(margin + 2 + columns, ' ');
  std::size_t free = 0;
  for (const double tick : x.ticks) {
    const double share = (tick - x.low) / (x.high - x.low);
    const std::string label = x.text_of(tick);
    const auto middle = margin + 2 + static_cast<std::size_t>(std::lround(share * static_cast<double>(columns - 1)));
    const std::size_t at = std::min(middle - std::min(middle, label.size() / 2), under.size() - label.size());
    if (at < free) continue;
    under.replace(at, label.size(), label);
    free = at + label.size() + 2;
  }
  if (free + chart.x_name.size() <= under.size()) {
    under.replace(under.size() - chart.x_name.size(), chart.x_name.size(), chart.x_name);
  }
  under.erase(under.find_last_not_of(' ') + 1);
  text += under + "\n";
  for (std::size_t i = 0; i < chart.lines.size(); ++i) {
    const std::string mark =
        braille ? paint(out, kPaints[i % kPaints.size()], "──") : std::string(1, Canvas::letter(static_cast<int>(i)));
    text += std::string(margin + 2, ' ') + mark + " " +
            one_line(chart.lines[i].label, width - std::min(width, margin + 6)) + "\n";
  }
  return text;
}

}  // namespace mlops::cli
