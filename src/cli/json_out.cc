#include "cli/json_out.h"

#include <charconv>
#include <cmath>

namespace mlops::cli {
namespace {

void append_escaped(std::string* out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  out->push_back('"');
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (c == '\n') {
      out->append("\\n");
    } else if (c == '\t') {
      out->append("\\t");
    } else if (byte < 0x20 || byte == 0x7f) {
      out->append("\\u00");
      out->push_back(kHex[byte >> 4]);
      out->push_back(kHex[byte & 15]);
    } else {
      out->push_back(c);
    }
  }
  out->push_back('"');
}

}  // namespace

void JsonOut::comma() {
  if (!fresh_) out_.push_back(',');
  fresh_ = false;
}

JsonOut& JsonOut::raw(std::string_view text) {
  comma();
  out_.append(text);
  return *this;
}

JsonOut& JsonOut::begin_object() {
  raw("{");
  fresh_ = true;
  return *this;
}

JsonOut& JsonOut::end_object() {
  out_.push_back('}');
  fresh_ = false;
  return *this;
}

JsonOut& JsonOut::begin_array() {
  raw("[");
  fresh_ = true;
  return *this;
}

JsonOut& JsonOut::end_array() {
  out_.push_back(']');
  fresh_ = false;
  return *this;
}

JsonOut& JsonOut::key(std::string_view name) {
  comma();
  append_escaped(&out_, name);
  out_.push_back(':');
  fresh_ = true;
  return *this;
}

JsonOut& JsonOut::value(std::string_view text) {
  comma();
  append_escaped(&out_, text);
  return *this;
}

JsonOut& JsonOut::value(bool flag) { return raw(flag ? "true" : "false"); }

JsonOut& JsonOut::null() { return raw("null"); }

JsonOut& JsonOut::value(double number) {
  if (std::isnan(number)) return value("NaN");
  if (std::isinf(number)) return value(number > 0 ? "Infinity" : "-Infinity");
  char digits[64];
  return raw(std::string_view(
      digits, static_cast<std::size_t>(std::to_chars(digits, digits + sizeof digits, number).ptr - digits)));
}

}  // namespace mlops::cli
