// Where authorities are found: made-up roots in the layouts of distributions.
#include "http/trust.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace {

using mlops::http::find_trust;
using mlops::http::Trust;
namespace fs = std::filesystem;

class TrustTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ = fs::temp_directory_path() / (std::string("mlops-trust-") + test->name() + "-" + std::to_string(::getpid()));
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  std::string put(const std::string& path, const std::string& text = "-----BEGIN CERTIFICATE-----\n") {
    fs::create_directories((root_.string() + path).substr(0, (root_.string() + path).rfind('/')));
    std::ofstream(root_.string() + path) << text;
    return root_.string() + path;
  }
  Trust find(const std::string& fallback = "", const char* built_in = nullptr) {
    return find_trust("", built_in, fallback, root_.string());
  }

  fs::path root_;
};

TEST_F(TrustTest, EachDistributionsBundleIsFound) {
  for (const char* file : {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                           "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/ca-bundle.pem",
                           "/var/lib/ca-certificates/ca-bundle.pem", "/etc/ssl/cert.pem"}) {
    const std::string path = put(file);
    EXPECT_EQ(find().file, path);
    EXPECT_EQ(find().folder, "");
    fs::remove(path);
  }
}

TEST_F(TrustTest, ALinkCountsAndABrokenOrEmptyOneDoesNot) {  // RHEL's and SUSE's are links
  const std::string target = put("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem");
  fs::create_directories(root_ / "etc/pki/tls/certs");
  fs::create_symlink(target, root_ / "etc/pki/tls/certs/ca-bundle.crt");
  EXPECT_EQ(find().file, root_.string() + "/etc/pki/tls/certs/ca-bundle.crt");
  put("/etc/ssl/certs/ca-certificates.crt", "");
  EXPECT_EQ(find().file, root_.string() + "/etc/pki/tls/certs/ca-bundle.crt");
  fs::remove(target);
  EXPECT_EQ(find().file, "");
}

TEST_F(TrustTest, WhatIsNamedWinsAlsoWhenItIsMissing) {  // so that its absence is said, not papered over
  put("/etc/ssl/cert.pem");
  EXPECT_EQ(find_trust("/nowhere.pem", nullptr, "", root_.string()).file, "/nowhere.pem");
  const Trust folder = find_trust(root_.string(), nullptr, "", root_.string());
  EXPECT_EQ(folder.file, "");
  EXPECT_EQ(folder.folder, root_.string());
}

TEST_F(TrustTest, LibcurlsOwnPlaceServesWhereItIsThere) {
  put("/etc/ssl/cert.pem");
  const std::string own = put("/own.pem");
  EXPECT_EQ(find("", own.c_str()).file, "");
  fs::remove(own);
  EXPECT_EQ(find("", own.c_str()).file, root_.string() + "/etc/ssl/cert.pem");
}

TEST_F(TrustTest, TheFallbackComesAfterTheMachines) {
  const std::string certifi = put("/site-packages/certifi/cacert.pem");
  EXPECT_EQ(find(certifi).file, certifi);
  EXPECT_EQ(find(root_.string() + "/missing.pem").file, "");
  const std::string machine = put("/etc/ssl/cert.pem");
  EXPECT_EQ(find(certifi).file, machine);
}

TEST_F(TrustTest, AFolderOfHashedNamesIsTheLast) {
  EXPECT_EQ(find().folder, "");
  EXPECT_TRUE(find().none);
  fs::create_directories(root_ / "etc/ssl/certs");
  EXPECT_EQ(find().folder, root_.string() + "/etc/ssl/certs");
  EXPECT_EQ(find().file, "");
  EXPECT_FALSE(find().none);
}

}  // namespace
