// JsonOut: prints JSON. Doubles in the shortest form that reads back the same; NaN and infinities, which JSON has not,
// as the strings "NaN", "Infinity", "-Infinity", as MLflow writes them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace mlops::cli {

/// Values in order; keys inside objects. The caller keeps begin and end in balance.
class JsonOut {
 public:
  JsonOut& begin_object();
  JsonOut& end_object();
  JsonOut& begin_array();
  JsonOut& end_array();
  JsonOut& key(std::string_view name);
  JsonOut& value(std::string_view text);
  JsonOut& value(const char* text) { return value(std::string_view(text)); }
  JsonOut& value(bool flag);
  JsonOut& null();
  JsonOut& value(double number);
  template <typename I, std::enable_if_t<std::is_integral_v<I> && !std::is_same_v<I, bool>, int> = 0>
  JsonOut& value(I number) {
    return raw(std::to_string(number));
  }
  template <typename T>
  JsonOut& field(std::string_view name, const T& what) {
    return key(name).value(what);
  }
  const std::string& text() const { return out_; }

 private:
  JsonOut& raw(std::string_view text);
  void comma();
  std::string out_;
  bool fresh_ = true;  // nothing stands before the next value on its level
};

}  // namespace mlops::cli
