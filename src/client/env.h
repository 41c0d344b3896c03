// Environment: what the SDK takes from the process environment, read once per Client::open, Reader::open and deliver.
// The only reader of it in the library, but for the log level and the fault points of base.
//
// Precedence everywhere: what the code set, then the environment, then the default of mlops/options.h.
#pragma once

#include <string>

#include "base/place.h"
#include "client/job.h"
#include "mlops/options.h"
#include "mlops/status.h"

namespace mlops::client {

struct Environment {
  std::string home;  // MLOPS_HOME, or the folder of an mlops: URI
  const char* home_from = "MLOPS_HOME";
  std::string host;              // MLOPS_HOST
  std::string attach_run;        // MLOPS_RUN: a run's id, or "job"
  std::string deliver;           // MLOPS_DELIVER: 0, false, no, off
  std::string journal_mib;       // MLOPS_JOURNAL_MIB
  std::string spool_mib;         // MLOPS_SPOOL_MIB
  std::string exit_deadline_ms;  // MLOPS_EXIT_DEADLINE_MS
  std::string journal;           // MLOPS_JOURNAL: a folder of this node for journals
  std::string network_fs;        // MLOPS_NETWORK_FS: 1 the root is on a network file system, 0 it is not
  std::string lease_ms;          // MLOPS_LEASE_MS
  std::string tmpdir;            // TMPDIR
  std::string tracking_uri;      // MLFLOW_TRACKING_URI, without the plug-in's "mlops+"; empty for an mlops: URI
  std::string experiment;        // MLFLOW_EXPERIMENT_NAME
  std::string run_id;            // MLFLOW_RUN_ID
  std::string run_name;          // MLFLOW_RUN_NAME
  std::string system_metrics;    // MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING: true, 1, false, 0
  std::string system_interval;   // MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL, seconds
  std::string system_samples;    // MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING
  std::string system_node_id;    // MLFLOW_SYSTEM_METRICS_NODE_ID
  std::string nvml;              // MLOPS_NVML: the library instead of libnvidia-ml.so.1
  Job job;                       // of the launcher: RANK, OMPI_COMM_WORLD_RANK, SLURM_PROCID, …; MLOPS_JOB
};

Environment read_environment();
/// One variable, for rooms that must not know the environment; nullptr when unset.
const char* environment_variable(const char* name);
/// Fills what the code left empty (credentials too) and checks every field; invalid_argument names field and range.
/// `root` comes back absolute.
Result<Options> complete_options(Options given, const Environment& environment);
/// Credentials alone, for deliver and verify.
Credentials credentials_from_environment(Credentials given);
/// The root: given, else MLOPS_HOME, else `.mlops` found upwards from the current folder, else ./.mlops. Absolute,
/// links of the existing part resolved, so that two spellings of one folder are one root.
Result<std::string> resolve_root(const std::string& given, const Environment& environment);
/// Where journals of this root go, and whether other nodes may reach it: by MLOPS_NETWORK_FS, the mark in the root, and
/// its file system. Sets base::lease_silence.
Result<base::Placing> place_root(const std::string& root, const Environment& environment);
/// As given, else from the environment; the name of a destination that `root` knows stands for its URI; checked and
/// normalised; empty when there is none.
Result<std::string> resolve_uri(const std::string& given, const Environment& environment, const std::string& root);

}  // namespace mlops::client
