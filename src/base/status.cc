// Status: the cheap failure value of the public headers.
#include "mlops/status.h"

MLOPS_NAMESPACE_BEGIN

const char* status_code_name(StatusCode code) noexcept {
  switch (code) {
    case StatusCode::ok:
      return "ok";
    case StatusCode::invalid_argument:
      return "invalid_argument";
    case StatusCode::not_found:
      return "not_found";
    case StatusCode::already_exists:
      return "already_exists";
    case StatusCode::permission_denied:
      return "permission_denied";
    case StatusCode::failed_precondition:
      return "failed_precondition";
    case StatusCode::resource_exhausted:
      return "resource_exhausted";
    case StatusCode::deadline_exceeded:
      return "deadline_exceeded";
    case StatusCode::unavailable:
      return "unavailable";
    case StatusCode::data_loss:
      return "data_loss";
    case StatusCode::unimplemented:
      return "unimplemented";
    case StatusCode::internal:
      return "internal";
  }
  return "unknown";
}

Status::Status(StatusCode code, std::string message) {
  if (code == StatusCode::ok) return;
  rep_ = std::make_shared<const Rep>(Rep{code, std::move(message)});
}

std::string Status::to_string() const {
  if (ok()) return "ok";
  return std::string(status_code_name(rep_->code)) + ": " + rep_->message;
}

MLOPS_NAMESPACE_END
