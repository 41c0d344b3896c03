// Patience: tries go on, further and further apart, as long as something came of one within a time.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "base/base.h"
#include "mlops/options.h"
#include "store/store.h"
#include "sync/backoff.h"

namespace mlops::client {

/// Whether the same call may do another time.
inline bool may_help(store::Verdict verdict) {
  return verdict == store::Verdict::offline || verdict == store::Verdict::ambiguous ||
         verdict == store::Verdict::throttled || verdict == store::Verdict::expired;
}

class Patience {
 public:
  Patience(Millis limit, const std::atomic<bool>* stop)
      : limit_ms_(limit.count()), stop_(stop), since_(base::steady_ms()), backoff_(200, 10'000) {}
  void progress() {
    since_ = base::steady_ms();
    backoff_.reset();
  }
  /// Waits for the next try; false when it is over, or stopped.
  bool wait(std::int64_t retry_after_ms) {
    const std::int64_t until = base::steady_ms() + backoff_.next(retry_after_ms);
    if (until - since_ > limit_ms_) return false;
    while (base::steady_ms() < until) {
      if (stop_ != nullptr && stop_->load()) return false;
      std::this_thread::sleep_for(
          std::chrono::milliseconds(std::clamp<std::int64_t>(until - base::steady_ms(), 1, 20)));
    }
    return stop_ == nullptr || !stop_->load();
  }

 private:
  const std::int64_t limit_ms_;
  const std::atomic<bool>* stop_;
  std::int64_t since_;
  sync::Backoff backoff_;
};

}  // namespace mlops::client
