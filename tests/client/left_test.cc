// Runs that are left open: RUNNING without a process, whatever happens to others, until somebody ends them; and the end
// by id, whoever has the slot.
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "client/support.h"

namespace mlops::test {
namespace {

RunSummary run_of(const std::string& root, const std::string& id) {
  Result<Reader> reader = Reader::open(root);
  return reader.ok() ? reader->run(id).value_or({}) : RunSummary{};
}

std::string leave_one(const std::string& root) {
  Client client = Client::open(offline(root)).value();
  mlops::Run run = client.start_run("e", {.name = "left"}).value();
  EXPECT_TRUE(run.log_metric("m", 1.0, 0).ok());
  EXPECT_TRUE(run.leave().ok());
  EXPECT_TRUE(run.ended());
  EXPECT_EQ(run.log_metric("m", 1.0, 1).code(), StatusCode::failed_precondition);
  EXPECT_EQ(run.end().code(), StatusCode::failed_precondition);
  const std::string id = run.id();
  EXPECT_TRUE(client.close().ok());
  return id;
}

// args: root, run, file that says it has the slot
MLOPS_PROGRAM(take_slot_and_hang) {
  Client client = Client::open(offline(args[0])).value();
  mlops::Run run = client.start_run("other").value();
  if (!run.log_metric("m", 1.0, 0).ok() || !client.flush().ok()) return 1;
  std::filesystem::create_directory(args[1]);
  for (;;) ::pause();
}

TEST(LeftOpen, NeitherDeathsNorStartsNorSyncEndIt) {
  TempDir dir;
  const std::string root = dir / "root", id = leave_one(root);
  const auto still_open = [&] {
    const RunSummary run = run_of(root, id);
    return run.status == RunStatus::running && run.left_open && !run.live && run.end_ms == 0;
  };
  EXPECT_TRUE(still_open());
  const int pid = spawn("take_slot_and_hang", {root, dir / "ready"});
  ASSERT_TRUE(wait_until([&] { return std::filesystem::exists(dir / "ready"); }, 30'000));
  EXPECT_TRUE(still_open()) << "another process has its slot";
  ::kill(pid, SIGKILL);
  ASSERT_EQ(wait_for(pid), 1000 + SIGKILL);
  for (const RunSummary& run : settled_runs(root)) {
    EXPECT_EQ(run.status, run.id == id ? RunStatus::running : RunStatus::killed) << run.name;
  }
  EXPECT_TRUE(still_open()) << "after a sync";
}

TEST(LeftOpen, StartAndEndCanBeOfLongAgo) {
  TempDir dir;
  const std::string root = dir / "root", id = leave_one(root);
  Client client = Client::open(offline(root)).value();
  RunOptions options;
  options.start_ms = -1;
  EXPECT_EQ(client.start_run("", options).status().code(), StatusCode::invalid_argument);
  options.start_ms = 1'000;
  mlops::Run run = client.start_run("", options).value();
  const std::string old = run.id();
  EXPECT_EQ(run.end(RunStatus::finished, -1).code(), StatusCode::invalid_argument);
  ASSERT_TRUE(run.end(RunStatus::finished, 5'000).ok());
  EXPECT_EQ(client.end_run(id, RunStatus::failed, -1).code(), StatusCode::invalid_argument);
  ASSERT_TRUE(client.end_run(id, RunStatus::failed, 7'000).ok());
  ASSERT_TRUE(client.close().ok());
  EXPECT_EQ(run_of(root, old).start_ms, 1'000);
  EXPECT_EQ(run_of(root, old).end_ms, 5'000);
  EXPECT_EQ(run_of(root, id).end_ms, 7'000);
}

TEST(LeftOpen, EndsById) {
  TempDir dir;
  const std::string root = dir / "root", id = leave_one(root);
  Client client = Client::open(offline(root)).value();
  EXPECT_EQ(client.end_run("ffffffff").code(), StatusCode::not_found);
  EXPECT_EQ(client.end_run(id, RunStatus::running).code(), StatusCode::invalid_argument);
  ASSERT_TRUE(client.end_run(id.substr(0, 8), RunStatus::failed).ok());
  const Status again = client.end_run(id);
  EXPECT_EQ(again.code(), StatusCode::failed_precondition) << again.to_string();
  ASSERT_TRUE(client.close().ok());
  const RunSummary run = run_of(root, id);
  EXPECT_EQ(run.status, RunStatus::failed);
  EXPECT_FALSE(run.left_open);
  EXPECT_NE(run.end_ms, 0);
}

TEST(LeftOpen, EndsByIdWhileAnotherProcessHasItsSlot) {
  TempDir dir;
  const std::string root = dir / "root", id = leave_one(root);
  const int pid = spawn("take_slot_and_hang", {root, dir / "ready"});
  ASSERT_TRUE(wait_until([&] { return std::filesystem::exists(dir / "ready"); }, 30'000));
  std::string theirs;
  {
    const std::vector<RunSummary> runs = Reader::open(root).value().runs().value();
    for (const RunSummary& run : runs) {
      if (run.id != id) theirs = run.id;
    }
    Client client = Client::open(offline(root)).value();
    const Status refused = client.end_run(theirs);
    EXPECT_EQ(refused.code(), StatusCode::failed_precondition) << refused.to_string();
    ASSERT_TRUE(client.end_run(id).ok());
    EXPECT_EQ(run_of(root, id).status, RunStatus::finished) << "the slot's process has collected it";
    EXPECT_EQ(client.end_run(id).code(), StatusCode::failed_precondition);
    ASSERT_TRUE(client.close().ok());
  }
  ::kill(pid, SIGKILL);
  ASSERT_EQ(wait_for(pid), 1000 + SIGKILL);
  for (const RunSummary& run : settled_runs(root)) {
    EXPECT_EQ(run.status, run.id == id ? RunStatus::finished : RunStatus::killed) << run.name;
  }
}

TEST(LeftOpen, AResumeMakesItAnOrdinaryRunAgain) {
  TempDir dir;
  const std::string root = dir / "root", id = leave_one(root);
  Client client = Client::open(offline(root)).value();
  mlops::Run run = client.start_run({}, {.resume_id = id}).value();
  EXPECT_TRUE(run.log_metric("m", 2.0, 1).ok());
  ASSERT_TRUE(run.end(RunStatus::killed).ok());
  ASSERT_TRUE(client.close().ok());
  EXPECT_EQ(run_of(root, id).status, RunStatus::killed);
  EXPECT_EQ(run_of(root, id).points, 2u);
}

// args: root, run
MLOPS_PROGRAM(attach_log_and_die) {
  Client client = Client::open(offline(args[0])).value();
  mlops::Run run = client.start_run({}, {.attach_id = args[1]}).value();
  if (!run.log_metric("m", 1.0, std::stoll(args[2])).ok()) return 1;
  ::kill(::getpid(), SIGKILL);
  return 2;
}

TEST(LeftOpen, ThoseWhoAttachAndDieNeitherEndItNorLoseAPoint) {
  TempDir dir;
  const std::string root = dir / "root", id = leave_one(root);
  for (int i = 1; i <= 12; i += 4) {
    int pids[4];
    for (int k = 0; k < 4; ++k) pids[k] = spawn("attach_log_and_die", {root, id, std::to_string(i + k)});
    for (const int pid : pids) EXPECT_EQ(wait_for(pid), 1000 + SIGKILL);
  }
  EXPECT_EQ(settled_points(root), 13u);
  const RunSummary run = run_of(root, id);
  EXPECT_TRUE(run.left_open);
  EXPECT_EQ(run.metrics.at(0).count, 13u);
}

TEST(LeftOpen, AnOwnerInThisProcessIsEndedByIdToo) {
  TempDir dir;
  Client client = Client::open(offline(dir / "root")).value();
  mlops::Run run = client.start_run("e").value();
  ASSERT_TRUE(client.flush().ok());
  ASSERT_TRUE(client.end_run(run.id(), RunStatus::failed).ok());
  EXPECT_TRUE(run.ended());
  ASSERT_TRUE(client.close().ok());
  EXPECT_EQ(run_of(dir / "root", run.id()).status, RunStatus::failed);
}

}  // namespace
}  // namespace mlops::test
