// An engine whose ledger's lease is lost: no request any more, nothing written down, standing by; and on again later.
#include <gtest/gtest.h>

#include <thread>

#include "fake_store.h"
#include "rig.h"

namespace mlops::sync {
namespace {

using fake::Rig;

/// The fake disk's ledger, with a lease that the test takes away.
class Leased : public ledger::Ledger {
 public:
  Leased(std::unique_ptr<ledger::Ledger> real, const std::atomic<bool>* mine) : real_(std::move(real)), mine_(mine) {}
  const ledger::Destination& destination() const override { return real_->destination(); }
  ledger::Lane lane(const base::Uid& run) const override { return real_->lane(run); }
  std::vector<ledger::Lane> lanes() const override { return real_->lanes(); }
  std::vector<ledger::DeadLetter> dead(const base::Uid& run) const override { return real_->dead(run); }
  Status put(const ledger::Lane& lane) override { return held() ? real_->put(lane) : lost(); }
  Status add_dead(const ledger::DeadLetter& letter) override { return held() ? real_->add_dead(letter) : lost(); }
  Status put(const ledger::Lane& lane, const ledger::DeadLetter& letter) override {
    return held() ? real_->put(lane, letter) : lost();
  }
  std::optional<ledger::IntentResult> intent(const base::Uid& uid) const override { return real_->intent(uid); }
  std::vector<ledger::IntentResult> intents() const override { return real_->intents(); }
  Status put(const ledger::Lane& lane, const ledger::IntentResult& result) override {
    return held() ? real_->put(lane, result) : lost();
  }
  ledger::ArtifactPlace artifacts(const base::Uid& run) const override { return real_->artifacts(run); }
  std::vector<ledger::ArtifactPlace> artifact_places() const override { return real_->artifact_places(); }
  std::vector<ledger::Upload> uploads() const override { return real_->uploads(); }
  Status put(const ledger::ArtifactPlace& place) override { return held() ? real_->put(place) : lost(); }
  Status put(const ledger::ArtifactPlace& place, const ledger::DeadLetter& letter) override {
    return held() ? real_->put(place, letter) : lost();
  }
  Status finish(const ledger::Finished& finished, const ledger::DeadLetter* letter) override {
    return held() ? real_->finish(finished, letter) : lost();
  }
  Status begin(const ledger::Upload& upload) override { return held() ? real_->begin(upload) : lost(); }
  Status put_part(const ledger::Upload& upload, std::size_t index) override {
    return held() ? real_->put_part(upload, index) : lost();
  }
  Status forget_upload(const base::Uid& run, std::uint64_t seq) override {
    return held() ? real_->forget_upload(run, seq) : lost();
  }
  std::optional<ledger::ModelState> model(const base::Uid& uid) const override { return real_->model(uid); }
  std::vector<ledger::ModelState> models(const base::Uid& run) const override { return real_->models(run); }
  Status put(const ledger::ModelState& model) override { return held() ? real_->put(model) : lost(); }
  Status note_health(const ledger::LiveState& state) override { return held() ? real_->note_health(state) : lost(); }
  Status sync() override { return held() ? real_->sync() : lost(); }
  bool hold() override { return held(); }
  bool held() const override { return mine_->load(); }

