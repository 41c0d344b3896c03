// A run's summary as JSON: {"id","server_id","experiment","name","parent_id","status","live","left_open",
// "deleted","start_ms",
// "end_ms","points","params":{},"tags":{},"metrics":[{"name","count","last","last_step","last_time_ms","min","max","min_step",
// "max_step"}]}.
#pragma once

#include <functional>

#include "cli/json_out.h"
#include "mlops/mlops.h"

namespace mlops::cli {

/// `more` adds fields at the object's end.
void put_run(const RunSummary& run, JsonOut* out, const std::function<void(JsonOut*)>& more = {});

}  // namespace mlops::cli
