// The inline half of the journal: what one logging call touches. Not an API; only metric.h and src/journal use it.
//
// A cell is 32 journal bytes. Its head word is stored last with release order: a non-zero head is the publication,
// for the running drain and, with the checksum, for recovery after SIGKILL. Layout in docs/format.md.
#pragma once

#include <time.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "mlops/config.h"

MLOPS_NAMESPACE_BEGIN
namespace detail {

struct Core;  // one open root of this process (src/client)

/// 32 bytes of journal. head = checksum:32 (high) | key:24 | kind:8 (low); never 0 when published.
struct Cell {
  std::uint64_t head;
  std::int64_t step;
  std::int64_t time_ms;
  double value;
};
static_assert(sizeof(Cell) == 32);

enum CellKind : std::uint8_t {
  kCellFree = 0,
  kCellMetric = 1,  // one point; key = metric key of this writer
  kCellRecord = 2,  // first cell of a longer record (src/journal/segment.h)
  kCellSkip = 3,    // the rest of this segment is unused; go on in the next one
  kCellKey = 4,     // first cell of a key's definition
};

constexpr std::int64_t kNow = -1;          // for `time_ms`: the time of the call
constexpr std::int64_t kInvalidTime = -2;  // for `time_ms`: before the epoch; dropped, reason `invalid`

/// Whether a run takes points. Lives until the process ends; gates are reused by their core, so the generation tells
/// owners apart. Generation 0 is never open; a handle with it and key 0 is one of an invalid name.
struct alignas(64) Gate {
  std::atomic<std::uint32_t> generation{0};  // a handle of another generation is closed
  std::uint32_t index = 0;
  Core* core = nullptr;
  std::atomic<std::uint64_t> closed_drops{0};  // log() calls on a closed handle
};

/// The gate of a handle that was never made.
inline Gate nowhere;

/// What a metric handle holds: the run's gate and the low half of its cells' head words.
struct Handle {
  Gate* gate = &nowhere;
  std::uint32_t generation = 0;
  std::uint32_t low = kCellMetric;

