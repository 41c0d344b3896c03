// Json: the value builder, and what is a JSON text (RFC 8259).
#include <charconv>
#include <cmath>

#include "client/json_text.h"
#include "mlops/artifact.h"
#include "model/limits.h"

namespace mlops::client {
namespace {

class Checker {
 public:
  explicit Checker(std::string_view text) : text_(text) {}
  /// How far the text is one value and nothing else; npos when it is.
  std::size_t wrong() {
    space();
    if (!value(0)) return at_;
    space();
    return at_ == text_.size() ? std::string_view::npos : at_;
  }

 private:
  static constexpr int kDepth = 500;

  bool more() const { return at_ < text_.size(); }
  bool eat(char c) {
    if (!more() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view w) {
    if (text_.substr(at_, w.size()) != w) return false;
    at_ += w.size();
    return true;
  }
  void space() {
    while (more() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) ++at_;
  }
  bool digits() {
    const std::size_t from = at_;
    while (more() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    return at_ > from;
  }
  bool number() {
    eat('-');
    if (!eat('0') && !digits()) return false;
    if (eat('.') && !digits()) return false;
    if (eat('e') || eat('E')) {
      if (!eat('+')) eat('-');
      return digits();
    }
    return true;
  }
  bool string() {
    if (!eat('"')) return false;
    while (more()) {
      const char c = text_[at_];
      if (static_cast<unsigned char>(c) < 0x20) return false;
      ++at_;
      if (c == '"') return true;
      if (c != '\\') continue;
      if (!more()) return false;
      const char escaped = text_[at_++];
      if (escaped == 'u') {
        for (int i = 0; i < 4; ++i, ++at_) {
          if (!more() || std::string_view("0123456789abcdefABCDEF").find(text_[at_]) == std::string_view::npos)
            return false;
        }
      } else if (std::string_view("\"\\/bfnrt").find(escaped) == std::string_view::npos) {
        return false;
      }
    }
    return false;
  }
  bool members(char end, int depth) {
    space();
    if (eat(end)) return true;
    for (;;) {
      space();
      if (end == '}') {
        if (!string()) return false;
        space();
        if (!eat(':')) return false;
        space();
      }
      if (!value(depth + 1)) return false;
      space();
      if (eat(end)) return true;
      if (!eat(',')) return false;
    }
  }
  bool value(int depth) {  // NOLINT(misc-no-recursion): bounded
    if (!more() || depth > kDepth) return false;
    switch (text_[at_]) {
      case '{':
        ++at_;
        return members('}', depth);
      case '[':
        ++at_;
        return members(']', depth);
      case '"':
        return string();
      case 't':
        return word("true");
      case 'f':
        return word("false");
      case 'n':
        return word("null");
      default:
        return number();
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

std::string json_string(std::string_view text) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += "\\u00";
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string json_number(double v) {
  char out[32];
  return std::string(out, std::to_chars(out, out + sizeof out, v).ptr);
}

Status check_json(std::string_view text) {
  if (!model::is_utf8(text)) return Status(StatusCode::invalid_argument, "JSON text is not UTF-8");
  const std::size_t wrong = Checker(text).wrong();
  if (wrong == std::string_view::npos) return {};
  return Status(StatusCode::invalid_argument,
                wrong >= text.size() ? "JSON text ends too early"
                                     : "no JSON text: byte " + std::to_string(wrong) + " is not expected there");
}

}  // namespace mlops::client

MLOPS_NAMESPACE_BEGIN

Json::Json(double number)
    : text_(std::isnan(number)   ? "\"NaN\""
            : std::isinf(number) ? (number > 0 ? "\"Infinity\"" : "\"-Infinity\"")
                                 : client::json_number(number)) {}
Json::Json(const std::string& text) : text_(client::json_string(text)) {}

Result<Json> Json::parse(const std::string& text) {
  if (Status s = client::check_json(text); !s.ok()) return s;
  Json json(nullptr);
  json.text_ = text;
  return json;
}

Json& Json::set(const std::string& key, const Json& value) {
  if (kind_ != Kind::object) return *this;
  text_ += (text_.empty() ? "" : ", ") + client::json_string(key) + ": " + value.text();
  return *this;
}

Json& Json::add(const Json& value) {
  if (kind_ != Kind::array) return *this;
  text_ += (text_.empty() ? "" : ", ") + value.text();
  return *this;
}

std::string Json::text() const {
  if (kind_ == Kind::scalar) return text_;
  return kind_ == Kind::object ? "{" + text_ + "}" : "[" + text_ + "]";
}

MLOPS_NAMESPACE_END
