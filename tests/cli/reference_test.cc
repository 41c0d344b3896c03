// docs/commands.md is what the command prints.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace {

TEST(Reference, IsWhatTheCommandPrints) {
  const std::filesystem::path build = std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
  const std::filesystem::path binary = build / "src/cli/mlops";
  if (!std::filesystem::exists(binary)) GTEST_SKIP() << "the command is not built: " << binary;
  std::string printed;
  FILE* pipe = ::popen((binary.native() + " reference").c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::array<char, 4096> buffer;
  for (std::size_t n = 0; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) != 0;)
    printed.append(buffer.data(), n);
  ASSERT_EQ(::pclose(pipe), 0);
  ASSERT_GT(printed.size(), 2000u);
  std::ifstream file(std::filesystem::path(MLOPS_TESTS_DIR).parent_path() / "docs/commands.md");
  std::stringstream committed;
  committed << file.rdbuf();
  EXPECT_EQ(committed.str(), printed) << "build/dev/src/cli/mlops reference > docs/commands.md";
}

}  // namespace
