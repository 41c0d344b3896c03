// What launchers say, as they say it, and one run for all ranks of a job.
#include "client/job.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "client/support.h"

namespace mlops::client {
namespace {

using Variables = std::map<std::string, std::string>;

Job job_of(const Variables& variables) {
  return read_job([&variables](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

// As mpirun of Open MPI 4.1.4 sets them.
Variables open_mpi(int rank, int ranks, int local_rank, int local_ranks) {
  return {{"OMPI_COMM_WORLD_RANK", std::to_string(rank)},
          {"OMPI_COMM_WORLD_SIZE", std::to_string(ranks)},
          {"OMPI_COMM_WORLD_LOCAL_RANK", std::to_string(local_rank)},
          {"OMPI_COMM_WORLD_LOCAL_SIZE", std::to_string(local_ranks)},
          {"OMPI_MCA_orte_precondition_transports", "3138a7f9e6b39494-e3a3260fbef97a7f"},
          {"PMIX_RANK", std::to_string(rank)},
          {"PMIX_NAMESPACE", "882376705"}};
}

Variables slurm(int rank, int ranks, int local_rank, int nodes) {
  return {{"SLURM_JOB_ID", "4711"},
          {"SLURM_STEP_ID", "0"},
          {"SLURM_CLUSTER_NAME", "c"},
          {"SLURM_PROCID", std::to_string(rank)},
          {"SLURM_NTASKS", std::to_string(ranks)},
          {"SLURM_LOCALID", std::to_string(local_rank)},
          {"SLURM_NNODES", std::to_string(nodes)}};
}

TEST(Job, NoLauncher) {
  const Job job = job_of({{"RANK", "3"}, {"PATH", "/bin"}});  // a RANK without WORLD_SIZE is somebody's own variable
  EXPECT_EQ(job.rank, -1);
  EXPECT_TRUE(job.launcher.empty());
  EXPECT_TRUE(job.key.empty());
  EXPECT_TRUE(job.speaks_for_machine());
}

TEST(Job, OpenMpi) {
  const Job job = job_of(open_mpi(5, 8, 1, 4));
  EXPECT_EQ(job.launcher, "Open MPI");
  EXPECT_EQ(job.rank, 5);
  EXPECT_EQ(job.ranks, 8);
  EXPECT_EQ(job.local_rank, 1);
  EXPECT_TRUE(job.many_machines);
  EXPECT_FALSE(job.speaks_for_machine());
  EXPECT_EQ(job.key, "ompi/3138a7f9e6b39494-e3a3260fbef97a7f");
  EXPECT_FALSE(job_of(open_mpi(0, 8, 0, 8)).many_machines);
  EXPECT_TRUE(job_of(open_mpi(4, 8, 0, 4)).speaks_for_machine());
}

TEST(Job, Slurm) {
  const Job job = job_of(slurm(2, 4, 0, 2));
  EXPECT_EQ(job.launcher, "Slurm");
  EXPECT_EQ(job.rank, 2);
  EXPECT_EQ(job.ranks, 4);
  EXPECT_TRUE(job.many_machines);
  EXPECT_EQ(job.key, "slurm/c/4711/0");
}

// The inner launcher counts: srun's variables are inherited by the daemons of mpirun and by torchrun.
TEST(Job, LaunchersInsideOthers) {
  Variables both = slurm(0, 2, 0, 2);
  for (const auto& [name, value] : open_mpi(3, 4, 1, 2)) both[name] = value;
  Job job = job_of(both);
  EXPECT_EQ(job.launcher, "Open MPI");
  EXPECT_EQ(job.rank, 3);
  EXPECT_EQ(job.key, "ompi/3138a7f9e6b39494-e3a3260fbef97a7f");

  Variables torch = slurm(1, 2, 0, 2);
  torch.insert({{"RANK", "5"},
                {"WORLD_SIZE", "8"},
                {"LOCAL_RANK", "1"},
                {"LOCAL_WORLD_SIZE", "4"},
                {"TORCHELASTIC_RUN_ID", "none"}});
  job = job_of(torch);
  EXPECT_EQ(job.launcher, "torchrun");
  EXPECT_EQ(job.rank, 5);
  EXPECT_EQ(job.ranks, 8);
  EXPECT_TRUE(job.many_machines);
  EXPECT_EQ(job.key, "slurm/c/4711/0");  // torchrun's default name is the same for every job
  torch["TORCHELASTIC_RUN_ID"] = "7f3a";
  EXPECT_EQ(job_of(torch).key, "torchrun/7f3a");

  Variables pmix = slurm(3, 4, 1, 2);
  pmix.insert({{"PMIX_RANK", "3"}, {"PMIX_NAMESPACE", "slurm.pmix.4711.0"}, {"SLURM_STEP_NUM_TASKS", "4"}});
  job = job_of(pmix);
  EXPECT_EQ(job.launcher, "PMIx");
  EXPECT_EQ(job.rank, 3);
  EXPECT_EQ(job.ranks, 4);
}

TEST(Job, OthersAndWhatIsGiven) {
  Job job = job_of({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "2"}});
  EXPECT_EQ(job.launcher, "PMI");
  EXPECT_EQ(job.rank, 1);
  EXPECT_TRUE(job.key.empty());  // Hydra says no name
  job = job_of({{"MV2_COMM_WORLD_RANK", "1"}, {"MV2_COMM_WORLD_SIZE", "2"}, {"MLOPS_JOB", "x"}});
  EXPECT_EQ(job.launcher, "MVAPICH");
  EXPECT_EQ(job.key, "given/x");
  job = job_of({{"RANK", "1"}, {"WORLD_SIZE", "2"}});
  EXPECT_EQ(job.launcher, "RANK");
  EXPECT_TRUE(job.key.empty());
  Variables own = open_mpi(5, 8, 1, 4);
  own.insert({{"MLOPS_RANK", "2"}, {"MLOPS_RANKS", "3"}, {"MLOPS_JOB", "mine"}});
  job = job_of(own);
  EXPECT_EQ(job.rank, 2);
  EXPECT_EQ(job.ranks, 3);
  EXPECT_EQ(job.key, "given/mine");
  EXPECT_EQ(job_of({{"SLURM_PROCID", "x"}, {"SLURM_JOB_ID", "1"}}).rank, -1);
}

TEST(Job, OneRunPerJobExperimentAndName) {
  Job a, b;
  a.key = "slurm/c/1/0";
  b.key = "slurm/c/1/1";
  EXPECT_EQ(job_run(a, "e", "n"), job_run(a, "e", "n"));
  EXPECT_NE(job_run(a, "e", "n"), job_run(b, "e", "n"));
  EXPECT_NE(job_run(a, "e", "n"), job_run(a, "f", "n"));
  EXPECT_NE(job_run(a, "ab", "c"), job_run(a, "a", "bc"));
  EXPECT_FALSE(job_run(a, "", "").zero());
}

}  // namespace
}  // namespace mlops::client

namespace mlops::test {
namespace {

// args: root, rank, then what it does: "log" and ends, "kill" after a flush, "die" at once after the start.
MLOPS_PROGRAM(rank_of_job) {
  ::setenv("MLOPS_JOB", "test", 1);
  ::setenv("MLOPS_RUN", "job", 1);
  ::setenv("MLOPS_RANK", args[1].c_str(), 1);
  ::setenv("MLOPS_RANKS", "2", 1);
  ::setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true", 1);
  ::setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05", 1);
  Client client = Client::open(offline(args[0])).value();
  Result<mlops::Run> run = client.start_run("e", {.name = "together"});
  if (!run.ok()) return 1;
  if (!run->log_metric("rank" + args[1], 1.0, ::getpid()).ok()) return 2;
  if (args[2] == "die") ::kill(::getpid(), SIGKILL);
  if (args[2] == "kill") {
    client.flush(Level::durable).ignore();
    ::kill(::getpid(), SIGKILL);
  }
  ::usleep(120'000);
  return 0;
}

RunSummary only_run(const std::string& root) {
  const std::vector<RunSummary> runs = settled_runs(root);
  EXPECT_EQ(runs.size(), 1u);
  return runs.empty() ? RunSummary{} : runs[0];
}

std::string tag(const RunSummary& run, const std::string& key) {
  for (const auto& [k, v] : run.tags) {
    if (k == key) return v;
  }
  return "<none>";
}

TEST(PerJob, RanksShareARunAndTheFirstEndsIt) {
  TempDir dir;
  const int second = spawn("rank_of_job", {dir / "root", "1", "log"});  // may well come first
  const int first = spawn("rank_of_job", {dir / "root", "0", "log"});
  EXPECT_EQ(wait_for(first), 0);
  EXPECT_EQ(wait_for(second), 0);
  const RunSummary run = only_run(dir / "root");
  EXPECT_EQ(run.status, RunStatus::finished);
  EXPECT_EQ(run.name, "together");
  EXPECT_EQ(tag(run, "mlops.ranks"), "2");
  const std::string host = std::filesystem::directory_iterator(dir / "root")->path().filename();
  EXPECT_EQ(tag(run, "mlops.rank.0"), host + "/" + std::to_string(first));
  EXPECT_EQ(tag(run, "mlops.rank.1"), host + "/" + std::to_string(second));
  std::uint64_t ranks = 0, samples = 0;
  for (const MetricSummary& metric : run.metrics) {
    if (metric.name == "rank0" || metric.name == "rank1") ranks += metric.count;
    if (metric.name == "system/disk_usage_percentage") samples = metric.count;
  }
  EXPECT_EQ(ranks, 2u);
  EXPECT_GE(samples, 1u);
  const Series disk = Reader::open(dir / "root")->series(run.id, "system/disk_usage_percentage").value();
  for (std::size_t i = 0; i < disk.step.size(); ++i) {
    EXPECT_EQ(disk.step[i], static_cast<std::int64_t>(i)) << "more than one process samples this machine";
  }
}

// Rank 0 finds its run again, whether or not a beat told anybody of it, and whoever started meanwhile.
TEST(PerJob, RanksThatDieAndComeBack) {
  for (const char* death : {"kill", "die"}) {
    TempDir dir;
    EXPECT_EQ(run_program("rank_of_job", {dir / "root", "0", death}), 1000 + SIGKILL);
    EXPECT_EQ(run_program("rank_of_job", {dir / "root", "1", death}), 1000 + SIGKILL);
    EXPECT_EQ(run_program("rank_of_job", {dir / "root", "1", "log"}), 0);  // leaves the slot of rank 0 alone
    EXPECT_EQ(run_program("rank_of_job", {dir / "root", "0", "log"}), 0);
    const RunSummary run = only_run(dir / "root");
    EXPECT_EQ(run.status, RunStatus::finished);
    std::uint64_t points = 0;
    for (const MetricSummary& metric : run.metrics) {
      if (metric.name.substr(0, 4) == "rank") points += metric.count;
    }
    EXPECT_EQ(points, 4u);
    int slots = 0;
    for ([[maybe_unused]] const auto& slot :
         std::filesystem::directory_iterator(std::filesystem::directory_iterator(dir / "root")->path())) {
      ++slots;
    }
    EXPECT_EQ(slots, 2);
  }
}

// args: root. Not asked for, a job changes nothing but a tag; asked for without one, it is an ordinary run.
MLOPS_PROGRAM(jobs_apart) {
  ::setenv("MLOPS_RUN", "job", 1);
  Client alone = Client::open(offline(args[0])).value();
  const std::string a = alone.start_run("e").value().id();
  const std::string b = alone.start_run("e", {.per_job = true}).value().id();
  if (a == b) return 1;
  ::unsetenv("MLOPS_RUN");
  ::setenv("OMPI_COMM_WORLD_RANK", "1", 1);
  ::setenv("OMPI_COMM_WORLD_SIZE", "4", 1);
  Client client = Client::open(offline(args[0])).value();
  if (!client.start_run("e", {.name = "my own"}).ok()) return 2;
  const Status nameless = client.start_run("e", {.per_job = true}).status();
  if (nameless.code() != StatusCode::failed_precondition) return 3;
  if (nameless.message().find("set MLOPS_JOB") == std::string_view::npos) return 4;
  if (client.start_run("e", {.resume_name = "n", .per_job = true}).status().code() != StatusCode::invalid_argument) {
    return 5;
  }
  return 0;
}

TEST(PerJob, OnlyWhenAskedFor) {
  TempDir dir;
  ASSERT_EQ(run_program("jobs_apart", {dir / "root"}), 0);
  const std::vector<RunSummary> runs = settled_runs(dir / "root");
  EXPECT_EQ(runs.size(), 3u);
  for (const RunSummary& run : runs) {
    EXPECT_EQ(tag(run, "mlops.rank"), run.name == "my own" ? "1" : "<none>");
    EXPECT_EQ(tag(run, "mlops.rank.1"), "<none>");
  }
}

}  // namespace
}  // namespace mlops::test
