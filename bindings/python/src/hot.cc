#include "hot.h"

#include <time.h>

#include <array>
#include <chrono>
#include <utility>
#include <vector>

#include "errors.h"
#include "numbers.h"

namespace mlops_python {
namespace {

using When = std::chrono::system_clock::time_point;

struct MetricObject {
  PyObject_HEAD mlops::Metric metric;
  PyObject* name;
  PyObject* owner;  // the RunHandle's Python object, so that `run` lives; null in the run's own dictionary
  RunHandle* run;
};

PyTypeObject* g_metric_type = nullptr;
PyObject* g_start = nullptr;
PyObject* g_log_metric_to = nullptr;
PyObject* g_log_metrics_to = nullptr;

struct Active {
  PyObject* object = nullptr;  // owned
  RunHandle* run = nullptr;
};
thread_local Active t_active;

// ── arguments ────────────────────────────────────────────────────────────────────────────────────────────────────────

template <std::size_t N>
struct Signature {
  const char* function;
  std::array<const char*, N> names;
  std::size_t needed;
  std::array<PyObject*, N> interned{};
};

template <std::size_t N>
bool parse(Signature<N>& signature, PyObject* const* args, Py_ssize_t count, PyObject* keywords,
           std::array<PyObject*, N>* out) {
  out->fill(nullptr);
  if (count > static_cast<Py_ssize_t>(N)) {
    PyErr_Format(PyExc_TypeError, "%s() takes at most %zu arguments, %zd were given", signature.function, N, count);
    return false;
  }
  for (Py_ssize_t i = 0; i < count; ++i) (*out)[static_cast<std::size_t>(i)] = args[i];
  const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
  for (Py_ssize_t k = 0; k < named; ++k) {
    PyObject* word = PyTuple_GET_ITEM(keywords, k);
    std::size_t at = 0;
    while (at < N && word != signature.interned[at]) ++at;
    if (at == N) {
      at = 0;
      while (at < N && PyUnicode_Compare(word, signature.interned[at]) != 0) ++at;
    }
    if (at == N) {
      PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", signature.function, word);
      return false;
    }
    if ((*out)[at] != nullptr) {
      PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", signature.function, word);
      return false;
    }
    (*out)[at] = args[count + k];
  }
  for (std::size_t i = 0; i < signature.needed; ++i) {
    if ((*out)[i] == nullptr) {
      PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'", signature.function, signature.names[i]);
      return false;
    }
  }
  return true;
}

template <std::size_t N>
void intern(Signature<N>& signature) {
  for (std::size_t i = 0; i < N; ++i) signature.interned[i] = PyUnicode_InternFromString(signature.names[i]);
}

Signature<3> g_log{"log", {"value", "step", "timestamp"}, 1};
Signature<8> g_log_metric{
    "log_metric", {"key", "value", "step", "synchronous", "timestamp", "run_id", "model_id", "dataset"}, 2};
Signature<7> g_log_metrics{
    "log_metrics", {"metrics", "step", "synchronous", "run_id", "timestamp", "model_id", "dataset"}, 1};

bool given(PyObject* argument) { return argument != nullptr && argument != Py_None; }

// ── one point ────────────────────────────────────────────────────────────────────────────────────────────────────────

void put(mlops::Metric metric, double value, std::int64_t step, std::int64_t ms) {
  if (ms < 0) {
    metric.log(value, step);
  } else {
    metric.log(value, step, When(std::chrono::milliseconds(ms)));
  }
}

// `ms` -1: now.
void log_one(mlops::Metric metric, double value, std::int64_t step, std::int64_t ms) {
  if (metric.at_once()) return put(metric, value, step, ms);
  const Unlocked released;
  put(metric, value, step, ms);
}

bool open_run(RunHandle* run) {
  if (!run->ended()) return true;
  raise(static_cast<int>(mlops::StatusCode::failed_precondition),
        "run " + run->id() + " has ended: start_run(run_id=\"" + run->id() + "\") goes on with it");
  return false;
}

PyObject* metric_log(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  auto* metric = reinterpret_cast<MetricObject*>(self);
  double value = 0;
  std::int64_t step = 0;
  std::int64_t ms = -1;
  if (keywords == nullptr && (count == 1 || count == 2)) {
    if (!to_double(args[0], metric->name, &value)) return nullptr;
    if (count == 2 && !to_int64(args[1], "step", 0, &step)) return nullptr;
  } else {
    std::array<PyObject*, 3> given_args;
    if (!parse(g_log, args, count, keywords, &given_args)) return nullptr;
    if (!to_double(given_args[0], metric->name, &value) || !to_int64(given_args[1], "step", 0, &step) ||
        !to_time(given_args[2], &ms))
      return nullptr;
  }
  if (!open_run(metric->run)) return nullptr;
  log_one(metric->metric, value, step, ms);
  Py_RETURN_NONE;
}

// ── the active run ───────────────────────────────────────────────────────────────────────────────────────────────────

// This thread's active run; starts one where there is none, as MLflow does. Null with an exception.
RunHandle* active() {
  if (t_active.run != nullptr) return t_active.run;
  if (g_start == nullptr) {
    raise(static_cast<int>(mlops::StatusCode::failed_precondition), "no active run: call start_run first");
    return nullptr;
  }
  PyObject* started = PyObject_CallNoArgs(g_start);
  if (started == nullptr) return nullptr;
  Py_DECREF(started);
  if (t_active.run == nullptr)
    raise(static_cast<int>(mlops::StatusCode::internal), "starting a run left this thread without an active one");
  return t_active.run;
}

PyObject* log_metric(PyObject*, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  PyObject* name = nullptr;
  PyObject* number = nullptr;
  PyObject* at = nullptr;
  PyObject* when = nullptr;
  std::array<PyObject*, 8> all;
  if (keywords == nullptr && (count == 2 || count == 3)) {
    name = args[0], number = args[1];
    if (count == 3) at = args[2];
  } else if (count == 2 && PyTuple_GET_SIZE(keywords) == 1 &&
             PyTuple_GET_ITEM(keywords, 0) == g_log_metric.interned[2]) {
    name = args[0], number = args[1], at = args[2];
  } else {
    if (!parse(g_log_metric, args, count, keywords, &all)) return nullptr;
    if (given(all[3]) || given(all[5]) || given(all[6]) || given(all[7]))
      return PyObject_Vectorcall(g_log_metric_to, args, static_cast<std::size_t>(count), keywords);
    name = all[0], number = all[1], at = all[2], when = all[4];
  }
  double value = 0;
  std::int64_t step = 0;
  std::int64_t ms = -1;
  if (!to_double(number, name, &value) || !to_int64(at, "step", 0, &step) || !to_time(when, &ms)) return nullptr;
  RunHandle* run = active();
  if (run == nullptr || !open_run(run)) return nullptr;
  PyObject* metric = metric_of(run, name);
  if (metric == nullptr) return nullptr;
  log_one(handle_of(metric), value, step, ms);
  Py_RETURN_NONE;
}

std::int64_t coarse_ms() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

struct Point {
  mlops::Metric metric;
  double value;
};

// All points are looked at before the first is logged: none is accepted of a call that fails. One time stamp for all.
bool log_all(RunHandle* run, PyObject* metrics, std::int64_t step, std::int64_t ms) {
  constexpr std::size_t kFew = 64;
  std::array<Point, kFew> few;
  std::vector<Point> many;
  const auto size = static_cast<std::size_t>(PyDict_GET_SIZE(metrics));
  Point* points = few.data();
  if (size > kFew) {
    try {
      many.resize(size);
    } catch (const std::bad_alloc&) {
      PyErr_NoMemory();
      return false;
    }
    points = many.data();
  }
  std::size_t n = 0;
  Py_ssize_t place = 0;
  PyObject* name = nullptr;
  PyObject* number = nullptr;
  while (PyDict_Next(metrics, &place, &name, &number) != 0) {
    if (n == size) {
      PyErr_SetString(PyExc_RuntimeError, "the dictionary changed while it was logged");
      return false;
    }
    Py_INCREF(name);
    Py_INCREF(number);
    const bool ok = to_double(number, name, &points[n].value);
    PyObject* metric = ok ? metric_of(run, name) : nullptr;
    if (metric != nullptr) points[n++].metric = handle_of(metric);
    Py_DECREF(name);
    Py_DECREF(number);
    if (metric == nullptr) return false;
  }
  if (ms < 0) ms = coarse_ms();
  for (std::size_t i = 0; i < n; ++i) log_one(points[i].metric, points[i].value, step, ms);
  return true;
}

PyObject* log_metrics(PyObject*, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  std::array<PyObject*, 7> all;
  if (!parse(g_log_metrics, args, count, keywords, &all)) return nullptr;
  if (given(all[2]) || given(all[3]) || given(all[5]) || given(all[6]) || !PyDict_Check(all[0]))
    return PyObject_Vectorcall(g_log_metrics_to, args, static_cast<std::size_t>(count), keywords);
  std::int64_t step = 0;
  std::int64_t ms = -1;
  if (!to_int64(all[1], "step", 0, &step) || !to_time(all[4], &ms)) return nullptr;
  RunHandle* run = active();
  if (run == nullptr || !open_run(run)) return nullptr;
  if (!log_all(run, all[0], step, ms)) return nullptr;
  Py_RETURN_NONE;
}

// ── the type ─────────────────────────────────────────────────────────────────────────────────────────────────────────

void metric_dealloc(PyObject* self) {
  auto* metric = reinterpret_cast<MetricObject*>(self);
  PyTypeObject* type = Py_TYPE(self);
  Py_CLEAR(metric->name);
  Py_CLEAR(metric->owner);
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* metric_repr(PyObject* self) {
  auto* metric = reinterpret_cast<MetricObject*>(self);
  return PyUnicode_FromFormat("<Metric '%U' of run %s>", metric->name, metric->run->id().c_str());
}

PyObject* metric_name(PyObject* self, void*) { return Py_NewRef(reinterpret_cast<MetricObject*>(self)->name); }

// A C function with the FASTCALL convention, in the shape that a method table wants.
template <typename F>
PyCFunction method(F* function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef g_metric_methods[] = {
    {"log", method(&metric_log), METH_FASTCALL | METH_KEYWORDS,
     "log($self, /, value, step=0, timestamp=None)\n--\n\nOne point. Accepted when it returns: it survives the death "
     "of "
     "the process.\nvalue: a number, numpy scalar or 0-d tensor. timestamp: ms since 1970; now when None."},
    {nullptr, nullptr, 0, nullptr}};
PyGetSetDef g_metric_properties[] = {{"name", &metric_name, nullptr, "As the run knows it.", nullptr},
                                     {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMethodDef g_functions[] = {
    {"log_metric", method(&log_metric), METH_FASTCALL | METH_KEYWORDS,
     "log_metric($module, /, key, value, step=None, synchronous=None, timestamp=None, run_id=None, model_id=None, "
     "dataset=None)\n--\n\nOne point of the active run, which is started when there is none. Accepted when it "
     "returns."},
    {"log_metrics", method(&log_metrics), METH_FASTCALL | METH_KEYWORDS,
     "log_metrics($module, /, metrics, step=None, synchronous=None, run_id=None, timestamp=None, model_id=None, "
     "dataset=None)\n--\n\nMany points of one step and time. A call that fails logs none of them."},
    {nullptr, nullptr, 0, nullptr}};

// A Metric object; null with an exception.
PyObject* new_metric(mlops::Metric metric, PyObject* name, PyObject* owner, RunHandle* run) {
  PyObject* object = g_metric_type->tp_alloc(g_metric_type, 0);
  if (object == nullptr) return nullptr;
  auto* made = reinterpret_cast<MetricObject*>(object);
  made->metric = metric;
  made->name = Py_NewRef(name);
  made->owner = Py_XNewRef(owner);
  made->run = run;
  return object;
}

}  // namespace

RunHandle::RunHandle(mlops::Run run) : run_(std::move(run)), id_(run_.id()), metrics_(PyDict_New()) {
  if (metrics_ == nullptr) throw py::error_already_set();
}

RunHandle::~RunHandle() {
  Py_CLEAR(metrics_);
  const Unlocked released;  // what follows may wait for the disk
  if (!run_.ended()) run_.leave().ignore();
  mlops::Run(std::move(run_));
}

PyObject* metric_of(RunHandle* run, PyObject* name) noexcept {
  if (!PyUnicode_Check(name)) {
    raise(kWrongType, std::string("a metric's name must be a str, not ") + Py_TYPE(name)->tp_name);
    return nullptr;
  }
  PyObject* known = PyDict_GetItemWithError(run->metrics(), name);
  if (known != nullptr || PyErr_Occurred()) return known;
  Py_ssize_t size = 0;
  const char* utf8 = PyUnicode_AsUTF8AndSize(name, &size);
  if (utf8 == nullptr) {
    if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) return nullptr;
    PyErr_Clear();
    raise(static_cast<int>(mlops::StatusCode::invalid_argument),
          "a metric's name must be text that UTF-8 can write: it has a lone surrogate");
    return nullptr;
  }
  try {
    const std::string text(utf8, static_cast<std::size_t>(size));
    mlops::Result<mlops::Metric> made = without_gil([&] { return run->run().try_metric(text); });
    if (!made.ok()) {
      raise(made.status());
      return nullptr;
    }
    // Without an owner: the run keeps this very dictionary, and would never be freed.
    PyObject* metric = new_metric(*made, name, nullptr, run);
    if (metric == nullptr) return nullptr;
    const int rc = PyDict_SetItem(run->metrics(), name, metric);
    Py_DECREF(metric);
    return rc == 0 ? metric : nullptr;
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const std::exception& error) {
    raise(static_cast<int>(mlops::StatusCode::internal), error.what());
  }
  return nullptr;
}

mlops::Metric handle_of(PyObject* metric) noexcept { return reinterpret_cast<MetricObject*>(metric)->metric; }

PyObject* owned_metric(const py::object& owner, PyObject* name) noexcept {
  auto* run = owner.cast<RunHandle*>();
  PyObject* known = metric_of(run, name);
  if (known == nullptr) return nullptr;
  return new_metric(handle_of(known), name, owner.ptr(), run);
}

void activate(const py::object& run) {
  RunHandle* handle = run.is_none() ? nullptr : run.cast<RunHandle*>();
  PyObject* before = t_active.object;
  t_active.object = handle == nullptr ? nullptr : Py_NewRef(run.ptr());
  t_active.run = handle;
  Py_XDECREF(before);
}

void set_hooks(py::object start, py::object log_metric_to, py::object log_metrics_to) {
  Py_XDECREF(std::exchange(g_start, start.release().ptr()));
  Py_XDECREF(std::exchange(g_log_metric_to, log_metric_to.release().ptr()));
  Py_XDECREF(std::exchange(g_log_metrics_to, log_metrics_to.release().ptr()));
}

void add_hot(py::module_& module) {
  intern(g_log);
  intern(g_log_metric);
  intern(g_log_metrics);
  static std::array<PyType_Slot, 6> slots{
      {{Py_tp_dealloc, reinterpret_cast<void*>(&metric_dealloc)},
       {Py_tp_repr, reinterpret_cast<void*>(&metric_repr)},
       {Py_tp_methods, g_metric_methods},
       {Py_tp_getset, g_metric_properties},
       {Py_tp_doc, const_cast<char*>("A metric of a run: look up once with Run.metric, then log.")},
       {0, nullptr}}};
  static PyType_Spec spec{"mlops.Metric", sizeof(MetricObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots.data()};
  PyObject* type = PyType_FromSpec(&spec);
  if (type == nullptr) throw py::error_already_set();
  g_metric_type = reinterpret_cast<PyTypeObject*>(type);
  module.attr("Metric") = py::reinterpret_steal<py::object>(Py_NewRef(type));
  if (PyModule_AddFunctions(module.ptr(), g_functions) != 0) throw py::error_already_set();
}

}  // namespace mlops_python
