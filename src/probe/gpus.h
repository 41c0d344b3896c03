// Gpus: NVIDIA's GPUs through NVML, which is loaded by name and may be missing. The only file that knows its functions.
#pragma once

#include <string>

#include "probe/samples.h"

namespace mlops::probe {

/// One per library, made on first use, never destroyed. Thread-safe.
class Gpus {
 public:
  /// Null when the library cannot be loaded. Asks no driver.
  static Gpus* load(const std::string& library);
  /// gpu_<i>_… of every GPU, in the order of NVML. The first call initialises the library, which may take seconds where
  /// no persistence daemon runs; when that fails there are no GPUs, now and later. A reading that fails is left out.
  void collect(Samples* out);

 private:
  struct Functions;
  explicit Gpus(Functions* functions) : f_(functions) {}
  Functions* f_;
};

}  // namespace mlops::probe
