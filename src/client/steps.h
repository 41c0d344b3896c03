// Steps: where the metrics of a run that was logged to before go on.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "client/core.h"

namespace mlops::client {

/// The step after the greatest one of the run's metrics that are `counted`, by any process; 0 when there is none. Waits
/// up to 5 s for what was logged here before to be buffered. 0 in a forked child and on a closed client.
std::int64_t next_step(const RunState& run, const std::function<bool(std::string_view name)>& counted);

}  // namespace mlops::client
