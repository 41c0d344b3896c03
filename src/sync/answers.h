// Answers: two words about them that all halves of a lane need.
#pragma once

#include <utility>

#include "mlflow/mlflow.h"

namespace mlops::sync {

/// Says nothing about the records that were sent.
inline bool waits(const mlflow::Answer& answer) {
  switch (answer.verdict) {
    case mlflow::Verdict::rejected:
    case mlflow::Verdict::duplicate:
    case mlflow::Verdict::too_large:
    case mlflow::Verdict::exists:
      return false;
    default:
      return true;
  }
}

/// Our ledger failed: told from the server's answers by http_status 0.
inline mlflow::Answer local_failure(Status status) {
  mlflow::Answer answer;
  answer.verdict = mlflow::Verdict::rejected;
  answer.status = std::move(status);
  return answer;
}

}  // namespace mlops::sync
