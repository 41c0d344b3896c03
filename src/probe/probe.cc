#include "probe/probe.h"

#include "base/base.h"
#include "probe/gpus.h"
#include "probe/machine.h"
#include "probe/process.h"

namespace mlops::probe {

struct Probe::State {
  std::function<std::int64_t()> now_ms;
  Machine machine;
  Process process;
  Gpus* gpus;
};

Probe::Probe(Sources sources) {
  auto now_ms = sources.now_ms ? std::move(sources.now_ms) : std::function<std::int64_t()>(base::steady_ms);
  const std::int64_t now = now_ms();
  state_ = std::make_unique<State>(State{std::move(now_ms), Machine(sources.proc, sources.cgroup, sources.disk, now),
                                         Process(sources.proc, now), Gpus::load(sources.nvml)});
}

Probe::~Probe() = default;

void Probe::collect() {
  const std::int64_t now = state_->now_ms();
  state_->machine.collect(now, &samples_);
  if (state_->gpus != nullptr) state_->gpus->collect(&samples_);
  state_->process.collect(now, &samples_);
}

bool load_gpu_library(const std::string& nvml) { return Gpus::load(nvml) != nullptr; }

}  // namespace mlops::probe
