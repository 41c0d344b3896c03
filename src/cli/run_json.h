// A run's summary as JSON: {"id","server_id","experiment","name","parent_id","status","live","left_open",
// "deleted","start_ms",
// "end_ms","points","params":{},"tags":{},"metrics":[{"name","count","last","last_step","last_time_ms","min","max","min_step",
// "max_step"}]}.
#pragma once

#include "cli/json_out.h"
#include "mlops/mlops.h"

namespace mlops::cli {

void put_run(const RunSummary& run, JsonOut* out);

}  // namespace mlops::cli
