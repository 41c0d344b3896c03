// The module mlops._core: clients, runs, reading and delivery as the package uses them. Private: the package is the
// API.
//
// Whatever may wait runs with the GIL released, and what may wait long does so in slices between which Ctrl-C is looked
// for. No thread of ours ever takes the GIL.
#include <pybind11/functional.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <future>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "artifacts.h"
#include "authorities.h"
#include "command.h"
#include "delivery.h"
#include "errors.h"
#include "hot.h"
#include "mlops/mlops.h"
#include "numbers.h"
#include "reading.h"
#include "registry.h"
#include "waiting.h"

namespace mlops_python {
namespace {

using mlops::Level;
using mlops::Millis;
using mlops::Status;
using mlops::StatusCode;

mlops::RunStatus status_of(const std::string& name) {
  for (const auto status : {mlops::RunStatus::running, mlops::RunStatus::scheduled, mlops::RunStatus::finished,
                            mlops::RunStatus::failed, mlops::RunStatus::killed}) {
    if (name == mlops::run_status_name(status)) return status;
  }
  fail(static_cast<int>(StatusCode::invalid_argument),
       "status \"" + name.substr(0, 40) + "\" is none of RUNNING, SCHEDULED, FINISHED, FAILED, KILLED");
}

template <typename Element>
void log_columns(mlops::Metric metric, const Column<double>& values, const Column<std::int64_t>* steps,
                 const Column<std::int64_t>* times, std::int64_t first) {
  const auto value = values.elements<Element>();
  const auto counted = [first](std::size_t i) { return first + static_cast<std::int64_t>(i); };
  const auto log = [&](auto step) {
    if (times == nullptr)
      return metric.log_many(values.size(), [=](std::size_t i) { return mlops::MetricPoint{value(i), step(i)}; });
    metric.log_many(values.size(), [=, time = times->elements<std::int64_t>()](std::size_t i) {
      return mlops::MetricPoint{value(i), step(i), time(i)};
    });
  };
  if (steps == nullptr) return log(counted);
  log(steps->elements<std::int64_t>());
}

// Many values of one metric, in one call, without the GIL.
void log_history(RunHandle& self, const py::object& name, const py::object& values, const py::object& steps,
                 const py::object& timestamps, std::int64_t first_step) {
  PyObject* metric = metric_of(&self, name.ptr());
  if (metric == nullptr) throw py::error_already_set();
  mlops::Metric handle = handle_of(metric);
  Column<double> numbers;
  Column<std::int64_t> at;
  Column<std::int64_t> when;
  if (!to_column(values.ptr(), name.ptr(), &numbers)) throw py::error_already_set();
  if (!steps.is_none() && !to_column(steps.ptr(), "steps", &at)) throw py::error_already_set();
  if (!timestamps.is_none() && !to_column(timestamps.ptr(), "timestamps", &when)) throw py::error_already_set();
  const std::size_t count = numbers.size();
  const auto as_many = [count](const Column<std::int64_t>& column, bool given, const char* what) {
    if (given && column.size() != count)
      fail(
          static_cast<int>(StatusCode::invalid_argument),
          std::to_string(count) + " values and " + std::to_string(column.size()) + " " + what + ": as many are needed");
  };
  as_many(at, !steps.is_none(), "steps");
  as_many(when, !timestamps.is_none(), "timestamps");
  const auto time = when.elements<std::int64_t>();
  for (std::size_t i = 0; i < when.size(); ++i) {
    if (time(i) < 0)
      fail(static_cast<int>(StatusCode::invalid_argument), "timestamps are milliseconds since 1970, at least 0");
  }
  if (self.ended())
    fail(static_cast<int>(StatusCode::failed_precondition), "run " + self.id() + " has ended: nothing was logged");
  const auto* const step_column = steps.is_none() ? nullptr : &at;
  const auto* const time_column = timestamps.is_none() ? nullptr : &when;
  without_gil([&] {
    if (numbers.floats()) return log_columns<float>(handle, numbers, step_column, time_column, first_step);
    log_columns<double>(handle, numbers, step_column, time_column, first_step);
  });
}

mlops::RunOptions run_options(const py::dict& given) {
  mlops::RunOptions options;
  for (const auto& [key, value] : given) {
    const auto name = key.cast<std::string>();
    if (value.is_none()) continue;
    if (name == "name")
      options.name = value.cast<std::string>();
    else if (name == "resume_id")
      options.resume_id = value.cast<std::string>();
    else if (name == "attach_id")
      options.attach_id = value.cast<std::string>();
    else if (name == "parent_id")
      options.parent_id = value.cast<std::string>();
    else if (name == "start_ms")
      options.start_ms = value.cast<std::int64_t>();
    else if (name == "note")
      options.note = value.cast<std::string>();
    else if (name == "tags")
      options.tags = value.cast<mlops::Pairs>();
    else if (name == "source_tags")
      options.source_tags = value.cast<bool>();
    else if (name == "log_system_metrics")
      options.log_system_metrics = value.cast<bool>();
    else
      fail(static_cast<int>(StatusCode::internal), "no run option \"" + name + "\"");
  }
  return options;
}

mlops::Options client_options(const std::string& root, const std::string& tracking_uri) {
  mlops::Options options;
  options.root = root;
  options.tracking_uri = tracking_uri;
  options.credentials = base_credentials();
  return options;
}

template <typename Call>
void run_call(RunHandle& self, Call call) {
  check(without_gil([&] { return call(self.run()); }));
}

struct Opened {
  mlops::Client client;
  pid_t pid;
};
std::vector<Opened>& opened() {
  static auto* all = new std::vector<Opened>();  // with the GIL
  return *all;
}

/// When the module is taken down, before the interpreter is: what the exit of the process would do, but here the GIL
/// can be let go meanwhile. A thread that waits for it ends then; later it would look for it where it was.
void close_all() {
  if (!interpreter_finalizes()) return;  // a reload
  interpreter_ends.store(true);
  without_gil([] {
    std::vector<std::future<void>> others;  // at once, so that their deadlines are one
    for (const Opened& one : opened()) {
      if (one.pid != ::getpid()) continue;
      try {
        others.push_back(std::async(std::launch::async, [&one] { one.client.close().ignore(); }));
      } catch (const std::system_error&) {  // no thread to be had
        one.client.close().ignore();
      }
    }
  });
}

void add_client(py::module_& module) {
  using mlops::Client;
  module.add_object("_end", py::capsule(&close_all));
  py::class_<Client>(module, "Client")
      .def(py::init([](const std::string& root, const std::string& tracking_uri, bool deliver) {
             mlops::Options options = client_options(root, tracking_uri);
             options.deliver = deliver;
             Client client = take(without_gil([&] { return Client::open(std::move(options)); }));
             opened().push_back({client, ::getpid()});
             return client;
           }),
           py::arg("root") = "", py::arg("tracking_uri") = "", py::arg("deliver") = true)
      .def_property_readonly("root", [](const Client& self) { return self.root(); })
      .def_property_readonly("tracking_uri", [](const Client& self) { return self.tracking_uri(); })
      .def(
          "start_run",
          [](const Client& self, const std::string& experiment, const py::dict& options) {
            mlops::RunOptions run = run_options(options);
            return std::make_unique<RunHandle>(
                take(without_gil([&] { return self.start_run(experiment, std::move(run)); })));
          },
          py::arg("experiment"), py::arg("options"))
      .def(
          "experiment",
          [](const Client& self, const std::string& name, const mlops::Pairs& tags, const std::string& location) {
            const mlops::Experiment made =
                without_gil([&] { return self.experiment(name, mlops::ExperimentOptions{tags, location}); });
            return made.name();
          },
          py::arg("name"), py::arg("tags"), py::arg("artifact_location"))
      .def(
          "end_run",
          [](const Client& self, const std::string& id, const std::string& status, std::int64_t end_ms) {
            const mlops::RunStatus ends = status_of(status);
            check(without_gil([&] { return self.end_run(id, ends, end_ms); }));
          },
          py::arg("run_id"), py::arg("status"), py::arg("end_ms") = 0)
      .def(
          "flush",
          [](const Client& self, Level level, double seconds) {
            in_slices(seconds, [&](Millis slice) { return self.flush(level, slice); });
          },
          py::arg("level"), py::arg("seconds"))
      .def("health", [](const Client& self) { return health_of(without_gil([&] { return self.health(); })); })
      .def("close", [](const Client& self) { check(without_gil([&] { return self.close(); })); });
}

void add_run(py::module_& module) {
  py::class_<RunHandle>(module, "RunHandle")
      .def_property_readonly("id", &RunHandle::id)
      .def_property_readonly("name", [](RunHandle& self) { return self.run().name(); })
      .def_property_readonly("ended", [](RunHandle& self) { return self.ended() || self.run().ended(); })
      .def(
          "metric",
          [](const py::object& self, const py::object& name) {
            PyObject* metric = owned_metric(self, name.ptr());
            if (metric == nullptr) throw py::error_already_set();
            return py::reinterpret_steal<py::object>(metric);
          },
          py::arg("name"))
      .def("log_history", &log_history, py::arg("name"), py::arg("values"), py::arg("steps"), py::arg("timestamps"),
           py::arg("first_step"))
      .def("log_param",
           [](RunHandle& self, const std::string& key, const std::string& value) {
             run_call(self, [&](mlops::Run& run) { return run.log_param(key, value); });
           })
      .def("log_params",
           [](RunHandle& self, const mlops::Pairs& params) {
             run_call(self, [&](mlops::Run& run) { return run.log_params(params); });
           })
      .def("set_tag",
           [](RunHandle& self, const std::string& key, const std::string& value) {
             run_call(self, [&](mlops::Run& run) { return run.set_tag(key, value); });
           })
      .def("set_tags",
           [](RunHandle& self, const mlops::Pairs& tags) {
             run_call(self, [&](mlops::Run& run) { return run.set_tags(tags); });
           })
      .def("delete_tag",
           [](RunHandle& self, const std::string& key) {
             run_call(self, [&](mlops::Run& run) { return run.delete_tag(key); });
           })
      .def("set_name",
           [](RunHandle& self, const std::string& name) {
             run_call(self, [&](mlops::Run& run) { return run.set_name(name); });
           })
      .def("server_id",
           [](RunHandle& self, double seconds) {
             std::string id;
             in_slices(seconds, [&](Millis slice) {
               mlops::Result<std::string> found = self.run().server_id(slice);
               if (found.ok()) id = *found;
               return found.status();
             });
             return id;
           })
      .def(
          "end",
          [](RunHandle& self, const std::string& status, std::int64_t end_ms) {
            const mlops::RunStatus ends = status_of(status);
            self.set_ended();
            run_call(self, [&](mlops::Run& run) { return run.end(ends, end_ms); });
          },
          py::arg("status"), py::arg("end_ms") = 0)
      .def("leave",
           [](RunHandle& self) {
             self.set_ended();
             run_call(self, [](mlops::Run& run) { return run.leave(); });
           })
      .def("flush", [](RunHandle& self, Level level, double seconds) {
        in_slices(seconds, [&](Millis slice) { return self.run().flush(level, slice); });
      });
}

}  // namespace

PYBIND11_MODULE(_core, module) {
  module.doc() = "Private to the package mlops.";
  module.attr("__version__") = MLOPS_VERSION_STRING;
  module.def("set_error_types", &set_error_types);
  module.def("activate", &activate);
  module.def("set_hooks", &set_hooks);
  module.def("settings", [] {
    py::dict all;
    for (const mlops::Setting& one : take(mlops::settings())) all[py::str(one.name)] = py::str(one.value);
    return all;
  });
  py::enum_<Level>(module, "Level")
      .value("buffered", Level::buffered)
      .value("durable", Level::durable)
      .value("delivered", Level::delivered);
  add_hot(module);
  add_client(module);
  add_run(module);
  add_artifacts(module);
  add_registry(module);
  add_reading(module);
  add_delivery(module);
  add_command(module);
}

}  // namespace mlops_python
