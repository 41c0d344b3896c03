// Taking the GIL back. A thread that waits for it while the interpreter is taken down is ended by Python up to 3.13
// with pthread_exit, which unwinds its stack: C++ frames do not survive that, least of all with the wheel's own
// unwinder. This function has no unwind tables: where they end, the C library ends the thread at once (its unwind_stop
// in nptl/unwind.c), and nothing beyond is touched.
#pragma once

#include <Python.h>

extern "C" void mlops_regain(PyThreadState* state);
