// Settings: the origin of each value, and no secret in any of them.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "client/masked.h"
#include "mlops/mlops.h"

namespace mlops {
namespace {

namespace fs = std::filesystem;

TEST(Masked, HidesWhatIsSecretInAUri) {
  EXPECT_EQ(client::masked_uri("http://host:5000/a"), "http://host:5000/a");
  EXPECT_EQ(client::masked_uri("http://user:pa/ss@host:5000"), "http://***@host:5000");
  EXPECT_EQ(client::masked_uri("https://host/x?token=abc#frag"), "https://host/x?***");
  EXPECT_EQ(client::masked_uri("user:secret@host"), "***@host");
  EXPECT_EQ(client::masked_uri(""), "");
  EXPECT_EQ(client::masked_proxy("http://u:p@proxy:3128"), "http://***@proxy:3128");
  EXPECT_EQ(client::masked_proxy("environment:\nhttp://u:p@a:1\n\nlocalhost"),
            "https: http://***@a:1, none for localhost");
}

/// The environment as a test wants it, put back afterwards.
class SettingsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "mlops-settings-XXXXXX";
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
    folder_ = fs::canonical(folder_).native();
    for (const char* name :
         {"MLOPS_HOME", "MLOPS_JOURNAL_MIB", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME",
          "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_AWS_SIGV4", "https_proxy", "http_proxy",
          "all_proxy", "HTTPS_PROXY", "ALL_PROXY", "no_proxy", "NO_PROXY", "HOME"}) {
      const char* value = ::getenv(name);
      before_[name] = value == nullptr ? std::optional<std::string>() : std::optional<std::string>(value);
      ::unsetenv(name);
    }
    set("HOME", folder_);
  }
  void TearDown() override {
    for (const auto& [name, value] : before_)
      value ? ::setenv(name.c_str(), value->c_str(), 1) : ::unsetenv(name.c_str());
    std::error_code error;
    fs::remove_all(folder_, error);
  }
  static void set(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }
  static std::map<std::string, Setting> told(const Options& options = {}) {
    std::map<std::string, Setting> out;
    const std::vector<Setting> all = settings(options).value();
    for (const Setting& s : all) out[s.name] = s;
    return out;
  }

  std::string folder_;
  std::map<std::string, std::optional<std::string>> before_;
};

TEST_F(SettingsTest, SaysWhereEachValueComesFrom) {
  set("MLOPS_HOME", folder_ + "/root");
  set("MLOPS_JOURNAL_MIB", "8");
  Options options;
  options.beat = Millis(100);
  const auto s = told(options);
  EXPECT_EQ(s.at("root").value, folder_ + "/root");
  EXPECT_EQ(s.at("root").origin, Origin::environment);
  EXPECT_EQ(s.at("root").source, "MLOPS_HOME");
  EXPECT_EQ(s.at("journal_mib").value, "8");
  EXPECT_EQ(s.at("journal_mib").origin, Origin::environment);
  EXPECT_EQ(s.at("beat").value, "100 ms");
  EXPECT_EQ(s.at("beat").origin, Origin::code);
  EXPECT_EQ(s.at("retention_days").value, "30");
  EXPECT_EQ(s.at("retention_days").origin, Origin::standard);
  EXPECT_EQ(s.at("tracking_uri").value, "");
  EXPECT_FALSE(fs::exists(folder_ + "/root"));
  options.root = folder_ + "/mine";
  EXPECT_EQ(told(options).at("root").origin, Origin::code);
}

TEST_F(SettingsTest, ShowsNoSecret) {
  fs::create_directory(folder_ + "/.mlflow");
  std::ofstream(folder_ + "/.mlflow/credentials")
      << "[mlflow]\nmlflow_tracking_username = anna\nmlflow_tracking_password = geheim1\n";
  set("MLFLOW_TRACKING_URI", "http://bob:geheim2@host:5000");
  set("https_proxy", "http://carl:geheim3@proxy:3128");
  auto s = told();
  EXPECT_EQ(s.at("credentials.username").value, "anna");
  EXPECT_EQ(s.at("credentials.username").origin, Origin::file);
  EXPECT_EQ(s.at("credentials.password").value, "***");
  EXPECT_EQ(s.at("credentials.password").source, "~/.mlflow/credentials");
  EXPECT_EQ(s.at("tracking_uri").value, "http://***@host:5000");
  EXPECT_FALSE(s.at("tracking_uri").problem.empty());
  EXPECT_EQ(s.at("credentials.proxy").value, "https: http://***@proxy:3128");
  set("MLFLOW_TRACKING_PASSWORD", "geheim4");
  s = told();
  EXPECT_EQ(s.at("credentials.password").origin, Origin::environment);
  EXPECT_EQ(s.at("credentials.password").value, "***");
  for (const auto& [name, one] : s) {
    EXPECT_EQ((one.value + one.source + one.problem).find("geheim"), std::string::npos) << name;
  }
}

TEST_F(SettingsTest, AValueThatCannotBeUsedIsToldWithTheRest) {
  set("MLOPS_JOURNAL_MIB", "many");
  const auto s = told();
  EXPECT_EQ(s.at("journal_mib").value, "many");
  EXPECT_NE(s.at("journal_mib").problem.find("2 to 1024"), std::string::npos);
  EXPECT_EQ(s.at("beat").value, "500 ms");
  EXPECT_TRUE(s.at("root").problem.empty());
  set("MLFLOW_TRACKING_URI", "ftp://host");  // one fault does not hide another
  EXPECT_FALSE(told().at("tracking_uri").problem.empty());
  EXPECT_FALSE(told().at("journal_mib").problem.empty());
}

}  // namespace
}  // namespace mlops
