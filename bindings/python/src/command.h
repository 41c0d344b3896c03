// Command: the mlops command inside the module, so that a wheel brings it without a second copy of the library.
#pragma once

#include <pybind11/pybind11.h>

namespace mlops_python {

void add_command(pybind11::module_& module);

}  // namespace mlops_python
