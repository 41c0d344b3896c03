// Cgroup: the tightest limits on CPU and memory that hold for this process, of version 2 or 1, its own group's or those
// of a group above it, and what is used of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace mlops::probe {

class Cgroup {
 public:
  /// Finds the groups with the limits; a limit that is not below the machine's own is none.
  Cgroup(const std::string& proc, const std::string& root, double machine_cores, std::uint64_t machine_bytes);

  struct Cpu {
    double cores = 0;            // how many of them the group may keep busy
    std::uint64_t usage_us = 0;  // CPU time of the group, ever
  };
  struct Memory {
    std::uint64_t limit = 0;
    std::uint64_t used = 0;  // without the page cache that the kernel would give back first (inactive_file)
  };
  std::optional<Cpu> cpu() const;        // nothing: no limit
  std::optional<Memory> memory() const;  // the same

 private:
  std::optional<double> cores(const std::string& group) const;
  std::optional<std::uint64_t> bytes(const std::string& group) const;

  double machine_cores_;
  std::uint64_t machine_bytes_;
  bool cpu_v2_ = true, memory_v2_ = true;
  // Folders; empty when nothing is limited.
  std::string cpu_, cpu_account_, memory_;
};

}  // namespace mlops::probe
