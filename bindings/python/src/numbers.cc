#include "numbers.h"

#include <cmath>
#include <cstring>
#include <new>
#include <string>
#include <type_traits>

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
  out->reserve(static_cast<std::size_t>(count));
  for (Py_ssize_t i = 0; i < count; ++i, at += view.strides[0]) {
    T value;
    std::memcpy(&value, at, sizeof value);
    out->push_back(static_cast<Out>(value));
  }
}

// The element type's letter; 0: none that is a number in this machine's byte order.
char letter(const Py_buffer& view) {
  const char* format = view.format == nullptr ? "B" : view.format;
  if (*format == '@' || *format == '=' || *format == '<') ++format;
  return std::strlen(format) == 1 ? *format : '\0';
}

template <typename Out>
bool copied(const Py_buffer& view, std::vector<Out>* out) {
  constexpr bool kFloats = std::is_same_v<Out, double>;
  const auto width = view.itemsize;
  const char type = letter(view);
  if (type == '\0') return false;
  if (std::strchr("bhilqn", type) != nullptr) {
    if (width == 1) return copy<std::int8_t>(view, out), true;
    if (width == 2) return copy<std::int16_t>(view, out), true;
    if (width == 4) return copy<std::int32_t>(view, out), true;
    if (width == 8) return copy<std::int64_t>(view, out), true;
  }
  if (std::strchr("BHILQN?", type) != nullptr) {
    if (width == 1) return copy<std::uint8_t>(view, out), true;
    if (width == 2) return copy<std::uint16_t>(view, out), true;
    if (width == 4) return copy<std::uint32_t>(view, out), true;
    if (width == 8 && kFloats) return copy<std::uint64_t>(view, out), true;
  }
  if (kFloats && type == 'e' && width == 2) {
    std::vector<std::uint16_t> bits;
    copy<std::uint16_t>(view, &bits);
    for (const std::uint16_t word : bits) out->push_back(static_cast<Out>(half(word)));
    return true;
  }
  return false;
}

enum class Took { yes, no, failed };

}  // namespace

template <typename T>
Column<T>::~Column() {
  if (view_.obj != nullptr) PyBuffer_Release(&view_);
}
template class Column<double>;
template class Column<std::int64_t>;

template <typename T>
struct Filling {
  static constexpr bool kFloats = std::is_same_v<T, double>;

  static void of_copy(Column<T>* out) {
    out->data_ = reinterpret_cast<const char*>(out->copy_.data());
    out->stride_ = sizeof(T);
    out->size_ = out->copy_.size();
  }

  static bool in_place(Column<T>* out) {
    const Py_buffer& view = out->view_;
    const char type = letter(view);
    const bool same = kFloats ? type == 'd' : type != '\0' && std::strchr("lqn", type) != nullptr;
    out->floats_ = kFloats && type == 'f' && view.itemsize == sizeof(float);
    if (!out->floats_ && !(same && view.itemsize == sizeof(T))) return false;
    out->data_ = static_cast<const char*>(view.buf);
    out->stride_ = view.strides[0];
    out->size_ = static_cast<std::size_t>(view.shape[0]);
    return true;
  }

  // By the buffer protocol, the object's own or that of what its __array__ gives.
  static Took by_buffer(PyObject* values, const std::string& what, Column<T>* out) {
    PyObject* array = Py_NewRef(values);
    if (!PyObject_CheckBuffer(values)) {
      Py_DECREF(array);
      if (!PyObject_HasAttrString(values, "__array__")) return Took::no;
      array = PyObject_CallMethod(values, "__array__", nullptr);
    }
    const bool held = array != nullptr && PyObject_CheckBuffer(array) != 0 &&
                      PyObject_GetBuffer(array, &out->view_, PyBUF_STRIDED_RO | PyBUF_FORMAT) == 0;
    Py_XDECREF(array);  // the view keeps it
    if (!held) {
      PyErr_Clear();
      return Took::no;
    }
    const Py_buffer& view = out->view_;
    if (view.ndim != 1) {
      raise(static_cast<int>(mlops::StatusCode::invalid_argument),
            what + ": one dimension is needed, not " + std::to_string(view.ndim) + "; .ravel() makes it one");
      return Took::failed;
    }
    if (in_place(out)) return Took::yes;
    Took took = Took::no;
    if (copied(view, &out->copy_)) {
      of_copy(out);
      took = Took::yes;
    } else if (view.format != nullptr && std::strpbrk(view.format, "OdfeQNL") == nullptr) {
      raise(kWrongType, what + ": elements of the format '" + std::string(view.format) + "' are no numbers");
      took = Took::failed;
    } else if (view.format != nullptr && *view.format == 'Z') {
      raise(kWrongType, what + ": complex numbers have no place on a curve; log .real and .imag");
      took = Took::failed;
    }
    PyBuffer_Release(&out->view_);
    return took;
  }

  template <typename One>
  static bool fill(PyObject* values, const std::string& what, Column<T>* out, One one) noexcept {
    try {
      const Took took = by_buffer(values, what, out);
      if (took != Took::no) return took == Took::yes;
      PyObject* all = PyUnicode_Check(values) ? nullptr : PySequence_Fast(values, "");
      if (all == nullptr) {
        if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError)) return false;
        PyErr_Clear();
        raise(kWrongType, what + ": an array or a sequence of numbers is needed, not " + shown(values));
        return false;
      }
      bool ok = true;
      for (Py_ssize_t i = 0; ok && i < PySequence_Fast_GET_SIZE(all); ++i) {
        PyObject* item = PySequence_Fast_GET_ITEM(all, i);
        Py_INCREF(item);
        T value{};
        ok = one(item, &value);
        Py_DECREF(item);
        if (ok) out->copy_.push_back(value);
      }
      Py_DECREF(all);
      of_copy(out);
      return ok;
    } catch (const std::bad_alloc&) {
      PyErr_NoMemory();
      return false;
    }
  }
};

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

bool to_time(PyObject* timestamp, std::int64_t* ms) noexcept {
  if (timestamp == nullptr || timestamp == Py_None) {
    *ms = -1;
    return true;
  }
  if (PyFloat_Check(timestamp)) {  // time.time() * 1000, as MLflow takes it
    const double number = PyFloat_AS_DOUBLE(timestamp);
    if (number >= 0 && number < 9.2e18) {
      *ms = static_cast<std::int64_t>(number);
      return true;
    }
  }
  if (!PyFloat_Check(timestamp) && !to_int64(timestamp, "timestamp", -1, ms)) return false;
  if (!PyFloat_Check(timestamp) && *ms >= 0) return true;
  raise(static_cast<int>(mlops::StatusCode::invalid_argument),
        "timestamp must be milliseconds since 1970, at least 0; time.time_ns() // 1_000_000 is now");
  return false;
}

bool to_column(PyObject* values, PyObject* metric, Column<double>* out) noexcept {
  return Filling<double>::fill(values, named(metric) + ", values", out,
                               [metric](PyObject* item, double* value) { return to_double(item, metric, value); });
}

bool to_column(PyObject* values, const char* what, Column<std::int64_t>* out) noexcept {
  return Filling<std::int64_t>::fill(
      values, what, out, [what](PyObject* item, std::int64_t* value) { return to_int64(item, what, 0, value); });
}

}  // namespace mlops_python
