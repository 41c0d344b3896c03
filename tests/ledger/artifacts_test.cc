// What a ledger keeps of artifacts: over a restart, a torn tail and a compaction; what a person decides about them.
#include "ledger/artifacts.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "base/file.h"
#include "ledger/frames.h"
#include "ledger/ledger.h"
#include "ledger/requests.h"

namespace mlops::ledger {
namespace {

Uid uid_of(std::uint8_t n) {
  Uid uid;
  uid.bytes.fill(n);
  return uid;
}

struct ArtifactLedger : testing::Test {
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/mlops-ledger-XXXXXX";
    slot = ::mkdtemp(pattern.data());
  }
  void TearDown() override { base::remove_tree(slot).ignore(); }
  std::unique_ptr<Ledger> open() { return std::move(Ledger::open(slot, {"d", "http://127.0.0.1:1"}).value()); }
  std::string file() const { return slot + "/delivery/d/ledger"; }
  Upload upload(std::uint64_t seq, const std::string& id, std::size_t parts) {
    Upload up;
    up.run = run;
    up.seq = seq;
    up.id = id;
    up.part_size = 1'000;
    up.size = parts * 1'000;
    up.parts.resize(parts);
    for (std::size_t i = 0; i < parts; ++i) up.parts[i].url = "http://p/" + std::to_string(i);
    return up;
  }
  std::string slot;
  const Uid run = uid_of(7);
};

TEST_F(ArtifactLedger, AnUploadOfManyPartsIsWholeAfterARestart) {
  Upload up = upload(3, "a", 1'001);  // more than fit into a frame
  {
    auto ledger = open();
    ASSERT_TRUE(ledger->begin(upload(3, "older", 2)).ok());
    ASSERT_TRUE(ledger->begin(up).ok());
    up.parts[1'000].etag = "e";
    ASSERT_TRUE(ledger->put_part(up, 1'000).ok());
    ASSERT_TRUE(ledger->put_part(upload(3, "older", 2), 0).ok());  // of one that is over: it begins the old one anew
    ASSERT_TRUE(ledger->begin(up).ok());
  }
  auto ledger = open();
  ASSERT_EQ(ledger->uploads().size(), 1u);
  const Upload got = ledger->uploads()[0];
  EXPECT_EQ(got.id, "a");
  ASSERT_EQ(got.parts.size(), 1'001u);
  EXPECT_EQ(got.parts[1'000].etag, "e");
  EXPECT_EQ(got.parts[999].url, "http://p/999");
  ASSERT_TRUE(ledger->forget_upload(run, 3).ok());
  EXPECT_TRUE(ledger->uploads().empty());
  EXPECT_TRUE(Ledger::read(slot, "d")->uploads.empty());
}

TEST_F(ArtifactLedger, ATornPartIsSentAgain) {
  Upload up = upload(3, "a", 2);
  std::uintmax_t before = 0;
  {
    auto ledger = open();
    ASSERT_TRUE(ledger->begin(up).ok());
    before = std::filesystem::file_size(file());
    up.parts[0].etag = "e";
    ASSERT_TRUE(ledger->put_part(up, 0).ok());
  }
  for (std::uintmax_t cut = before; cut < std::filesystem::file_size(file()); ++cut) {
    std::filesystem::copy_file(file(), file() + ".x", std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(file(), cut);
    const auto seen = Ledger::read(slot, "d");
    ASSERT_EQ(seen->uploads.size(), 1u) << cut;
    EXPECT_EQ(seen->uploads[0].parts[0].etag, "") << cut;
    std::filesystem::rename(file() + ".x", file());
  }
}

TEST_F(ArtifactLedger, CompactionKeepsWhatCounts) {
  ArtifactPlace place;
  place.run = run;
  place.root = "s3://b/1";
  Upload up = upload(50'000, "a", 3);
  up.parts[2].etag = "e";
  {
    auto ledger = open();
    ASSERT_TRUE(ledger->begin(up).ok());
    for (std::uint64_t seq = 1; seq <= 40'000; ++seq) {
      ASSERT_TRUE(ledger->finish({run, seq, 10, seq == 5}, nullptr).ok());
      if (seq % 256 != 0) continue;
      place = ledger->artifacts(run);
      place.cursor = seq + 1;
      place.beyond.clear();
      place.root = "s3://b/1";
      ASSERT_TRUE(ledger->put(place).ok());
    }
    ASSERT_TRUE(ledger->finish({run, 45'000, 10, false}, nullptr).ok());
    const auto grown = std::filesystem::file_size(file());
    ASSERT_GT(grown, 1u << 20);
    ASSERT_TRUE(ledger->sync().ok());
    EXPECT_LT(std::filesystem::file_size(file()), grown / 100);
  }
  auto ledger = open();
  place = ledger->artifacts(run);
  EXPECT_EQ(place.root, "s3://b/1");
  EXPECT_EQ(place.files, 40'000u);
  EXPECT_EQ(place.bytes, 400'000u);
  EXPECT_EQ(place.dead, 1u);
  EXPECT_TRUE(place.done(39'999));
  EXPECT_TRUE(place.done(45'000));
  EXPECT_FALSE(place.done(45'001));
  ASSERT_EQ(ledger->uploads().size(), 1u);
  EXPECT_EQ(ledger->uploads()[0].parts[2].etag, "e");
  EXPECT_EQ(ledger->uploads()[0].parts[0].url, "http://p/0");
}

TEST_F(ArtifactLedger, ALetterOfAFileIsRetriedAndDroppedWithoutTheLane) {
  DeadLetter letter{run, 4, 1, "artifact a", "no", 1};
  letter.artifact = true;
  auto ledger = open();
  ASSERT_TRUE(ledger->finish({run, 4, 0, true}, &letter).ok());
  EXPECT_EQ(ledger->artifacts(run).dead, 1u);
  Request request;
  request.run = run;
  request.seq = 4;
  ASSERT_TRUE(apply(request, ledger.get()).ok());
  ASSERT_TRUE(apply(request, ledger.get()).ok());
  EXPECT_EQ(ledger->artifacts(run).dead, 0u);
  EXPECT_EQ(ledger->dead(run).at(0).state, DeadLetter::State::retrying);
  EXPECT_TRUE(ledger->dead(run).at(0).artifact);
  request.verb = Request::Verb::drop;
  ASSERT_TRUE(apply(request, ledger.get()).ok());
  EXPECT_EQ(ledger->artifacts(run).dead, 1u);
  EXPECT_EQ(ledger->lane(run).dead, 0u);
  EXPECT_EQ(ledger->dead(run).at(0).state, DeadLetter::State::given_up);
}

TEST_F(ArtifactLedger, DroppingAParkedRunDropsItsFiles) {
  auto ledger = open();
  Lane lane;
  lane.run = run;
  lane.buffer_uid = uid_of(9);
  lane.buffer_generation = 3;
  lane.cursor = 5;
  lane.parked = "gone";
  ASSERT_TRUE(ledger->put(lane).ok());
  ASSERT_TRUE(ledger->finish({run, 8, 1, false}, nullptr).ok());
  ASSERT_TRUE(ledger->finish({run, 30, 1, false}, nullptr).ok());
  Request request;
  request.verb = Request::Verb::drop;
  request.run = run;
  request.until = 20;
  ASSERT_TRUE(apply(request, ledger.get()).ok());
  const ArtifactPlace place = ledger->artifacts(run);
  EXPECT_EQ(place.cursor, 20u);
  EXPECT_EQ(place.beyond, (std::set<std::uint64_t>{30}));
  EXPECT_EQ(place.buffer_uid, uid_of(9));
  EXPECT_EQ(place.buffer_generation, 3u);
}

}  // namespace
}  // namespace mlops::ledger
