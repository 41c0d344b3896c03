// Unlocked: the GIL released, for everything that may wait. And the end of the interpreter, which threads outlive: one
// that comes back to it is stopped where it stands, as Python does it from 3.14 on; one that was waiting already,
// regain.h.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <atomic>

#include "regain.h"

namespace mlops_python {

/// The interpreter's modules are being taken down, or gone.
inline std::atomic<bool> interpreter_ends{false};

inline bool interpreter_finalizes() {
#if PY_VERSION_HEX >= 0x030D0000
  return Py_IsFinalizing() != 0;
#else
  return _Py_IsFinalizing() != 0;
#endif
}

class Unlocked {
 public:
  Unlocked() : ours_(ending()), state_(PyEval_SaveThread()) {}
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;
  ~Unlocked() {
    while (!ours_ && ending()) ::pause();
    mlops_regain(state_);
  }

 private:
  static bool ending() { return interpreter_finalizes() || interpreter_ends.load(std::memory_order_relaxed); }
  const bool ours_;  // the thread that takes the interpreter down: no other one has the GIL by then
  PyThreadState* const state_;
};

/// Runs `work` with the GIL released.
template <typename F>
auto without_gil(F&& work) {
  const Unlocked released;
  return work();
}

}  // namespace mlops_python
