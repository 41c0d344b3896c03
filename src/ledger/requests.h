// Requests: what a person wants done about dead letters and parked runs, beside whoever delivers. The ledger stays the
// only truth: a request is applied to it by the process that holds its lock, be it the asking one or a deliverer, which
// looks into `<slot>/delivery/<destination>/asked/` about twice a second and removes the file when it is done.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ledger/ledger.h"

namespace mlops::ledger {

struct Request {
  enum class Verb { retry = 1, drop = 2 };
  Verb verb = Verb::retry;
  Uid run;
  std::uint64_t seq = 0;                      // of the dead letter; 0: the parked run itself
  std::optional<std::string> key{}, value{};  // retry: instead of the record's own
  std::uint64_t until = 0;                    // drop of a parked run: everything from its cursor to here is given up, …
  std::uint64_t points = 0;                   // … so many points
};
inline constexpr std::size_t kMaxRequests = 1'000;  // in one file

/// Leaves a request; returns its file's path. It is gone once it was applied.
Result<std::string> ask(const std::string& slot_dir, const std::string& name, const std::vector<Request>& requests);

struct Asked {
  std::string path;
  std::vector<Request> requests;
};
/// What was asked and not applied yet. Bytes that are none are passed over.
std::vector<Asked> asked(const std::string& slot_dir, const std::string& name);

/// Nothing happens when the letter is not there (any more), was given up, or the run is not parked. Twice is as once.
Status apply(const Request& request, Ledger* ledger);

}  // namespace mlops::ledger
