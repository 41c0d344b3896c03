// Backoff: how long to wait before the next try. Full jitter: uniform between 0 and min(most, first * 2^tries), so that
// many clients of a server that comes back do not come at once. A server's Retry-After is a floor. No limit on tries.
#pragma once

#include <cstdint>

namespace mlops::sync {

class Backoff {
 public:
  Backoff(std::int64_t first_ms, std::int64_t most_ms) : first_ms_(first_ms), most_ms_(most_ms) {}

  /// The next delay; counts one more try. `retry_after_ms` < 0: the server named none.
  std::int64_t next(std::int64_t retry_after_ms = -1);
  /// The same between half and whole of the bound: for lookups that must leave the server time to finish a create.
  std::int64_t next_spaced();
  void reset() { tries_ = 0; }
  int tries() const { return tries_; }

 private:
  std::int64_t bound();

  std::int64_t first_ms_, most_ms_;
  int tries_ = 0;
};

}  // namespace mlops::sync
