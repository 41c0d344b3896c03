// Registry intents: in order, exactly once whatever fails, conditions kept, one refused intent holds back nobody else.
#include <gtest/gtest.h>

#include <thread>

#include "fake_store.h"
#include "model/intent.h"
#include "rig.h"

namespace mlops::sync::fake {
namespace {

using model::Intent;
using model::Verb;
using State = ledger::IntentResult::State;

Intent intent(int n, Verb verb, const std::string& name) {
  Intent i;
  i.uid = uid(n);
  i.verb = verb;
  i.model = name;
  return i;
}
Intent version(int n, const std::string& name, const std::string& source) {
  Intent i = intent(n, Verb::create_version, name);
  i.source = source;
  i.create_model = true;
  return i;
}
Intent alias(int n, Verb verb, const std::string& name, const std::string& key, const std::string& number) {
  Intent i = intent(n, verb, name);
  i.key = key;
  i.version = number;
  return i;
}
std::string of(int n) { return "uid:" + uid(n).hex(); }

void put(Rig* rig, const Intent& i) {
  ASSERT_TRUE(model::check_intent(i).ok()) << model::check_intent(i).to_string();
  rig->buffer->write(model::kRegistry).record(model::op_of(i));
}

std::map<base::Uid, ledger::IntentResult> results(Rig* rig) {
  std::map<base::Uid, ledger::IntentResult> out;
  for (const ledger::IntentResult& r : rig->disk.state().intents) out[r.uid] = r;
  return out;
}

std::string dump(const std::map<base::Uid, ledger::IntentResult>& all) {
  std::string out;
  for (const auto& [id, r] : all) {
    out += id.hex().substr(0, 2) + " " + std::to_string(static_cast<int>(r.state)) + " " + r.version + " from '" +
           r.from + "' " + r.words + "\n";
  }
  return out;
}

/// A bit of everything.
void write_intents(Rig* rig) {
  rig->buffer->write(uid(1)).start("digits", "trained").param("lr", "0.1").end(RunStatus::finished, 1);
  Intent made = intent(10, Verb::create_model, "digits");
  made.description = "handwritten";
  made.tags = {{"team", "vision"}};
  put(rig, made);
  Intent first = intent(11, Verb::create_version, "digits");
  first.run = uid(1);
  first.path = "model";
  first.tags = {{"kind", "small"}};
  put(rig, first);
  put(rig, alias(12, Verb::set_alias, "digits", "candidate", of(11)));
  put(rig, version(13, "digits", "s3://b/two"));
  Intent up = alias(14, Verb::promote, "digits", "champion", of(11));
  up.who = "ann";
  up.why = "first";
  up.only_if_absent = true;
  put(rig, up);
  Intent next = alias(15, Verb::promote, "digits", "champion", of(13));
  next.only_if_version = "1";
  put(rig, next);
  Intent tag = alias(16, Verb::set_version_tag, "digits", "checked", "2");
  tag.value = "yes";
  put(rig, tag);
  put(rig, alias(17, Verb::rollback, "digits", "champion", ""));
  Intent stale = alias(18, Verb::set_alias, "digits", "champion", "2");
  stale.only_if_version = "7";
  put(rig, stale);
  Intent copy = intent(19, Verb::copy_version, "production");
  copy.from_model = "digits";
  copy.version = of(11);
  put(rig, copy);
  put(rig, intent(20, Verb::create_model, "draft"));
  Intent renamed = intent(21, Verb::rename_model, "draft");
  renamed.value = "draft-2";
  put(rig, renamed);
  put(rig, intent(22, Verb::delete_model, "draft-2"));
  Intent gone = alias(23, Verb::delete_alias, "digits", "candidate", "");
  gone.only_if_version = "1";
  put(rig, gone);
  Intent again = intent(24, Verb::create_model, "digits");
  again.only_if_absent = true;
  put(rig, again);
  put(rig, version(25, "digits", "s3://b/three"));
  put(rig, alias(26, Verb::delete_version, "digits", "", of(25)));
  Intent stage = alias(27, Verb::set_stage, "digits", "", "1");
  stage.value = "Staging";
  put(rig, stage);
  Intent moved = alias(28, Verb::set_alias, "digits", "shadow", "2");
  moved.only_if_absent = true;
  put(rig, moved);
}

struct Case {
  Fault fault;
  bool power = false;
};

class IntentsAtEachRequest : public testing::TestWithParam<Case> {};

TEST_P(IntentsAtEachRequest, TheServerHoldsTheSame) {
  const Case c = GetParam();
  std::string expected, told;
  std::uint64_t requests = 0;
  {
    Rig rig(Server::Age::v3_17);
    write_intents(&rig);
    ASSERT_TRUE(rig.deliver().ok());
    expected = rig.server.dump();
    told = dump(results(&rig));
    requests = rig.server.requests();
    EXPECT_EQ(rig.server.models.all.at("digits").aliases.at("champion"), "1");
    EXPECT_EQ(rig.server.models.all.at("digits").versions.size(), 2u);
    EXPECT_EQ(rig.server.models.all.at("digits").versions.at(1).source, "fake:/r100/artifacts/model");
    EXPECT_EQ(rig.server.models.all.at("digits").versions.at(1).run_id, "r100");
    EXPECT_EQ(rig.server.models.all.at("production").versions.at(1).source, "models:/digits/1");
    EXPECT_EQ(rig.server.models.all.count("draft-2"), 0u);
    const auto all = results(&rig);
    EXPECT_EQ(all.at(uid(18)).state, State::condition_failed);
    EXPECT_EQ(all.at(uid(18)).words, "the alias 'champion' stands for version 1");
    EXPECT_EQ(all.at(uid(24)).state, State::condition_failed);
    EXPECT_EQ(all.at(uid(17)).from, "2");
    EXPECT_EQ(all.at(uid(17)).version, "1");
    std::size_t done = 0;
    for (const auto& [id, r] : all) done += r.state == State::done ? 1 : 0;
    EXPECT_EQ(done, 17u) << told;
  }
  ASSERT_GE(requests, 30u);
  for (std::uint64_t index = 0; index < requests; ++index) {
    Rig rig(Server::Age::v3_17);
    write_intents(&rig);
    rig.fault_at(index, c.fault, c.power);
    Status status = rig.deliver();
    ASSERT_TRUE(status.ok()) << "fault at request " << index << ": " << status.to_string();
    ASSERT_EQ(rig.server.dump(), expected) << "fault at request " << index;
    ASSERT_EQ(dump(results(&rig)), told) << "fault at request " << index;
  }
}

INSTANTIATE_TEST_SUITE_P(Faults, IntentsAtEachRequest,
                         testing::Values(Case{Fault::offline}, Case{Fault::request_lost}, Case{Fault::response_lost},
                                         Case{Fault::http_500}, Case{Fault::html_200}, Case{Fault::throttled},
                                         Case{Fault::unauthorized}, Case{Fault::kill_before}, Case{Fault::kill_after},
                                         Case{Fault::kill_before, true}, Case{Fault::kill_after, true}));

TEST(RegistryLane, AThousandVersionsInOrderThroughKillsAndLostAnswers) {
  Rig rig(Server::Age::v3_17);
  for (int n = 0; n < 1'000; ++n) {
    Intent i = version(0, "many", "s3://b/" + std::to_string(n));
    i.uid = base::Uid::random();
    put(&rig, i);
  }
  std::atomic<bool> killed{false};
  rig.server.on_kill = [&] {
    rig.disk.kill(false);
    killed = true;
  };
  for (std::uint64_t k = 0; k < 20; ++k) {
    rig.server.fault_at(37 + 90 * k, Fault::response_lost);
    rig.server.fault_at(60 + 90 * k, k % 2 == 0 ? Fault::kill_after : Fault::kill_before);
  }
  for (int starts = 0; starts < 40; ++starts) {
    killed = false;
    std::unique_ptr<Engine> engine = rig.start();
    Status idle(StatusCode::unavailable, "");
    while (!killed && !idle.ok()) idle = engine->wait_idle(Millis(5));
    engine->stop(Millis(1'000));
    if (idle.ok() && !killed) break;
  }
  const FakeModel& model = rig.server.models.all.at("many");
  ASSERT_EQ(model.versions.size(), 1'000u);
  for (int n = 0; n < 1'000; ++n) EXPECT_EQ(model.versions.at(n + 1).source, "s3://b/" + std::to_string(n));
}

TEST(RegistryLane, WhatWaitsHoldsBackItsOwnModelOnly) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("digits", "trained").op(model::OpKind::artifact, "model/a.bin", "x");
  Intent files = intent(10, Verb::create_version, "waits");
  files.run = uid(1);
  files.path = "model";
  files.create_model = true;
  put(&rig, files);  // its artifact is not delivered, and nobody here delivers one
  put(&rig, alias(11, Verb::set_alias, "waits", "champion", of(10)));
  put(&rig, version(12, "goes", "s3://b/x"));
  std::unique_ptr<Engine> engine = rig.start();
  for (int i = 0; i < 500 && results(&rig)[uid(12)].state != State::done; ++i) {
    engine->wait_idle(Millis(10)).ignore();
  }
  EXPECT_EQ(results(&rig)[uid(12)].version, "1");
  EXPECT_EQ(rig.server.models.all.count("waits"), 0u);
  EXPECT_FALSE(engine->intent(uid(10)).has_value());
  EXPECT_EQ(engine->intents_waiting(), 3u);
  engine->stop(Millis(1'000));
  // Delivered by another start: its artifacts are there now.
  EngineOptions options = rig.options();
  rig.buffer->edit(uid(1), [](Buffer::Run& run) { run.records.pop_back(); });
  engine = rig.start();
  EXPECT_TRUE(engine->wait_idle(Millis(5'000)).ok());
  EXPECT_EQ(rig.server.models.all.at("waits").aliases.at("champion"), "1");
  EXPECT_EQ(rig.server.models.all.at("goes").versions.size(), 1u);
  EXPECT_EQ(engine->intents_waiting(), 0u);
}

TEST(RegistryLane, TheManifestOfAModelsFilesIsATagOfItsVersion) {
  FileRig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("digits", "trained");
  const auto manifest = [&](const std::string& path, char byte) {
    buffer::FileRow row;
    row.name = rig.artifact(uid(1), path, "{}", false);
    row.sha256 = std::string(32, byte);
    row.size = 2;
    row.beat = 1;
    rig.buffer->set_file(row);
  };
  manifest("mlops-manifest.json", '\x01');
  manifest("model/mlops-manifest.json", '\x02');
  manifest("model/mlops-manifest.json", '\x03');  // the newer one is there
  const auto files = [&](int n, const std::string& path, Pairs tags = {}) {
    Intent i = intent(n, Verb::create_version, "digits");
    i.run = uid(1);
    i.path = path;
    i.create_model = true;
    i.tags = std::move(tags);
    put(&rig, i);
  };
  files(10, "model");
  files(11, "");
  files(12, "other");
  files(13, "model", {{"mlops.manifest", "mine"}});
  ASSERT_TRUE(rig.deliver_files().ok());
  const auto tag = [&](int number) {
    for (const auto& [key, value] : rig.server.models.all.at("digits").versions.at(number).tags) {
      if (key == "mlops.manifest") return value;
    }
    return std::string();
  };
  const auto hex = [](const std::string& byte) {
    std::string out;
    for (int i = 0; i < 32; ++i) out += byte;
    return out;
  };
  EXPECT_EQ(tag(1), hex("03"));
  EXPECT_EQ(tag(2), hex("01"));
  EXPECT_EQ(tag(3), "");
  EXPECT_EQ(tag(4), "mine");
}

TEST(RegistryLane, OneRefusedHoldsBackWhatDependsOnItOnly) {
  Rig rig(Server::Age::v3_17);
  Intent missing = intent(10, Verb::create_version, "nobody");  // no such model, and it is not to be made
  missing.source = "s3://b/x";
  put(&rig, missing);
  put(&rig, alias(11, Verb::set_alias, "nobody", "champion", of(10)));
  put(&rig, version(12, "nobody", "s3://b/y"));
  ASSERT_TRUE(rig.deliver().ok());
  auto all = results(&rig);
  EXPECT_EQ(all[uid(10)].state, State::refused);
  EXPECT_EQ(all[uid(10)].code, static_cast<int>(StatusCode::not_found));
  EXPECT_EQ(all[uid(11)].state, State::refused);
  EXPECT_EQ(all[uid(11)].code, static_cast<int>(StatusCode::failed_precondition));
  EXPECT_EQ(all[uid(12)].state, State::done);
  EXPECT_EQ(all[uid(12)].version, "1");
}

TEST(RegistryLane, OneThatGetsNoGoodAnswerHoldsBackItsModelOnly) {
  for (const int status : {500, 502, 200}) {
    Rig rig(Server::Age::v3_17);
    rig.server.models.sick = "sick";
    rig.server.models.sick_status = status;
    put(&rig, version(10, "sick", "s3://b/x"));
    put(&rig, alias(11, Verb::set_alias, "sick", "champion", of(10)));
    put(&rig, version(12, "well", "s3://b/y"));
    put(&rig, alias(13, Verb::set_alias, "well", "champion", of(12)));
    std::unique_ptr<Engine> engine = rig.start();
    const std::int64_t end = base::steady_ms() + 10'000;
    while (!engine->intent(uid(13)) && base::steady_ms() < end) std::this_thread::sleep_for(Millis(2));
    auto all = results(&rig);
    EXPECT_EQ(all[uid(12)].state, State::done) << status;
    EXPECT_EQ(all[uid(13)].state, State::done) << status;
    EXPECT_EQ(all.count(uid(11)), 0u) << "in order";
    EXPECT_FALSE(engine->wait_idle(Millis(10)).ok());
    rig.server.heal();
    ASSERT_TRUE(engine->wait_idle(Millis(10'000)).ok());
    EXPECT_EQ(results(&rig)[uid(11)].state, State::done);
    EXPECT_EQ(rig.server.models.all.at("sick").versions.size(), 1u);
  }
}

// The answer is lost while the server is still at it.
TEST(RegistryLane, AVersionThatIsCommittedLateIsWaitedFor) {
  Rig rig(Server::Age::v3_17);
  put(&rig, intent(9, Verb::create_model, "m"));
  ASSERT_TRUE(rig.deliver().ok());
  rig.server.models.commits_after_ms = 500;
  EngineOptions options = rig.options();
  options.backoff_first = Millis(200);  // at least 100 + 200 + 400 ms
  options.backoff_most = Millis(10'000);
  std::unique_ptr<Engine> engine = rig.start(std::move(options));
  put(&rig, version(10, "m", "s3://b/x"));
  ++rig.durable;
  engine->wake();
  ASSERT_TRUE(engine->wait_idle(Millis(30'000)).ok());
  EXPECT_EQ(rig.server.models.all.at("m").versions.size(), 1u);
  EXPECT_TRUE(rig.server.models.late.empty());
}

TEST(RegistryLane, OfTwoWhoMoveAnAliasAtOnceTheOneThatWasOverwrittenSaysSo) {
  for (const Verb verb : {Verb::promote, Verb::set_alias}) {
    for (const char* moment : {"set_version_tag", "set_alias"}) {  // before ours is written, and after
      if (verb == Verb::set_alias && moment == std::string("set_version_tag")) continue;
      SCOPED_TRACE(std::string(model::verb_name(verb)) + " " + moment);
      Rig rig(Server::Age::v3_17);
      for (int n = 1; n <= 3; ++n) put(&rig, version(n + 9, "m", "s3://b/" + std::to_string(n)));
      put(&rig, alias(20, Verb::set_alias, "m", "champion", "1"));
      ASSERT_TRUE(rig.deliver().ok());
      FakeModel& m = rig.server.models.all.at("m");
      rig.server.models.after[moment] = [&m] { m.aliases["champion"] = "3"; };
      Intent ours = alias(21, verb, "m", "champion", "2");
      ours.only_if_version = "1";
      put(&rig, ours);
      ASSERT_TRUE(rig.deliver().ok());
      EXPECT_TRUE(rig.server.models.after.empty());
      EXPECT_EQ(results(&rig)[uid(21)].state, State::condition_failed);
      EXPECT_EQ(results(&rig)[uid(21)].words,
                "somebody moved it at the same moment: the alias 'champion' stands for version 3");
      EXPECT_EQ(m.aliases.at("champion"), "3");
      EXPECT_EQ(m.versions.at(2).tags.size(), 1u);  // mlops.uid: no story of what did not happen
    }
  }
}

TEST(RegistryLane, AUserWhoMayNotWriteModelsStillDeliversRuns) {
  Rig rig(Server::Age::v3_17);
  rig.server.models.forbidden = true;
  put(&rig, version(10, "m", "s3://b/x"));
  const std::uint64_t points = write_scenario(rig.buffer.get());
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_EQ(rig.last.delivered, points);
  EXPECT_EQ(results(&rig)[uid(10)].state, State::refused);
  EXPECT_EQ(results(&rig)[uid(10)].code, static_cast<int>(StatusCode::permission_denied));
}

TEST(RegistryLane, AnotherBufferUnderTheLedgerRepeatsNothing) {
  Rig rig(Server::Age::v3_17);
  put(&rig, version(10, "m", "s3://b/x"));
  put(&rig, alias(11, Verb::set_alias, "m", "a", "1"));
  ASSERT_TRUE(rig.deliver().ok());
  rig.server.models.all["m"].aliases["a"] = "somebody moved it";
  buffer::Identity identity = rig.buffer->identity();
  ++identity.generation;
  rig.buffer->set_identity(identity);
  put(&rig, version(12, "m", "s3://b/y"));
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_EQ(rig.server.models.all["m"].versions.size(), 2u);
  EXPECT_EQ(rig.server.models.all["m"].aliases["a"], "somebody moved it");
}

TEST(RegistryLane, AVerbOfANewerVersionIsParkedAndWaits) {
  Rig rig(Server::Age::v3_17);
  model::Op op = model::op_of(version(10, "m", "s3://b/x"));
  op.number = 900;
  rig.buffer->write(model::kRegistry).record(op);
  std::unique_ptr<Engine> engine = rig.start();
  EXPECT_TRUE(engine->wait_idle(Millis(5'000)).ok());
  EXPECT_EQ(engine->parked(), 1u);
  EXPECT_FALSE(engine->intent(uid(10)).has_value());
}

}  // namespace
}  // namespace mlops::sync::fake
