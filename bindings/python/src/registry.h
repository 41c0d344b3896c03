// Registry: registered models, their versions and aliases. A write is a Pending that may be waited for.
#pragma once

#include <pybind11/pybind11.h>

namespace mlops_python {

void add_registry(pybind11::module_& module);

}  // namespace mlops_python
