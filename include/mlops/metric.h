// Metric: the handle of one metric of one run. Look up once with Run::metric, then log in nanoseconds.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "mlops/detail/hot.h"

MLOPS_NAMESPACE_BEGIN

/// One point of Metric::log_many. time_ms: since the epoch; -1: the time of the call.
struct MetricPoint {
  double value = 0;
  std::int64_t step = 0;
  std::int64_t time_ms = -1;
};

/// Trivially copyable, 16 bytes, never dangles: after the run ends or the client closes, `log` is dropped and
/// counted as `closed` in Health. Any thread may log through any copy at the same time. A default-made handle
/// drops silently.
///
/// `log` returns when the point is *accepted*: it survives SIGKILL of this process. It makes no system call, takes
/// no lock and allocates nothing, but for one call in about 2,000 that fetches the next journal segment and may, when
/// the journal is full, wait up to Options::full_wait. Not async-signal-safe; interrupted by a signal it corrupts
/// nothing.
///
/// value: any double; NaN, infinities and -0 are values. step: any int64, 0 when not given, as in MLflow.
/// time: milliseconds since the epoch; now when not given (1 ms typical, kernel tick resolution when the process
/// logs slowly, never backwards within a thread).
class Metric {
 public:
  Metric() noexcept = default;

  void log(double value, std::int64_t step = 0) noexcept { detail::log_point(handle_, value, step, detail::kNow); }
  /// A float is stored exactly and stays recognisable as float32 (about half the bytes on disk).
  void log(float value, std::int64_t step = 0) noexcept { log(static_cast<double>(value), step); }
  /// Integers and bool; beyond 2^53 they round to the nearest double.
  template <typename I, std::enable_if_t<std::is_integral<I>::value, int> = 0>
  void log(I value, std::int64_t step = 0) noexcept {
    log(static_cast<double>(value), step);
  }
  /// With the caller's own time stamp, which must not be before the epoch (else the point is dropped, reason
  /// `invalid`).
  void log(double value, std::int64_t step, std::chrono::system_clock::time_point when) noexcept {
    const std::int64_t ms = std::chrono::duration_cast<std::chrono::milliseconds>(when.time_since_epoch()).count();
    if (ms < 0) return detail::log_slow(handle_, value, step, detail::kInvalidTime);
    detail::log_point(handle_, value, step, ms);
  }
  /// `count` points in order, each as log() takes it and accepted as it is written: `at(i)`, for i from 0, gives a
  /// MetricPoint and must not throw or log. For what lies in an array already: what log() looks up for every point is
  /// looked up once for about 2,000, which share one time when none is given. Points after the end of the run are
  /// dropped as closed, those with a time before the epoch as `invalid`. May wait as log() does, for each 2,000.
  template <typename PointAt>
  void log_many(std::size_t count, PointAt at) noexcept {
    detail::log_points(handle_, count, at);
  }
  /// Whether the next log() of this thread is the common case, which waits for nothing: for a caller that holds a lock
  /// of its own (Python's GIL) and would let it go first. Costs a nanosecond.
  bool at_once() const noexcept {
    if (!detail::is_open(handle_)) return true;  // drops
    const detail::Lane* lane = detail::lane_of(handle_);
    return lane != nullptr && !detail::at_end(lane->cursor);
  }

 private:
  friend class Run;
  explicit Metric(detail::Handle handle) noexcept : handle_(handle) {}
  detail::Handle handle_;
};
static_assert(std::is_trivially_copyable<Metric>::value && sizeof(Metric) == 16);

MLOPS_NAMESPACE_END
