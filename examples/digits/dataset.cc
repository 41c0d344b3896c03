// Reads digits.csv strictly: a damaged file is an error, never a silently smaller data set.
#include "dataset.h"

#include <cstdlib>
#include <fstream>

namespace digits {
namespace {

bool parse(const std::string& line, Sample* out) {
  const char* at = line.c_str();
  for (std::size_t i = 0; i <= kPixels; ++i) {
    char* end = nullptr;
    const long v = std::strtol(at, &end, 10);
    const bool last = i == kPixels;
    if (end == at || v < 0 || v > (last ? 9 : 16) || *end != (last ? '\0' : ',')) return false;
    if (last) {
      out->label = static_cast<std::uint8_t>(v);
    } else {
      out->pixels[i] = static_cast<float>(v) / 16.0f;
    }
    at = end + 1;
  }
  return true;
}

}  // namespace

bool load(const std::string& path, Dataset* out, std::string* error) {
  std::ifstream file(path);
  if (!file) {
    *error = "cannot open " + path + ": name the data with --data";
    return false;
  }
  std::string line;
  for (std::size_t row = 0; std::getline(file, line); ++row) {
    Sample sample{};
    if (!parse(line, &sample)) {
      *error = path + ", row " + std::to_string(row + 1) + ": not 64 pixels of 0..16 and a digit";
      return false;
    }
    (row % 5 == 4 ? out->validation : out->train).push_back(sample);
  }
  if (out->train.empty() || out->validation.empty()) {
    *error = path + " holds too few rows";
    return false;
  }
  return true;
}

}  // namespace digits
