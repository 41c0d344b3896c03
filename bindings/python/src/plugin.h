// Plugin: what the plug-in for MLflow's own client (mlops.plugin) needs beyond the package: files and inputs of a run
// by its handle, and what a reader knows of files.
#pragma once

#include <pybind11/pybind11.h>

namespace mlops_python {

void add_plugin(pybind11::module_& module);

}  // namespace mlops_python
