#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>

namespace mlops::cli {
namespace {

constexpr std::size_t kGap = 2, kLeast = 8;  // columns between two; what a text is never cut below

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

bool utf8_locale() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string_view value = variable(name);
    if (value.empty()) continue;
    for (const char* word : {"UTF-8", "utf-8", "UTF8", "utf8"}) {
      if (value.find(word) != std::string_view::npos) return true;
    }
    return false;
  }
  return false;
}

const char* code(Paint paint) {
  switch (paint) {
    case Paint::plain:
      return "";
    case Paint::bold:
      return "\033[1m";
    case Paint::faint:
      return "\033[2m";
    case Paint::red:
      return "\033[31m";
    case Paint::green:
      return "\033[32m";
    case Paint::yellow:
      return "\033[33m";
    case Paint::blue:
      return "\033[34m";
    case Paint::magenta:
      return "\033[35m";
    case Paint::cyan:
      return "\033[36m";
  }
  return "";
}

}  // namespace

bool is_terminal(int fd) { return ::isatty(fd) == 1; }

Terminal terminal() {
  Terminal out;
  out.interactive = is_terminal(STDOUT_FILENO);
  out.utf8 = utf8_locale();
  if (!out.interactive) return out;
  out.colours = variable("NO_COLOR").empty() && variable("TERM") != "dumb";
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0 && size.ws_row != 0) {
    out.width = size.ws_col;
    out.height = size.ws_row;
  }
  return out;
}

std::string paint(const Terminal& out, Paint paint, std::string_view text) {
  if (!out.colours || paint == Paint::plain) return std::string(text);
  return code(paint) + std::string(text) + "\033[0m";
}

std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string one_line(std::string_view text, std::size_t columns) {
  std::string out;
  const bool cut = columns_of(text) > columns;
  std::size_t taken = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) != 0x80 && cut && ++taken >= columns) return out + "…";
    out.push_back(byte < 0x20 || byte == 0x7f ? ' ' : c);
  }
  return out;
}

Table::Table(std::vector<std::string> head) : head_(std::move(head)) {
  for (std::string& name : head_) {
    const char mark = name.empty() ? ' ' : name.front();
    number_.push_back(mark == '>');
    whole_.push_back(mark == '>' || mark == '=');
    if (whole_.back()) name.erase(0, 1);
  }
}

void Table::print(const Terminal& out, std::size_t most_rows) const {
  if (!out.interactive) {
    for (const auto& row : rows_) {
      for (std::size_t i = 0; i < row.size(); ++i) {
        std::printf("%s%s", i == 0 ? "" : "\t", one_line(row[i], columns_of(row[i])).c_str());
      }
      std::printf("\n");
    }
    return;
  }
  const std::size_t shown = most_rows == 0 ? rows_.size() : std::min(rows_.size(), most_rows);
  std::vector<std::size_t> widths;
  widths.reserve(head_.size());
  for (const std::string& name : head_) widths.push_back(columns_of(name));
  for (std::size_t r = 0; r < shown; ++r) {
    for (std::size_t i = 0; i < rows_[r].size(); ++i) widths[i] = std::max(widths[i], columns_of(rows_[r][i]));
  }
  // The widest text gives, until the row fits.
  const auto total = [&] { return std::accumulate(widths.begin(), widths.end(), kGap * (widths.size() - 1)); };
  while (total() > out.width) {
    std::size_t widest = widths.size();
    for (std::size_t i = 0; i < widths.size(); ++i) {
      if (!whole_[i] && widths[i] > kLeast && (widest == widths.size() || widths[i] > widths[widest])) widest = i;
    }
    if (widest == widths.size()) break;
    --widths[widest];
  }
  const auto line = [&](const std::vector<std::string>& row) {
    std::string text;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string cell = one_line(row[i], widths[i]);
      const std::string space(widths[i] - std::min(widths[i], columns_of(cell)), ' ');
      text += number_[i] ? space + cell : cell + (i + 1 == row.size() ? "" : space);
      if (i + 1 != row.size()) text.append(kGap, ' ');
    }
    return text;
  };
  std::printf("%s\n", paint(out, Paint::bold, line(head_)).c_str());
  for (std::size_t r = 0; r < shown; ++r) std::printf("%s\n", line(rows_[r]).c_str());
}

}  // namespace mlops::cli
