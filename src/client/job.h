// Job: what a launcher (torchrun, mpirun, srun) tells a process in its environment: which rank of how many it is, where
// on its machine, and which job.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/uid.h"

namespace mlops::client {

struct Job {
  std::string
      launcher{};  // "MLOPS_RANK", "torchrun", "Open MPI", "MVAPICH", "PMIx", "PMI", "RANK", "Slurm"; empty: none
  std::int64_t rank = -1;        // 0..; -1 no launcher
  std::int64_t ranks = 0;        // 0: not said
  std::int64_t local_rank = -1;  // among those on this machine; -1: not said
  bool many_machines = false;    // the launcher says so
  /// The same text for all ranks of one job, and for no other job; MLOPS_JOB, else the launcher's. Empty: nobody says.
  std::string key{};

  /// Samples what is of the machine, so that it comes once per machine.
  bool speaks_for_machine() const { return local_rank == 0 || (local_rank < 0 && rank <= 0); }
};

/// Launchers inside others come first: what torchrun says counts more than the srun it was started by.
Job read_job(const std::function<const char*(const char*)>& environment);
/// The run that all ranks of the job mean when they give it this experiment and name.
base::Uid job_run(const Job& job, const std::string& experiment, const std::string& name);

}  // namespace mlops::client
