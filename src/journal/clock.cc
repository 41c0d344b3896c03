// The clock word: milliseconds since the epoch from a thread of 1 kHz while some drain asks for it, else 0. Only the
// ticker writes it, but for the watchdog, which puts a stalled one to sleep so that time does not stand still.
#include "journal/clock.h"

#include <dlfcn.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

#include "base/base.h"
#include "journal/journal.h"

namespace mlops::journal {
namespace {

using Gettime = int (*)(clockid_t, timespec*);

void* symbol_of(const char* library, const char* name) {
  void* handle = ::dlopen(library, RTLD_NOW | RTLD_NOLOAD);
  return handle == nullptr ? nullptr : ::dlsym(handle, name);
}

// libc's wrapper is one more page of cold code to a thread that logs slowly. The kernel's function has a name for each
// architecture (vdso(7)); libc's serves where there is none, and one that stands in for it (a clock for tests, a
// sanitizer) is respected.
Gettime find_gettime() {
#if defined(__x86_64__)
  constexpr const char* kName = "__vdso_clock_gettime";
#else
  constexpr const char* kName = "__kernel_clock_gettime";
#endif
  void* found = symbol_of("linux-vdso.so.1", kName);
  if (::dlsym(RTLD_DEFAULT, "clock_gettime") != symbol_of("libc.so.6", "clock_gettime")) found = nullptr;
  return found == nullptr ? &::clock_gettime : reinterpret_cast<Gettime>(found);
}

}  // namespace
}  // namespace mlops::journal

MLOPS_NAMESPACE_BEGIN
namespace detail {

constinit Clock the_clock{0, &::clock_gettime};  // libc's: for who logs before this library's own constructors have run
[[maybe_unused]] static const bool found = (the_clock.gettime = journal::find_gettime(), true);

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
      detail::the_clock.word.store(0, std::memory_order_relaxed);
      ::syscall(SYS_futex, reinterpret_cast<std::int32_t*>(&g_wanted), FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
      continue;
    }
    detail::the_clock.word.store(base::now_ms(), std::memory_order_relaxed);
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
  std::int64_t word = detail::the_clock.word.load(std::memory_order_relaxed);
  if (word == 0) return;
  const std::int64_t lag = base::now_ms() - word;
  if (lag > kStalledMs || lag < -kStalledMs) {
    detail::the_clock.word.compare_exchange_strong(word, 0, std::memory_order_relaxed);
  }
}

void forget_ticker() {
  g_wanted.store(0, std::memory_order_relaxed);
  g_started.store(false, std::memory_order_relaxed);
  t_asked = false;
  detail::the_clock.word.store(0, std::memory_order_relaxed);
}

}  // namespace mlops::journal
