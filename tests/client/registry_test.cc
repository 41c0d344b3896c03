// Registry through a client with no server: what is accepted, what waits, and what is found again.
#include "mlops/registry.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/uid.h"
#include "ledger/ledger.h"
#include "mlops/mlops.h"
#include "model/intent.h"

namespace mlops {
namespace {

struct RegistryOffline : testing::Test {
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/mlops-registry-XXXXXX";
    folder = ::mkdtemp(pattern.data());
    root = folder + "/root";
  }
  void TearDown() override {
    for (const Client& client : opened) client.close().ignore();  // else a thread still writes to the folder that goes
    std::filesystem::remove_all(folder);
  }
  Client open() {
    Options options;
    options.root = root;
    options.deliver = false;
    return opened.emplace_back(Client::open(options).value());
  }
  std::string folder, root;
  std::vector<Client> opened;
};

TEST_F(RegistryOffline, WritesAreAcceptedAndFoundAgainAfterARestart) {
  std::string first, second;
  {
    Client client = open();
    mlops::Run run = client.start_run("e").value();
    Result<Pending> version = run.register_model("model", "digits");
    ASSERT_TRUE(version.ok()) << version.status().to_string();
    Result<Pending> up =
        client.registry().promote("digits", *version, "champion", {"ann", "good", Condition::if_absent()});
    ASSERT_TRUE(up.ok()) << up.status().to_string();
    first = version->id();
    second = up->id();
    EXPECT_EQ(first.size(), 32u);
    EXPECT_EQ(version->status()->state, PendingState::waiting);
    EXPECT_EQ(version->wait(Millis(20)).status().code(), StatusCode::deadline_exceeded);
    EXPECT_EQ(version->version(Millis(20)).status().code(), StatusCode::deadline_exceeded);
    ASSERT_TRUE(client.close().ok());
    EXPECT_EQ(client.registry().delete_model("digits").status().code(), StatusCode::failed_precondition);
  }
  RegistryOptions options;
  options.root = root;
  const Registry registry = Registry::open(options).value();
  Result<std::vector<PendingStatus>> all = registry.pendings();
  ASSERT_TRUE(all.ok()) << all.status().to_string();
  ASSERT_EQ(all->size(), 2u);
  EXPECT_EQ((*all)[0].id, first);
  EXPECT_EQ((*all)[0].verb, "create_version");
  EXPECT_EQ((*all)[0].model, "digits");
  EXPECT_EQ((*all)[1].verb, "promote");
  EXPECT_EQ(registry.pending(second.substr(0, 10))->id(), second);
  EXPECT_EQ(registry.pending("abc").status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(registry.pending(std::string(32, '0')).status().code(), StatusCode::not_found);
  EXPECT_EQ(registry.delete_model("digits").status().code(), StatusCode::failed_precondition);  // it only reads
  // Its runs are listed, and no run for the registry.
  EXPECT_EQ(Reader::open(root)->runs()->size(), 1u);
}

TEST_F(RegistryOffline, NoTwoWritesHaveOneTime) {
  Client client = open();
  std::vector<std::string> ids;
  for (int i = 0; i < 100; ++i) ids.push_back(client.registry().promote("digits", i % 3 + 1, "champion")->id());
  ASSERT_TRUE(client.flush(Level::durable).ok());
  RegistryOptions options;
  options.root = root;
  const std::vector<PendingStatus> all = Registry::open(options)->pendings().value();
  ASSERT_EQ(all.size(), ids.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].id, ids[i]);
    if (i > 0) {
      EXPECT_GT(all[i].time_ms, all[i - 1].time_ms);
    }
  }
}

