// The clock word: milliseconds since the epoch from a thread of 1 kHz while some drain asks for it, else 0. Only the
// ticker writes it, but for the watchdog, which puts a stalled one to sleep so that time does not stand still.
#include "journal/clock.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

#include "base/base.h"
#include "journal/journal.h"

MLOPS_NAMESPACE_BEGIN
namespace detail {

alignas(64) std::atomic<std::int64_t> clock_word{0};

std::int64_t coarse_now_ms() noexcept {
  timespec t;
  ::clock_gettime(CLOCK_REALTIME_COARSE, &t);
  return static_cast<std::int64_t>(t.tv_sec) * 1000 + t.tv_nsec / 1'000'000;
}

}  // namespace detail
MLOPS_NAMESPACE_END

namespace mlops::journal {
namespace {

constexpr std::int64_t kStalledMs = 50;

alignas(64) std::atomic<std::int32_t> g_wanted{0};  // drains that ask for the ticker
std::atomic<bool> g_started{false};
thread_local bool t_asked = false;

void* tick(void*) {
  base::begin_own_thread("mlops-clock", true);
  for (;;) {
    if (g_wanted.load(std::memory_order_acquire) <= 0) {
      detail::clock_word.store(0, std::memory_order_relaxed);
      ::syscall(SYS_futex, reinterpret_cast<std::int32_t*>(&g_wanted), FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
      continue;
    }
    detail::clock_word.store(base::now_ms(), std::memory_order_relaxed);
    const timespec pause{0, 1'000'000};
    ::clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
  }
  return nullptr;
}

}  // namespace

void set_ticker(bool on) {
  if (on == t_asked) return;
  t_asked = on;
  if (!on) {
    g_wanted.fetch_sub(1, std::memory_order_release);
    return;
  }
  if (!g_started.exchange(true, std::memory_order_acq_rel)) {
    pthread_t thread;
    pthread_attr_t attr;
    ::pthread_attr_init(&attr);
    ::pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    const int error = ::pthread_create(&thread, &attr, tick, nullptr);
    ::pthread_attr_destroy(&attr);
    if (error != 0) {  // the coarse clock goes on serving
      g_started.store(false, std::memory_order_release);
      t_asked = false;
      return;
    }
  }
  g_wanted.fetch_add(1, std::memory_order_release);
  ::syscall(SYS_futex, reinterpret_cast<std::int32_t*>(&g_wanted), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

void check_ticker() {
  std::int64_t word = detail::clock_word.load(std::memory_order_relaxed);
  if (word == 0) return;
  const std::int64_t lag = base::now_ms() - word;
  if (lag > kStalledMs || lag < -kStalledMs) {
    detail::clock_word.compare_exchange_strong(word, 0, std::memory_order_relaxed);
  }
}

void forget_ticker() {
  g_wanted.store(0, std::memory_order_relaxed);
  g_started.store(false, std::memory_order_relaxed);
  t_asked = false;
  detail::clock_word.store(0, std::memory_order_relaxed);
}

}  // namespace mlops::journal
