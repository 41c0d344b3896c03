// Process: CPU, memory and disk traffic of this process, all its threads together. Names of our own: MLflow's monitor
// has no such metrics.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "probe/samples.h"

namespace mlops::probe {

class Process {
 public:
  Process(std::string proc, std::int64_t now_ms);
  void collect(std::int64_t now_ms, Samples* out);

 private:
  struct Traffic {
    std::uint64_t read = 0, written = 0;
  };
  std::optional<std::uint64_t> cpu_ticks() const;
  std::optional<Traffic> traffic() const;

  std::string self_;
  double ticks_per_ms_;
  std::optional<std::uint64_t> cpu_;
  std::int64_t cpu_ms_;
  std::optional<Traffic> traffic_;
};

}  // namespace mlops::probe
