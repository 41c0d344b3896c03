// Lookup: what a server knows of a run, asked on the caller's behalf within a deadline. Only for resuming a run that no
// slot of this root holds.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/uid.h"
#include "mlops/options.h"
#include "mlops/status.h"

namespace mlops::client {

/// A run of the server that carries (from now on) the tag mlops.uid.
struct ServerRun {
  base::Uid uid;
  std::string name;
  Pairs params;
  std::vector<std::pair<std::string, std::int64_t>> last_steps;  // of its metrics
};

/// By the server's id, which must belong to the experiment of that name (failed_precondition otherwise, with both
/// named). A run that was not made by mlops gets its own id as uid. not_found; unavailable when the server does not
/// answer in time.
Result<ServerRun> find_on_server_by_id(const std::string& uri, const Credentials& credentials,
                                       const std::string& experiment, const std::string& run_id, Millis deadline);
/// The newest run of that name; the same answers.
Result<ServerRun> find_on_server_by_name(const std::string& uri, const Credentials& credentials,
                                         const std::string& experiment, const std::string& name, Millis deadline);

}  // namespace mlops::client
