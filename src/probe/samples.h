// Samples: named numbers, gathered until somebody takes what they come to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mlops::probe {

struct Reading {
  std::string name;
  double value = 0;
};

class Samples {
 public:
  void mean(std::string_view name, double value);  // averaged, rounded to a tenth
  void last(std::string_view name, double value);  // the newest counts, as it is
  /// In the order in which the names first came. Empty again afterwards.
  std::vector<Reading> take();

 private:
  struct Entry {
    std::string name;
    double sum = 0;
    std::uint32_t count = 0;  // 0: `sum` is the newest value
  };
  Entry* find(std::string_view name);
  std::vector<Entry> entries_;
};

}  // namespace mlops::probe
