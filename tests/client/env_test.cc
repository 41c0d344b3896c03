// Precedence and checks of options; the root that is found upwards.
#include "client/env.h"

#include <gtest/gtest.h>

#include <cstdlib>
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
  Options nowhere;  // MLflow's own set_tracking_uri("sqlite:…") sets the variable: of no interest to this client
  nowhere.deliver = false;
  EXPECT_EQ(complete_options(nowhere, environment).value().tracking_uri, "");
  nowhere.tracking_uri = "databricks";
  EXPECT_EQ(complete_options(nowhere, environment).status().code(), StatusCode::invalid_argument);
}

TEST(Options, UrisOfThePluginForMlflowSayRootAndServer) {
  ASSERT_EQ(::setenv("MLOPS_HOME", "/tmp/of-the-environment", 1), 0);
  const auto with = [](const char* uri) {
    EXPECT_EQ(::setenv("MLFLOW_TRACKING_URI", uri, 1), 0);
    return read_environment();
  };
  EXPECT_EQ(with("mlops+https://host:5000/x").tracking_uri, "https://host:5000/x");
  EXPECT_EQ(with("mlops+http://host").home, "/tmp/of-the-environment");
  for (const char* uri : {"mlops:///tmp/a%20root%", "mlops:/tmp/a%20root%"}) {
    const Environment environment = with(uri);
    EXPECT_EQ(environment.tracking_uri, "");
    EXPECT_EQ(environment.home, "/tmp/a root%");
    EXPECT_STREQ(environment.home_from, "MLFLOW_TRACKING_URI");
  }
  EXPECT_EQ(with("mlops:relative").home, "relative");
  EXPECT_EQ(with("mlops://").home, "/tmp/of-the-environment");
  EXPECT_EQ(with("mlops://").tracking_uri, "");
  EXPECT_STREQ(with("http://host").home_from, "MLOPS_HOME");
  ::unsetenv("MLFLOW_TRACKING_URI");
  ::unsetenv("MLOPS_HOME");
}

TEST(Options, SystemMetrics) {
  Environment environment;
  environment.home = "/tmp/x";
  const SystemMetrics defaults = complete_options({}, environment)->system_metrics;
  EXPECT_FALSE(defaults.enabled.has_value());
  EXPECT_EQ(defaults.interval, Millis(10'000));
  EXPECT_EQ(defaults.samples_before_logging, 1u);
  environment.system_metrics = "TRUE";
  environment.system_interval = "2.5";
  environment.system_samples = "3";
  environment.system_node_id = "node 7.example:0";
  SystemMetrics got = complete_options({}, environment)->system_metrics;
  EXPECT_EQ(got.enabled, std::optional<bool>(true));
  EXPECT_EQ(got.interval, Millis(2'500));
  EXPECT_EQ(got.samples_before_logging, 3u);
  EXPECT_EQ(got.node_id, "node 7.example:0");
  Options given;
  given.system_metrics = {false, Millis(20), 5, "mine"};
  got = complete_options(given, environment)->system_metrics;
  EXPECT_EQ(got.enabled, std::optional<bool>(false));
  EXPECT_EQ(got.interval, Millis(20));
  EXPECT_EQ(got.samples_before_logging, 5u);
  EXPECT_EQ(got.node_id, "mine");
}

TEST(Options, BadSystemMetricsAreNamed) {
  const auto message = [](const Environment& environment, Options given = {}) {
    given.root = "/tmp/x";
    const Status status = complete_options(std::move(given), environment).status();
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    return std::string(status.message());
  };
  const auto names = [](const std::string& text, const std::string& what) { return text.find(what) == 0; };
  Environment e;
  e.system_metrics = "yes";  // MLflow refuses it too
  EXPECT_TRUE(names(message(e), "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING must be true, 1, false or 0"));
  e = {};
  for (const char* seconds : {"0", "-1", "10s", "1e9", "nan", "", " "}) {
    if ((e.system_interval = seconds).empty()) continue;
    EXPECT_TRUE(names(message(e), "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL must be seconds")) << seconds;
  }
  e = {};
  e.system_samples = "0";
  EXPECT_TRUE(names(message(e), "MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING"));
  e = {};
  for (const std::string& node : {std::string("a/b"), std::string(101, 'n'), std::string("100%")}) {
    e.system_node_id = node;
    EXPECT_TRUE(names(message(e), "SystemMetrics::node_id")) << node;
  }
  Options given;
  given.system_metrics.interval = Millis(9);
  EXPECT_TRUE(names(message({}, given), "SystemMetrics::interval must be 10 ms..1 day, not 9 ms"));
  given.system_metrics = {};
  given.system_metrics.samples_before_logging = 0;
  EXPECT_TRUE(names(message({}, given), "SystemMetrics::samples_before_logging"));
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
