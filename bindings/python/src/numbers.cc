#include "numbers.h"

#include <cmath>
#include <cstring>
#include <new>
#include <string>

#include "errors.h"

namespace mlops_python {
namespace {

// "'abc' (str)": what was given, cut.
std::string shown(PyObject* value) {
  std::string text;
  if (PyObject* repr = PyObject_Repr(value)) {
    if (const char* utf8 = PyUnicode_AsUTF8(repr)) text = utf8;
    Py_DECREF(repr);
  }
  PyErr_Clear();
  if (text.size() > 60) {
    std::size_t cut = 57;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
    text = text.substr(0, cut) + "...";
  }
  return text + " (" + Py_TYPE(value)->tp_name + ")";
}

std::string named(PyObject* metric) {
  const char* utf8 = metric != nullptr && PyUnicode_Check(metric) ? PyUnicode_AsUTF8(metric) : nullptr;
  PyErr_Clear();
  return utf8 != nullptr ? "metric \"" + std::string(utf8).substr(0, 250) + "\"" : "the metric";
}

// IEEE half, as numpy's and the buffer protocol's 'e'.
double half(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  double value = 0;
  if (exponent == 31) {
    value = fraction != 0 ? std::nan("") : HUGE_VAL;
  } else {
    value = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(fraction + 1024, exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -value : value;
}

template <typename T, typename Out>
void copy(const Py_buffer& view, std::vector<Out>* out) {
  const Py_ssize_t count = view.shape[0];
  const char* at = static_cast<const char*>(view.buf);
  out->resize(static_cast<std::size_t>(count));
  for (Py_ssize_t i = 0; i < count; ++i, at += view.strides[0]) {
    T value;
    std::memcpy(&value, at, sizeof value);
    (*out)[static_cast<std::size_t>(i)] = static_cast<Out>(value);
  }
}

// The element type's letter; 0: none that is a number in this machine's byte order.
char letter(const Py_buffer& view) {
  const char* format = view.format == nullptr ? "B" : view.format;
  if (*format == '@' || *format == '=' || *format == '<') ++format;
  return std::strlen(format) == 1 ? *format : '\0';
}

template <typename Out>
bool copy_column(const Py_buffer& view, bool floats, std::vector<Out>* out) {
  const auto width = view.itemsize;
  const char type = letter(view);
  if (std::strchr("bhilqn", type) != nullptr && type != '\0') {
    if (width == 1) return copy<std::int8_t>(view, out), true;
    if (width == 2) return copy<std::int16_t>(view, out), true;
    if (width == 4) return copy<std::int32_t>(view, out), true;
    if (width == 8) return copy<std::int64_t>(view, out), true;
  }
  if (std::strchr("BHILQN?", type) != nullptr && type != '\0') {
    if (width == 1) return copy<std::uint8_t>(view, out), true;
    if (width == 2) return copy<std::uint16_t>(view, out), true;
    if (width == 4) return copy<std::uint32_t>(view, out), true;
    if (width == 8 && floats) return copy<std::uint64_t>(view, out), true;
  }
  if (!floats) return false;
  if (type == 'd' && width == 8) return copy<double>(view, out), true;
  if (type == 'f' && width == 4) return copy<float>(view, out), true;
  if (type == 'e' && width == 2) {
    std::vector<std::uint16_t> bits;
    copy<std::uint16_t>(view, &bits);
    out->clear();
    for (const std::uint16_t word : bits) out->push_back(static_cast<Out>(half(word)));
    return true;
  }
  return false;
}

enum class Took { yes, no, failed };

// By the buffer protocol, the object's own or that of what its __array__ gives.
template <typename Out>
Took by_buffer(PyObject* values, bool floats, const std::string& what, std::vector<Out>* out) {
  PyObject* array = nullptr;
  if (!PyObject_CheckBuffer(values)) {
    if (!PyObject_HasAttrString(values, "__array__")) return Took::no;
    array = PyObject_CallMethod(values, "__array__", nullptr);
    if (array == nullptr || !PyObject_CheckBuffer(array)) {
      PyErr_Clear();
      Py_XDECREF(array);
      return Took::no;
    }
    values = array;
  }
  Py_buffer view;
  if (PyObject_GetBuffer(values, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT) != 0) {
    PyErr_Clear();
    Py_XDECREF(array);
    return Took::no;
  }
  Took took = Took::no;
  if (view.ndim != 1) {
    raise(static_cast<int>(mlops::StatusCode::invalid_argument),
          what + ": one dimension is needed, not " + std::to_string(view.ndim) + "; .ravel() makes it one");
    took = Took::failed;
  } else if (copy_column(view, floats, out)) {
    took = Took::yes;
  } else if (view.format != nullptr && std::strpbrk(view.format, "OdfeQNL") == nullptr) {
    raise(kWrongType, what + ": elements of the format '" + std::string(view.format) + "' are no numbers");
    took = Took::failed;
  } else if (view.format != nullptr && *view.format == 'Z') {
    raise(kWrongType, what + ": complex numbers have no place on a curve; log .real and .imag");
    took = Took::failed;
  }
  PyBuffer_Release(&view);
  Py_XDECREF(array);
  return took;
}

}  // namespace

bool to_double_slow(PyObject* value, PyObject* metric, double* out) noexcept {
  if (PyLong_Check(value)) {  // and bool
    *out = PyLong_AsDouble(value);
    if (*out != -1.0 || !PyErr_Occurred()) return true;
    PyErr_Clear();
    raise(static_cast<int>(mlops::StatusCode::invalid_argument),
          named(metric) + ": the integer is beyond the greatest double (1.8e308)");
    return false;
  }
  PyObject* number = value == Py_None || PyComplex_Check(value) ? nullptr : PyNumber_Float(value);
  if (number == nullptr && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_TypeError)) {
    PyErr_Clear();             // nothing may be asked while an exception is set
    PyObject* item = nullptr;  // of an array of one element, of any number of dimensions
    if (PyObject_HasAttrString(value, "item") != 0) item = PyObject_CallMethod(value, "item", nullptr);
    if (item != nullptr && (PyFloat_Check(item) || PyLong_Check(item))) number = PyNumber_Float(item);
    Py_XDECREF(item);
  }
  if (number != nullptr) {
    *out = PyFloat_AS_DOUBLE(number);
    Py_DECREF(number);
    return true;
  }
  if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError) && !PyErr_ExceptionMatches(PyExc_ValueError) &&
      !PyErr_ExceptionMatches(PyExc_RuntimeError)) {
    return false;  // KeyboardInterrupt, MemoryError: not ours to rename
  }
  PyErr_Clear();
  const bool text = PyUnicode_Check(value) || PyBytes_Check(value);
  raise(text ? static_cast<int>(mlops::StatusCode::invalid_argument) : kWrongType,
        named(metric) + ": the value must be one number, not " + shown(value) +
            "; log_history takes many, log_param and set_tag take text");
  return false;
}

