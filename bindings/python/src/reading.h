// Reading: what is in a root, without a client (mlops/reader.h), and its health.
#pragma once

#include <pybind11/pybind11.h>

#include "mlops/health.h"

namespace mlops_python {
pybind11::dict health_of(const mlops::Health& health);
void add_reading(pybind11::module_& module);
}  // namespace mlops_python
