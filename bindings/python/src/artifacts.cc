#include "artifacts.h"

#include <pybind11/stl.h>

#include <atomic>
#include <chrono>
#include <future>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "authorities.h"
#include "errors.h"
#include "hot.h"
#include "mlops/mlops.h"
#include "numbers.h"
#include "waiting.h"

namespace mlops_python {
namespace {

using mlops::Status;
using mlops::StatusCode;

template <typename Call>
void logged(RunHandle& run, Call call) {
  check(without_gil([&] { return call(run.run()); }));
}

void log_file(RunHandle& run, const std::string& file, const std::string& path) {
  logged(run, [&](mlops::Run& to) { return to.log_artifact(file, path); });
}

void log_folder(RunHandle& run, const std::string& folder, const std::string& path) {
  logged(run, [&](mlops::Run& to) { return to.log_artifacts(folder, path); });
}

void log_bytes(RunHandle& run, const py::bytes& bytes, const std::string& path) {
  const std::string_view all = bytes;  // the caller's argument keeps them
  logged(run, [&](mlops::Run& to) { return to.log_bytes(all, path); });
}

// Pixels as bytes, or as 32-bit floats; one of `path` and `key` is not empty.
void log_image(RunHandle& run, const py::bytes& pixels, bool floats, std::uint32_t width, std::uint32_t height,
               std::uint32_t channels, const std::string& path, const std::string& key, std::int64_t step) {
  const std::string_view all = pixels;
  const std::uint64_t one = floats ? sizeof(float) : 1;
  if (all.size() != one * width * height * channels)
    fail(static_cast<int>(StatusCode::invalid_argument), "an image of that size has another number of bytes");
  std::vector<float> values;
  mlops::Image image;
  image.width = width;
  image.height = height;
  image.channels = channels;
  if (floats) {
    values.resize(all.size() / sizeof(float));
    all.copy(reinterpret_cast<char*>(values.data()), all.size());
    image.floats = values.data();
  } else {
    image.bytes = reinterpret_cast<const std::uint8_t*>(all.data());
  }
  logged(run, [&](mlops::Run& to) { return key.empty() ? to.log_image(image, path) : to.log_image(image, key, step); });
}

// Columns of (name, kind, values), of kind "double", "int", "text" or "bool".
void log_table(RunHandle& run, const py::list& columns, const std::string& path) {
  std::vector<mlops::TableColumn> table;
  for (const py::handle& one : columns) {
    const auto row = one.cast<py::tuple>();
    const auto kind = row[1].cast<std::string>();
    mlops::TableColumn column;
    column.name = row[0].cast<std::string>();
    if (kind == "double")
      column.values = row[2].cast<std::vector<double>>();
    else if (kind == "int")
      column.values = row[2].cast<std::vector<std::int64_t>>();
    else if (kind == "bool")
      column.values = row[2].cast<std::vector<bool>>();
    else
      column.values = row[2].cast<std::vector<std::string>>();
    table.push_back(std::move(column));
  }
  logged(run, [&](mlops::Run& to) { return to.log_table(table, path); });
}

// The fields of a dataset by MLflow's names; those that are absent are the library's.
mlops::Dataset dataset_of(const std::map<std::string, std::string>& given, const mlops::Pairs& tags) {
  mlops::Dataset dataset;
  const auto take_field = [&](const char* name, std::string* field) {
    if (const auto found = given.find(name); found != given.end()) *field = found->second;
  };
  take_field("name", &dataset.name);
  take_field("digest", &dataset.digest);
  take_field("source_type", &dataset.source_type);
  take_field("source", &dataset.source);
  take_field("schema", &dataset.schema);
  take_field("profile", &dataset.profile);
  dataset.tags = tags;
  return dataset;
}

std::map<std::string, std::string> fields_of(const mlops::Dataset& dataset) {
  return {{"name", dataset.name},     {"digest", dataset.digest}, {"source_type", dataset.source_type},
          {"source", dataset.source}, {"schema", dataset.schema}, {"profile", dataset.profile}};
}

mlops::Flavor flavor_of(const std::string& name) {
  using mlops::Flavor;
  static const std::map<std::string, Flavor> kFlavors = {{"cpp", Flavor::cpp},
                                                         {"onnx", Flavor::onnx},
                                                         {"xgboost", Flavor::xgboost},
                                                         {"lightgbm", Flavor::lightgbm},
                                                         {"pytorch", Flavor::torchscript}};
  const auto found = kFlavors.find(name);
  if (found == kFlavors.end())
    fail(static_cast<int>(StatusCode::invalid_argument),
         "flavor \"" + name.substr(0, 40) + "\" is none of cpp, onnx, xgboost, lightgbm, pytorch (a TorchScript file)");
  return found->second;
}

mlops::LoggedModel log_model(RunHandle& run, const std::string& name, const mlops::Pairs& files,
                             const std::string& flavor, const std::string& model_type, std::int64_t step,
                             const mlops::Pairs& params, const mlops::Pairs& tags, const mlops::Pairs& metadata,
                             const std::vector<std::string>& requirements) {
  std::vector<mlops::ModelFile> all;
  for (const auto& [file, path] : files) all.push_back({file, path});
  mlops::ModelInfo info;
  info.flavor = flavor_of(flavor);
  info.model_type = model_type;
  info.step = step;
  info.params = params;
  info.tags = tags;
  info.metadata = metadata;
  info.requirements = requirements;
  return take(without_gil([&] { return run.run().log_model(name, all, info); }));
}

void log_metric_of_model(mlops::LoggedModel& model, const std::string& key, const py::object& value,
                         const py::object& step, const py::object& dataset, const py::object& timestamp) {
  double number = 0;
  std::int64_t at = 0;
  std::int64_t ms = -1;
  if (!to_double(value.ptr(), py::str(key).ptr(), &number) || !to_int64(step.ptr(), "step", 0, &at) ||
      !to_time(timestamp.ptr(), &ms))
    throw py::error_already_set();
  mlops::Dataset used;
  if (!dataset.is_none()) used = dataset_of(dataset.cast<std::map<std::string, std::string>>(), {});
  check(without_gil([&] { return model.log_metric(key, number, at, dataset.is_none() ? nullptr : &used, ms); }));
}

mlops::LoggedModel start_model(RunHandle& run, const std::string& name, const std::string& model_type,
                               const mlops::Pairs& params, const mlops::Pairs& tags) {
  mlops::ModelInfo info;
  info.model_type = model_type;
  info.params = params;
  info.tags = tags;
  return take(without_gil([&] { return run.run().start_model(name, info); }));
}

template <typename... Given>
auto of_model(mlops::Status (mlops::LoggedModel::*call)(Given...) noexcept) {
  return [call](mlops::LoggedModel& model, std::decay_t<Given>... given) {
    check(without_gil([&] { return (model.*call)(given...); }));
  };
}

// [(path, size, file or "", why the bytes are not here or "")] of the run's own files, or of its logged model `model`,
// the newest of each path.
py::list files_of(const mlops::Reader& reader, const std::string& run_id, const std::string& model) {
  const std::vector<mlops::ArtifactInfo> all = take(without_gil([&] { return reader.artifacts(run_id); }));
  py::dict newest;
  for (const mlops::ArtifactInfo& one : all) {
    if (one.model_id == model) newest[py::str(one.path)] = py::make_tuple(one.path, one.size, one.file, one.lost);
  }
  return py::list(newest.attr("values")());
}

// Needs the GIL: Python may be asked where authorities are.
mlops::DownloadOptions download_options(const std::string& root, const std::string& from) {
  mlops::DownloadOptions options;
  options.root = root;
  options.from = from;
  options.credentials = base_credentials();
  return options;
}

// `work(stop)` on a thread of its own, which has no GIL and touches nothing of Python's, so that Ctrl-C stops it.
template <typename Work>
auto stoppable(Work work) {
  std::atomic<bool> stop{false};
  auto result = std::async(std::launch::async, [&] { return work(&stop); });
  while (without_gil([&] { return result.wait_for(kSlice); }) != std::future_status::ready) {
    if (PyErr_CheckSignals() == 0) continue;
    stop.store(true);
    without_gil([&] { result.wait(); });
    throw py::error_already_set();
  }
  return take(result.get());
}

py::list server_files(const std::string& run, const std::string& path, bool recursive, const std::string& root,
                      const std::string& from) {
  mlops::DownloadOptions options = download_options(root, from);
  const auto found = stoppable([&](const std::atomic<bool>* stop) {
    options.stop = stop;
    return mlops::list_artifacts(run, path, recursive, options);
  });
  py::list all;
  for (const mlops::RemoteArtifact& one : found) all.append(py::make_tuple(one.path, one.is_dir, one.bytes));
  return all;
}

std::uint64_t download(const std::string& run, const std::string& path, const std::string& folder,
                       const std::string& root, const std::string& from) {
  mlops::DownloadOptions options = download_options(root, from);
  return stoppable([&](const std::atomic<bool>* stop) {
           options.stop = stop;
           return mlops::download_artifacts(run, path, folder, options);
         })
      .files;
}

}  // namespace

void add_artifacts(py::module_& module) {
  using mlops::LoggedModel;
  module.def("log_file", &log_file, py::arg("run"), py::arg("file"), py::arg("path"));
  module.def("log_folder", &log_folder, py::arg("run"), py::arg("folder"), py::arg("path"));
  module.def("log_bytes", &log_bytes, py::arg("run"), py::arg("data"), py::arg("path"));
  module.def("log_image", &log_image, py::arg("run"), py::arg("pixels"), py::arg("floats"), py::arg("width"),
             py::arg("height"), py::arg("channels"), py::arg("path"), py::arg("key"), py::arg("step"));
  module.def("log_table", &log_table, py::arg("run"), py::arg("columns"), py::arg("path"));
  module.def(
      "log_input",
      [](RunHandle& run, const std::map<std::string, std::string>& fields, const mlops::Pairs& tags,
         const std::string& context) {
        const mlops::Dataset dataset = dataset_of(fields, tags);
        logged(run, [&](mlops::Run& to) { return to.log_input(dataset, context); });
      },
      py::arg("run"), py::arg("fields"), py::arg("tags"), py::arg("context"));
  module.def(
      "log_model_input",
      [](RunHandle& run, const std::string& model_id) {
        logged(run, [&](mlops::Run& to) { return to.log_model_input(model_id); });
      },
      py::arg("run"), py::arg("model_id"));
  module.def(
      "file_dataset",
      [](const std::string& name, const std::string& file) {
        return fields_of(take(without_gil([&] { return mlops::file_dataset(name, file); })));
      },
      py::arg("name"), py::arg("file"));
  py::class_<LoggedModel>(module, "LoggedModel", "A model that was logged in this process.")
      .def_property_readonly("uid", [](const LoggedModel& self) { return self.id(); })
      .def_property_readonly("model_id", [](const LoggedModel& self) { return self.id(); })  // as MLflow's ModelInfo
      .def_property_readonly("name", [](const LoggedModel& self) { return self.name(); })
      .def_property_readonly("run_id", [](const LoggedModel& self) { return self.run_id(); })
      .def(
          "server_id",
          [](const LoggedModel& self, double seconds) {
            std::string id;
            in_slices(seconds, [&](mlops::Millis slice) {
              mlops::Result<std::string> found = self.server_id(slice);
              if (found.ok()) id = *found;
              return found.status();
            });
            return id;
          },
          py::arg("seconds") = 10.0)
      .def("log_metric", &log_metric_of_model, py::arg("key"), py::arg("value"), py::arg("step") = py::none(),
           py::arg("dataset") = py::none(), py::arg("timestamp") = py::none())
      .def("log_params", of_model(&LoggedModel::log_params))
      .def("set_tags", of_model(&LoggedModel::set_tags))
      .def("delete_tag",
           [](LoggedModel& self, const std::string& key) { check(without_gil([&] { return self.delete_tag(key); })); })
      .def("log_file",
           [](LoggedModel& self, const std::string& file, const std::string& path) {
             check(without_gil([&] { return self.log_artifact(file, path); }));
           })
      .def("log_folder",
           [](LoggedModel& self, const std::string& folder, const std::string& path) {
             check(without_gil([&] { return self.log_artifacts(folder, path); }));
           })
      .def("finalize", of_model(&LoggedModel::finalize))
      .def("remove", of_model(&LoggedModel::remove));
  module.def("start_model", &start_model, py::arg("run"), py::arg("name"), py::arg("model_type"), py::arg("params"),
             py::arg("tags"));
  module.def(
      "logged_model",
      [](RunHandle& run, const std::string& id, const std::string& name) {
        return take(run.run().logged_model(id, name));
      },
      py::arg("run"), py::arg("id"), py::arg("name"));
  module.def(
      "log_model_used",
      [](RunHandle& run, const LoggedModel& model) {
        logged(run, [&](mlops::Run& to) { return to.log_model_input(model); });
      },
      py::arg("run"), py::arg("model"));
  module.def(
      "log_model_output",
      [](RunHandle& run, const LoggedModel& model, std::int64_t step) {
        logged(run, [&](mlops::Run& to) { return to.log_model_output(model, step); });
      },
      py::arg("run"), py::arg("model"), py::arg("step"));
  module.def("log_model", &log_model, py::arg("run"), py::arg("name"), py::arg("files"), py::arg("flavor"),
             py::arg("model_type"), py::arg("step"), py::arg("params"), py::arg("tags"), py::arg("metadata"),
             py::arg("requirements"));
  module.def("files_of", &files_of, py::arg("reader"), py::arg("run_id"), py::arg("model") = "");
  module.def("server_files", &server_files, py::arg("run"), py::arg("path"), py::arg("recursive"), py::arg("root"),
             py::arg("source"));
  module.def("download", &download, py::arg("run"), py::arg("path"), py::arg("folder"), py::arg("root"),
             py::arg("source"));
}

}  // namespace mlops_python
