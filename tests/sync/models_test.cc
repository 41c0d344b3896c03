// Datasets and logged models reach the server once, whatever is lost on the way, and a model is READY only when its
// files are there.
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>

#include "model/dataset.h"
#include "model/logged_model.h"
#include "rig.h"
#include "sync/model_root.h"

namespace mlops::sync::fake {
namespace {

model::Op op(model::OpKind kind, int parent, std::string key, std::string value, std::int64_t number = 0,
             Pairs pairs = {}) {
  model::Op out;
  out.kind = kind;
  if (parent != 0) out.parent = uid(parent);
  out.key = std::move(key);
  out.value = std::move(value);
  out.number = number;
  out.pairs = std::move(pairs);
  return out;
}

model::Op model_op(int id, const std::string& name, std::int64_t step) {
  return op(model::OpKind::model, id, name, "classifier", step,
            {{"param:depth", "3"},
             {"tag:stage", "candidate"},
             {std::string(model::kHistory), "{\"flavors\": {}, \"model_uuid\": \"" + uid(id).hex() + "\"}"}});
}

model::Op open_model_op(int id, const std::string& name) {
  model::Op out = model_op(id, name, 0);
  out.pairs.emplace_back(std::string(model::kOpen), "1");
  return out;
}

model::Op metric_op(int id, const std::string& key, const std::string& value, std::int64_t step, std::int64_t ms) {
  model::Op out = op(model::OpKind::model_metric, id, key, value, step,
                     {{std::string(model::kDatasetName), "digits"}, {std::string(model::kDatasetDigest), "0123"}});
  out.time_ms = ms;
  return out;
}

void write_models(Buffer* buffer) {
  auto run = buffer->write(uid(1));
  run.start("digits", "trainer", {})
      .record(op(model::OpKind::input, 0, "digits", "0123", 0,
                 {{"source_type", "local"},
                  {"data_source", "{\"uri\": \"/d\"}"},
                  {"schema", "{}"},
                  {"tag:mlflow.data.context", "training"}}))
      .points(series("loss", 0, 30))
      .record(model_op(7, "net", 30))
      .record(op(model::OpKind::model_end, 7, "", "", 1))
      .points({{"acc", {30, 5'000, 0.5}}, {"acc", {31, 5'001, std::nan("")}}})
      .record(metric_op(7, "acc", "0.5", 30, 5'000))
      .record(metric_op(7, "acc", "nan", 31, 5'001))
      .record(model_op(8, "net", 60))  // the same name: another model
      .record(op(model::OpKind::input, 7, "", "", 0))
      .record(op(model::OpKind::model_end, 8, "", "", 0))
      .record(model_op(9, "left", 70))  // never ended
      .record(open_model_op(10, "opened"))
      .record(op(model::OpKind::model_change, 10, "", "", 0, {{"param:late", "4"}, {"param:depth", "3"}}))
      .record(op(model::OpKind::model_change, 10, "", "", 0, {{"tag:stage", "champion"}, {"tag:x", "1"}}))
      .record(op(model::OpKind::model_change, 10, "", "", 0, {{"untag:x", ""}, {"untag:never", ""}}))
      .record(op(model::OpKind::output, 10, "", "", 90))
      .record(open_model_op(11, "kept"))
      .record(open_model_op(12, "gone"))
      .record(op(model::OpKind::model_change, 12, "", "", 1))
      .param("late", "1")
      .end(RunStatus::finished, 1)
      .record(op(model::OpKind::model_end, 10, "", "", 1));  // beyond the run's end
}

struct Case {
  Server::Age age;
  Fault fault;
};
std::string words(const testing::TestParamInfo<Case>& info) {
  static const char* const faults[] = {"None",    "Offline",   "RequestLost",  "ResponseLost", "Http500",  "HalfDone",
                                       "Html200", "Throttled", "Unauthorized", "KillBefore",   "KillAfter"};
  static const char* const ages[] = {"V2_22", "V3_10", "V3_17"};
  return std::string(faults[static_cast<int>(info.param.fault)]) + "On" + ages[static_cast<int>(info.param.age)];
}
class ModelsAtEachRequest : public testing::TestWithParam<Case> {};

TEST_P(ModelsAtEachRequest, TheServerHoldsTheSame) {
  const Case c = GetParam();
  std::string expected;
  std::uint64_t requests = 0;
  {
    Rig rig(c.age);
    write_models(rig.buffer.get());
    ASSERT_TRUE(rig.deliver().ok());
    EXPECT_EQ(rig.last.dead_letters, 0u);
    expected = rig.server.dump();
    requests = rig.server.requests();
    EXPECT_NE(expected.find("dataset digits 0123 {\"uri\": \"/d\"} {}0 mlflow.data.context=training"),
              std::string::npos);
    if (c.age == Server::Age::v2_22) {
      EXPECT_NE(expected.find("recorded net {"), std::string::npos) << expected;
      EXPECT_EQ(expected.find("recorded left"), std::string::npos) << expected;  // given up: nothing to load
      EXPECT_EQ(rig.server.logged.runs.begin()->second.recorded.size(), 2u);     // and "opened"
    } else {
      ASSERT_EQ(rig.server.logged.all.size(), 6u);
      EXPECT_NE(expected.find(uid(10).hex() + " opened classifier LOGGED_MODEL_READY\n    param depth=3\n"
                                              "    param late=4\n"),
                std::string::npos)
          << expected;
      EXPECT_NE(expected.find("    tag stage=champion\n"), std::string::npos);
      EXPECT_EQ(expected.find("    tag x=1\n"), std::string::npos);
      EXPECT_NE(expected.find(uid(11).hex() + " kept classifier LOGGED_MODEL_PENDING\n"), std::string::npos);
      EXPECT_NE(expected.find(uid(12).hex() + " gone classifier LOGGED_MODEL_PENDING deleted\n"), std::string::npos);
      EXPECT_NE(expected.find("output " + uid(10).hex() + " 90"), std::string::npos);
      EXPECT_EQ(expected.find("output " + uid(11).hex()), std::string::npos);
      EXPECT_NE(expected.find(uid(7).hex() + " net classifier LOGGED_MODEL_READY\n    param depth=3\n"
                                             "    tag stage=candidate\n"),
                std::string::npos)
          << expected;
      EXPECT_NE(expected.find(uid(8).hex() + " net classifier LOGGED_MODEL_UPLOAD_FAILED"), std::string::npos);
      EXPECT_NE(expected.find(uid(9).hex() + " left classifier LOGGED_MODEL_UPLOAD_FAILED"), std::string::npos);
      EXPECT_NE(expected.find("point acc 30 "), std::string::npos);  // the fake buffer gives records times of its own
      EXPECT_NE(expected.find(" 0.500000 digits 0123"), std::string::npos);
      EXPECT_NE(expected.find("model input " + uid(7).hex()), std::string::npos);
      EXPECT_NE(expected.find("output " + uid(8).hex() + " 60"), std::string::npos);
    }
    EXPECT_NE(expected.find("run trainer FINISHED"), std::string::npos);
  }
  for (std::uint64_t index = 0; index < requests; ++index) {
    Rig rig(c.age);
    write_models(rig.buffer.get());
    rig.fault_at(index, c.fault);
    const Status status = rig.deliver();
    ASSERT_TRUE(status.ok()) << "fault at request " << index << ": " << status.to_string();
    ASSERT_EQ(rig.server.dump(), expected) << "fault at request " << index;
    ASSERT_EQ(rig.last.dead_letters, 0u) << "fault at request " << index;
  }
}

std::vector<Case> cases() {
  std::vector<Case> out;
  for (Server::Age age : {Server::Age::v2_22, Server::Age::v3_10, Server::Age::v3_17}) {
    for (Fault fault : {Fault::request_lost, Fault::response_lost, Fault::http_500, Fault::throttled, Fault::html_200,
                        Fault::kill_before, Fault::kill_after}) {
      out.push_back({age, fault});
    }
  }
  return out;
}
INSTANTIATE_TEST_SUITE_P(Faults, ModelsAtEachRequest, testing::ValuesIn(cases()), words);

TEST(Models, ALostLedgerFindsWhatIsThere) {
  for (Server::Age age : {Server::Age::v2_22, Server::Age::v3_10, Server::Age::v3_17}) {
    Rig rig(age);
    write_models(rig.buffer.get());
    ASSERT_TRUE(rig.deliver().ok());
    const std::string expected = rig.server.dump();
    Disk fresh;
    Parts parts;
    std::unique_ptr<Engine> engine = rig.start(rig.options(), [&](Parts* p) {
      p->open_ledger = [&] { return fresh.open(); };
      p->read_ledger = [&] { return fresh.read(); };
    });
    ASSERT_TRUE(engine->wait_idle(Millis(10'000)).ok());
    engine->stop(Millis(1'000));
    EXPECT_EQ(rig.server.dump(), expected);
  }
}

TEST(Models, ARefusedModelHoldsNothingElseBack) {
  Rig rig(Server::Age::v3_17);
  rig.server.logged.refused_name = "net";
  write_models(rig.buffer.get());
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_EQ(rig.server.logged.all.size(), 4u);  // "left" and the open ones
  EXPECT_EQ(rig.server.runs.begin()->second.status, "FINISHED");
  EXPECT_EQ(rig.server.runs.begin()->second.params.at("late"), "1");
  EXPECT_EQ(rig.last.dead_letters, 3u);  // both models, and one of them as an input
  const auto snapshot = rig.disk.read();
  ASSERT_TRUE(snapshot.ok());
  EXPECT_EQ(snapshot->models.at(uid(7)).state, ledger::ModelState::State::refused);
  EXPECT_NE(snapshot->models.at(uid(7)).reason.find("no such names here"), std::string::npos);
}

TEST(Models, OfAnotherSlotItIsLookedForAndGivenUpWithoutTheRun) {
  Rig rig(Server::Age::v3_17);
  auto run = rig.buffer->write(uid(1));
  run.start("digits", "trainer", {}).points(series("loss", 0, 1));
  ASSERT_TRUE(rig.deliver().ok());
  FakeLoggedModel theirs;  // as another slot has made it
  theirs.id = "m-77";
  theirs.uid = uid(77).hex();
  theirs.experiment = rig.server.runs.begin()->second.experiment;
  theirs.params = {{"depth", "3"}};
  rig.server.logged.all[theirs.id] = theirs;
  run.record(op(model::OpKind::model_change, 77, "", "", 0, {{"tag:k", "v"}}))
      .record(op(model::OpKind::model_change, 77, "", "", 0, {{"param:depth", "3"}}))
      .record(op(model::OpKind::model_change, 77, "", "", 0, {{"param:depth", "4"}, {"param:width", "5"}}))
      .points({{"acc", {1, 5'000, 0.5}}})
      .record(metric_op(77, "acc", "0.5", 1, 5'000))
      .record(op(model::OpKind::output, 77, "", "", 3))
      .record(op(model::OpKind::model_change, 88, "", "", 0, {{"tag:k", "v"}}))  // nobody's
      .record(metric_op(88, "acc", "0.5", 1, 5'000))
      .end(RunStatus::finished, 1);
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_EQ(rig.server.runs.begin()->second.status, "FINISHED");
  EXPECT_EQ(rig.last.dead_letters, 3u);  // depth, and nobody's
  const FakeLoggedModel& model = rig.server.logged.all.at("m-77");
  EXPECT_EQ(model.tags, (Pairs{{"k", "v"}}));
  EXPECT_EQ(model.params, (Pairs{{"depth", "3"}, {"width", "5"}}));
  EXPECT_EQ(model.points.size(), 1u);
  EXPECT_EQ(rig.server.logged.runs.begin()->second.outputs.at("m-77"), 3);
}

TEST(Models, WhereTheFilesGo) {
  Disk disk;
  auto opened = disk.open();
  ASSERT_TRUE(opened.ok());
  ledger::Ledger& ledger = **opened;
  EXPECT_EQ(model_root(ledger, uid(7)).status().code(), StatusCode::not_found);
  EXPECT_EQ(model_place(ledger, uid(7)).state, ModelPlace::State::waiting);
  ledger::ModelState state;
  state.uid = uid(7);
  state.run = uid(1);
  ASSERT_TRUE(ledger.put(state).ok());
  EXPECT_EQ(model_root(ledger, uid(7)).status().code(), StatusCode::not_found);
  state.state = ledger::ModelState::State::made;
  state.server_id = "m-1";
  state.root = "fake:/models/m-1";
  ASSERT_TRUE(ledger.put(state).ok());
  EXPECT_EQ(model_root(ledger, uid(7)).value(), "fake:/models/m-1");
  EXPECT_EQ(model_place(ledger, uid(7)).state, ModelPlace::State::waiting);
  state.state = ledger::ModelState::State::ready;
  ASSERT_TRUE(ledger.put(state).ok());
  EXPECT_EQ(model_place(ledger, uid(7)).source, "models:/m-1");
  EXPECT_EQ(model_place(ledger, uid(7)).model_id, "m-1");
  state.server_id.clear();
  ASSERT_TRUE(ledger.put(state).ok());
  EXPECT_EQ(model_place(ledger, uid(7)).source, "fake:/models/m-1");
  state.state = ledger::ModelState::State::refused;
  state.reason = "no";
  ASSERT_TRUE(ledger.put(state).ok());
  EXPECT_EQ(model_root(ledger, uid(7)).status().code(), StatusCode::failed_precondition);
  EXPECT_EQ(model_place(ledger, uid(7)).state, ModelPlace::State::refused);
}

TEST(Models, TwoOfOneNameDoNotShareAFolderWithoutLoggedModels) {
  Rig rig(Server::Age::v2_22);
  write_models(rig.buffer.get());
  ASSERT_TRUE(rig.deliver().ok());
  const auto snapshot = rig.disk.read();
  ASSERT_TRUE(snapshot.ok());
  const std::string root = snapshot->models.at(uid(7)).root;
  EXPECT_EQ(root.substr(root.rfind('/')), "/net");
  EXPECT_EQ(snapshot->models.at(uid(8)).root, root + "-" + uid(8).hex().substr(0, 8));
}

TEST(Models, AnEndWaitsForItsFilesAndTheRunsPointsDoNot) {
  Rig rig(Server::Age::v3_17);
  auto run = rig.buffer->write(uid(1));
  run.start("digits", "trainer", {})
      .record(model_op(7, "net", 1))
      .record(op(model::OpKind::artifact, 7, "model.bin", uid(20).hex(), 3))
      .record(op(model::OpKind::model_end, 7, "", "", 1))
      .points(series("loss", 0, 5))
      .end(RunStatus::finished, 1);
  std::unique_ptr<Engine> engine = rig.start();
  EXPECT_EQ(engine->wait_idle(Millis(400)).code(), StatusCode::deadline_exceeded);
  engine->stop(Millis(1'000));
  ASSERT_EQ(rig.server.runs.size(), 1u);
  EXPECT_EQ(rig.server.runs.begin()->second.points.size(), 5u);
  EXPECT_EQ(rig.server.runs.begin()->second.status, "RUNNING");
  ASSERT_EQ(rig.server.logged.all.size(), 1u);
  EXPECT_EQ(rig.server.logged.all.begin()->second.status, "LOGGED_MODEL_PENDING");
}

}  // namespace
}  // namespace mlops::sync::fake
