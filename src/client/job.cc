#include "client/job.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/base.h"

namespace mlops::client {
namespace {

class Reader {
 public:
  explicit Reader(const std::function<const char*(const char*)>& environment) : environment_(environment) {}

  std::string text(const char* name) const {
    const char* value = environment_(name);
    return value == nullptr ? std::string() : std::string(value);
  }
  /// -1 when it is unset or no number.
  std::int64_t number(const char* name) const {
    const std::string value = text(name);
    std::int64_t out = -1;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
    return error == std::errc() && end == value.data() + value.size() && out >= 0 ? out : -1;
  }

 private:
  const std::function<const char*(const char*)>& environment_;
};

struct Launcher {
  const char* name;
  const char *rank, *ranks;              // what makes it this one: the rank is set
  const char *local_rank, *local_ranks;  // null: not said
  const char* sign;                      // must be set too; null: nothing
};

// Rank, ranks and so on without a launcher's own mark (RANK) are an agreement of many frameworks; srun's are inherited
// by whatever a batch script starts, and by the daemons of mpirun, so they come last.
constexpr Launcher kLaunchers[] = {
    {"MLOPS_RANK", "MLOPS_RANK", "MLOPS_RANKS", "MLOPS_LOCAL_RANK", nullptr, nullptr},
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID"},
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE", nullptr},
    {"MVAPICH", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_SIZE",
     nullptr},
    {"PMI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", nullptr},
    {"RANK", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE"},
    {"PMIx", "PMIX_RANK", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", nullptr, nullptr},
    {"Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", nullptr, nullptr},
};

/// A Slurm job is named by cluster, job and step; one that was queued again keeps its name.
std::string slurm_key(const Reader& env) {
  const std::string job = env.text("SLURM_JOB_ID");
  if (job.empty()) return {};
  return "slurm/" + env.text("SLURM_CLUSTER_NAME") + "/" + job + "/" + env.text("SLURM_STEP_ID");
}

std::string key_of(const Reader& env, std::string_view launcher) {
  if (std::string given = env.text("MLOPS_JOB"); !given.empty()) return "given/" + given;
  if (launcher == "torchrun") {  // its own default is the word "none", for every job
    const std::string id = env.text("TORCHELASTIC_RUN_ID");
    if (id != "none") return "torchrun/" + id;
  }
  if (launcher == "Open MPI") {
    // Random, one per mpirun. Its name space is made of the process id of mpirun, which comes again.
    const std::string id = env.text("OMPI_MCA_orte_precondition_transports");
    return id.empty() ? std::string() : "ompi/" + id;
  }
  return slurm_key(env);
}

}  // namespace

Job read_job(const std::function<const char*(const char*)>& environment) {
  const Reader env(environment);
  Job job;
  for (const Launcher& launcher : kLaunchers) {
    if (launcher.sign != nullptr && env.text(launcher.sign).empty()) continue;
    job.rank = env.number(launcher.rank);
    if (job.rank < 0) continue;
    job.launcher = launcher.name;
    job.ranks = std::max<std::int64_t>(0, env.number(launcher.ranks));
    if (launcher.local_rank != nullptr) job.local_rank = env.number(launcher.local_rank);
    const std::int64_t here = launcher.local_ranks == nullptr ? -1 : env.number(launcher.local_ranks);
    if (here >= 0) {
      job.many_machines = job.ranks > here;
    } else if (job.launcher == "Slurm" || job.launcher == "PMIx") {
      job.many_machines = std::max(env.number("SLURM_STEP_NUM_NODES"), env.number("SLURM_NNODES")) > 1;
    }
    break;
  }
  job.key = key_of(env, job.launcher);
  return job;
}

base::Uid job_run(const Job& job, const std::string& experiment, const std::string& name) {
  base::Uid uid;
  // Lengths, so that no two triples are one text.
  const std::string text =
      std::to_string(job.key.size()) + " " + job.key + std::to_string(experiment.size()) + " " + experiment + name;
  base::Uid::parse(base::sha256_hex(text).substr(0, 32), &uid);
  return uid;
}

}  // namespace mlops::client
