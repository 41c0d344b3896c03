// Backoff: the arithmetic of waiting.
#include "sync/backoff.h"

#include <algorithm>

#include "base/base.h"

namespace mlops::sync {
namespace {

std::int64_t uniform(std::int64_t most) {  // 0..most
  if (most <= 0) return 0;
  return static_cast<std::int64_t>(base::random_u64() % (static_cast<std::uint64_t>(most) + 1));
}

}  // namespace

std::int64_t Backoff::bound() {
  std::int64_t bound = first_ms_;
  for (int i = 0; i < tries_ && bound < most_ms_; ++i) bound *= 2;
  ++tries_;
  return std::min(bound, most_ms_);
}

std::int64_t Backoff::next(std::int64_t retry_after_ms) {
  const std::int64_t jittered = uniform(bound());
  if (retry_after_ms < 0) return jittered;
  // What the server asked for, and up to a tenth more: the clients it turned away should not return together.
  return std::max(jittered, retry_after_ms + uniform(retry_after_ms / 10));
}

std::int64_t Backoff::next_spaced() {
  const std::int64_t most = bound();
  return most / 2 + uniform(most - most / 2);
}

}  // namespace mlops::sync