TEST_F(RegistryOffline, ResultsComeFromTheLedgers) {
  std::string id;
  {
    Client client = open();
    id = client.registry().create_model("digits")->id();
    ASSERT_TRUE(client.close().ok());
  }
  std::string slot;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (entry.path().filename() == "summary") slot = entry.path().parent_path().native();
  }
  ASSERT_FALSE(slot.empty());
  RegistryOptions options;
  options.root = root;
  const Registry registry = Registry::open(options).value();
  const Pending pending = registry.pending(id).value();
  EXPECT_EQ(pending.status()->state, PendingState::waiting);
  ledger::IntentResult result;
  base::Uid::parse(id, &result.uid);
  result.state = ledger::IntentResult::State::condition_failed;
  result.verb = static_cast<std::uint32_t>(model::Verb::create_model);
  result.model = "digits";
  result.code = static_cast<int>(StatusCode::failed_precondition);
  result.words = "there is a model of that name already";
  ledger::Lane lane;
  lane.run = model::kRegistry;
  lane.cursor = 2;
  {
    auto ledger = ledger::Ledger::open(slot, {"d", "http://127.0.0.1:9"});
    ASSERT_TRUE((*ledger)->put(lane, result).ok());
  }
  Result<PendingStatus> status = pending.wait(Millis(1'000));
  ASSERT_TRUE(status.ok()) << status.status().to_string();
  EXPECT_EQ(status->state, PendingState::condition_failed);
  EXPECT_EQ(status->destination, "d");
  EXPECT_EQ(status->status.message(), result.words);
  EXPECT_EQ(pending.version(Millis(10)).status().code(), StatusCode::failed_precondition);
  EXPECT_TRUE(registry.pendings()->empty());
  ASSERT_EQ(registry.pendings(true)->size(), 1u);
  EXPECT_EQ(registry.pendings(true)->front().verb, "create_model");
}

TEST_F(RegistryOffline, WhatNoServerTakesIsRefusedAtOnce) {
  Client client = open();
  const Registry registry = client.registry();
  const auto invalid = [](const Result<Pending>& r) {
    return r.status().code() == StatusCode::invalid_argument ? "" : r.status().to_string();
  };
  EXPECT_EQ(invalid(registry.create_model("a/b")), "");
  EXPECT_EQ(invalid(registry.create_model("")), "");
  EXPECT_EQ(invalid(registry.create_model(std::string(300, 'x'))), "");
  EXPECT_EQ(invalid(registry.create_model("m", {"", {}, Condition::still("3")})), "");
  EXPECT_EQ(invalid(registry.set_alias("m", "latest", 1)), "");
  EXPECT_EQ(invalid(registry.set_alias("m", "v1", 1)), "");
  EXPECT_EQ(invalid(registry.set_alias("m", "a b", 1)), "");
  EXPECT_EQ(invalid(registry.set_alias("m", "a", "one")), "");
  EXPECT_EQ(invalid(registry.delete_alias("m", "a", Condition::if_absent())), "");
  EXPECT_EQ(invalid(registry.create_version("m", "/etc")), "");
  EXPECT_EQ(invalid(registry.set_stage("m", 1, "Live")), "");
  EXPECT_EQ(invalid(registry.set_shares("m", {{"champion", 0}})), "");
  EXPECT_EQ(invalid(registry.rollback("m", "a", {"", "", Condition::if_absent()})), "");
  mlops::Run run = client.start_run("e").value();
  EXPECT_EQ(invalid(run.register_model("../x", "m")), "");
  EXPECT_EQ(invalid(run.register_model("x", "m/n")), "");
  EXPECT_EQ(invalid(run.register_model("x", "m", {"", {}, "no uid"})), "");
  EXPECT_TRUE(registry.pendings()->empty());
}

TEST_F(RegistryOffline, ReadsSayThatThereIsNoServer) {
  Client client = open();
  EXPECT_EQ(client.registry().model("m").status().code(), StatusCode::failed_precondition);
  RegistryOptions options;
  options.root = root;
  options.to = "http://127.0.0.1:9";
  options.deadline = Millis(3'000);
  const Registry registry = Registry::open(options).value();
  EXPECT_EQ(registry.models().status().code(), StatusCode::unavailable);
  EXPECT_EQ(registry.resolve("digits@champion").status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(registry.resolve("models:/digits").status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(registry.resolve("models:/digits/3").status().code(), StatusCode::unavailable);
  EXPECT_EQ(registry.gate({"acc"}, "m", "1").status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(registry.gate({}, "m", "1").status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(registry.gate({"acc > champion % 3"}, "m", "1").status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(registry.gate({"acc => 3"}, "m", "1").status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(registry.gate({"acc >= champion - 0.1"}, "m", "1").status().code(), StatusCode::unavailable);
  PullOptions pull;
  pull.cache = folder + "/cache";
  const Result<PullReport> pulled = registry.pull("models:/digits@champion", folder + "/serving", pull);
  EXPECT_EQ(pulled.status().code(), StatusCode::unavailable);
  EXPECT_NE(pulled.status().message().find("cache has never had"), std::string_view::npos)
      << pulled.status().to_string();
}

}  // namespace
}  // namespace mlops
