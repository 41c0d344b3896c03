// Wall clock and steady clock in milliseconds.
#include <time.h>

#include "base/base.h"

namespace mlops::base {
namespace {

std::int64_t read_ms(clockid_t clock) {
  timespec ts{};
  ::clock_gettime(clock, &ts);
  return static_cast<std::int64_t>(ts.tv_sec) * 1000 + ts.tv_nsec / 1'000'000;
}

}  // namespace

std::int64_t now_ms() { return read_ms(CLOCK_REALTIME); }
std::int64_t steady_ms() { return read_ms(CLOCK_MONOTONIC); }

}  // namespace mlops::base
