// Facts of this process and host, our threads, and the fault points of the crash tests.
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "base/base.h"
#include "base/file.h"

namespace mlops::base {

std::string host_name() {
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "localhost";
  return name;
}

std::string boot_id() {
  auto text = read_file("/proc/sys/kernel/random/boot_id", 256);
  if (!text.ok()) return {};
  while (!text->empty() && (text->back() == '\n' || text->back() == ' ')) text->pop_back();
  return *text;
}

namespace {

std::atomic<int> g_own_threads{0};

struct Counted {
  Counted() { g_own_threads.fetch_add(1); }
  ~Counted() { g_own_threads.fetch_sub(1); }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
};

}  // namespace

int own_threads() { return g_own_threads.load(); }

void begin_own_thread(const char* name, bool harmless) {
  if (!harmless) {
    static thread_local const Counted until_the_thread_ends;
  }
  char cut[16] = {};
  std::strncpy(cut, name, sizeof cut - 1);
  ::pthread_setname_np(::pthread_self(), cut);
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

#if defined(MLOPS_FAULTS)
namespace {

// Async-signal-like discipline: no lock and no allocation, so that points work in forked children too.
struct Faults {
  char kill_name[128] = {};
  long kill_count = 0;  // 0: no kill wanted
  const char* points_file = nullptr;
  std::atomic<long> passes{0};
  std::atomic<const char*> known[512] = {};

  Faults() {
    if (const char* at = std::getenv("MLOPS_KILL_AT"); at != nullptr && *at != '\0') {
      const char* colon = std::strrchr(at, ':');
      const std::size_t size = colon != nullptr ? static_cast<std::size_t>(colon - at) : std::strlen(at);
      if (size < sizeof kill_name) {
        std::memcpy(kill_name, at, size);
        kill_count = colon != nullptr ? std::strtol(colon + 1, nullptr, 10) : 1;
      }
    }
    if (const char* path = std::getenv("MLOPS_POINTS_FILE"); path != nullptr && *path != '\0')
      points_file = ::strdup(path);
  }

  // True for the first pass of `name` in this process.
  bool first_pass(const char* name) {
    for (auto& slot : known) {
      const char* there = slot.load(std::memory_order_acquire);
      if (there == nullptr && slot.compare_exchange_strong(there, name, std::memory_order_acq_rel)) return true;
      if (std::strcmp(there, name) == 0) return false;
    }
    return false;
  }
};

}  // namespace

void fault_point(const char* name) {
  static Faults* const faults = new Faults();
  if (faults->points_file != nullptr && faults->first_pass(name)) {
    const int fd = ::open(faults->points_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
      char newline = '\n';
      const iovec line[] = {{const_cast<char*>(name), std::strlen(name)}, {&newline, 1}};
      [[maybe_unused]] const ssize_t n = ::writev(fd, line, 2);
      ::close(fd);
    }
  }
  if (faults->kill_count > 0 && std::strcmp(name, faults->kill_name) == 0 &&
      faults->passes.fetch_add(1, std::memory_order_relaxed) + 1 == faults->kill_count) {
    ::kill(::getpid(), SIGKILL);
    for (;;) ::pause();  // the signal arrives
  }
}
#else
void fault_point(const char*) {}
#endif

}  // namespace mlops::base
