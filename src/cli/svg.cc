// The SVG side of a chart.
#include <array>
#include <cmath>
#include <cstdio>

#include "cli/chart.h"

namespace mlops::cli {
namespace {

constexpr std::array<const char*, 8> kColours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                 "#56b4e9", "#e69f00", "#000000", "#f0e442"};  // Okabe and Ito's
constexpr double kLeft = 72, kRight = 16, kTop = 16, kBottom = 44, kLegendRow = 18;

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += ' ';
    } else {
      out += c;
    }
  }
  return out;
}

std::string number(double value) {
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), "%.2f", value);
  return out.data();
}

std::string text_at(double x, double y, const char* anchor, const std::string& text) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor + "\">" + escaped(text) +
         "</text>\n";
}

}  // namespace

std::string draw_svg(const Chart& chart, std::size_t width, std::size_t height) {
  const double legend = kLegendRow * static_cast<double>(chart.lines.size());
  const double wide = static_cast<double>(width) - kLeft - kRight;
  const double high = static_cast<double>(height) - kTop - kBottom - legend;
  const Axis x = x_axis(chart, 8), y = y_axis(chart, 6);
  const auto px = [&](double share) { return kLeft + share * wide; };
  const auto py = [&](double share) { return kTop + (1 - share) * high; };

  std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + std::to_string(width) + "\" height=\"" +
                    std::to_string(height) + "\" viewBox=\"0 0 " + std::to_string(width) + " " +
                    std::to_string(height) + "\" font-family=\"sans-serif\" font-size=\"12\">\n" +
                    "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
  for (const double tick : y.ticks) {
    const double at = py((tick - y.low) / (y.high - y.low));
    out += "<path d=\"M" + number(kLeft) + " " + number(at) + "H" + number(kLeft + wide) + "\" stroke=\"#ddd\"/>\n";
    out += text_at(kLeft - 6, at + 4, "end", y.text_of(tick));
  }
  for (const double tick : x.ticks) {
    const double at = px((tick - x.low) / (x.high - x.low));
    out += "<path d=\"M" + number(at) + " " + number(kTop + high) + "v5\" stroke=\"#333\"/>\n";
    out += text_at(at, kTop + high + 18, "middle", x.text_of(tick));
  }
  out += "<path d=\"M" + number(kLeft) + " " + number(kTop) + "V" + number(kTop + high) + "H" + number(kLeft + wide) +
         "\" fill=\"none\" stroke=\"#333\"/>\n";
  out += text_at(kLeft + wide, kTop + high + 34, "end", chart.x_name);
  for (std::size_t i = 0; i < chart.lines.size(); ++i) {
    const Line& line = chart.lines[i];
    const std::string colour = kColours[i % kColours.size()];
    std::string path, there, back;
    bool before = false;
    for (std::size_t k = 0; k < line.x.size(); ++k) {
      const double sx = x.share(line.x[k]), sy = y.share(line.y[k]);
      if (std::isnan(sx) || std::isnan(sy)) {
        before = false;
        continue;
      }
      path += (before ? "L" : "M") + number(px(sx)) + " " + number(py(sy));
      before = true;
      if (line.low.empty()) continue;
      const double low = y.share(line.low[k]), top = y.share(line.high[k]);
      if (std::isnan(low) || std::isnan(top)) continue;
      const auto bounded = [](double share) { return share < 0 ? 0 : share > 1 ? 1 : share; };
      there += (there.empty() ? "M" : "L") + number(px(sx)) + " " + number(py(bounded(top)));
      back = "L" + number(px(sx)) + " " + number(py(bounded(low))) + back;
    }
    if (!there.empty()) out += "<path d=\"" + there + back + "Z\" fill=\"" + colour + "\" fill-opacity=\"0.15\"/>\n";
    // A line of one point is a dot: round ends draw it.
    out += "<path d=\"" + path + "\" fill=\"none\" stroke=\"" + colour +
           "\" stroke-width=\"1.5\" stroke-linejoin=\"round\" stroke-linecap=\"round\"/>\n";
    const double row = kTop + high + kBottom + kLegendRow * (static_cast<double>(i) + 0.5);
    out += "<path d=\"M" + number(kLeft) + " " + number(row - 4) + "h20\" stroke=\"" + colour +
           "\" stroke-width=\"3\"/>\n";
    out += text_at(kLeft + 28, row, "start", line.label);
  }
  return out + "</svg>\n";
}

}  // namespace mlops::cli
