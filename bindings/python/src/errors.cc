#include "errors.h"

#include <array>

namespace mlops_python {
namespace {

std::array<PyObject*, kWrongType + 1> g_types{};  // owned until the process ends

}  // namespace

void set_error_types(const py::dict& types) {
  for (const auto& [code, type] : types) {
    const int at = code.cast<int>();
    if (at < 0 || at > kWrongType) throw py::index_error("no such error code");
    Py_XDECREF(g_types[static_cast<std::size_t>(at)]);
    g_types[static_cast<std::size_t>(at)] = type.inc_ref().ptr();
  }
}

PyObject* raise(int code, const std::string& message) noexcept {
  PyObject* type = code >= 0 && code <= kWrongType ? g_types[static_cast<std::size_t>(code)] : nullptr;
  if (type == nullptr) type = PyExc_RuntimeError;
  // A message may repeat what the user gave, cut anywhere: never fail on its bytes.
  PyObject* text = PyUnicode_DecodeUTF8(message.data(), static_cast<Py_ssize_t>(message.size()), "replace");
  if (text == nullptr) return nullptr;
  PyErr_SetObject(type, text);
  Py_DECREF(text);
  return nullptr;
}

PyObject* raise(const mlops::Status& status) noexcept {
  return raise(static_cast<int>(status.code()), std::string(status.message()));
}

void check(const mlops::Status& status) {
  if (status.ok()) return;
  raise(status);
  throw py::error_already_set();
}

void fail(int code, const std::string& message) {
  raise(code, message);
  throw py::error_already_set();
}

}  // namespace mlops_python
