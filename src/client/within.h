// Within: questions to a server that end at a deadline, whatever the server does.
#pragma once

#include <functional>

#include "mlflow/mlflow.h"

namespace mlops::client {

/// Runs `ask`, which uses `api`, on a thread of its own, and cancels its exchanges from the deadline on. Returns when
/// it has ended; false when it was late.
bool within(Millis deadline, mlflow::Api* api, const std::function<void()>& ask);

}  // namespace mlops::client
