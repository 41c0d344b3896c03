// JSON texts made by hand: what few shapes this room writes into files and records are lists and objects of strings and
// numbers. Strings are read the same by YAML, whose double quotes know all that JSON's do; so are whole documents.
#pragma once

#include <string>
#include <string_view>

namespace mlops::client {

/// In quotes, escaped: control characters, the quote and the backslash; everything else as it is.
inline std::string json_text(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7F) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace mlops::client
