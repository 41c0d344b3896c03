// Xml: found by searching for `<name` and `</name>`; attributes, comments and prefixes are stepped over.
#include "store/xml.h"

#include <charconv>
#include <cstdint>

namespace mlops::store {
namespace {

void put_utf8(std::uint32_t code, std::string* out) {
  auto put = [out](std::uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6), put(0x80 | (code & 63));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12), put(0x80 | (code >> 6 & 63)), put(0x80 | (code & 63));
  } else {
    put(0xF0 | code >> 18), put(0x80 | (code >> 12 & 63)), put(0x80 | (code >> 6 & 63)), put(0x80 | (code & 63));
  }
}

std::string unescape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto mark = text.find('&');
    out += text.substr(0, mark);
    if (mark == text.npos) break;
    text.remove_prefix(mark);
    const auto end = text.find(';');
    const std::string_view name = end > 10 ? std::string_view() : text.substr(1, end - 1);
    if (name == "amp" || name == "lt" || name == "gt" || name == "quot" || name == "apos") {
      out += name == "amp" ? '&' : name == "lt" ? '<' : name == "gt" ? '>' : name == "quot" ? '"' : '\'';
    } else if (name.size() > 1 && name[0] == '#') {
      const bool hex = name[1] == 'x' || name[1] == 'X';
      const std::string_view digits = name.substr(hex ? 2 : 1);
      std::uint32_t code = 0;
      const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, hex ? 16 : 10);
      if (error == std::errc() && stop == digits.data() + digits.size() && code > 0 && code <= 0x10FFFF &&
          (code < 0xD800 || code > 0xDFFF))
        put_utf8(code, &out);
    } else {
      out += '&';
      text.remove_prefix(1);
      continue;
    }
    text.remove_prefix(end + 1);
  }
  return out;
}

/// Finds the next element; `inside` is what it holds, the rest of `xml` what stands behind it.
bool next(std::string_view* xml, std::string_view name, std::string_view* inside) {
  const std::string open = "<" + std::string(name), close = "</" + std::string(name) + ">";
  for (auto at = xml->find(open); at != xml->npos; at = xml->find(open, at + 1)) {
    const auto after = at + open.size();
    if (after >= xml->size()) return false;
    const char c = (*xml)[after];
    if (c != '>' && c != ' ' && c != '/' && c != '\t' && c != '\n' && c != '\r') continue;  // a longer name
    const auto end = xml->find('>', after);
    if (end == xml->npos) return false;
    if ((*xml)[end - 1] == '/') {
      *inside = {};
      xml->remove_prefix(end + 1);
      return true;
    }
    const auto last = xml->find(close, end);
    if (last == xml->npos) return false;
    *inside = xml->substr(end + 1, last - end - 1);
    xml->remove_prefix(last + close.size());
    return true;
  }
  return false;
}

}  // namespace

std::string xml_text(std::string_view xml, std::string_view name) {
  std::string_view inside;
  return next(&xml, name, &inside) ? unescape(inside) : std::string();
}

void xml_each(std::string_view xml, std::string_view name, const std::function<void(std::string_view)>& visit) {
  for (std::string_view inside; next(&xml, name, &inside);) visit(inside);
}

std::string xml_escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace mlops::store
