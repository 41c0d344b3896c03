#include "ledger/remotes.h"

#include <gtest/gtest.h>
#include <stdlib.h>

namespace mlops::ledger {
namespace {

struct RemotesTest : testing::Test {
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/mlops-remotes-XXXXXX";
    root = ::mkdtemp(pattern.data());
  }
  void TearDown() override { base::remove_tree(root).ignore(); }
  void write(const std::string& bytes) { ASSERT_TRUE(base::replace_file(root + "/remotes", bytes, false).ok()); }
  std::string root;
};

TEST_F(RemotesTest, TheFileIsTheOneOfTheFormat) {
  Remotes remotes;
  remotes.put({"lab", "http://user:pw@127.0.0.1:5000/"});
  remotes.put({"a.b", "https://mlflow.example.org/x"});
  ASSERT_TRUE(remotes.save(root).ok());
  const std::string bytes = "mlops-remotes 1\na.b https://mlflow.example.org/x\nlab http://127.0.0.1:5000\n";
  EXPECT_EQ(base::read_file(root + "/remotes").value(), bytes);
  Remotes again = Remotes::load(root).value();
  ASSERT_EQ(again.all().size(), 2u);
  EXPECT_EQ(again.named("lab")->uri, "http://127.0.0.1:5000");
  EXPECT_EQ(again.at("http://127.0.0.1:5000/")->name, "lab");
  again.put({"lab", "http://127.0.0.1:5001"});
  again.erase("a.b");
  ASSERT_EQ(again.all().size(), 1u);
  EXPECT_EQ(again.all()[0].uri, "http://127.0.0.1:5001");
}

TEST_F(RemotesTest, NoFileHasNoNames) { EXPECT_TRUE(Remotes::load(root).value().all().empty()); }

TEST_F(RemotesTest, WhatIsNoListIsRefused) {
  write("mlops-remotes 2\n");
  EXPECT_EQ(Remotes::load(root).status().code(), StatusCode::failed_precondition);
  for (const char* bad : {"", "x", "mlops-remotes 1\nlab\n", "mlops-remotes 1\nlab http://h", "mlops-remotes 1\n\n",
                          "mlops-remotes 1\na b http://h\n"}) {
    write(bad);
    const Status status = Remotes::load(root).status();
    EXPECT_EQ(status.code(), *bad == '\0' ? StatusCode::ok : StatusCode::data_loss) << bad;
  }
}

TEST_F(RemotesTest, AUriIsCalledByItsNameAndNoOtherTakesThatName) {
  Remotes remotes;
  EXPECT_EQ(remotes.resolve("http://h:1/").name, "h_1");
  EXPECT_EQ(remotes.resolve("http://h:1/").uri, "http://h:1");
  remotes.put({"h_1", "http://elsewhere:2"});
  remotes.put({"lab", "http://h:3"});
  EXPECT_EQ(remotes.resolve("http://h:3").name, "lab");
  EXPECT_EQ(remotes.resolve("http://elsewhere:2").name, "h_1");
  const Destination other = remotes.resolve("http://h:1");
  EXPECT_EQ(other.uri, "http://h:1");
  EXPECT_EQ(other.name.rfind("h_1-", 0), 0u);
  EXPECT_EQ(other.name.size(), 12u);
}

TEST_F(RemotesTest, NamesAreFolderNames) {
  for (const char* good : {"lab", "127.0.0.1_5000", "_x", "A-b"}) EXPECT_TRUE(check_remote_name(good).ok()) << good;
  for (const char* bad : {"", ".", "..", "-x", "a/b", "a b", "http://h", "gr\xc3\xbcn"})
    EXPECT_EQ(check_remote_name(bad).code(), StatusCode::invalid_argument) << bad;
  EXPECT_FALSE(check_remote_name(std::string(81, 'x')).ok());
}

TEST_F(RemotesTest, OneChangeAtATime) {
  Result<base::FileLock> held = Remotes::lock(root);
  ASSERT_TRUE(held.ok());
  EXPECT_TRUE(base::FileLock::is_held(root + "/remotes.lock"));
}

}  // namespace
}  // namespace mlops::ledger
