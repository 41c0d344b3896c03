// Terminal: what standard output is: its size, whether it takes colours, and tables that fit it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mlops::cli {

bool is_terminal(int fd);

/// Standard output as it is now. In a pipe: 80 x 24, no colours.
struct Terminal {
  bool interactive = false;
  bool colours = false;  // a terminal, not TERM=dumb, no NO_COLOR
  bool utf8 = true;      // by the locale's name
  std::size_t width = 80, height = 24;
};
Terminal terminal();

enum class Paint { plain, bold, faint, red, green, yellow, blue, magenta, cyan };
/// In colour where that is wanted.
std::string paint(const Terminal& out, Paint paint, std::string_view text);

/// Columns a UTF-8 text takes, near enough: one per code point.
std::size_t columns_of(std::string_view text);
/// Control characters out; cut to so many columns, with "…" as the last one.
std::string one_line(std::string_view text, std::size_t columns);

/// Aligned columns with a head on a terminal, wide texts cut so that a row stays a line; tab-separated rows, whole and
/// without a head, elsewhere.
class Table {
 public:
  /// A head that begins with '>' makes a column of numbers: aligned right, never cut; with '=': never cut.
  explicit Table(std::vector<std::string> head);
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  /// `most_rows` of them on a terminal; 0: all.
  void print(const Terminal& out = terminal(), std::size_t most_rows = 0) const;

 private:
  std::vector<std::string> head_;
  std::vector<bool> number_, whole_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace mlops::cli
