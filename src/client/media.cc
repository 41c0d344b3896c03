#include "client/media.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include "client/json_text.h"
#include "model/limits.h"

namespace mlops::client {
namespace {

Status bad(const std::string& words) { return Status(StatusCode::invalid_argument, words); }

std::size_t length(const TableColumn& column) {
  return std::visit([](const auto& values) { return values.size(); }, column.values);
}

std::string cell(const TableColumn& column, std::size_t row) {
  struct Write {
    std::size_t row;
    std::string operator()(const std::vector<double>& v) const {
      return std::isfinite(v[row]) ? json_number(v[row]) : "null";
    }
    std::string operator()(const std::vector<std::int64_t>& v) const { return std::to_string(v[row]); }
    std::string operator()(const std::vector<std::string>& v) const { return json_string(v[row]); }
    std::string operator()(const std::vector<bool>& v) const { return v[row] ? "true" : "false"; }
  };
  return std::visit(Write{row}, column.values);
}

std::string numbers(const std::vector<double>& values) {
  std::string out = "[";
  for (std::size_t i = 0; i < values.size(); ++i) out += (i == 0 ? "" : ", ") + json_number(values[i]);
  return out + "]";
}

std::string short_number(double v) {
  char out[32];
  std::snprintf(out, sizeof out, "%.4g", v);
  return out;
}

}  // namespace

Result<std::string> table_json(const std::vector<TableColumn>& columns) {
  if (columns.empty()) return bad("a table needs a column");
  std::set<std::string_view> names;
  for (const TableColumn& column : columns) {
    if (!model::is_utf8(column.name)) return bad("a column's name is not UTF-8");
    const std::string name = "column \"" + std::string(model::cut_chars(column.name, 60)) + "\"";
    if (!names.insert(column.name).second) return bad("two of the table's columns have one name: " + name);
    if (length(column) != length(columns.front())) {
      return bad(name + " has " + std::to_string(length(column)) + " values, the first one has " +
                 std::to_string(length(columns.front())));
    }
    const auto* texts = std::get_if<std::vector<std::string>>(&column.values);
    if (texts != nullptr && !std::all_of(texts->begin(), texts->end(), model::is_utf8)) {
      return bad(name + " has a text that is not UTF-8");
    }
  }
  std::string out = "{\"columns\":[";
  for (std::size_t i = 0; i < columns.size(); ++i) out += (i == 0 ? "" : ",") + json_string(columns[i].name);
  out += "],\"data\":[";
  for (std::size_t row = 0; row < length(columns.front()); ++row) {
    out += row == 0 ? "[" : ",[";
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (i != 0) out += ',';
      out += cell(columns[i], row);
    }
    out += ']';
  }
  return out + "]}";
}

Status check_histogram(const Histogram& h) {
  if (h.counts.empty() && h.edges.empty()) return {};
  if (h.edges.size() != h.counts.size() + 1) {
    return bad("a histogram of " + std::to_string(h.counts.size()) + " counts has " + std::to_string(h.edges.size()) +
               " edges: it needs one more than counts");
  }
  for (std::size_t i = 0; i < h.edges.size(); ++i) {
    if (!std::isfinite(h.edges[i]) || (i > 0 && !(h.edges[i] > h.edges[i - 1]))) {
      return bad("a histogram's edges are finite and ascend; edge " + std::to_string(i) + " does not");
    }
  }
  for (const double count : h.counts) {
    if (!std::isfinite(count) || count < 0) return bad("a histogram's counts are finite and not negative");
  }
  return {};
}

std::string histogram_json(const Histogram& h) {
  return "{\"edges\": " + numbers(h.edges) + ", \"counts\": " + numbers(h.counts) + "}";
}

std::string histogram_svg(const Histogram& h) {
  constexpr double kWidth = 640, kHeight = 320, kLeft = 56, kRight = 16, kTop = 16, kBottom = 32;
  const double wide = kWidth - kLeft - kRight, high = kHeight - kTop - kBottom, base_line = kTop + high;
  char line[256];
  std::string out =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"640\" height=\"320\" viewBox=\"0 0 640 320\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"640\" height=\"320\" fill=\"#ffffff\"/>\n";
  const auto text = [&](double x, double y, const char* anchor, const std::string& words) {
    std::snprintf(line, sizeof line, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"#333333\">%s</text>\n", x,
                  y, anchor, words.c_str());
    out += line;
  };
  if (h.counts.empty()) {
    text(kWidth / 2, kHeight / 2, "middle", "no finite values");
    return out + "</svg>\n";
  }
  const double first = h.edges.front(), span = h.edges.back() - first;
  const double most = std::max(1e-300, *std::max_element(h.counts.begin(), h.counts.end()));
  for (std::size_t i = 0; i < h.counts.size(); ++i) {
    const double x = kLeft + (h.edges[i] - first) / span * wide;
    const double w = (h.edges[i + 1] - h.edges[i]) / span * wide, tall = h.counts[i] / most * high;
    std::snprintf(line, sizeof line,
                  "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"#1f77b4\" stroke=\"#ffffff\" "
                  "stroke-width=\"0.5\"/>\n",
                  x, base_line - tall, w, tall);
    out += line;
  }
  std::snprintf(line, sizeof line, "<path d=\"M%.1f %.1f V%.1f H%.1f\" fill=\"none\" stroke=\"#333333\"/>\n", kLeft,
                kTop, base_line, kLeft + wide);
  out += line;
  text(kLeft - 6, kTop + 6, "end", short_number(most));
  text(kLeft - 6, base_line, "end", "0");
  text(kLeft, base_line + 18, "middle", short_number(first));
  text(kLeft + wide / 2, base_line + 18, "middle", short_number(first + span / 2));
  text(kLeft + wide, base_line + 18, "middle", short_number(h.edges.back()));
  return out + "</svg>\n";
}

}  // namespace mlops::client

MLOPS_NAMESPACE_BEGIN

Histogram Histogram::of(const double* values, std::size_t count, std::size_t bins) {
  Histogram out;
  double least = 0, greatest = 0;
  bool any = false;
  for (std::size_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) continue;
    least = any ? std::min(least, values[i]) : values[i];
    greatest = any ? std::max(greatest, values[i]) : values[i];
    any = true;
  }
  if (!any || bins == 0) return out;
  if (least == greatest) {  // one value: a bin around it
    const double half = std::max(0.5, std::abs(least) * 1e-9);
    least -= half;
    greatest += half;
  }
  // Halves: the span of two finite doubles may be infinite.
  const double step = (greatest / 2 - least / 2) / static_cast<double>(bins) * 2;
  for (std::size_t i = 0; i <= bins; ++i) {
    const double edge = i == bins ? greatest : least + step * static_cast<double>(i);
    if (out.edges.empty() || edge > out.edges.back()) out.edges.push_back(edge);  // else: no double between them
  }
  out.counts.assign(out.edges.size() - 1, 0);
  for (std::size_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) continue;
    const auto after = std::upper_bound(out.edges.begin(), out.edges.end(), values[i]);
    const auto bin = static_cast<std::size_t>(after - out.edges.begin());
    out.counts[std::clamp<std::size_t>(bin, 1, out.counts.size()) - 1] += 1;
  }
  return out;
}

MLOPS_NAMESPACE_END
