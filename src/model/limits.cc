// What may be logged. Every refusal names the text, the rule it broke and the mend.
#include "model/limits.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <iterator>

#include "model/artifact.h"
#include "model/word_chars.h"

namespace mlops::model {
namespace {

// Decodes the code point at text[at] and moves at past it; false when the bytes are not UTF-8 (RFC 3629: no overlong
// form, no surrogate, nothing above U+10FFFF, nothing cut off).
bool next_char(std::string_view text, std::size_t* at, std::uint32_t* out) {
  const auto byte = [&text](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(*at);
  if (lead < 0x80) {
    *out = lead;
    ++*at;
    return true;
  }
  std::size_t length = 0;
  std::uint32_t code = 0, least = 0;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2, code = lead & 0x1Fu, least = 0x80;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3, code = lead & 0x0Fu, least = 0x800;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4, code = lead & 0x07u, least = 0x10000;
  } else {
    return false;
  }
  if (text.size() - *at < length) return false;
  for (std::size_t i = 1; i < length; ++i) {
    const std::uint8_t next = byte(*at + i);
    if ((next & 0xC0u) != 0x80) return false;
    code = code << 6 | (next & 0x3Fu);
  }
  if (code < least || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return false;
  *out = code;
  *at += length;
  return true;
}

bool is_key_char(std::uint32_t c) {
  if (c < 0x80) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.' || c == ' ' || c == '/' || c == ':';
  }
  const auto* range = std::upper_bound(std::begin(kWordChars), std::end(kWordChars), c,
                                       [](std::uint32_t at, const CharRange& r) { return at < r.first; });
  return range != std::begin(kWordChars) && c <= std::prev(range)->last;
}

// Equal to posixpath.normpath of itself, and neither absolute nor starting with "..": MLflow's path_not_unique.
bool is_normal_path(std::string_view key) {
  if (key.substr(0, 2) == "..") return false;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t end = std::min(key.find('/', begin), key.size());
    const std::string_view segment = key.substr(begin, end - begin);
    if (segment.empty() || segment == "." || segment == "..") return false;
    if (end == key.size()) return true;
    begin = end + 1;
  }
}

// The start of a text for a message: printable, at most 40 characters.
std::string start_of(std::string_view text) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out = "'";
  std::size_t at = 0;
  for (int chars = 0; at < text.size(); ++chars) {
    if (chars == 40) return out + "…'";
    const std::size_t from = at;
    std::uint32_t c = 0;
    const bool good = next_char(text, &at, &c);
    if (good && c >= 0x20 && c != 0x7F) {
      out += text.substr(from, at - from);
    } else {
      at = from + 1;
      const auto byte = static_cast<std::uint8_t>(text[from]);
      out += "\\x";
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  return out + "'";
}

Status refuse(std::string_view what, std::string_view text, std::string_view rule) {
  std::string message(what);
  message += ' ';
  message += start_of(text);
  message += ' ';
  message += rule;
  return Status(StatusCode::invalid_argument, std::move(message));
}

// Python's repr(): shortest digits, positional for decimal exponents from -4 to 15.
template <typename Float>
std::string python_repr(Float v) {
  if (std::isnan(v)) return "nan";
  if (std::isinf(v)) return v > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, v, std::chars_format::scientific).ptr;
  std::string_view text(buffer, static_cast<std::size_t>(end - buffer));
  std::string out;
  if (text.front() == '-') {
    out = "-";
    text.remove_prefix(1);
  }
  const std::size_t e = text.find('e');
  std::string_view exponent_text = text.substr(e + 1);
  if (exponent_text.front() == '+') exponent_text.remove_prefix(1);
  int exponent = 0;
  std::from_chars(exponent_text.data(), exponent_text.data() + exponent_text.size(), exponent);
  std::string digits(1, text[0]);
  if (e > 2) digits += text.substr(2, e - 2);
  if (exponent < -4 || exponent > 15) {
    out += digits[0];
    if (digits.size() > 1) out += "." + digits.substr(1);
    const int magnitude = std::abs(exponent);
    out += exponent < 0 ? "e-" : "e+";
    if (magnitude < 10) out += '0';
    return out + std::to_string(magnitude);
  }
  if (exponent < 0) return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  const auto point = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= point) return out + digits + std::string(point - digits.size(), '0') + ".0";
  return out + digits.substr(0, point) + "." + digits.substr(point);
}

}  // namespace

