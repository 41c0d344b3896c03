// Errors: how a Status and a value of the wrong kind become Python exceptions. The classes are mlops.exceptions'; the
// package hands them over when it is imported (set_error_types), so that this module makes no class of its own.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "gil.h"
#include "mlops/status.h"

namespace mlops_python {

namespace py = pybind11;

/// Code of "the value has the wrong type", beside those of mlops::StatusCode.
constexpr int kWrongType = 100;

/// {code: class}
void set_error_types(const py::dict& types);

/// Sets the Python exception; needs the GIL. Always returns null, for `return raise(...)` in C functions.
PyObject* raise(int code, const std::string& message) noexcept;
PyObject* raise(const mlops::Status& status) noexcept;

/// For code called by pybind11: throws what becomes the exception.
void check(const mlops::Status& status);
[[noreturn]] void fail(int code, const std::string& message);

template <typename T>
T take(mlops::Result<T> result) {
  check(result.status());
  return std::move(result).value();
}

}  // namespace mlops_python
