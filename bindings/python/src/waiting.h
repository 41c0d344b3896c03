// Waiting: what may wait long does so without the GIL, in slices between which Ctrl-C is looked for.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "errors.h"
#include "mlops/options.h"

namespace mlops_python {

constexpr mlops::Millis kSlice{100};

/// `wait(for how long)` until it is something else than a deadline that ran out, or `seconds` are over.
template <typename Wait>
void in_slices(double seconds, Wait wait) {
  using Steady = std::chrono::steady_clock;
  const auto until =
      Steady::now() + std::chrono::milliseconds(static_cast<std::int64_t>(std::clamp(seconds, 0.0, 1e9) * 1e3));
  while (true) {
    const mlops::Millis left = std::chrono::duration_cast<mlops::Millis>(until - Steady::now());
    const mlops::Status status = without_gil([&] { return wait(std::clamp(left, mlops::Millis(0), kSlice)); });
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (status.code() == mlops::StatusCode::deadline_exceeded && left > kSlice) continue;
    return check(status);
  }
}

}  // namespace mlops_python
