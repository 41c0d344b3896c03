// The out-of-line halves of the public Value and RunStatus.
#include "mlops/run.h"
#include "model/limits.h"

MLOPS_NAMESPACE_BEGIN

Value::Value(double number) : text_(model::format_double(number)) {}
Value::Value(float number) : text_(model::format_float(number)) {}

const char* run_status_name(RunStatus status) noexcept {
  switch (status) {
    case RunStatus::running:
      return "RUNNING";
    case RunStatus::scheduled:
      return "SCHEDULED";
    case RunStatus::finished:
      return "FINISHED";
    case RunStatus::failed:
      return "FAILED";
    case RunStatus::killed:
      return "KILLED";
  }
  return "UNKNOWN";
}

MLOPS_NAMESPACE_END
