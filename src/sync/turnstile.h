// Turnstile: the most requests a process has under way to one server, over the engines of all its slots. A server takes
// so many at once as its database has connections (MLflow's pool: 15 a worker) and fails what waits longer.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>

namespace mlops::sync {

/// Thread-safe.
class Turnstile {
 public:
  explicit Turnstile(int places) : free_(places) {}

  /// Waits for a place; false, and none taken, once `going` (empty: always) says no: it is asked 20 times a second.
  bool enter(const std::function<bool()>& going) {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      lock.unlock();
      if (going && !going()) return false;
      lock.lock();
      if (free_ > 0) break;
      left_.wait_for(lock, std::chrono::milliseconds(50), [this] { return free_ > 0; });
    }
    --free_;
    return true;
  }
  void leave() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ++free_;
    }
    left_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable left_;
  int free_;
};

/// A place while it lives.
class Pass {
 public:
  /// No turnstile: `going` alone decides.
  Pass(Turnstile* turnstile, const std::function<bool()>& going) : turnstile_(turnstile) {
    given_ = turnstile_ != nullptr ? turnstile_->enter(going) : !going || going();
  }
  ~Pass() {
    if (given_ && turnstile_ != nullptr) turnstile_->leave();
  }
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;
  bool given() const { return given_; }

 private:
  Turnstile* turnstile_;
  bool given_ = false;
};

}  // namespace mlops::sync
