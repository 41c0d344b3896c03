// Artifacts out: every byte arrives once in effect, whatever happens to a request; metrics do not wait; a run ends when
// its files are there.
#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "fake_store.h"
#include "ledger/requests.h"

namespace mlops::sync::fake {
namespace {

/// Three files, one of them in parts, one twice with other bytes of the same length.
void write_files(FileRig* rig) {
  rig->buffer->write(uid(1)).start("digits", "files").points(series("loss", 0, 5));
  rig->artifact(uid(1), "a.txt", "first");
  rig->artifact(uid(1), "models/big.bin", std::string(10, 'a') + std::string(10, 'b') + std::string(7, 'c'));
  rig->artifact(uid(1), "models/empty", "");
  rig->artifact(uid(1), "a.txt", "other");
  rig->buffer->write(uid(1)).end(RunStatus::finished, 1);
}
std::map<std::string, std::string> wanted_files(const std::string& root = "fake:/r100/artifacts/") {
  return {{root + "a.txt", "other"},
          {root + "models/big.bin", std::string(10, 'a') + std::string(10, 'b') + std::string(7, 'c')},
          {root + "models/empty", ""}};
}

TEST(Uploads, BringFilesAndThenTheRunEnds) {
  FileRig rig(Server::Age::v3_17);
  write_files(&rig);
  std::mutex mutex;  // requests come from several threads
  std::string status_at_last_file;
  rig.objects.on_request = [&](const std::string&) {
    const std::lock_guard lock(mutex);
    for (const auto& [id, run] : rig.server.runs) status_at_last_file = run.status;
  };
  ASSERT_TRUE(rig.deliver_files().ok());
  EXPECT_EQ(rig.objects.files(), wanted_files());
  EXPECT_EQ(status_at_last_file, "RUNNING");
  EXPECT_EQ(rig.server.runs.begin()->second.status, "FINISHED");
  EXPECT_EQ(rig.last.files_delivered, 4u);
  EXPECT_EQ(rig.last.files_waiting, 0u);
  EXPECT_EQ(rig.last.file_bytes_waiting, 0u);
  EXPECT_EQ(rig.objects.open_uploads(), 0u);
  const ledger::ArtifactPlace place = rig.disk.state().artifacts.place(uid(1));
  EXPECT_EQ(place.files, 4u);
  EXPECT_EQ(place.beyond.size(), 0u);
  EXPECT_EQ(place.root, "fake:/r100/artifacts");
  const std::uint64_t requests = rig.objects.requests();
  ASSERT_TRUE(rig.deliver_files().ok());  // another deliverer finds nothing to do
  EXPECT_EQ(rig.objects.requests(), requests);
  EXPECT_EQ(rig.last.files_delivered, 4u);
}

TEST(Uploads, ARunThatMayNotBeReadHoldsBackItsOwnFilesOnly) {
  FileRig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "forbidden");
  ASSERT_TRUE(rig.deliver_files().ok());
  rig.server.denied.insert(rig.server.runs.begin()->first);
  rig.artifact(uid(1), "a.txt", "first");
  for (int n = 2; n <= 4; ++n) {
    rig.buffer->write(uid(n)).start("e", "n");
    rig.artifact(uid(n), "a.txt", "other");
  }
  EngineOptions options = rig.options();
  options.max_connections = 1;
  std::unique_ptr<Engine> engine = rig.start_files(std::move(options));
  const std::int64_t end = base::steady_ms() + 10'000;
  while (engine->health().files_delivered < 3 && base::steady_ms() < end) std::this_thread::sleep_for(Millis(2));
  EXPECT_EQ(engine->health().files_delivered, 3u);
  EXPECT_EQ(engine->health().files_waiting, 1u);
  EXPECT_NE(engine->health().last_error.message().find("Permission denied"), std::string_view::npos);
  rig.server.allow();
  engine->retry_now();
  EXPECT_TRUE(engine->wait_idle(Millis(10'000)).ok());
  EXPECT_EQ(engine->health().files_delivered, 4u);
  engine->stop(Millis(1'000));
}

struct StoreCase {
  StoreFault fault;
  bool presigned;
};
std::string words(const testing::TestParamInfo<StoreCase>& info) {
  static const char* const faults[] = {"None",    "Offline",   "RequestLost",  "ResponseLost", "Http500",
                                       "Http503", "Truncated", "Unauthorized", "KillBefore",   "KillAfter"};
  return std::string(faults[static_cast<int>(info.param.fault)]) + (info.param.presigned ? "Presigned" : "");
}
class AtEachStoreRequest : public testing::TestWithParam<StoreCase> {};

TEST_P(AtEachStoreRequest, TheStoreHoldsTheSame) {
  const StoreCase c = GetParam();
  std::uint64_t requests = 0;
  {
    FileRig rig(Server::Age::v3_17);
    rig.objects.presigned = c.presigned;
    write_files(&rig);
    ASSERT_TRUE(rig.deliver_files().ok());
    requests = rig.objects.requests();
  }
  ASSERT_GE(requests, 7u);  // two small ones, begin, three parts, finish
  for (std::uint64_t index = 0; index < requests; ++index) {
    FileRig rig(Server::Age::v3_17);
    rig.objects.presigned = c.presigned;
    write_files(&rig);
    rig.objects.fault_at(index, c.fault);
    std::atomic<bool> killed{false};
    rig.objects.on_kill = [&] {
      rig.disk.kill(false);
      rig.server.dead_epochs.insert(rig.epoch.load());
      killed = true;
    };
    const bool kills = c.fault == StoreFault::kill_before || c.fault == StoreFault::kill_after;
    std::map<std::string, std::set<std::uint32_t>> recorded;  // parts that the ledger had when the process died
    if (kills) {
      std::unique_ptr<Engine> engine = rig.start_files();
      while (!killed) engine->wait_idle(Millis(2)).ignore();
      engine->stop(Millis(1'000));
      for (const ledger::Upload& upload : rig.disk.state().artifacts.uploads()) {
        for (std::size_t i = 0; i < upload.parts.size(); ++i) {
          if (!upload.parts[i].etag.empty()) recorded[upload.id].insert(static_cast<std::uint32_t>(i + 1));
        }
      }
    }
    Status status = rig.deliver_files();
    ASSERT_TRUE(status.ok()) << "fault at request " << index << ": " << status.to_string();
    ASSERT_EQ(rig.objects.files(), wanted_files()) << "fault at request " << index;
    ASSERT_EQ(rig.last.dead_letters, 0u);
    ASSERT_EQ(rig.server.runs.begin()->second.status, "FINISHED");
    for (const auto& [part, times] : rig.objects.parts_received()) {
      if (recorded[part.first].count(part.second) != 0) {
        ASSERT_EQ(times, 1) << part.first << " part " << part.second << " fault at " << index;
      }
      ASSERT_LE(times, 2) << part.first << " part " << part.second << " fault at " << index;
    }
  }
}

std::vector<StoreCase> store_cases() {
  std::vector<StoreCase> out;
  for (StoreFault fault : {StoreFault::offline, StoreFault::request_lost, StoreFault::response_lost,
                           StoreFault::http_500, StoreFault::http_503, StoreFault::truncated, StoreFault::unauthorized,
                           StoreFault::kill_before, StoreFault::kill_after}) {
    out.push_back({fault, false});
    out.push_back({fault, true});
  }
  return out;
}
INSTANTIATE_TEST_SUITE_P(Faults, AtEachStoreRequest, testing::ValuesIn(store_cases()), words);

TEST(Uploads, AStoreThatIsAwayStopsNoMetrics) {
  FileRig rig(Server::Age::v3_17);
  rig.objects.always(StoreFault::offline);
  write_files(&rig);
  std::unique_ptr<Engine> engine = rig.start_files();
  Status status = engine->wait_idle(Millis(300));
  EXPECT_EQ(status.code(), StatusCode::deadline_exceeded);
  EXPECT_NE(status.message().find("4 files"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("connection refused"), std::string::npos) << status.message();
  EXPECT_EQ(rig.server.runs.begin()->second.points.size(), 5u);
  EXPECT_EQ(rig.server.runs.begin()->second.status, "RUNNING");
  EXPECT_EQ(engine->health().state, LaneState::offline);
  EXPECT_EQ(engine->health().files_waiting, 4u);
  EXPECT_EQ(engine->health().waiting, 0u);
  EXPECT_FALSE(engine->delivered(uid(1), 100));
  rig.objects.always(StoreFault::none);
  EXPECT_TRUE(engine->wait_idle(Millis(10'000)).ok());
  EXPECT_EQ(rig.server.runs.begin()->second.status, "FINISHED");
  engine->stop(Millis(1'000));
}

TEST(Uploads, ARefusedFileIsADeadLetterAndNothingElse) {
  FileRig rig(Server::Age::v3_17);
  rig.objects.refused = {"models/big.bin"};
  write_files(&rig);
  ASSERT_TRUE(rig.deliver_files().ok());
  EXPECT_EQ(rig.last.dead_letters, 1u);
  EXPECT_EQ(rig.last.files_waiting, 0u);
  EXPECT_EQ(rig.objects.files().size(), 2u);
  EXPECT_EQ(rig.server.runs.begin()->second.status, "FINISHED");
  const std::vector<ledger::DeadLetter> dead = rig.disk.state().dead;
  ASSERT_EQ(dead.size(), 1u);
  EXPECT_EQ(dead[0].what, "artifact models/big.bin");
  EXPECT_NE(dead[0].reason.find("bad path"), std::string::npos);
  EXPECT_TRUE(dead[0].artifact);
  // A person asks for it once more, while somebody delivers.
  rig.objects.refused.clear();
  std::vector<ledger::Asked> asked(1);
  asked[0].requests.push_back({ledger::Request::Verb::retry, uid(1), dead[0].seq, {}, {}, 0, 0});
  std::atomic<bool> done{false};
  EngineOptions options = rig.options();
  std::unique_ptr<Engine> engine = rig.start(options, [&](Parts* parts) {
    parts->make_store = [&rig](const store::Place& place) -> Result<std::unique_ptr<store::Store>> {
      return std::unique_ptr<store::Store>(new StoreClient(&rig.objects, rig.epoch.load(), place.artifact_uri));
    };
    parts->open_file = [&rig](const buffer::FileRow& row) -> Result<base::Fd> {
      base::Fd fd(::memfd_create("file", MFD_CLOEXEC));
      const std::string& bytes = rig.spool.at(row.name);
      EXPECT_EQ(::write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
      return fd;
    };
    parts->asked = [&] { return done ? std::vector<ledger::Asked>() : asked; };
    parts->asked_done = [&](const ledger::Asked&) { done = true; };
  });
  for (int i = 0; i < 500 && (!done || rig.objects.files().size() < 3); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ASSERT_TRUE(engine->wait_idle(Millis(10'000)).ok());
  EXPECT_EQ(rig.objects.files(), wanted_files());
  EXPECT_EQ(engine->health().dead_letters, 0u);
  EXPECT_EQ(engine->health().files_delivered, 4u);
  EXPECT_TRUE(rig.disk.state().dead.empty());
  engine->stop(Millis(1'000));
}

TEST(Uploads, AGoodAnswerIsNoProofOnAnOldServer) {
  FileRig rig(Server::Age::v2_22);
  rig.server.artifact_root = "mlflow-artifacts:/";
  rig.objects.half_kept = true;
  rig.objects.multipart_from = 1'000;
  write_files(&rig);
  ASSERT_TRUE(rig.deliver_files().ok());
  EXPECT_EQ(rig.objects.files(), wanted_files("mlflow-artifacts:/r100/artifacts/"));
  EXPECT_EQ(rig.server.runs.begin()->second.status, "FINISHED");
}

TEST(Uploads, AStoreWithoutPartsTakesTheWhole) {
  FileRig rig(Server::Age::v3_17);
  rig.objects.takes_parts = false;
  write_files(&rig);
  rig.artifact(uid(1), "second.bin", std::string(40, 'z'));
  ASSERT_TRUE(rig.deliver_files().ok());
  EXPECT_EQ(rig.objects.files().size(), 4u);
  const std::vector<std::string> calls = rig.objects.calls();
  EXPECT_LE(std::count_if(calls.begin(), calls.end(), [](const auto& c) { return c.rfind("begin", 0) == 0; }), 2);
}

TEST(Uploads, AnUploadThatExpiredBeginsAgain) {
  FileRig rig(Server::Age::v3_17);
  rig.objects.expire_after_parts = 2;
  write_files(&rig);
  ASSERT_TRUE(rig.deliver_files().ok());
  EXPECT_EQ(rig.objects.files(), wanted_files());
  EXPECT_EQ(rig.last.dead_letters, 0u);
}

/// The parts of a file that is given up are taken back, also when the store is not there at the first try.
TEST(Uploads, AnAbortIsTriedAgain) {
  for (const StoreFault fault : {StoreFault::request_lost, StoreFault::http_503, StoreFault::offline}) {
    FileRig rig(Server::Age::v3_17);
    rig.buffer->write(uid(1)).start("digits", "aborted");
    rig.artifact(uid(1), "big", std::string(80, 'b'));
    rig.objects.on_request = [&](const std::string& what) {
      if (what == "begin big") rig.spool_is_gone = true;  // before any part is read
    };
    rig.objects.fault_once("abort big", fault);
    std::unique_ptr<Engine> engine = rig.start_files();
    EXPECT_TRUE(engine->wait_idle(Millis(60'000)).ok());
    for (int i = 0; i < 500 && rig.objects.open_uploads() != 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_EQ(rig.objects.open_uploads(), 0u);
    const std::vector<std::string> calls = rig.objects.calls();
    EXPECT_EQ(std::count(calls.begin(), calls.end(), "abort big"), 2);
    EXPECT_EQ(rig.disk.state().dead.size(), 1u);
    engine->stop(Millis(1'000));
  }
}

TEST(Uploads, BytesThatAreNotNamedYetAreWaitedFor) {
  FileRig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("digits", "late");
  const base::Uid late = rig.artifact(uid(1), "late", "bytes", false);
  const base::Uid lost = rig.artifact(uid(1), "lost", "gone", false);
  rig.buffer->write(uid(1)).end(RunStatus::finished, 1);
  std::unique_ptr<Engine> engine = rig.start_files();
  EXPECT_EQ(engine->wait_idle(Millis(100)).code(), StatusCode::deadline_exceeded);
  EXPECT_EQ(engine->health().files_waiting, 2u);
  rig.name_file(late);
  rig.name_file(lost, "the file changed while it was read");
  ++rig.durable;
  engine->wake();
  ASSERT_TRUE(engine->wait_idle(Millis(10'000)).ok());
  EXPECT_EQ(rig.objects.files().size(), 1u);
  ASSERT_EQ(rig.disk.state().dead.size(), 1u);
  EXPECT_EQ(rig.disk.state().dead[0].reason, "the file changed while it was read");
  EXPECT_EQ(rig.server.runs.begin()->second.status, "FINISHED");
  engine->stop(Millis(1'000));
}

TEST(Uploads, ManyFilesGoInParallelAndTheirThreadsGo) {
  FileRig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("digits", "many");
  std::map<std::string, std::string> want;
  for (int i = 0; i < 2'000; ++i) {
    const std::string path = "d" + std::to_string(i % 7) + "/f" + std::to_string(i);
    rig.artifact(uid(1), path, std::to_string(i));
    want["fake:/r100/artifacts/" + path] = std::to_string(i);
  }
  rig.buffer->write(uid(1)).end(RunStatus::finished, 1);
  ASSERT_TRUE(rig.deliver_files(Millis(60'000)).ok());
  EXPECT_EQ(rig.objects.files(), want);
  EXPECT_EQ(rig.objects.requests(), 2'000u);
  EXPECT_EQ(rig.disk.state().artifacts.place(uid(1)).files, 2'000u);
}

/// One file, that is: each part waits for another one to come.
TEST(Uploads, PartsOfOneFileGoInParallel) {
  FileRig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("digits", "large");
  const std::string bytes(200, 'x');
  rig.artifact(uid(1), "big.bin", bytes);
  rig.buffer->write(uid(1)).end(RunStatus::finished, 1);
  std::mutex mutex;
  std::condition_variable came;
  int parts = 0;
  rig.objects.on_request = [&](const std::string& what) {
    if (what.rfind("part ", 0) != 0) return;
    std::unique_lock lock(mutex);
    const int mine = ++parts;
    came.notify_all();
    if (mine % 2 != 0) came.wait_for(lock, std::chrono::seconds(20), [&] { return parts > mine; });
    EXPECT_TRUE(mine % 2 == 0 || parts > mine) << "part " << mine << " went alone";
  };
  ASSERT_TRUE(rig.deliver_files(Millis(60'000)).ok());
  EXPECT_EQ(rig.objects.files(), (std::map<std::string, std::string>{{"fake:/r100/artifacts/big.bin", bytes}}));
  EXPECT_EQ(parts, 20);
}

TEST(Uploads, FilesOfAModelWaitForItsPlace) {
  FileRig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("digits", "model");
  rig.artifact(uid(1), "MLmodel", "flavors", true, uid(9));
  rig.artifact(uid(1), "plain", "x");
  std::unique_ptr<Engine> engine = rig.start_files();
  EXPECT_EQ(engine->wait_idle(Millis(200)).code(), StatusCode::deadline_exceeded);
  EXPECT_EQ(rig.objects.files().size(), 1u);  // the other one does not wait
  EXPECT_EQ(engine->health().files_waiting, 1u);
  engine->stop(Millis(1'000));
}

TEST(Uploads, TheEndWaitsForFilesOfOtherSlots) {
  FileRig rig(Server::Age::v3_17);
  write_files(&rig);
  std::atomic<bool> elsewhere{true};
  EngineOptions options = rig.options();
  options.files_elsewhere = [&](const base::Uid& run) {
    EXPECT_EQ(run, uid(1));
    return elsewhere.load();
  };
  std::unique_ptr<Engine> engine = rig.start_files(std::move(options));
  EXPECT_EQ(engine->wait_idle(Millis(1'500)).code(), StatusCode::deadline_exceeded);
  EXPECT_EQ(engine->health().files_waiting, 0u);  // its own are there
  EXPECT_EQ(rig.server.runs.begin()->second.status, "RUNNING");
  elsewhere = false;
  ASSERT_TRUE(engine->wait_idle(Millis(20'000)).ok());
  EXPECT_EQ(rig.server.runs.begin()->second.status, "FINISHED");
  engine->stop(Millis(1'000));
}

TEST(Uploads, AnotherStateOfTheBufferSendsAgain) {
  FileRig rig(Server::Age::v3_17);
  write_files(&rig);
  ASSERT_TRUE(rig.deliver_files().ok());
  buffer::Identity other = rig.buffer->identity();
  ++other.generation;
  rig.buffer->set_identity(other);
  const std::uint64_t before = rig.objects.requests();
  ASSERT_TRUE(rig.deliver_files().ok());
  EXPECT_GT(rig.objects.requests(), before);
  EXPECT_EQ(rig.objects.files(), wanted_files());
  EXPECT_EQ(rig.last.files_delivered, 4u);
}

}  // namespace
}  // namespace mlops::sync::fake
