#include "delivery.h"

#include <pybind11/stl.h>

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "authorities.h"
#include "errors.h"
#include "mlops/mlops.h"

namespace mlops_python {
namespace {

using py::literals::operator""_a;

// One `deliver` on a thread of its own, which never takes the GIL: Python asks how far it is, and may stop it.
class Delivery {
 public:
  Delivery(std::string root, std::string to) {
    options_.root = std::move(root);
    options_.to = std::move(to);
    options_.credentials = base_credentials();
    options_.stop = &stop_;
    options_.on_progress = [this](const mlops::DeliverProgress& progress) {
      const std::lock_guard<std::mutex> lock(mutex_);
      progress_ = progress;
    };
    thread_ = std::thread([this] {
      mlops::Result<mlops::DeliverReport> report = mlops::deliver(options_);
      const std::lock_guard<std::mutex> lock(mutex_);
      report_.emplace(std::move(report));
      done_.store(true);
    });
  }
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;
  ~Delivery() {
    const Unlocked released;
    finish();
  }

  bool done() const { return done_.load(); }
  void stop() { stop_.store(true); }
  mlops::DeliverProgress progress() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return progress_;
  }
  mlops::DeliverReport report() {
    without_gil([&] {
      if (thread_.joinable()) thread_.join();
    });
    check(report_->status());
    return **report_;
  }

 private:
  void finish() {
    stop();
    if (thread_.joinable()) thread_.join();
  }

  mlops::DeliverOptions options_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> done_{false};
  std::mutex mutex_;
  mlops::DeliverProgress progress_;
  std::optional<mlops::Result<mlops::DeliverReport>> report_;
  std::thread thread_;
};

py::dict report_of(const mlops::DeliverReport& report) {
  return py::dict("runs"_a = report.runs, "points"_a = report.points, "requests"_a = report.requests,
                  "retries"_a = report.retries, "dead_letters"_a = report.dead_letters, "waiting"_a = report.waiting,
                  "parked"_a = report.parked, "error"_a = std::string(report.status.message()));
}

py::dict verified(const std::string& run_id, const std::string& root, const std::string& to) {
  mlops::VerifyOptions options;
  options.credentials = base_credentials();
  options.root = root;
  options.to = to;
  const mlops::VerifyReport report = take(without_gil([&] { return mlops::verify(run_id, options); }));
  py::list differences;
  for (const mlops::Difference& one : report.differences) differences.append(py::make_tuple(one.kind, one.what));
  return py::dict("ok"_a = report.ok(), "run_id"_a = report.run_id, "server_id"_a = report.server_id,
                  "points_local"_a = report.points_local, "points_server"_a = report.points_server,
                  "points_waiting"_a = report.points_waiting, "differences"_a = differences,
                  "differences_total"_a = report.differences_total);
}

}  // namespace

void add_delivery(py::module_& module) {
  py::class_<Delivery>(module, "Delivery")
      .def(py::init<std::string, std::string>(), py::arg("root"), py::arg("to"))
      .def_property_readonly("done", &Delivery::done)
      .def("stop", &Delivery::stop)
      .def("progress",
           [](Delivery& self) {
             const mlops::DeliverProgress now = self.progress();
             return py::make_tuple(now.delivered, now.total, now.points_per_second, now.seconds_left,
                                   std::string(now.last_error.message()));
           })
      .def("report", [](Delivery& self) { return report_of(self.report()); });
  module.def("verify", &verified, py::arg("run_id"), py::arg("root"), py::arg("to"));
  module.def(
      "delete_runs",
      [](const std::string& root, const std::vector<std::string>& ids) {
        return take(without_gil([&] { return mlops::delete_runs(root, ids); }));
      },
      py::arg("root"), py::arg("run_ids"));
  module.def(
      "restore_runs",
      [](const std::string& root, const std::vector<std::string>& ids) {
        return take(without_gil([&] { return mlops::restore_runs(root, ids); }));
      },
      py::arg("root"), py::arg("run_ids"));
}

}  // namespace mlops_python
