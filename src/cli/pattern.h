// Pattern: a regular expression with named groups, matched against one line. Time is linear in the line, whatever the
// expression.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mlops/status.h"

namespace mlops::cli {

class Pattern {
 public:
  /// RE2's syntax; groups are named (?P<name>...). invalid_argument says what is wrong; one without a named group is.
  static Result<Pattern> compile(const std::string& expression);
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;
  ~Pattern();

  /// Of the named groups, in the order in which they open.
  const std::vector<std::string>& names() const;
  /// The leftmost match. `groups` gets one entry per name: what it matched in `line`, nothing when it took no part.
  bool match(std::string_view line, std::vector<std::optional<std::string_view>>* groups) const;

 private:
  struct Impl;
  explicit Pattern(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mlops::cli