 private:
  static Status lost() { return Status(StatusCode::unavailable, "the lease is lost"); }
  std::unique_ptr<ledger::Ledger> real_;
  const std::atomic<bool>* mine_;
};

/// Is taken away with the first watermark from 3,000 on.
class LostOnTheWay final : public Leased {
 public:
  LostOnTheWay(std::unique_ptr<ledger::Ledger> real, std::atomic<bool>* mine, std::atomic<bool>* taken)
      : Leased(std::move(real), mine), mine_(mine), taken_(taken) {}
  using Leased::put;
  Status put(const ledger::Lane& lane) override {
    Status s = Leased::put(lane);
    if (s.ok() && lane.cursor >= 3'000 && !taken_->exchange(true)) mine_->store(false);
    return s;
  }

 private:
  std::atomic<bool>* mine_;
  std::atomic<bool>* taken_;
};

TEST(Lease, LostInTheMiddleAndTakenAgain) {
  Rig rig(fake::Server::Age::v3_17);
  auto run = rig.buffer->write(fake::uid(1));
  run.start("digits", "run").points(fake::series("loss", 0, 30'000));
  std::atomic<bool> mine{true}, taken{false};
  std::unique_ptr<Engine> engine = rig.start(rig.options(), [&](Parts* parts) {
    parts->open_ledger = [&]() -> Result<std::unique_ptr<ledger::Ledger>> {
      if (!mine.load()) return Status(StatusCode::unavailable, "another node has it");
      Result<std::unique_ptr<ledger::Ledger>> real = rig.disk.open();
      if (!real.ok()) return real.status();
      return std::unique_ptr<ledger::Ledger>(new LostOnTheWay(std::move(*real), &mine, &taken));
    };
  });
  for (int i = 0; i < 10'000 && !taken.load(); ++i) std::this_thread::sleep_for(Millis(1));
  ASSERT_TRUE(taken.load());
  for (int i = 0; i < 5'000 && engine->is_deliverer(); ++i) std::this_thread::sleep_for(Millis(1));
  EXPECT_FALSE(engine->is_deliverer()) << "it still has what another node may have";
  const std::uint64_t requests = rig.server.requests();
  const ledger::Lane written = rig.disk.read()->lanes.at(fake::uid(1));
  std::this_thread::sleep_for(Millis(300));
  EXPECT_EQ(rig.server.requests(), requests) << "a request after the lease was lost";
  EXPECT_EQ(rig.disk.read()->lanes.at(fake::uid(1)).cursor, written.cursor);
  EXPECT_LT(written.cursor, 30'000u);
  mine.store(true);
  EXPECT_TRUE(engine->wait_idle(Millis(20'000)).ok());
  for (int i = 0; i < 5'000 && !engine->delivered(fake::uid(1), 30'002); ++i) std::this_thread::sleep_for(Millis(1));
  EXPECT_TRUE(engine->delivered(fake::uid(1), 30'002));
  engine->stop(Millis(2'000));
}

/// The same of uploads: what is under way ends, nothing is written down, no request follows; then each file goes once
/// more at most, and no recorded part.
TEST(Lease, LostInTheMiddleOfUploadsAndTakenAgain) {
  fake::FileRig rig(fake::Server::Age::v3_17);
  rig.buffer->write(fake::uid(1)).start("digits", "files");
  rig.artifact(fake::uid(1), "big", std::string(400, 'b'));
  std::map<std::string, std::string> wanted = {{"fake:/r100/artifacts/big", std::string(400, 'b')}};
  for (int i = 0; i < 200; ++i) {
    rig.artifact(fake::uid(1), "small/" + std::to_string(i), std::to_string(i));
    wanted["fake:/r100/artifacts/small/" + std::to_string(i)] = std::to_string(i);
  }
  rig.buffer->write(fake::uid(1)).end(RunStatus::finished, 1);
  std::atomic<bool> mine{true};
  std::atomic<int> asked{0};
  rig.objects.on_request = [&](const std::string&) {
    if (++asked == 30) mine.store(false);
    std::this_thread::sleep_for(Millis(2));
  };
  std::unique_ptr<Engine> engine = rig.start_files(rig.options(), [&](Parts* parts) {
    parts->open_ledger = [&]() -> Result<std::unique_ptr<ledger::Ledger>> {
      if (!mine.load()) return Status(StatusCode::unavailable, "another node has it");
      Result<std::unique_ptr<ledger::Ledger>> real = rig.disk.open();
      if (!real.ok()) return real.status();
      return std::unique_ptr<ledger::Ledger>(new Leased(std::move(*real), &mine));
    };
  });
  for (int i = 0; i < 10'000 && asked.load() < 30; ++i) std::this_thread::sleep_for(Millis(1));
  for (int i = 0; i < 5'000 && engine->is_deliverer(); ++i) std::this_thread::sleep_for(Millis(1));
  EXPECT_FALSE(engine->is_deliverer()) << "it still has what another node may have";
  const std::uint64_t requests = rig.objects.requests();
  EXPECT_LT(requests, 200u);
  std::map<std::string, std::set<std::uint32_t>> recorded;
  for (const ledger::Upload& upload : rig.disk.state().artifacts.uploads()) {
    for (std::size_t i = 0; i < upload.parts.size(); ++i) {
      if (!upload.parts[i].etag.empty()) recorded[upload.id].insert(static_cast<std::uint32_t>(i + 1));
    }
  }
  const std::uint64_t files = rig.disk.state().artifacts.place(fake::uid(1)).files;
  std::this_thread::sleep_for(Millis(300));
  EXPECT_EQ(rig.objects.requests(), requests) << "a request after the lease was lost";
  EXPECT_EQ(rig.disk.state().artifacts.place(fake::uid(1)).files, files);
  mine.store(true);
  EXPECT_TRUE(engine->wait_idle(Millis(30'000)).ok());
  for (int i = 0; i < 5'000 && rig.objects.files() != wanted; ++i) std::this_thread::sleep_for(Millis(1));
  EXPECT_EQ(rig.objects.files(), wanted);
  for (const auto& [part, times] : rig.objects.parts_received()) {
    EXPECT_LE(times, recorded[part.first].count(part.second) != 0 ? 1 : 2) << part.first << " part " << part.second;
  }
  EXPECT_TRUE(engine->wait_idle(Millis(10'000)).ok());
  engine->stop(Millis(2'000));
  EXPECT_EQ(rig.server.runs.begin()->second.status, "FINISHED");
}

}  // namespace
}  // namespace mlops::sync
