// The handwritten digits: 8 x 8 pixels scaled to 0..1 and a label, split into training and validation rows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace digits {

inline constexpr std::size_t kPixels = 64, kClasses = 10;

struct Sample {
  std::array<float, kPixels> pixels;
  std::uint8_t label;
};

struct Dataset {
  std::vector<Sample> train, validation;
};

/// Reads digits.csv (DATA.md). Every fifth row is for validation. False, with words in *error, when the file is not
/// there or a row is not 65 numbers in range.
bool load(const std::string& path, Dataset* out, std::string* error);

}  // namespace digits
