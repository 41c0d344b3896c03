// Text: how the command shows things to people: tables on a terminal, tab-separated lines in a pipe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mlops/mlops.h"

namespace mlops::cli {

/// Exit codes, documented in --help of the command and in docs.
enum ExitCode : int {
  kOk = 0,
  kDifferences = 1,  // differences found, or points are left undelivered
  kUsage = 2,
  kNotFound = 3,
  kUnavailable = 4,  // the server, or the network, is away
  kOther = 5,
};

/// Prints "mlops: what" to stderr; the exit code that fits the status.
int fail(const Status& status);
int exit_code(const Status& status);

bool is_terminal(int fd);

class Table {
 public:
  explicit Table(std::vector<std::string> head) : head_(std::move(head)) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  /// Aligned columns with a head on a terminal; tab-separated rows without one elsewhere.
  void print(bool terminal) const;

 private:
  std::vector<std::string> head_;
  std::vector<std::vector<std::string>> rows_;
};

std::string count_text(std::uint64_t count);                     // 1,234,567
std::string bytes_text(std::uint64_t bytes);                     // 12.3 MiB
std::string number_text(double value);                           // six digits
std::string time_text(std::int64_t ms);                          // local time, to the second
std::string duration_text(std::int64_t ms);                      // "1 h 2 min", "3.4 s"
std::string one_line(std::string_view text, std::size_t chars);  // control characters out, cut with "…"
const char* level_state_text(LaneState state);
/// What a person should do about a destination's last error; empty when nothing.
std::string advice(const DestinationHealth& destination);

}  // namespace mlops::cli
