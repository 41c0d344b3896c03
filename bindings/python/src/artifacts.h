// Artifacts: files, texts, pictures, datasets and models of a run, by its handle; and what a server has of them.
#pragma once

#include <pybind11/pybind11.h>

namespace mlops_python {

void add_artifacts(pybind11::module_& module);

}  // namespace mlops_python
