#include "client/system_metrics.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <system_error>

#include "base/base.h"
#include "client/lifecycle.h"
#include "client/steps.h"
#include "probe/probe.h"

namespace mlops::client {
namespace {

constexpr const char* kNvml = "libnvidia-ml.so.1";

/// One run that is sampled. Only the sampler's thread uses it, but for `run`.
struct Watch {
  std::shared_ptr<RunState> run;
  SystemMetrics options;
  std::string nvml;
  std::int64_t due_ms = 0;  // steady; the first time is at once, and only makes the probe
  std::unique_ptr<probe::Probe> probe;
  std::uint32_t samples = 0;
  std::int64_t step = 0;

  std::string prefix() const { return "system/" + (options.node_id.empty() ? "" : options.node_id + "/"); }
  void begin();
  void sample();
  bool log(const std::string& name, double value, std::int64_t time_ms) const;
};

void Watch::begin() {
  probe::Sources sources;
  sources.nvml = nvml;
  probe = std::make_unique<probe::Probe>(std::move(sources));
  if (run->role == Role::owner && run->fresh) return;
  step =
      next_step(*run, [prefix = prefix()](std::string_view name) { return name.substr(0, prefix.size()) == prefix; });
}

void Watch::sample() {
  probe->collect();
  static std::once_flag asked;  // the GPU library has now done what it does when it is first asked
  std::call_once(asked, renew_exit_guard);
  if (++samples < options.samples_before_logging) return;
  samples = 0;
  const std::int64_t now = base::now_ms();
  for (const probe::Reading& reading : probe->take()) {
    if (!log(prefix() + reading.name, reading.value, now)) break;
  }
  ++step;
}

// The lock keeps the run open: nothing of ours is counted as dropped for an end that came in between.
bool Watch::log(const std::string& name, double value, std::int64_t time_ms) const {
  const std::lock_guard<std::mutex> lock(run->core->mutex);
  if (run->ended) return false;
  Result<std::uint32_t> key = run->core->writer->key(run->uid, name);
  if (!key.ok() || *key == 0) return false;  // a full journal: the next sample
  detail::log_point({run->gate, run->generation, *key}, value, step, time_ms);
  return true;
}

class Sampler {
 public:
  void add(std::shared_ptr<Watch> watch) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& other : watches_) {
      if (other->run->core == watch->run->core && other->run->uid == watch->run->uid) return;
    }
    watch->due_ms = base::steady_ms();
    watches_.push_back(std::move(watch));
    changed_.notify_all();
    if (running_) return;
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);  // no signal of the host is ever handled on our thread
    try {
      std::thread([this] { main(); }).detach();  // exit waits for it by base::own_threads
      running_ = true;
    } catch (const std::system_error& e) {
      watches_.clear();
      base::log(base::LogLevel::warn, std::string("no thread for system metrics: ") + e.what());
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void remove(const RunState* run) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto ended = [run](const std::shared_ptr<Watch>& watch) { return watch->run.get() == run; };
    const auto from = std::remove_if(watches_.begin(), watches_.end(), ended);
    if (from == watches_.end()) return;
    watches_.erase(from, watches_.end());
    changed_.notify_all();
  }

 private:
  void main() {
    base::begin_own_thread("mlops-system");
    std::unique_lock<std::mutex> lock(mutex_);
    while (!watches_.empty()) {
      const auto next = std::min_element(watches_.begin(), watches_.end(),
                                         [](const auto& a, const auto& b) { return a->due_ms < b->due_ms; });
      const std::int64_t wait = (*next)->due_ms - base::steady_ms();
      if (wait > 0) {
        changed_.wait_for(lock, std::chrono::milliseconds(wait));
        continue;
      }
      // A share of it: it may be removed meanwhile. NOLINTNEXTLINE(performance-unnecessary-copy-initialization)
      const std::shared_ptr<Watch> watch = *next;
      const std::int64_t interval = watch->options.interval.count();
      watch->due_ms += (1 - wait / interval) * interval;  // a machine that slept skips what it missed
      lock.unlock();
      if (watch->probe == nullptr) {
        watch->begin();
      } else {
        watch->sample();
      }
      lock.lock();
    }
    running_ = false;
  }

  std::mutex mutex_;  // a leaf: nothing is called under it
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Watch>> watches_;
  bool running_ = false;
};

Sampler& sampler() {
  static auto* const one = new Sampler;  // never destroyed: its thread may outlive main
  return *one;
}

}  // namespace

void log_system_metrics(const std::shared_ptr<RunState>& run, const SystemMetrics& options, const std::string& nvml) {
  if (registry().forked()) return;
  auto watch = std::make_shared<Watch>();
  watch->run = run;
  watch->options = options;
  watch->nvml = nvml.empty() ? kNvml : nvml;
  // Here and not on the thread: what the library registers for exit must come before the guard.
  if (probe::load_gpu_library(watch->nvml)) {
    static std::once_flag loaded;
    std::call_once(loaded, renew_exit_guard);
  }
  sampler().add(std::move(watch));
}

void stop_system_metrics(const RunState* run) {
  if (!registry().forked()) sampler().remove(run);
}

}  // namespace mlops::client
