// Text: numbers, times and troubles in words, and the exit codes that go with them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cli/terminal.h"
#include "mlops/mlops.h"

namespace mlops::cli {

/// Exit codes, documented in --help of the command and in docs.
enum ExitCode : int {
  kOk = 0,
  kDifferences = 1,  // differences found, points are left undelivered, or something could not be read and was left out
  kUsage = 2,
  kNotFound = 3,
  kUnavailable = 4,  // the server, or the network, is away
  kOther = 5,
};

/// Prints "mlops: what" to stderr; the exit code that fits the status.
int fail(const Status& status);
int exit_code(const Status& status);

/// Says on stderr what was left out of what is shown; kDifferences when there was something, else kOk.
int warn_of(const Damage& damage);
int warn_of(const Reader& reader);  // slots that its last runs() could not list

std::string count_text(std::uint64_t count);                 // 1,234,567
std::string counted(std::uint64_t count, const char* noun);  // "1 run", "2 runs"
std::string bytes_text(std::uint64_t bytes);                 // 12.3 MiB
std::string number_text(double value);                       // six digits
std::string time_text(std::int64_t ms);                      // local time, to the second
std::string duration_text(std::int64_t ms);                  // "1 h 2 min", "3.4 s"
std::string status_text(const RunSummary& run);              // "RUNNING (process gone)"
const char* level_state_text(LaneState state);
/// What a person should do about a destination's last error; empty when nothing.
std::string advice(const DestinationHealth& destination);

}  // namespace mlops::cli