  Handle() noexcept = default;
  Handle(Gate* g, std::uint32_t of, std::uint32_t key) noexcept
      : gate(g), generation(of), low((key << 8) | kCellMetric) {}
  std::uint32_t key() const noexcept { return low >> 8; }
};

/// A thread's place in its journal for one core. Only its own thread writes it.
struct alignas(64) Lane {
  Cell* cursor = nullptr;  // next free cell
  Cell* limit = nullptr;   // one past the segment's last usable cell
  Core* core = nullptr;
  std::uint64_t seed = 0;    // of the current segment's checksums, less the segment's address
  std::int64_t last_ms = 1;  // time never goes backwards within a thread; never 0, which is the clock asleep
  Lane* next = nullptr;      // this thread's lanes of other cores
};

/// How tls_lane is reached. Initial-exec is one load; the Python wheel, which is loaded late and has all of its
/// libraries' thread-local memory in one piece, would take too much of the little that is left for such, and is built
/// with another.
#ifndef MLOPS_TLS_MODEL
#define MLOPS_TLS_MODEL "initial-exec"
#endif

/// This thread's first lane, or null before its first record and in a forked child.
extern MLOPS_API __thread Lane* tls_lane __attribute__((tls_model(MLOPS_TLS_MODEL)));

struct alignas(64) Clock {
  std::atomic<std::int64_t> word{0};       // milliseconds since the epoch while the ticker runs, 0 while it sleeps
  int (*gettime)(clockid_t, ::timespec*);  // the kernel's clock_gettime, without libc's wrapper where that can be
};
extern MLOPS_API Clock the_clock;

/// CLOCK_REALTIME_COARSE in ms: 2 to 5 ns.
inline std::int64_t coarse_now_ms() noexcept {
  ::timespec t;
  the_clock.gettime(CLOCK_REALTIME_COARSE, &t);
  return static_cast<std::int64_t>(t.tv_sec) * 1000 + t.tv_nsec / 1'000'000;
}

/// Everything that is not the common case: no lane, full segment, closed run, key 0, invalid time. May map a segment,
/// may wait for the drain within the bounded wait, never longer. Counts what it drops.
MLOPS_API MLOPS_COLD void log_slow(Handle handle, double value, std::int64_t step, std::int64_t time_ms) noexcept;

/// A cell's head word: `low` and above it a seeded portable checksum of the cell, the high halves of two 64-bit
/// multiplies. `seed` is the segment's plus the cell's offset in it.
inline std::uint64_t cell_head(std::uint64_t seed, std::uint32_t low, std::int64_t step, std::int64_t time_ms,
                               double value) noexcept {
  std::uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const std::uint64_t a = (static_cast<std::uint64_t>(step) ^ seed) * 0x9E3779B97F4A7C15ull;
  const std::uint64_t b = (bits + (static_cast<std::uint64_t>(time_ms) ^ low)) * 0xC2B2AE3D27D4EB4Full;
  return ((a ^ b) & 0xFFFFFFFF00000000ull) | low;
}

/// Writes a cell and publishes it. `seed` as in Lane.
inline void put_cell(Cell* cell, std::uint64_t seed, std::uint32_t low, std::int64_t step, std::int64_t time_ms,
                     double value) noexcept {
  cell->step = step;
  cell->time_ms = time_ms;
  cell->value = value;
  const std::uint64_t at = seed + reinterpret_cast<std::uintptr_t>(cell);
  __atomic_store_n(&cell->head, cell_head(at, low, step, time_ms, value), __ATOMIC_RELEASE);
}

/// Whether a lane needs another segment: one ends where the next 64 KiB begin, and a new lane is at null.
inline bool at_end(const Cell* cursor) noexcept { return (reinterpret_cast<std::uintptr_t>(cursor) & 0xFFFFu) == 0; }

/// This thread's lane for the handle's core, or null.
inline Lane* lane_of(Handle handle) noexcept {
  Lane* lane = tls_lane;
  while (lane != nullptr && lane->core != handle.gate->core) lane = lane->next;
  return lane;
}

inline bool is_open(Handle handle) noexcept {
  return handle.gate->generation.load(std::memory_order_relaxed) == handle.generation;
}

/// The lane's time when the clock word is not what it was: a new millisecond, or asleep.
inline std::int64_t lane_time(Lane* lane, std::int64_t word) noexcept {
  if (word == 0) word = coarse_now_ms();
  if (word > lane->last_ms) lane->last_ms = word;
  return lane->last_ms;
}

/// The one record store. `time_ms`: kNow, or at least 0.
inline void log_point(Handle handle, double value, std::int64_t step, std::int64_t time_ms) noexcept {
  Lane* lane = lane_of(handle);
  if (MLOPS_LIKELY(lane != nullptr && is_open(handle))) {
    Cell* cell = lane->cursor;
    if (MLOPS_LIKELY(!at_end(cell))) {
      if (time_ms < 0) {
        time_ms = the_clock.word.load(std::memory_order_relaxed);
        if (!MLOPS_LIKELY(time_ms == lane->last_ms)) time_ms = lane_time(lane, time_ms);
      }
      put_cell(cell, lane->seed, handle.low, step, time_ms, value);
      lane->cursor = cell + 1;
      return;
    }
  }
  log_slow(handle, value, step, time_ms);
}

/// Many points of one key, in order: log_point's store, with lane, gate and clock looked up once for what fits into the
/// segment. `at(i)` gives {value, step, time_ms}, the time as for log_point or kInvalidTime.
template <typename PointAt>
void log_points(Handle handle, std::size_t count, PointAt at) noexcept {
  for (std::size_t i = 0; i < count;) {
    Lane* lane = lane_of(handle);
    Cell* cell = lane == nullptr ? nullptr : lane->cursor;
    if (at_end(cell) || !is_open(handle)) {
      const auto point = at(i++);
      log_slow(handle, point.value, point.step, point.time_ms);
      continue;
    }
    std::size_t room = (0x10000u - (reinterpret_cast<std::uintptr_t>(cell) & 0xFFFFu)) / sizeof(Cell);
    if (room > count - i) room = count - i;
    const std::int64_t now = lane_time(lane, the_clock.word.load(std::memory_order_relaxed));
    const std::uint64_t seed = lane->seed;
    for (const std::size_t end = i + room; i < end; ++i) {
      const auto point = at(i);
      const std::int64_t time_ms = point.time_ms == kNow ? now : point.time_ms;
      if (!MLOPS_LIKELY(time_ms >= 0)) {
        log_slow(handle, point.value, point.step, kInvalidTime);
        continue;
      }
      put_cell(cell, seed, handle.low, point.step, time_ms, point.value);
      lane->cursor = ++cell;
    }
  }
}

}  // namespace detail
MLOPS_NAMESPACE_END
