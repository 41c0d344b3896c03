// Probe: what machine, process, cgroup and GPUs say of themselves, as numbers under the names that MLflow's own monitor
// gives them (docs/system-metrics.md). Reads files below two folders, one statvfs, and NVML when it is there.
//
// Where a cgroup limits the process, the machine is what the limit leaves of it: utilisation, used memory and their
// percentages are the cgroup's. What cannot be read is left out; nothing here fails or logs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "probe/samples.h"

namespace mlops::probe {

/// Where to read.
struct Sources {
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
  std::string disk = "/";                  // the file system whose space is reported: MLflow's choice
  std::string nvml{};                      // name or path of the library; empty: no GPUs
  std::function<std::int64_t()> now_ms{};  // empty: base::steady_ms
};

/// One watcher; one thread at a time. Differences (utilisation, network, disk of the process) are counted from its
/// making on.
class Probe {
 public:
  explicit Probe(Sources sources);
  ~Probe();
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;
  /// Takes one sample. May block as long as a GPU driver does.
  void collect();
  /// What the samples since the last call come to: means, rounded to a tenth as MLflow does; of totals (network, disk
  /// of the process) the newest, as they are.
  std::vector<Reading> take() { return samples_.take(); }

 private:
  struct State;
  std::unique_ptr<State> state_;
  Samples samples_;
};

/// Loads the GPU library, once per name and process, without asking it anything. True when it is there: it may have
/// registered handlers for exit then.
bool load_gpu_library(const std::string& nvml);

}  // namespace mlops::probe
