// Compiled without unwind tables (CMakeLists.txt): see regain.h.
#include "regain.h"

extern "C" void mlops_regain(PyThreadState* state) {
  PyEval_RestoreThread(state);
  __asm__ volatile("");  // no tail call: this frame is what an unwinder must not pass
}