bool is_utf8(std::string_view text) {
  std::uint32_t c = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (!next_char(text, &at, &c)) return false;
  }
  return true;
}

std::size_t count_chars(std::string_view utf8) {
  return static_cast<std::size_t>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<std::uint8_t>(c) & 0xC0u) != 0x80; }));
}

std::string_view cut_chars(std::string_view utf8, std::size_t chars) {
  for (std::size_t at = 0; at < utf8.size(); ++at) {
    if ((static_cast<std::uint8_t>(utf8[at]) & 0xC0u) == 0x80) continue;
    if (chars == 0) return utf8.substr(0, at);
    --chars;
  }
  return utf8;
}

Status check_key(std::string_view what, std::string_view key) {
  if (key.empty()) return Status(StatusCode::invalid_argument, std::string(what) + " is empty: name it");
  std::size_t chars = 0;
  for (std::size_t at = 0; at < key.size(); ++chars) {
    std::uint32_t c = 0;
    if (!next_char(key, &at, &c)) return refuse(what, key, "is not UTF-8: pass UTF-8 text");
    if (!is_key_char(c)) {
      return refuse(what, key,
                    "holds a character that MLflow refuses: use letters, digits, '_', '-', '.', ' ', '/', ':'");
    }
  }
  if (chars > kKeyChars) {
    return refuse(what, key, "has " + std::to_string(chars) + " characters: at most 250 are allowed, shorten it");
  }
  if (!is_normal_path(key)) {
    return refuse(
        what, key,
        "is not a plain path: no '/' at either end, no '//', no '.' or '..' between slashes, no '..' in front");
  }
  return {};
}

Status check_text(std::string_view what, std::string_view text, std::size_t chars, bool may_be_empty) {
  if (text.empty() && !may_be_empty) {
    return Status(StatusCode::invalid_argument, std::string(what) + " is empty: give it at least one character");
  }
  if (text.find('\0') != std::string_view::npos) return refuse(what, text, "holds a NUL character: remove it");
  if (!is_utf8(text)) return refuse(what, text, "is not UTF-8: pass UTF-8 text");
  if (const std::size_t count = count_chars(text); count > chars) {
    return refuse(
        what, text,
        "has " + std::to_string(count) + " characters: at most " + std::to_string(chars) + " are allowed, shorten it");
  }
  return {};
}

Status check_artifact_path(std::string_view path) {
  constexpr std::string_view what = "artifact path";
  if (path.empty()) return Status(StatusCode::invalid_argument, "an artifact path is empty: name the file");
  if (!is_utf8(path)) return refuse(what, path, "is not UTF-8: rename the file");
  if (!is_normal_path(path)) {
    return refuse(what, path,
                  "is not a plain relative path: no '/' at either end, no '//', no '.' or '..' between slashes, no "
                  "'..' in front");
  }
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); };
  std::size_t segment = 0;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    if (static_cast<std::uint8_t>(c) < 0x20 || c == 0x7F) return refuse(what, path, "holds a control character");
    if (c == '#' || c == '\\') return refuse(what, path, "holds '#' or a backslash, which MLflow refuses: rename it");
    if (c == '%' && i + 2 < path.size() && is_hex(path[i + 1]) && is_hex(path[i + 2])) {
      return refuse(what, path, "holds '%' and two hexadecimal digits, which MLflow decodes: rename it");
    }
    segment = c == '/' ? 0 : segment + 1;
    if (segment > kArtifactNameBytes) return refuse(what, path, "has a name of more than 255 bytes: shorten it");
  }
  if (path.size() > kArtifactPathBytes) return refuse(what, path, "is longer than 900 bytes: shorten it");
  if (path.back() == '?' || path.back() == ';') return refuse(what, path, "ends with '?' or ';', which MLflow cuts");
  const std::size_t colon = path.find(':');
  const auto of_scheme = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '-' ||
           c == '.';
  };
  if (colon != std::string_view::npos && colon > 0 && !(path[0] >= '0' && path[0] <= '9') &&
      std::all_of(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(colon), of_scheme)) {
    return refuse(what, path, "begins as a URL does (scheme and ':'), which MLflow rewrites: put it into a folder");
  }
  return {};
}

std::string format_double(double v) { return python_repr(v); }
std::string format_float(float v) { return python_repr(v); }

}  // namespace mlops::model
