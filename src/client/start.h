// Start: how a run begins here. New, resumed by id or by name, attached.
#pragma once

#include <memory>
#include <string>

#include "client/core.h"

namespace mlops::client {

/// One Client::open. Shared by the copies of the Client and its Experiments.
struct Session {
  Root* root = nullptr;
  std::uint64_t number = 0;
  std::string uri;
  Credentials credentials;
  Environment environment;
  SystemMetrics system_metrics;
  std::atomic<bool> closed{false};
  std::atomic<bool> env_run_taken{false};  // MLFLOW_RUN_ID and MLOPS_RUN serve the first run that names none
  ~Session();                              // gives up its share of the root, closes nothing

  Status check_open() const;
};

/// A run's row in a core's own database, after everything a dead process left there was collected.
Result<model::RunRow> local_row(Core* core, const Uid& uid);

Result<std::shared_ptr<RunState>> start_run(Session* session, const std::string& experiment, RunOptions options);

}  // namespace mlops::client
