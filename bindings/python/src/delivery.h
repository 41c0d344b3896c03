// Delivery: deliver, verify, delete and restore, as calls (mlops/delivery.h, mlops/manage.h).
#pragma once

#include <pybind11/pybind11.h>

namespace mlops_python {
void add_delivery(pybind11::module_& module);
}
