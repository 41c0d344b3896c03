#include "plugin.h"

#include <pybind11/stl.h>

#include <string>
#include <tuple>
#include <vector>

#include "errors.h"
#include "hot.h"
#include "mlops/mlops.h"

namespace mlops_python {
namespace {

// [(path, size, file, lost)] of the run's own files, the newest of each path.
py::list files_of(const mlops::Reader& reader, const std::string& run_id) {
  const std::vector<mlops::ArtifactInfo> all = take(without_gil([&] { return reader.artifacts(run_id); }));
  py::dict newest;
  for (const mlops::ArtifactInfo& one : all) {
    if (one.model_id.empty()) newest[py::str(one.path)] = py::make_tuple(one.path, one.size, one.file, one.lost);
  }
  return py::list(newest.attr("values")());
}

void log_file(RunHandle& run, const std::string& file, const std::string& path) {
  check(without_gil([&] { return run.run().log_artifact(file, path); }));
}

void log_folder(RunHandle& run, const std::string& folder, const std::string& path) {
  check(without_gil([&] { return run.run().log_artifacts(folder, path); }));
}

// (name, digest, source_type, source, schema, profile, [(key, value)])
using DatasetRow =
    std::tuple<std::string, std::string, std::string, std::string, std::string, std::string, mlops::Pairs>;

void log_dataset(RunHandle& run, const DatasetRow& row, const std::string& context) {
  mlops::Dataset dataset;
  std::tie(dataset.name, dataset.digest, dataset.source_type, dataset.source, dataset.schema, dataset.profile,
           dataset.tags) = row;
  check(without_gil([&] { return run.run().log_input(dataset, context); }));
}

void log_model_input(RunHandle& run, const std::string& model_id) {
  check(without_gil([&] { return run.run().log_model_input(model_id); }));
}

}  // namespace

void add_plugin(py::module_& module) {
  module.def("plugin_files", &files_of, py::arg("reader"), py::arg("run_id"));
  module.def("plugin_log_file", &log_file, py::arg("run"), py::arg("file"), py::arg("path"));
  module.def("plugin_log_folder", &log_folder, py::arg("run"), py::arg("folder"), py::arg("path"));
  module.def("plugin_log_dataset", &log_dataset, py::arg("run"), py::arg("dataset"), py::arg("context"));
  module.def("plugin_log_model_input", &log_model_input, py::arg("run"), py::arg("model_id"));
}

}  // namespace mlops_python
