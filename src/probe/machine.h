// Machine: CPU, memory, disk space and network of the machine, or of what the process's cgroup leaves of it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "probe/cgroup.h"
#include "probe/samples.h"

namespace mlops::probe {

class Machine {
 public:
  Machine(std::string proc, const std::string& cgroup, std::string disk, std::int64_t now_ms);
  void collect(std::int64_t now_ms, Samples* out);

 private:
  using CpuTimes = std::array<std::uint64_t, 8>;  // user nice system idle iowait irq softirq steal
  struct Network {
    std::uint64_t received = 0, sent = 0;
  };
  void collect_cpu(std::int64_t now_ms, Samples* out);
  void collect_memory(Samples* out) const;
  void collect_disk(Samples* out) const;
  void collect_network(Samples* out) const;
  std::optional<CpuTimes> cpu_times() const;
  std::optional<Network> network() const;

  std::string proc_, disk_;
  Cgroup cgroup_;
  std::optional<CpuTimes> cpu_;
  std::optional<Cgroup::Cpu> group_cpu_;
  std::int64_t group_cpu_ms_ = 0;
  std::optional<Network> network_;
};

}  // namespace mlops::probe
