// System metrics of a run: off unless asked for, under MLflow's names, one sampler per process, none in a child.
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "client/support.h"

namespace mlops::test {
namespace {

const std::set<std::string> kNames{"system/cpu_utilization_percentage",
                                   "system/system_memory_usage_megabytes",
                                   "system/system_memory_usage_percentage",
                                   "system/disk_usage_percentage",
                                   "system/disk_usage_megabytes",
                                   "system/disk_available_megabytes",
                                   "system/network_receive_megabytes",
                                   "system/network_transmit_megabytes",
                                   "system/process_cpu_utilization_percentage",
                                   "system/process_memory_usage_megabytes",
                                   "system/process_disk_read_megabytes",
                                   "system/process_disk_write_megabytes"};
constexpr const char* kCpu = "system/cpu_utilization_percentage";

std::string nvml(const std::string& kind) { return std::string(MLOPS_NVML_DIR) + "/libnvml_" + kind + ".so"; }

Options sampling(const std::string& root) {
  Options options = offline(root);
  options.system_metrics.enabled = true;
  options.system_metrics.interval = Millis(10);
  return options;
}

// Files of this process's sampler threads below /proc.
std::vector<std::filesystem::path> samplers() {
  std::vector<std::filesystem::path> found;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (name == "mlops-system") found.push_back(task.path());
  }
  return found;
}

RunSummary read_run(const std::string& root, const std::string& id) {
  Result<Reader> reader = Reader::open(root);
  if (!reader.ok()) return {};
  return reader->run(id).value_or({});
}

std::set<std::string> system_names(const RunSummary& run) {
  std::set<std::string> names;
  for (const MetricSummary& metric : run.metrics) {
    if (metric.name.substr(0, 7) == "system/") names.insert(metric.name);
  }
  return names;
}

std::int64_t last_step(const RunSummary& run, const std::string& name) {
  for (const MetricSummary& metric : run.metrics) {
    if (metric.name == name) return metric.last_step;
  }
  return -1;
}

bool reaches_step(const std::string& root, const std::string& id, const std::string& name, std::int64_t step) {
  return wait_until([&] { return last_step(read_run(root, id), name) >= step; }, 30'000);
}

TEST(SystemMetrics, OffUnlessAskedFor) {
  TempDir dir;
  Client client = Client::open(offline(dir / "root")).value();
  mlops::Run run = client.start_run("quiet").value();
  EXPECT_TRUE(samplers().empty());
  mlops::Run asked = client.start_run("asked", {.log_system_metrics = true}).value();
  EXPECT_TRUE(wait_until([] { return samplers().size() == 1; }, 10'000));
  ASSERT_TRUE(asked.end().ok());
  EXPECT_TRUE(wait_until([] { return samplers().empty(); }, 10'000)) << "the thread outlived its last run";
  ASSERT_TRUE(client.close().ok());
}

TEST(SystemMetrics, OfARunThatAsks) {
  TempDir dir;
  const std::string root = dir / "root";
  Client client = Client::open(sampling(root)).value();
  mlops::Run off = client.start_run("e", {.log_system_metrics = false}).value();
  mlops::Run run = client.start_run("e").value(), second = client.start_run("e").value();
  ASSERT_TRUE(reaches_step(root, run.id(), kCpu, 3));
  ASSERT_TRUE(reaches_step(root, second.id(), kCpu, 3));
  ASSERT_EQ(samplers().size(), 1u) << "one thread for all runs";
  std::string line, blocked;
  for (std::ifstream status(samplers()[0] / "status"); std::getline(status, line);) {
    if (line.substr(0, 7) == "SigBlk:") blocked = line.substr(8);
  }
  const std::uint64_t mask = std::stoull(blocked, nullptr, 16);
  for (const int sig : {SIGINT, SIGTERM, SIGUSR1, SIGCHLD, SIGALRM, SIGPROF, SIGSEGV}) {
    EXPECT_TRUE(mask >> (sig - 1) & 1) << sig;
  }
  ASSERT_TRUE(run.end().ok());
  ASSERT_TRUE(client.flush(Level::durable).ok());
  ASSERT_TRUE(client.close().ok());
  EXPECT_TRUE(system_names(read_run(root, off.id())).empty());
  const RunSummary got = read_run(root, run.id());
  std::set<std::string> wanted = kNames;
  for (const std::string& name : system_names(got)) {
    if (name.find("/gpu_") != std::string::npos) wanted.insert(name);  // of the machine, if it has some
  }
  EXPECT_EQ(system_names(got), wanted);
  // MLflow's steps: 0, 1, 2, …; all of one sample have one time.
  const Series cpu = Reader::open(root)->series(run.id(), kCpu).value();
  const Series disk = Reader::open(root)->series(run.id(), "system/disk_usage_percentage").value();
  ASSERT_GE(cpu.step.size(), 4u);
  for (std::size_t i = 0; i < cpu.step.size(); ++i) EXPECT_EQ(cpu.step[i], static_cast<std::int64_t>(i));
  const std::size_t both = std::min(cpu.step.size(), disk.step.size());  // the end may come within a sample
  EXPECT_GE(both + 1, cpu.step.size());
  for (std::size_t i = 0; i < both; ++i) EXPECT_EQ(cpu.time_ms[i], disk.time_ms[i]);
  for (std::size_t i = 1; i < cpu.step.size(); ++i) EXPECT_GE(cpu.time_ms[i], cpu.time_ms[i - 1]);
}

TEST(SystemMetrics, AResumedRunGoesOn) {
  TempDir dir;
  const std::string root = dir / "root";
  std::string id;
  std::int64_t before = 0;
  {
    Client client = Client::open(sampling(root)).value();
    mlops::Run run = client.start_run("e").value();
    id = run.id();
    ASSERT_TRUE(reaches_step(root, id, kCpu, 4));
    ASSERT_TRUE(run.end().ok());
    ASSERT_TRUE(client.flush(Level::durable).ok());
    ASSERT_TRUE(client.close().ok());
    for (const std::string& name : system_names(read_run(root, id))) {
      before = std::max(before, last_step(read_run(root, id), name));
    }
  }
  Client client = Client::open(sampling(root)).value();
  mlops::Run run = client.start_run("e", {.resume_id = id}).value();
  ASSERT_TRUE(reaches_step(root, id, kCpu, before + 3));
  ASSERT_TRUE(client.close().ok());
  const Series cpu = Reader::open(root)->series(id, kCpu).value();
  for (std::size_t i = 0; i < cpu.step.size(); ++i) EXPECT_EQ(cpu.step[i], static_cast<std::int64_t>(i));
}

// A sample that comes while its run ends is no point of a closed run.
TEST(SystemMetrics, EndsBetweenSamplesDropNothing) {
  TempDir dir;
  Client client = Client::open(sampling(dir / "root")).value();
  for (int i = 0; i < 40; ++i) {
    mlops::Run run = client.start_run("brief", {.end_deadline = Millis(0)}).value();
    ::usleep(static_cast<useconds_t>(9'000 + i * 100));  // the first sample is due after 10 ms
  }
  EXPECT_TRUE(client.health().dropped.empty());
  ASSERT_TRUE(client.close().ok());
  EXPECT_TRUE(wait_until([] { return samplers().empty(); }, 10'000));
}

// args: root. By MLflow's variables, with GPUs, and left to the exit.
MLOPS_PROGRAM(system_by_environment) {
  ::setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "True", 1);
  ::setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.02", 1);
  ::setenv("MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", "2", 1);
  ::setenv("MLFLOW_SYSTEM_METRICS_NODE_ID", "node-1", 1);
  ::setenv("MLOPS_NVML", nvml("two_gpus").c_str(), 1);
  Client client = Client::open(offline(args[0])).value();
  static mlops::Run run = client.start_run("e", {.name = "by environment"}).value();
  return reaches_step(args[0], run.id(), "system/node-1/gpu_1_power_usage_watts", 1) ? 0 : 1;
}

TEST(SystemMetrics, ByMlflowsVariables) {
  TempDir dir;
  ASSERT_EQ(run_program("system_by_environment", {dir / "root"}), 0);
  const std::vector<RunSummary> runs = settled_runs(dir / "root");
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].status, RunStatus::finished);
  std::set<std::string> wanted;
  for (const std::string& name : kNames) wanted.insert("system/node-1" + name.substr(6));
  for (const char* gpu : {"gpu_0", "gpu_1"}) {
    for (const char* what : {"_memory_usage_percentage", "_memory_usage_megabytes", "_utilization_percentage",
                             "_power_usage_watts", "_power_usage_percentage"}) {
      wanted.insert(std::string("system/node-1/") + gpu + what);
    }
  }
  wanted.erase("system/node-1/gpu_1_utilization_percentage");  // that one fails with an error
  EXPECT_EQ(system_names(runs[0]), wanted);
  // Two samples a point: the utilisation of the first GPU, which rises by 10 with each, is a mean of two.
  const Series series =
      Reader::open(dir / "root")->series(runs[0].id, "system/node-1/gpu_0_utilization_percentage").value();
  for (std::size_t i = 0; i < series.value.size(); ++i) EXPECT_EQ(series.value[i], 55 + 20 * static_cast<double>(i));
}

// args: root. A child neither samples its parent's run nor its own.
MLOPS_PROGRAM(system_and_fork) {
  Client client = Client::open(sampling(args[0])).value();
  mlops::Run run = client.start_run("e", {.name = "of the parent"}).value();
  if (!reaches_step(args[0], run.id(), kCpu, 1)) return 1;
  const int child = ::fork();
  if (child == 0) {
    if (!samplers().empty()) ::_exit(20);
    Result<mlops::Run> own = client.start_run("e", {.name = "of the child"});
    if (!own.ok() || !own->log_metric("m", 1).ok()) ::_exit(21);
    if (!samplers().empty()) ::_exit(22);
    if (!own->end().ok() || !run.end().ok()) ::_exit(23);
    std::exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return 2;
  const std::int64_t now = last_step(read_run(args[0], run.id()), kCpu);
  return reaches_step(args[0], run.id(), kCpu, now + 3) ? 0 : 3;
}

TEST(SystemMetrics, NoneInAForkedChild) {
  TempDir dir;
  ASSERT_EQ(run_program("system_and_fork", {dir / "root"}), 0);
  for (const RunSummary& run : settled_runs(dir / "root")) {
    EXPECT_EQ(system_names(run).empty(), run.name == "of the child") << run.name;
  }
}

// args: root, milliseconds. Exits while the sampler is at work.
MLOPS_PROGRAM(system_and_exit) {
  ::setenv("MLOPS_NVML", nvml("two_gpus").c_str(), 1);
  Client client = Client::open(sampling(args[0])).value();
  static mlops::Run run = client.start_run("e").value();
  ::usleep(static_cast<useconds_t>(1'000 * std::stoi(args[1])));
  std::exit(7);
}

TEST(SystemMetrics, ExitAtAnyMoment) {
  TempDir dir;
  for (int i = 0; i < 12; ++i) {
    ASSERT_EQ(run_program("system_and_exit", {dir / "root", std::to_string(i * 2)}), 7)
        << "exit after " << i * 2 << " ms";
  }
  for (const RunSummary& run : settled_runs(dir / "root")) EXPECT_EQ(run.status, RunStatus::finished);
}

}  // namespace
}  // namespace mlops::test
