// Hot: the calls a training loop makes, as plain C functions of the module (METH_FASTCALL), because a call through
// pybind11 with arguments costs more than all that they do. `Metric.log`, `log_metric`, `log_metrics`.
//
// The GIL is held during a call that waits for nothing, and let go for the one in about 2,000 that may wait.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <string>

#include "mlops/mlops.h"

namespace mlops_python {

/// A run as Python holds it, and the handles of its metrics by name. Its end is explicit (the package ends what is open
/// at exit): destruction only leaves the run open.
class RunHandle {
 public:
  explicit RunHandle(mlops::Run run);
  ~RunHandle();
  RunHandle(const RunHandle&) = delete;
  RunHandle& operator=(const RunHandle&) = delete;

  mlops::Run& run() { return run_; }
  const std::string& id() const { return id_; }
  bool ended() const { return ended_; }
  void set_ended() { ended_ = true; }
  PyObject* metrics() const { return metrics_; }  // dict of name -> Metric

 private:
  mlops::Run run_;
  std::string id_;
  PyObject* metrics_;
  bool ended_ = false;
};

/// The Metric object of `name`, borrowed; null with an exception.
PyObject* metric_of(RunHandle* run, PyObject* name) noexcept;
/// The same for the user, keeping the run alive: a new reference.
PyObject* owned_metric(const pybind11::object& owner, PyObject* name) noexcept;
mlops::Metric handle_of(PyObject* metric) noexcept;

/// Adds the type and the functions to the module.
void add_hot(pybind11::module_& module);

/// The run that log_metric of this thread logs to; None: none.
void activate(const pybind11::object& run);
/// `start()` makes an active run where there is none; `log_metric_to(...)` and `log_metrics_to(...)` take the calls
/// that name another run or ask for more than the fast path does.
void set_hooks(pybind11::object start, pybind11::object log_metric_to, pybind11::object log_metrics_to);

}  // namespace mlops_python
