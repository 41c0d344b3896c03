// Numbers: what Python calls a number, as the double or int64 that a point holds, without importing numpy or torch.
#pragma once

#include <Python.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace mlops_python {

/// float, int, bool, numpy scalars, 0-d arrays and tensors, text of a number: what float() takes. A float32 stays
/// exact. False with a Python exception that names the metric.
bool to_double(PyObject* value, PyObject* metric, double* out) noexcept;
bool to_double_slow(PyObject* value, PyObject* metric, double* out) noexcept;

/// int and what has __index__; None is `none`. False with a Python exception that says `what`.
bool to_int64(PyObject* value, const char* what, std::int64_t none, std::int64_t* out) noexcept;
bool to_int64_slow(PyObject* value, const char* what, std::int64_t* out) noexcept;

/// Milliseconds since 1970, an int or a float (time.time() * 1000); None and null are -1. False with an exception.
bool to_time(PyObject* timestamp, std::int64_t* ms) noexcept;

/// A column of numbers, read where it lies: with no Python in between. Of an object with the buffer
/// protocol (one dimension, any stride) or one with __array__ (a tensor) it holds the memory itself when the elements
/// are those of a Column<double> (doubles, floats) or Column<std::int64_t> (64-bit integers); of other integers, floats
/// and of any iterable of numbers it holds a copy. Made and destroyed with the GIL.
template <typename T>
class Column {
 public:
  Column() = default;
  Column(const Column&) = delete;
  Column& operator=(const Column&) = delete;
  ~Column();

  std::size_t size() const { return size_; }
  /// The elements are floats; else T.
  bool floats() const { return floats_; }
  /// The numbers, as long as the column lives; Element is float where floats() says so, and T where not.
  template <typename Element>
  auto elements() const {
    return [data = data_, stride = stride_](std::size_t i) {
      Element value;
      std::memcpy(&value, data + static_cast<std::ptrdiff_t>(i) * stride, sizeof value);
      return static_cast<T>(value);
    };
  }

 private:
  template <typename>
  friend struct Filling;
  const char* data_ = nullptr;
  std::ptrdiff_t stride_ = 0;
  std::size_t size_ = 0;
  bool floats_ = false;
  Py_buffer view_{};  // released when its obj is not null
  std::vector<T> copy_;
};

/// Fills an empty column. False with a Python exception that names the metric, or says `what`.
bool to_column(PyObject* values, PyObject* metric, Column<double>* out) noexcept;
bool to_column(PyObject* values, const char* what, Column<std::int64_t>* out) noexcept;

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
