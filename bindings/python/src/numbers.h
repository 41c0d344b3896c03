// Numbers: what Python calls a number, as the double or int64 that a point holds, without importing numpy or torch.
#pragma once

#include <Python.h>

#include <cstdint>
#include <vector>

namespace mlops_python {

/// float, int, bool, numpy scalars, 0-d arrays and tensors, text of a number: what float() takes. A float32 stays
/// exact. False with a Python exception that names the metric.
bool to_double(PyObject* value, PyObject* metric, double* out) noexcept;
bool to_double_slow(PyObject* value, PyObject* metric, double* out) noexcept;

/// int and what has __index__; None is `none`. False with a Python exception that says `what`.
bool to_int64(PyObject* value, const char* what, std::int64_t none, std::int64_t* out) noexcept;
bool to_int64_slow(PyObject* value, const char* what, std::int64_t* out) noexcept;

/// One column: an object with the buffer protocol (one dimension, any stride, of floats or integers), one with
/// __array__ (a tensor), or any iterable of numbers.
bool to_doubles(PyObject* values, PyObject* metric, std::vector<double>* out) noexcept;
bool to_int64s(PyObject* values, const char* what, std::vector<std::int64_t>* out) noexcept;

inline bool to_double(PyObject* value, PyObject* metric, double* out) noexcept {
  if (PyFloat_CheckExact(value)) {
    *out = PyFloat_AS_DOUBLE(value);
    return true;
  }
  return to_double_slow(value, metric, out);
}

inline bool to_int64(PyObject* value, const char* what, std::int64_t none, std::int64_t* out) noexcept {
  if (value == nullptr || value == Py_None) {
    *out = none;
    return true;
  }
  if (PyLong_CheckExact(value)) {
    int overflow = 0;
    const long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow == 0) {
      *out = number;
      return true;
    }
  }
  return to_int64_slow(value, what, out);
}

}  // namespace mlops_python
