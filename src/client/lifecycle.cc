#include "client/lifecycle.h"

#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "base/base.h"
#include "buffer/buffer.h"
#include "client/core.h"
#include "http/http.h"

namespace mlops::client {
namespace {

constexpr int kPauseMs = 2, kGraceMs = 2'000;

void before_fork() {
  Registry& r = registry();
  r.mutex.lock();
  for (Core* core : r.all_cores) {
    core->mutex.lock();
    if (core->pid == ::getpid() && core->drain != nullptr) core->drain->before_fork();
    core->engines_mutex.lock();
  }
}

void after_fork_in_parent() {
  Registry& r = registry();
  for (auto core = r.all_cores.rbegin(); core != r.all_cores.rend(); ++core) {
    (*core)->engines_mutex.unlock();
    if ((*core)->pid == ::getpid() && (*core)->drain != nullptr) (*core)->drain->after_fork_in_parent();
    (*core)->mutex.unlock();
  }
  r.mutex.unlock();
}

void after_fork_in_child() {
  Registry& r = registry();
  for (auto core = r.all_cores.rbegin(); core != r.all_cores.rend(); ++core) {
    Core& c = **core;
    // First fork: the parent's drain and engines become memory nobody touches. A grandchild's are that already.
    if (!c.in_child.load(std::memory_order_relaxed)) {
      if (c.drain != nullptr) c.drain->after_fork_in_child();
      for (auto& engine : c.engines) engine->after_fork_in_child();
    }
    if (c.writer != nullptr) c.writer->after_fork_in_child();
    c.in_child.store(true, std::memory_order_relaxed);
    c.engines_mutex.unlock();
    c.mutex.unlock();
  }
  r.mutex.unlock();
}

// Within the exit deadline of the one that is closed first, all together.
void close_roots() {
  Registry& r = registry();
  const std::int64_t start = base::steady_ms();
  for (;;) {
    Root* root = nullptr;
    {
      const std::lock_guard<std::mutex> lock(r.mutex);
      if (!r.roots.empty()) root = r.roots.back();
    }
    if (root == nullptr) return;
    // One bound for all roots together: what one used up, the next has not.
    const std::int64_t used = base::steady_ms() - start;
    const std::int64_t left = root->options.exit_deadline.count() - used;
    if (root->closed.load()) {  // another thread is closing it
      if (left <= 0) return;
      ::usleep(kPauseMs * 1'000);
      continue;
    }
    close_root(root, Millis(left > 0 ? left : 0)).ignore();
  }
}

void at_exit(int status, void*) {
  Registry& r = registry();
  if (r.pid != 0 && r.pid != ::getpid()) {
    // Runs this child itself started end with it; the parent's go on.
    std::vector<Core*> cores;
    {
      const std::lock_guard<std::mutex> lock(r.mutex);
      cores = r.all_cores;
    }
    for (Core* core : cores) core->end_runs(0, RunStatus::finished);
    std::fflush(nullptr);
    ::_exit(status);
  }
  close_roots();
  // A thread that did not end in time uses libraries whose statics die next: a moment more, then the process leaves at
  // once, without the exit handlers that are older than our guard.
  for (std::int64_t waited = 0; base::own_threads() != 0; waited += kPauseMs) {
    if (waited >= kGraceMs) {
      std::fflush(nullptr);
      ::_exit(status);
    }
    ::usleep(kPauseMs * 1'000);
  }
}

#if defined(__GLIBC__)
void guard_exit() { ::on_exit(at_exit, nullptr); }
#else
void guard_exit() {
  std::atexit([] { at_exit(0, nullptr); });  // a forked child's exit status is lost here: no on_exit
}
#endif

}  // namespace

void renew_exit_guard() { guard_exit(); }

void install_lifecycle() {
  static std::once_flag once;
  std::call_once(once, [] {
    buffer::prepare_library();
    registry().pid = ::getpid();
    ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    guard_exit();
  });
}

void install_delivery_lifecycle() {
  install_lifecycle();
  static std::once_flag once;
  std::call_once(once, [] {
    http::prepare_library();
    guard_exit();
  });
}

}  // namespace mlops::client
