// Shared: what the drain thread and everybody else tell each other. Outlives both: whoever leaves last frees it.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "drain/drain.h"
#include "drain/facade.h"

namespace mlops::drain {

struct Shared {
  Shared() = default;
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

  std::atomic<bool> forked{false};    // this process has children: look for their journals
  std::atomic<std::int32_t> rung{0};  // the bell: a futex
  std::atomic<bool> polling{false};   // the thread wakes by itself every few milliseconds: producers need not ring

  void call_back() {
    const std::lock_guard lock(callback_mutex);
    if (on_beat) on_beat();
  }

  /// Wakes the thread. Never blocks; a system call only when the bell is not ringing already.
  void ring() {
    if (rung.exchange(1, std::memory_order_acq_rel) == 0)
      ::syscall(SYS_futex, reinterpret_cast<std::int32_t*>(&rung), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
  /// The thread's sleep, by the clock that is never set. glibc's semaphores wait by that only since 2.30.
  void sleep(std::int64_t milliseconds) {
    const std::int64_t until = now_ns() + milliseconds * 1'000'000;
    while (rung.load(std::memory_order_acquire) == 0) {
      const std::int64_t left = until - now_ns();
      if (left <= 0) break;
      const timespec most{static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
      ::syscall(SYS_futex, reinterpret_cast<std::int32_t*>(&rung), FUTEX_WAIT_PRIVATE, 0, &most, nullptr, 0);
    }
    rung.exchange(0, std::memory_order_acq_rel);
  }

 private:
  static std::int64_t now_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  }
};

}  // namespace mlops::drain