bool to_int64_slow(PyObject* value, const char* what, std::int64_t* out) noexcept {
  PyObject* number = PyNumber_Index(value);
  if (number == nullptr) {
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) return false;
    PyErr_Clear();
    // A float that is a whole number is what many loops have in their hands (epoch / 2).
    if (PyFloat_Check(value) && std::floor(PyFloat_AS_DOUBLE(value)) == PyFloat_AS_DOUBLE(value) &&
        std::fabs(PyFloat_AS_DOUBLE(value)) < 9.2e18) {
      *out = static_cast<std::int64_t>(PyFloat_AS_DOUBLE(value));
      return true;
    }
    raise(kWrongType, std::string(what) + " must be a whole number, not " + shown(value));
    return false;
  }
  int overflow = 0;
  *out = PyLong_AsLongLongAndOverflow(number, &overflow);
  Py_DECREF(number);
  if (overflow == 0 && !(*out == -1 && PyErr_Occurred())) return true;
  PyErr_Clear();
  raise(static_cast<int>(mlops::StatusCode::invalid_argument),
        std::string(what) + " " + shown(value) + " does not fit 64 bits");
  return false;
}

namespace {

template <typename Out, typename One>
bool column(PyObject* values, bool floats, const std::string& what, std::vector<Out>* out, One one) noexcept {
  try {
    const Took took = by_buffer(values, floats, what, out);
    if (took != Took::no) return took == Took::yes;
    PyObject* all = PyUnicode_Check(values) ? nullptr : PySequence_Fast(values, "");
    if (all == nullptr) {
      if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError)) return false;
      PyErr_Clear();
      raise(kWrongType, what + ": an array or a sequence of numbers is needed, not " + shown(values));
      return false;
    }
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(all);
    out->clear();
    out->reserve(static_cast<std::size_t>(count));
    bool ok = true;
    for (Py_ssize_t i = 0; ok && i < PySequence_Fast_GET_SIZE(all); ++i) {
      PyObject* item = PySequence_Fast_GET_ITEM(all, i);
      Py_INCREF(item);
      Out value{};
      ok = one(item, &value);
      Py_DECREF(item);
      if (ok) out->push_back(value);
    }
    Py_DECREF(all);
    return ok;
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    return false;
  }
}

}  // namespace

bool to_doubles(PyObject* values, PyObject* metric, std::vector<double>* out) noexcept {
  return column(values, true, named(metric) + ", values", out,
                [metric](PyObject* item, double* value) { return to_double(item, metric, value); });
}

bool to_int64s(PyObject* values, const char* what, std::vector<std::int64_t>* out) noexcept {
  return column(values, false, what, out,
                [what](PyObject* item, std::int64_t* value) { return to_int64(item, what, 0, value); });
}

}  // namespace mlops_python
