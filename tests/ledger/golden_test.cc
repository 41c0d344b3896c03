// Golden ledger: today's Ledger reads and goes on with a file of version 1, and writes the same bytes.
#include "support/golden.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "ledger/frames.h"

namespace mlops::ledger {
namespace {

Uid uid_of(std::uint8_t first) {
  Uid uid;
  for (std::size_t i = 0; i < uid.bytes.size(); ++i) uid.bytes[i] = static_cast<std::uint8_t>(first + i);
  return uid;
}

struct GoldenLedger : testing::Test {
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/mlops-ledger-XXXXXX";
    slot = ::mkdtemp(pattern.data());
  }
  void TearDown() override { base::remove_tree(slot).ignore(); }
  std::string folder() const { return slot + "/delivery/d"; }
  std::string slot;
};

// A lane that stands in the middle of a batch, and one with every field set.
Lane plain_lane(std::uint64_t cursor) {
  Lane lane;
  lane.run = uid_of(0x10);
  lane.server_id = "9f0c";
  lane.experiment_id = "7";
  lane.buffer_uid = uid_of(0x80);
  lane.buffer_generation = 2;
  lane.cursor = cursor;
  lane.delivered = cursor - 2;
  return lane;
}
Lane full_lane() {
  Lane lane = plain_lane(300);
  lane.run = uid_of(0x20);
  lane.in_flight = 400;
  lane.creating = lane.resend = lane.ended = true;
  lane.dead = 1;
  lane.parked = "gone \xff";
  lane.watermark = 350;
  return lane;
}
DeadLetter letter() { return {uid_of(0x20), 41, 2, "param lr", "no \xff", 1'790'000'000'000}; }
// What a person decided: a lane's newer fields, a corrected letter, and a request.
Lane counted_lane() {
  Lane lane = plain_lane(60);
  lane.dead = 2;
  lane.dead_points = 1;
  lane.parked_ms = 1'790'000'000'001;
  return lane;
}
DeadLetter corrected_letter() {
  DeadLetter letter{uid_of(0x10), 42, 1, "param lr", "no", 1'790'000'000'000};
  letter.state = DeadLetter::State::corrected;
  letter.key = "lr_2";
  letter.value = "";
  return letter;
}
DeadLetter given_up_letter() {
  DeadLetter letter{uid_of(0x10), 43, 3, "records", "no", 1'790'000'000'000};
  letter.points = 1;
  letter.state = DeadLetter::State::given_up;
  return letter;
}
std::vector<Request> requests() {
  Request retry{Request::Verb::retry, uid_of(0x10), 42, "lr_2", {}, 0, 0};
  Request drop{Request::Verb::drop, uid_of(0x20), 0, {}, {}, 400, 7};
  return {retry, drop};
}
LiveState live() { return {4, 1, 200, 3'000, 0.5, 8, "away"}; }

TEST_F(GoldenLedger, WritesTheSameBytes) {
  {
    auto ledger = Ledger::open(slot, {"d", "http://127.0.0.1:5000"});
    ASSERT_TRUE(ledger.ok()) << ledger.status().to_string();
    ASSERT_TRUE((*ledger)->put(plain_lane(48)).ok());
    ASSERT_TRUE((*ledger)->put(full_lane()).ok());
    ASSERT_TRUE((*ledger)->add_dead(letter()).ok());
    ASSERT_TRUE((*ledger)->put(plain_lane(1'047)).ok());
    ASSERT_TRUE((*ledger)->note_health(live()).ok());
    ASSERT_TRUE((*ledger)->sync().ok());
  }
  const std::string now = base::read_file(folder() + "/ledger").value();
  EXPECT_EQ(now, golden_bytes("ledger", "ledger.v1", now));
  const std::string health = base::read_file(folder() + "/live").value();
  EXPECT_EQ(health, golden_bytes("ledger", "live.v1", health));
}

TEST_F(GoldenLedger, WritesDecisionsAsTheSameBytes) {
  {
    auto ledger = Ledger::open(slot, {"d", "http://127.0.0.1:5000"});
    ASSERT_TRUE(ledger.ok()) << ledger.status().to_string();
    ASSERT_TRUE((*ledger)->put(counted_lane(), corrected_letter()).ok());
    ASSERT_TRUE((*ledger)->add_dead(given_up_letter()).ok());
  }
  const std::string now = base::read_file(folder() + "/ledger").value();
  EXPECT_EQ(now, golden_bytes("ledger", "decisions.v1", now));
  const std::string asked = encode_requests(requests());
  EXPECT_EQ(asked, golden_bytes("ledger", "requests.v1", asked));
  const auto read = decode_requests(asked);
  ASSERT_TRUE(read.has_value());
  ASSERT_EQ(read->size(), 2u);
  EXPECT_EQ((*read)[0].key, "lr_2");
  EXPECT_FALSE((*read)[0].value.has_value());
  EXPECT_EQ((*read)[1].until, 400u);
  EXPECT_EQ((*read)[1].points, 7u);
  EXPECT_FALSE(decode_requests(asked.substr(0, asked.size() - 1)).has_value());
  const auto seen = Ledger::read(slot, "d");
  ASSERT_EQ(seen->dead.size(), 2u);
  EXPECT_EQ(seen->dead[0].key, "lr_2");
  EXPECT_EQ(seen->dead[0].value, "");
  EXPECT_EQ(seen->dead[1].state, DeadLetter::State::given_up);
  EXPECT_EQ(seen->dead[1].points, 1u);
  EXPECT_EQ(seen->lanes.at(uid_of(0x10)).dead_points, 1u);
  EXPECT_EQ(seen->lanes.at(uid_of(0x10)).parked_ms, 1'790'000'000'001);
}

// A run's files: some finished beyond the place, one dead, one upload in parts of which one part is there.
TEST_F(GoldenLedger, WritesArtifactsAsTheSameBytes) {
  ArtifactPlace place;
  place.run = uid_of(0x10);
  place.buffer_uid = uid_of(0x80);
  place.buffer_generation = 2;
  place.cursor = 5;
  place.beyond = {7};
  place.files = 2;
  place.bytes = 3'000;
  place.root = "mlflow-artifacts:/7/9f0c/artifacts";
  Upload upload;
  upload.run = uid_of(0x10);
  upload.seq = 9;
  upload.id = "up-1";
  upload.part_size = 16u << 20;
  upload.size = 33u << 20;
  for (int i = 1; i <= 3; ++i) {
    upload.parts.push_back({"", "http://s3/p?n=" + std::to_string(i), {{"x-amz-a", std::to_string(i)}}});
  }
  DeadLetter refused{uid_of(0x10), 8, 1, "artifact a/b.txt", "no such bucket", 1'790'000'000'000};
  refused.artifact = true;
  {
    auto ledger = Ledger::open(slot, {"d", "http://127.0.0.1:5000"});
    ASSERT_TRUE(ledger.ok()) << ledger.status().to_string();
    ASSERT_TRUE((*ledger)->put(place).ok());
    ASSERT_TRUE((*ledger)->begin(upload).ok());
    upload.parts[1].etag = "\"e2\"";
    ASSERT_TRUE((*ledger)->put_part(upload, 1).ok());
    ASSERT_TRUE((*ledger)->finish({uid_of(0x10), 6, 500, false}, nullptr).ok());
    ASSERT_TRUE((*ledger)->finish({uid_of(0x10), 8, 0, true}, &refused).ok());
  }
  const std::string now = base::read_file(folder() + "/ledger").value();
  EXPECT_EQ(now, golden_bytes("ledger", "artifacts.v1", now));
  base::remove_tree(folder()).ignore();
  ASSERT_TRUE(base::make_dirs(folder()).ok());
  std::filesystem::copy_file(golden_path("ledger", "artifacts.v1"), folder() + "/ledger");
  const auto seen = Ledger::read(slot, "d");
  ASSERT_TRUE(seen.ok()) << seen.status().to_string();
  const ArtifactPlace& got = seen->artifacts.at(uid_of(0x10));
  EXPECT_EQ(got.cursor, 5u);
  EXPECT_EQ(got.beyond, (std::set<std::uint64_t>{6, 7, 8}));
  EXPECT_EQ(got.files, 3u);
  EXPECT_EQ(got.bytes, 3'500u);
  EXPECT_EQ(got.dead, 1u);
  EXPECT_EQ(got.root, place.root);
  EXPECT_EQ(got.buffer_uid, uid_of(0x80));
  ASSERT_EQ(seen->uploads.size(), 1u);
  const Upload& up = seen->uploads[0];
  EXPECT_EQ(up.id, "up-1");
  EXPECT_EQ(up.part_size, 16u << 20);
  EXPECT_EQ(up.size, 33u << 20);
  ASSERT_EQ(up.parts.size(), 3u);
  EXPECT_EQ(up.parts[0].etag, "");
  EXPECT_EQ(up.parts[1].etag, "\"e2\"");
  EXPECT_EQ(up.parts[1].url, "http://s3/p?n=2");
  EXPECT_EQ(up.parts[2].headers, (std::vector<std::pair<std::string, std::string>>{{"x-amz-a", "3"}}));
  ASSERT_EQ(seen->dead.size(), 1u);
  EXPECT_TRUE(seen->dead[0].artifact);
}

// What became of registry intents.
std::vector<IntentResult> intents() {
  IntentResult sending{uid_of(0x30), IntentResult::State::sending, 16, "digits", "8", "7", 0, "", 1'790'000'000'002, 4};
  IntentResult done = sending;
  done.state = IntentResult::State::done;
  IntentResult refused{
      uid_of(0x40), IntentResult::State::refused, 9, "nobody", "", "", 2, "no \xff", 1'790'000'000'003, 5};
  IntentResult failed{uid_of(0x50),
                      IntentResult::State::condition_failed,
                      7,
                      "digits",
                      "",
                      "",
                      5,
                      "stands for 9",
                      1'790'000'000'004,
                      6};
  return {sending, done, refused, failed};
}

TEST_F(GoldenLedger, WritesIntentsAsTheSameBytes) {
  {
    auto ledger = Ledger::open(slot, {"d", "http://127.0.0.1:5000"});
    ASSERT_TRUE(ledger.ok()) << ledger.status().to_string();
    std::uint64_t cursor = 4;
    for (const IntentResult& result : intents()) ASSERT_TRUE((*ledger)->put(plain_lane(cursor++), result).ok());
    EXPECT_EQ((*ledger)->intents().size(), 3u);
    EXPECT_EQ((*ledger)->intent(uid_of(0x30))->state, IntentResult::State::done);
    EXPECT_FALSE((*ledger)->intent(uid_of(0x31)).has_value());
  }
  const std::string now = base::read_file(folder() + "/ledger").value();
  EXPECT_EQ(now, golden_bytes("ledger", "intents.v1", now));
  const auto seen = Ledger::read(slot, "d");
  ASSERT_EQ(seen->intents.size(), 3u);
  const IntentResult& done = seen->intents.at(uid_of(0x30));
  EXPECT_EQ(done.state, IntentResult::State::done);
  EXPECT_EQ(done.verb, 16u);
  EXPECT_EQ(done.model, "digits");
  EXPECT_EQ(done.version, "8");
  EXPECT_EQ(done.from, "7");
  EXPECT_EQ(done.time_ms, 1'790'000'000'002);
  EXPECT_EQ(done.seq, 4u);
  EXPECT_EQ(seen->intents.at(uid_of(0x40)).words, "no \xff");
  EXPECT_EQ(seen->intents.at(uid_of(0x40)).code, 2);
  EXPECT_EQ(seen->intents.at(uid_of(0x50)).state, IntentResult::State::condition_failed);
  EXPECT_EQ(seen->lanes.at(uid_of(0x10)).cursor, 7u);
}

TEST_F(GoldenLedger, OfIntentsTheNewestAreKept) {
  auto ledger = Ledger::open(slot, {"d", "http://127.0.0.1:5000"});
  ASSERT_TRUE(ledger.ok()) << ledger.status().to_string();
  IntentResult result{uid_of(1), IntentResult::State::done, 9, "m", "1", "", 0, "", 1, 1};
  for (std::size_t i = 0; i < kMostIntents + 5; ++i) {
    for (std::size_t b = 0; b < 4; ++b) result.uid.bytes[b] = static_cast<std::uint8_t>(i >> (8 * b));
    result.seq = i;
    ASSERT_TRUE((*ledger)->put(plain_lane(i + 1), result).ok());
  }
  EXPECT_EQ((*ledger)->intents().size(), kMostIntents);
  EXPECT_EQ((*ledger)->intents().front().seq, 5u);
  ASSERT_TRUE((*ledger)->sync().ok());
  EXPECT_EQ(Ledger::read(slot, "d")->intents.size(), kMostIntents);
}

// A logged model that is on the way, and one on a server without logged models.
TEST_F(GoldenLedger, WritesModelsAsTheSameBytes) {
  ModelState made;
  made.uid = uid_of(0x30);
  made.run = uid_of(0x10);
  made.state = ModelState::State::ending;
  made.name = "net";
  made.server_id = "m-1";
  made.root = "mlflow-artifacts:/7/models/m-1/artifacts";
  made.seq = 5;
  made.end_seq = 9;
  made.end_ticket = 1'700;
  made.complete = true;
  ModelState recorded = made;
  recorded.uid = uid_of(0x40);
  recorded.state = ModelState::State::ready;
  recorded.server_id.clear();
  recorded.history = "{}";
  recorded.reason = "no \xff";
  {
    auto ledger = Ledger::open(slot, {"d", "http://127.0.0.1:5000"});
    ASSERT_TRUE(ledger.ok()) << ledger.status().to_string();
    ModelState before = made;
    before.state = ModelState::State::creating;
    ASSERT_TRUE((*ledger)->put(before).ok());
    ASSERT_TRUE((*ledger)->put(made).ok());
    ASSERT_TRUE((*ledger)->put(recorded).ok());
    EXPECT_EQ((*ledger)->models(uid_of(0x10)).size(), 2u);
    EXPECT_EQ((*ledger)->models(uid_of(0x11)).size(), 0u);
    EXPECT_EQ((*ledger)->models(Uid()).size(), 2u);
    EXPECT_EQ((*ledger)->model(uid_of(0x30))->state, ModelState::State::ending);
    EXPECT_FALSE((*ledger)->model(uid_of(0x50)).has_value());
  }
  const std::string now = base::read_file(folder() + "/ledger").value();
  EXPECT_EQ(now, golden_bytes("ledger", "models.v1", now));
  base::remove_tree(folder()).ignore();
  ASSERT_TRUE(base::make_dirs(folder()).ok());
  std::filesystem::copy_file(golden_path("ledger", "models.v1"), folder() + "/ledger");
  const auto seen = Ledger::read(slot, "d");
  ASSERT_TRUE(seen.ok()) << seen.status().to_string();
  ASSERT_EQ(seen->models.size(), 2u);
  const ModelState& got = seen->models.at(uid_of(0x30));
  EXPECT_TRUE(got.pending() && got.complete);
  EXPECT_EQ(got.run, made.run);
  EXPECT_EQ(got.name, "net");
  EXPECT_EQ(got.server_id, "m-1");
  EXPECT_EQ(got.root, made.root);
  EXPECT_EQ(got.seq, 5u);
  EXPECT_EQ(got.end_seq, 9u);
  EXPECT_EQ(got.end_ticket, 1'700u);
  EXPECT_EQ(seen->models.at(uid_of(0x40)).state, ModelState::State::ready);
  EXPECT_EQ(seen->models.at(uid_of(0x40)).history, "{}");
  EXPECT_EQ(seen->models.at(uid_of(0x40)).reason, "no \xff");
}

TEST_F(GoldenLedger, ReadsAndGoesOn) {
  ASSERT_TRUE(base::make_dirs(folder()).ok());
  std::filesystem::copy_file(golden_path("ledger", "ledger.v1"), folder() + "/ledger");
  std::filesystem::copy_file(golden_path("ledger", "live.v1"), folder() + "/live");
  {
    auto ledger = Ledger::open(slot, {"d", "http://127.0.0.1:5000"});
    ASSERT_TRUE(ledger.ok()) << ledger.status().to_string();
    EXPECT_EQ((*ledger)->lane(uid_of(0x10)).cursor, 1'047u);
    ASSERT_TRUE((*ledger)->put(plain_lane(1'048)).ok());
  }
  const auto seen = Ledger::read(slot, "d");
  ASSERT_TRUE(seen.ok()) << seen.status().to_string();
  EXPECT_EQ(seen->destination.name, "d");
  EXPECT_EQ(seen->destination.uri, "http://127.0.0.1:5000");
  ASSERT_EQ(seen->lanes.size(), 2u);
  EXPECT_EQ(seen->lanes.at(uid_of(0x10)).cursor, 1'048u);
  const Lane& full = seen->lanes.at(uid_of(0x20));
  const Lane want = full_lane();
  EXPECT_EQ(full.server_id, want.server_id);
  EXPECT_EQ(full.experiment_id, want.experiment_id);
  EXPECT_EQ(full.buffer_uid, want.buffer_uid);
  EXPECT_EQ(full.buffer_generation, want.buffer_generation);
  EXPECT_EQ(full.cursor, want.cursor);
  EXPECT_EQ(full.in_flight, want.in_flight);
  EXPECT_TRUE(full.creating && full.resend && full.ended);
  EXPECT_EQ(full.delivered, want.delivered);
  EXPECT_EQ(full.dead, want.dead);
  EXPECT_EQ(full.parked, want.parked);
  EXPECT_EQ(full.watermark, want.watermark);
  ASSERT_EQ(seen->dead.size(), 1u);
  EXPECT_EQ(seen->dead[0].run, letter().run);
  EXPECT_EQ(seen->dead[0].seq, 41u);
  EXPECT_EQ(seen->dead[0].count, 2u);
  EXPECT_EQ(seen->dead[0].what, letter().what);
  EXPECT_EQ(seen->dead[0].reason, letter().reason);
  EXPECT_EQ(seen->dead[0].time_ms, letter().time_ms);
  EXPECT_EQ(seen->live.state, 4);
  EXPECT_EQ(seen->live.retries, 1u);
  EXPECT_EQ(seen->live.requests, 200u);
  EXPECT_EQ(seen->live.bytes_sent, 3'000u);
  EXPECT_EQ(seen->live.lag_seconds, 0.5);
  EXPECT_EQ(seen->live.error_code, 8);
  EXPECT_EQ(seen->live.error, "away");
}

}  // namespace
}  // namespace mlops::ledger
