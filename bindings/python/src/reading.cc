#include "reading.h"

#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "errors.h"
#include "mlops/mlops.h"

namespace mlops_python {
namespace {

using py::literals::operator""_a;

using mlops::Reader;
using mlops::RunSummary;

// A column of numbers, which memoryview and numpy.asarray read in place.
template <typename T>
struct Column {
  std::vector<T> numbers;
};

template <typename T>
py::object view_of(std::vector<T> numbers) {
  py::object column = py::cast(Column<T>{std::move(numbers)});
  return py::memoryview(column);
}

template <typename T>
void add_column(py::module_& module, const char* name) {
  py::class_<Column<T>>(module, name, py::buffer_protocol()).def_buffer([](Column<T>& self) {
    return py::buffer_info(self.numbers.data(), static_cast<py::ssize_t>(self.numbers.size()), true);
  });
}

py::dict dict_of(const mlops::Pairs& pairs) {
  py::dict all;
  for (const auto& [key, value] : pairs) all[py::str(key)] = py::str(value);
  return all;
}

// {name: (last, last_step, last_time_ms, count, min, min_step, max, max_step)}
py::dict metrics_of(const RunSummary& run) {
  py::dict all;
  for (const mlops::MetricSummary& one : run.metrics) {
    all[py::str(one.name)] = py::make_tuple(one.last, one.last_step, one.last_time_ms, one.count, one.min, one.min_step,
                                            one.max, one.max_step);
  }
  return all;
}

// A model's metrics: (name, value, step, time_ms, dataset, digest, run's id).
py::dict model_of(const mlops::ModelSummary& model) {
  py::list metrics;
  for (const mlops::ModelMetric& one : model.metrics)
    metrics.append(py::make_tuple(one.name, one.value, one.step, one.time_ms, one.dataset, one.digest, one.run_id));
  return py::dict("id"_a = model.id, "server_id"_a = model.server_id, "name"_a = model.name, "type"_a = model.type,
                  "run_id"_a = model.run_id, "experiment"_a = model.experiment, "status"_a = model.status,
                  "created_ms"_a = model.created_ms, "updated_ms"_a = model.updated_ms, "deleted"_a = model.deleted,
                  "params"_a = dict_of(model.params), "tags"_a = dict_of(model.tags), "metrics"_a = metrics);
}

mlops::RunQuery::Shown shown_of(int view_type) {
  using Shown = mlops::RunQuery::Shown;
  if (view_type == 1) return Shown::active;
  if (view_type == 2) return Shown::deleted;
  return Shown::all;
}

}  // namespace

py::dict health_of(const mlops::Health& health) {
  py::list destinations;
  static constexpr const char* kStates[] = {"idle", "sending", "waiting", "auth_blocked", "parked", "offline"};
  for (const mlops::DestinationHealth& one : health.destinations) {
    destinations.append(
        py::dict("name"_a = one.name, "uri"_a = one.uri, "state"_a = kStates[static_cast<int>(one.state)],
                 "delivered"_a = one.delivered, "waiting"_a = one.waiting, "dropped"_a = one.dropped,
                 "dead_letters"_a = one.dead_letters, "retries"_a = one.retries, "requests"_a = one.requests,
                 "lag_seconds"_a = one.lag_seconds, "last_error"_a = std::string(one.last_error.message())));
  }
  return py::dict("accepted"_a = health.accepted, "merged"_a = health.merged, "buffered"_a = health.buffered,
                  "durable"_a = health.durable, "dropped"_a = health.dropped, "disk_bytes"_a = health.disk_bytes,
                  "error"_a = std::string(health.buffer.message()), "destinations"_a = destinations);
}

void add_reading(py::module_& module) {
  add_column<double>(module, "DoubleColumn");
  add_column<std::int64_t>(module, "Int64Column");
  py::class_<RunSummary, std::shared_ptr<RunSummary>>(module, "RunSummary")
      .def_readonly("id", &RunSummary::id)
      .def_readonly("server_id", &RunSummary::server_id)
      .def_readonly("experiment", &RunSummary::experiment)
      .def_readonly("name", &RunSummary::name)
      .def_readonly("parent_id", &RunSummary::parent_id)
      .def_property_readonly("status", [](const RunSummary& self) { return mlops::run_status_name(self.status); })
      .def_readonly("live", &RunSummary::live)
      .def_readonly("deleted", &RunSummary::deleted)
      .def_readonly("start_ms", &RunSummary::start_ms)
      .def_readonly("end_ms", &RunSummary::end_ms)
      .def_readonly("points", &RunSummary::points)
      .def_property_readonly("params", [](const RunSummary& self) { return dict_of(self.params); })
      .def_property_readonly("tags", [](const RunSummary& self) { return dict_of(self.tags); })
      .def_property_readonly("metrics", &metrics_of);
  py::class_<Reader>(module, "Reader")
      .def(py::init([](const std::string& root) { return take(without_gil([&] { return Reader::open(root); })); }),
           py::arg("root") = "")
      .def_property_readonly("root", [](const Reader& self) { return self.root(); })
      .def(
          "runs",
          [](const Reader& self, const std::string& filter, const std::vector<std::string>& order_by,
             const std::string& experiment, int view_type, std::uint64_t limit) {
            mlops::RunQuery query;
            query.filter = filter;
            query.order_by = order_by;
            query.experiment = experiment;
            query.shown = shown_of(view_type);
            query.limit = limit;
            std::vector<RunSummary> runs = take(without_gil([&] { return self.runs(query); }));
            py::list all(runs.size());
            for (std::size_t i = 0; i < runs.size(); ++i)
              all[i] = py::cast(std::make_shared<RunSummary>(std::move(runs[i])));
            return all;
          },
          py::arg("filter") = "", py::arg("order_by") = std::vector<std::string>(), py::arg("experiment") = "",
          py::arg("view_type") = 1, py::arg("limit") = 0)
      .def("run",
           [](const Reader& self, const std::string& id) {
             return std::make_shared<RunSummary>(take(without_gil([&] { return self.run(id); })));
           })
      .def("series",
           [](const Reader& self, const std::string& run_id, const std::string& metric) {
             mlops::Series series = take(without_gil([&] { return self.series(run_id, metric); }));
             return py::make_tuple(view_of(std::move(series.step)), view_of(std::move(series.time_ms)),
                                   view_of(std::move(series.value)));
           })
      .def("curves",
           [](const Reader& self, const std::string& run_id, const std::vector<std::string>& metrics,
              std::size_t buckets) {
             mlops::CurveOptions options;
             options.metrics = metrics;
             options.most_buckets = buckets;
             options.most_points = 200'000;
             const std::vector<mlops::Curve> curves = take(without_gil([&] { return self.curves(run_id, options); }));
             py::dict all;
             for (const mlops::Curve& curve : curves) all[py::str(curve.metric)] = py::cast(curve.mean);
             return all;
           })
      .def("models",
           [](const Reader& self) {
             py::list all;
             for (const mlops::ModelSummary& one : take(without_gil([&] { return self.models(); })))
               all.append(model_of(one));
             return all;
           })
      .def("health", [](const Reader& self) { return health_of(take(without_gil([&] { return self.health(); }))); })
      .def("problems", [](const Reader& self) {
        std::vector<std::string> words;
        for (const mlops::Status& status : without_gil([&] { return self.problems(); }))
          words.emplace_back(status.message());
        return words;
      });
}

}  // namespace mlops_python
