// Shared: what the drain thread and everybody else tell each other. Outlives both: whoever leaves last frees it.
#pragma once

#include <semaphore.h>
#include <time.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "drain/drain.h"
#include "drain/facade.h"

namespace mlops::drain {

struct Shared {
  Shared() { ::sem_init(&bell, 0, 0); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  std::unique_ptr<Slot> slot;
  journal::Writer* writer = nullptr;
  DrainOptions options;
  const std::shared_ptr<Facade> facade = std::make_shared<Facade>();

  std::mutex mutex;
  std::condition_variable changed;  // of any answer

  // Asked for. Flushes are numbered; each asks for all before it too.
  std::uint64_t flushes = 0, durable_flushes = 0;
  bool closing = false;

  // Answered.
  std::uint64_t buffered_flush = 0, durable_flush = 0;  // newest that is done
  std::uint64_t failed_flush = 0;                       // newest that failed, with why
  Status failure;
  bool opened = false, recovered = false, settled = false, finished = false;
  Status end;  // of the last beat and of closing
  DrainStats stats;

  std::mutex callback_mutex;  // held during the call; before `mutex` where both are
  std::function<void()> on_beat;

  std::atomic<bool> forked{false};  // this process has children: look for their journals
  std::atomic<bool> rung{false};
  std::atomic<bool> polling{false};  // the thread wakes by itself every few milliseconds: producers need not ring

  void call_back() {
    const std::lock_guard lock(callback_mutex);
    if (on_beat) on_beat();
  }

  /// Wakes the thread. Never blocks; a system call only when the bell is not ringing already.
  void ring() {
    if (!rung.exchange(true, std::memory_order_acq_rel)) ::sem_post(&bell);
  }
  /// The thread's sleep.
  void sleep(std::int64_t milliseconds) {
    timespec until{};
    ::clock_gettime(CLOCK_MONOTONIC, &until);
    const std::int64_t ns = until.tv_nsec + milliseconds % 1000 * 1'000'000;
    until.tv_sec += static_cast<time_t>(milliseconds / 1000 + ns / 1'000'000'000);
    until.tv_nsec = static_cast<long>(ns % 1'000'000'000);
    while (::sem_clockwait(&bell, CLOCK_MONOTONIC, &until) != 0 && errno == EINTR) {
    }
    rung.store(false, std::memory_order_release);
  }

 private:
  sem_t bell;
};

}  // namespace mlops::drain
