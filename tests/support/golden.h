// Golden files: bytes on disk of one version, kept in tests/<room>/golden/<what>.v<version>; docs/format.md explains
// them. MLOPS_WRITE_GOLDEN=1 writes them anew, for a version that is added, and lets every test that wrote fail.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace mlops {

inline std::filesystem::path golden_path(const char* room, const std::string& name) {
  return std::filesystem::path(MLOPS_TESTS_DIR) / room / "golden" / name;
}

/// What the file holds. `now` is what today's code writes.
inline std::string golden_bytes(const char* room, const std::string& name, const std::string& now) {
  const std::filesystem::path path = golden_path(room, name);
  if (std::getenv("MLOPS_WRITE_GOLDEN") != nullptr) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << now;
    ADD_FAILURE() << path << " was written anew; unset MLOPS_WRITE_GOLDEN to test against it";
  }
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace mlops
