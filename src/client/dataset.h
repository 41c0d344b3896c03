// Parts that datasets and models share: records of a run, the words of a run that takes none.
#pragma once

#include "client/core.h"
#include "mlops/dataset.h"

namespace mlops::client {

const char* tensor_type_name(DataType type);  // "float32"; null: no such type

Status append_op(RunState* run, model::Op* op);  // sets its run and, when it is 0, its time
Status ended_status(const RunState& run);
inline Status moved_from() { return Status(StatusCode::failed_precondition, "this Run object was moved from"); }
/// As Run::log_metric.
Status log_point(RunState* run, std::string_view name, double value, std::int64_t step, std::int64_t ms);
Status put_input(RunState* run, const Dataset& dataset, std::string_view context);

}  // namespace mlops::client
