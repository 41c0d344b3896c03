// Precedence and checks of options; the root that is found upwards.
#include "client/env.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "client/support.h"

namespace mlops::client {
namespace {

TEST(Options, CodeWinsOverEnvironmentOverDefault) {
  Environment environment;
  environment.home = "/tmp/of-the-environment";
  environment.host = "node7";
  environment.journal_mib = "128";
  environment.exit_deadline_ms = "250";
  environment.deliver = "False";
  environment.tracking_uri = "http://localhost:5000/";
  Options options = complete_options({}, environment).value();
  EXPECT_EQ(options.root, "/tmp/of-the-environment");
  EXPECT_EQ(options.host, "node7");
  EXPECT_EQ(options.journal_mib, 128u);
  EXPECT_EQ(options.exit_deadline, Millis(250));
  EXPECT_FALSE(options.deliver);
  EXPECT_EQ(options.tracking_uri, "http://localhost:5000");
  Options given;
  given.root = "/tmp/of-the-code";
  given.host = "mine";
  given.journal_mib = 8;
  given.tracking_uri = "https://other/";
  options = complete_options(given, environment).value();
  EXPECT_EQ(options.root, "/tmp/of-the-code");
  EXPECT_EQ(options.host, "mine");
  EXPECT_EQ(options.journal_mib, 8u);
  EXPECT_EQ(options.tracking_uri, "https://other");
}

TEST(Options, BadEnvironmentIsNamed) {
  Environment environment;
  environment.home = "/tmp/x";
  environment.exit_deadline_ms = "soon";
  const Status status = complete_options({}, environment).status();
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  EXPECT_NE(std::string(status.message()).find("MLOPS_EXIT_DEADLINE_MS"), std::string::npos);
  environment.exit_deadline_ms.clear();
  environment.tracking_uri = "databricks";
  EXPECT_NE(std::string(complete_options({}, environment).status().message()).find("MLFLOW_TRACKING_URI"),
            std::string::npos);
}

TEST(Root, IsFoundUpwards) {
  test::TempDir dir;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::create_directories(dir / "project/.mlops");
  std::filesystem::create_directories(dir / "project/a/b");
  std::filesystem::current_path(dir / "project/a/b");
  const std::string found = resolve_root("", {}).value();
  std::filesystem::current_path(before);
  EXPECT_EQ(found, std::filesystem::canonical(dir / "project/.mlops").native());
}

}  // namespace
}  // namespace mlops::client
