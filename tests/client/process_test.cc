// What happens to a process: fork, exec, exit, death. Each scenario runs in processes of its own; what the root holds
// is counted from outside.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <thread>

#include "client/support.h"

namespace mlops::test {
namespace {

int child_status(int pid) {
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

// args: root, "exit" or "_exit", points of the child
MLOPS_PROGRAM(fork_once) {
  Client client = Client::open(offline(args[0])).value();
  mlops::Run run = client.start_run("e").value();
  Metric m = run.metric("m");
  for (int i = 0; i < 100; ++i) m.log(1.0, i);
  const std::int64_t points = std::stoll(args[2]);
  const int child = ::fork();
  if (child == 0) {
    for (std::int64_t i = 0; i < points; ++i) m.log(2.0, 1'000'000 + i);
    if (!run.log_metric("named", 1.0, 1).ok() || !run.log_param("child", "yes").ok()) ::_exit(20);
    if (!client.health().dropped.empty()) ::_exit(21);
    if (client.flush(Level::durable).code() != StatusCode::failed_precondition) ::_exit(22);
    Result<mlops::Run> own = client.start_run("e", {.name = "of the child"});
    if (!own.ok() || !own->log_metric("m", 1.0, 1).ok() || !own->end().ok()) ::_exit(23);
    if (!run.end(RunStatus::failed).ok()) ::_exit(24);  // detaches only
    if (args[1] == "_exit") ::_exit(7);
    std::exit(7);
  }
  for (int i = 100; i < 200; ++i) m.log(1.0, i);
  if (const int status = child_status(child); status != 7) return 30 + status;
  if (!run.log_metric("m", 1.0, 200).ok()) return 10;
  if (!run.end().ok()) return 11;
  return client.close().ok() ? 0 : 12;
}

void expect_fork_result(const std::string& root, std::uint64_t of_child) {
  std::uint64_t points = 0;
  for (const RunSummary& run : settled_runs(root)) {
    points += run.points;
    EXPECT_EQ(run.status, RunStatus::finished) << run.name;
    if (run.name != "of the child") {
      EXPECT_EQ(run.params, (Pairs{{"child", "yes"}}));
    }
  }
  EXPECT_EQ(points, 201 + of_child + 2);
}

TEST(Fork, ChildThatExits) {
  TempDir dir;
  ASSERT_EQ(run_program("fork_once", {dir / "root", "exit", "500"}), 0);
  expect_fork_result(dir / "root", 500);
}

TEST(Fork, ChildThatLeavesAtOnce) {
  TempDir dir;
  ASSERT_EQ(run_program("fork_once", {dir / "root", "_exit", "500"}), 0);
  expect_fork_result(dir / "root", 500);
}

using Dropped = std::map<std::string, std::uint64_t>;

// args: root. What a child drops is counted in its parent, which dropped one more, and by the next process.
MLOPS_PROGRAM(fork_and_drop) {
  Client client = Client::open(offline(args[0])).value();
  mlops::Run run = client.start_run("e").value();
  Metric ended = run.metric("m"), nameless = run.metric("");
  if (!run.end().ok()) return 10;
  ended.log(0.0);
  const int child = ::fork();
  if (child == 0) {
    for (int i = 0; i < 3; ++i) ended.log(1.0, i);
    for (int i = 0; i < 2; ++i) nameless.log(1.0, i);
    ::_exit(7);
  }
  if (const int status = child_status(child); status != 7) return 30 + status;
  const Dropped want{{"closed", 4}, {"invalid", 2}};
  for (int i = 0; i < 1'000 && client.health().dropped != want; ++i) ::usleep(10'000);
  if (client.health().dropped != want) return 11;
  return client.close().ok() ? 0 : 12;
}

TEST(Fork, WhatAChildDropsIsCounted) {
  TempDir dir;
  ASSERT_EQ(run_program("fork_and_drop", {dir / "root"}), 0);
  Client next = Client::open(offline(dir / "root")).value();
  for (int i = 0; i < 1'000 && next.health().dropped.empty(); ++i) ::usleep(10'000);
  EXPECT_EQ(next.health().dropped, (Dropped{{"closed", 4}, {"invalid", 2}}));
  EXPECT_TRUE(next.close().ok());
}

TEST(Fork, ChildThatLogsAHundredMegabytes) {
  TempDir dir;
  const std::uint64_t points = 100'000'000 / 32;
  ASSERT_EQ(run_program("fork_once", {dir / "root", "exit", std::to_string(points)}, 120), 0);
  expect_fork_result(dir / "root", points);
}

// args: root, file that the child makes when it has logged
MLOPS_PROGRAM(fork_and_hang) {
  Client client = Client::open(offline(args[0])).value();
  mlops::Run run = client.start_run("e").value();
  Metric m = run.metric("m");
  m.log(1.0, 1);
  client.flush().ignore();
  if (::fork() == 0) {
    for (int i = 0; i < 1000; ++i) m.log(2.0, 10 + i);
    std::filesystem::create_directory(args[1]);
    for (int i = 0; i < 300 && std::filesystem::exists(args[1]); ++i) ::usleep(100'000);
    m.log(3.0, 5000);
    ::_exit(0);
  }
  for (;;) ::pause();
}

TEST(Fork, ParentKilledWhileItsChildLives) {
  TempDir dir;
  const int pid = spawn("fork_and_hang", {dir / "root", dir / "ready"});
  ASSERT_TRUE(wait_until([&] { return std::filesystem::exists(dir / "ready"); }, 30'000));
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  ASSERT_EQ(wait_for(pid), 1000 + SIGKILL);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  // The slot is free although the child lives, and what the child logged is collected.
  Client client = Client::open(offline(dir / "root")).value();
  int slots = 0;
  for (const auto& host : std::filesystem::directory_iterator(dir / "root")) {
    for ([[maybe_unused]] const auto& slot : std::filesystem::directory_iterator(host)) ++slots;
  }
  EXPECT_EQ(slots, 1);
  EXPECT_TRUE(wait_until([&] { return client.health().buffered >= 1001; }, 20'000));
  std::filesystem::remove(dir / "ready");  // the child logs its last point and leaves
  EXPECT_TRUE(wait_until([&] { return client.health().buffered == 1002; }, 20'000));
  ASSERT_TRUE(client.close().ok());
}

MLOPS_PROGRAM(hold_slot) {
  Client client = Client::open(offline(args[0])).value();
  std::filesystem::create_directory(args[1]);
  std::this_thread::sleep_for(std::chrono::seconds(std::stoi(args[2])));
  return 0;
}

MLOPS_PROGRAM(exec_away) {
  Client client = Client::open(offline(args[0])).value();
  mlops::Run run = client.start_run("e").value();
  run.metric("m").log(1.0, 1);
  ::execl("/bin/sleep", "sleep", "30", static_cast<char*>(nullptr));
  return 9;
}

TEST(Exec, LeavesTheSlotAndKeepsWhatWasAccepted) {
  TempDir dir;
  const int pid = spawn("exec_away", {dir / "root"});
  ASSERT_TRUE(wait_until(
      [&] {
        std::error_code error;
        return std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/exe", error).filename() == "sleep";
      },
      30'000));
  // The kernel shows the new program a moment before it has closed the old one's files.
  EXPECT_TRUE(wait_until([&] { return settled_points(dir / "root") == 1; }, 5'000));
  ::kill(pid, SIGKILL);
  wait_for(pid);
}

MLOPS_PROGRAM(exit_open) {
  Client client = Client::open(offline(args[0])).value();
  auto* run = new mlops::Run(client.start_run("e").value());
  Metric m = run->metric("m");
  for (int i = 0; i < 5000; ++i) m.log(1.0, i);
  std::exit(5);
}

TEST(Exit, WithEverythingOpenEndsTheRunAndKeepsTheStatus) {
  TempDir dir;
  ASSERT_EQ(run_program("exit_open", {dir / "root"}), 5);
  const std::vector<RunSummary> runs = Reader::open(dir / "root")->runs().value();
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].points, 5000u);
  EXPECT_EQ(runs[0].status, RunStatus::finished);
}

MLOPS_PROGRAM(exit_in_flush) {
  auto* client = new Client(Client::open(offline(args[0])).value());
  auto* run = new mlops::Run(client->start_run("e").value());
  std::thread([client, run] {
    Metric m = run->metric("m");
    for (int i = 0;; ++i) {
      m.log(1.0, i);
      client->flush(Level::durable).ignore();
    }
  }).detach();
  std::thread([run] {
    for (int i = 0;; ++i) run->log_metric("n", 1.0, i).ignore();
  }).detach();
  ::usleep(200'000);
  std::exit(6);
}

TEST(Exit, WhileAFlushRunsAndADetachedThreadLogs) {
  TempDir dir;
  for (int i = 0; i < 3; ++i) ASSERT_EQ(run_program("exit_in_flush", {dir / ("root" + std::to_string(i))}, 60), 6);
}

MLOPS_PROGRAM(exit_at_once) {
  Client client = Client::open(offline(args[0])).value();
  mlops::Run run = client.start_run("e").value();
  run.metric("m").log(1.0, 1);
  std::exit(0);  // the database may not be open yet
}

TEST(Exit, RightAfterOpen) {
  TempDir dir;
  for (int i = 0; i < 10; ++i) ASSERT_EQ(run_program("exit_at_once", {dir / "root"}), 0) << i;
  EXPECT_EQ(settled_points(dir / "root"), 10u);
}

// args: root, microseconds
MLOPS_PROGRAM(exit_soon) {
  Options options = offline(args[0]);
  options.tracking_uri = "http://127.0.0.1:9";
  options.deliver = true;
  options.exit_deadline = Millis(100);
  Client client = Client::open(options).value();
  mlops::Run run = client.start_run("e").value();
  run.metric("m").log(1.0, 1);
  ::usleep(static_cast<useconds_t>(std::stoul(args[1])));
  std::exit(0);
}

TEST(Exit, AtAnyMomentOfStartingToDeliver) {
  TempDir dir;
  for (int i = 0; i < 40; ++i) {
    ASSERT_EQ(run_program("exit_soon", {dir / "root", std::to_string(i * 300)}), 0) << i * 300 << " us";
  }
  EXPECT_EQ(settled_points(dir / "root"), 40u);
}

MLOPS_PROGRAM(log_and_die) {
  Client client = Client::open(offline(args[0])).value();
  mlops::Run run = client.start_run("e", {.name = "dies"}).value();
  Metric m = run.metric("m");
  for (int i = 0; i < 20'000; ++i) m.log(1.0, i);
  run.log_param("p", "1").ignore();
  if (args[1] == "abort") std::abort();
  ::kill(::getpid(), SIGKILL);
  return 1;
}

TEST(Death, LosesNothingThatWasAccepted) {
  TempDir dir;
  ASSERT_EQ(run_program("log_and_die", {dir / "kill", "kill"}), 1000 + SIGKILL);
  ASSERT_EQ(run_program("log_and_die", {dir / "abort", "abort"}), 1000 + SIGABRT);
  for (const char* name : {"kill", "abort"}) {
    const std::vector<RunSummary> runs = settled_runs(dir / name);
    ASSERT_EQ(runs.size(), 1u) << name;
    EXPECT_EQ(runs[0].points, 20'000u) << name;
    EXPECT_EQ(runs[0].status, RunStatus::killed) << name;
    EXPECT_EQ(runs[0].params, (Pairs{{"p", "1"}})) << name;
  }
}

TEST(Death, TheNextStartTakesTheSlotAndContinuesTheRun) {
  TempDir dir;
  ASSERT_EQ(run_program("log_and_die", {dir / "root", "kill"}), 1000 + SIGKILL);
  Client client = Client::open(offline(dir / "root")).value();
  mlops::Run run = client.start_run("e", {.resume_name = "dies"}).value();
  EXPECT_EQ(run.log_param("p", "2").code(), StatusCode::already_exists);
  EXPECT_EQ(run.auto_step("m").next_step(), 20'000);
  run.metric("m").log(1.0, 20'000);
  const std::string id = run.id();
  ASSERT_TRUE(run.end().ok());
  ASSERT_TRUE(client.close().ok());
  const RunSummary summary = Reader::open(dir / "root")->run(id).value();
  EXPECT_EQ(summary.points, 20'001u);
  EXPECT_EQ(summary.status, RunStatus::finished);
}

TEST(Death, ARunInAnotherFreeSlotIsTakenOverForItsResume) {
  TempDir dir;
  ASSERT_EQ(run_program("log_and_die", {dir / "root", "kill"}), 1000 + SIGKILL);
  const std::string id = settled_runs(dir / "root").at(0).id;
  const int holder = spawn("hold_slot", {dir / "root", dir / "held", "60"});  // takes that slot
  ASSERT_TRUE(wait_until([&] { return std::filesystem::exists(dir / "held"); }, 30'000));
  Client client = Client::open(offline(dir / "root")).value();  // so this is another one
  ::kill(holder, SIGKILL);
  wait_for(holder);
  mlops::Run run = client.start_run("e", {.resume_id = id}).value();
  EXPECT_EQ(run.id(), id);
  run.metric("m").log(1.0, 30'000);
  ASSERT_TRUE(run.end().ok());
  ASSERT_TRUE(client.close().ok());
  const RunSummary summary = Reader::open(dir / "root")->run(id).value();
  EXPECT_EQ(summary.points, 20'001u);
  EXPECT_EQ(summary.status, RunStatus::finished);
}

// args: root, id of the run, points
MLOPS_PROGRAM(attach) {
  Client client = Client::open(offline(args[0])).value();
  mlops::Run run = client.start_run("e", {.attach_id = args[1]}).value();
  Metric m = run.metric("rank");
  for (int i = 0; i < std::stoi(args[2]); ++i) m.log(1.0, i);
  run.end(RunStatus::failed).ignore();  // detaches
  return client.close().ok() ? 0 : 1;
}

TEST(Attach, AnotherProcessJoinsARunAndNeverEndsIt) {
  TempDir dir;
  Client client = Client::open(offline(dir / "root")).value();
  mlops::Run owner = client.start_run("e").value();
  owner.metric("m").log(1.0, 1);
  ASSERT_TRUE(client.flush().ok());
  ASSERT_EQ(run_program("attach", {dir / "root", owner.id(), "300"}), 0);
  RunSummary summary = Reader::open(dir / "root")->run(owner.id()).value();
  EXPECT_EQ(summary.points, 301u);
  EXPECT_EQ(summary.status, RunStatus::running);
  EXPECT_TRUE(summary.live);
  const std::string id = owner.id();
  ASSERT_TRUE(owner.end().ok());
  ASSERT_TRUE(client.close().ok());
  summary = Reader::open(dir / "root")->run(id).value();
  EXPECT_EQ(summary.status, RunStatus::finished);
  EXPECT_EQ(summary.points, 301u);
}

MLOPS_PROGRAM(one_of_many) {
  Result<Client> client = Client::open(offline(args[0]));
  if (!client.ok()) return 2;
  Result<mlops::Run> run = client->start_run("e");
  if (!run.ok()) return 3;
  Metric m = run->metric("m");
  for (int i = 0; i < 100; ++i) m.log(1.0, i);
  if (!run->end().ok()) return 4;
  return client->close().ok() ? 0 : 5;
}

TEST(Start, SixtyFourProcessesAtOnceOnOneRoot) {
  TempDir dir;
  std::vector<int> pids;
  for (int i = 0; i < 64; ++i) pids.push_back(spawn("one_of_many", {dir / "root"}));
  for (const int pid : pids) EXPECT_EQ(wait_for(pid, 120), 0);
  const std::vector<RunSummary> runs = Reader::open(dir / "root")->runs().value();
  EXPECT_EQ(runs.size(), 64u);
  for (const RunSummary& run : runs) EXPECT_EQ(run.points, 100u);
}

MLOPS_PROGRAM(environment) {
  ::setenv("MLOPS_HOME", args[0].c_str(), 1);
  ::setenv("MLFLOW_EXPERIMENT_NAME", "from the environment", 1);
  ::setenv("MLFLOW_RUN_NAME", "named there", 1);
  ::setenv("MLOPS_DELIVER", "0", 1);
  ::setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9/", 1);
  Client client = Client::open().value();
  if (client.root() != args[0] || client.tracking_uri() != "http://127.0.0.1:9") return 2;
  mlops::Run first = client.start_run().value();
  if (first.name() != "named there") return 3;
  if (!client.health().destinations.empty()) return 4;
  if (client.start_run("named in code", {.name = "mine"}).value().name() != "mine") return 5;
  const std::string id = first.id();
  if (!client.close().ok()) return 6;
  ::setenv("MLFLOW_RUN_ID", id.c_str(), 1);
  Client again = Client::open().value();
  mlops::Run resumed = again.start_run().value();
  if (resumed.id() != id) return 7;
  mlops::Run next = again.start_run().value();  // it serves once
  if (next.id() == id) return 8;
  ::setenv("MLOPS_JOURNAL_MIB", "lots", 1);
  Options other;
  other.root = args[0] + "-other";
  if (Client::open(other).status().code() != StatusCode::invalid_argument) return 9;
  return Reader::open()->run(id)->experiment == "from the environment" ? 0 : 10;
}

TEST(Environment, IsReadAtOpen) {
  TempDir dir;
  EXPECT_EQ(run_program("environment", {dir / "root"}), 0);
}

}  // namespace
}  // namespace mlops::test
