// examine: each fault of a folder has its line and its mend; a look leaves nothing behind.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "mlops/mlops.h"

namespace mlops {
namespace {

namespace fs = std::filesystem;

class DoctorTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "mlops-doctor-XXXXXX";
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
    options_.root = folder_ + "/root";
    ::unsetenv("MLFLOW_TRACKING_URI");
  }
  void TearDown() override {
    std::error_code error;
    fs::remove_all(folder_, error);
  }
  std::vector<Check> look() const { return examine(options_).value(); }
  static const Check* find(const std::vector<Check>& checks, const std::string& name) {
    const auto at = std::find_if(checks.begin(), checks.end(), [&](const Check& c) { return c.name == name; });
    return at == checks.end() ? nullptr : &*at;
  }
  static std::set<std::string> to_mend(const std::vector<Check>& checks) {
    std::set<std::string> out;
    for (const Check& check : checks) {
      EXPECT_EQ(check.ok, check.mend.empty()) << check.name;
      EXPECT_FALSE(check.found.empty()) << check.name;
      if (!check.ok) out.insert(check.name);
    }
    return out;
  }
  std::set<std::string> files() const {
    std::set<std::string> out;
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) out.insert(entry.path().native());
    return out;
  }
  void make_root() const {
    Options options;
    options.root = options_.root;
    options.deliver = false;
    Client client = Client::open(options).value();
    mlops::Run run = client.start_run("exp").value();
    EXPECT_TRUE(run.log_metric("loss", 1, 1).ok());
    EXPECT_TRUE(run.end().ok());
    EXPECT_TRUE(client.close().ok());
  }

  std::string folder_;
  DoctorOptions options_;
};

TEST_F(DoctorTest, ARootThatIsNotThereIsNotMade) {
  const std::vector<Check> checks = look();
  EXPECT_EQ(to_mend(checks), std::set<std::string>());
  EXPECT_NE(find(checks, "root")->found.find("not there yet"), std::string::npos);
  EXPECT_TRUE(files().empty());
}

TEST_F(DoctorTest, AGoodRootIsOkAndStaysAsItWas) {
  make_root();
  const std::set<std::string> before = files();
  const std::vector<Check> checks = look();
  EXPECT_EQ(to_mend(checks), std::set<std::string>());
  for (const char* name :
       {"root.owner", "root.write", "root.mmap", "root.locks", "disk.free", "database", "slots", "clock"}) {
    EXPECT_NE(find(checks, name), nullptr) << name;
  }
  EXPECT_EQ(find(checks, "slots")->found, "1, 0 in use, 1 free");
  EXPECT_EQ(files(), before);
}

TEST_F(DoctorTest, AFileInThePlaceOfTheRoot) {
  std::ofstream(options_.root) << "x";
  EXPECT_EQ(to_mend(look()).count("root.owner"), 1u);
}

TEST_F(DoctorTest, ARootThatOthersMayWrite) {
  make_root();
  ASSERT_EQ(::chmod(options_.root.c_str(), 0777), 0);
  EXPECT_EQ(to_mend(look()), std::set<std::string>{"root.owner"});
}

TEST_F(DoctorTest, ADamagedSummaryIsNamed) {
  make_root();
  for (const auto& entry : fs::recursive_directory_iterator(options_.root)) {
    if (entry.path().filename() == "summary") std::ofstream(entry.path()) << "rubbish";
  }
  EXPECT_EQ(to_mend(look()), std::set<std::string>{"slots.readable"});
}

TEST_F(DoctorTest, AClockThatWasSteppedBack) {
  make_root();
  for (const auto& entry : fs::recursive_directory_iterator(options_.root)) {
    if (entry.path().filename() == "summary") {
      fs::last_write_time(entry.path(), fs::file_time_type::clock::now() + std::chrono::hours(3));
    }
  }
  const std::vector<Check> checks = look();
  EXPECT_EQ(to_mend(checks), std::set<std::string>{"clock"});
  EXPECT_NE(find(checks, "clock")->found.find("3 h from now"), std::string::npos) << find(checks, "clock")->found;
}

TEST_F(DoctorTest, TooFewOpenFiles) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few = before;
  few.rlim_cur = 100;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  const std::vector<Check> checks = look();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(to_mend(checks), std::set<std::string>{"limits.files"});
}

TEST_F(DoctorTest, AUriThatCannotBeUsedKeepsItsPassword) {
  options_.to = "http://anna:geheim@host:5000";
  const std::vector<Check> checks = look();
  EXPECT_EQ(to_mend(checks), (std::set<std::string>{"settings", "server.uri"}));
  for (const Check& check : checks) {
    EXPECT_EQ((check.found + check.mend).find("geheim"), std::string::npos) << check.name;
  }
}

TEST_F(DoctorTest, NobodyListens) {
  options_.to = "http://127.0.0.1:1";
  EXPECT_EQ(to_mend(look()), std::set<std::string>{"server.reached"});
}

}  // namespace
}  // namespace mlops
