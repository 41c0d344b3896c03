// System metrics: what the probe reads, logged to the runs that ask for it, through the journal like any point.
//
// One thread for all runs of the process, there while a run wants it, never in a forked child. It takes Core::mutex for
// each point, like a metric by name, and holds no lock of its own meanwhile. A run that ends stops being sampled at
// once; samples that were not logged yet are dropped, as MLflow's monitor does.
#pragma once

#include <memory>
#include <string>

#include "client/core.h"

namespace mlops::client {

/// Until the run ends here. `nvml`: the GPU library; empty: NVIDIA's. Nothing happens in a forked child, and for a run
/// of this process that is sampled already.
void log_system_metrics(const std::shared_ptr<RunState>& run, const SystemMetrics& options, const std::string& nvml);
/// Called when a run ends; waits for nothing.
void stop_system_metrics(const RunState* run);

}  // namespace mlops::client
