// The inline half of the journal: what one logging call touches. Not an API; only metric.h and src/journal use it.
//
// A cell is 32 journal bytes. Its head word is stored last with release order: a non-zero head is the publication,
// for the running drain and, with the checksum, for recovery after SIGKILL. Layout in docs/format.md.
#pragma once

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

/// A thread's place in its journal for one core. Only its own thread writes it.
struct alignas(64) Lane {
  Cell* cursor = nullptr;  // next free cell
  Cell* limit = nullptr;   // one past the segment's last usable cell
  Core* core = nullptr;
  std::uint64_t seed = 0;    // of the current segment's checksums
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

/// Milliseconds since the epoch while the ticker runs, 0 while it sleeps.
extern MLOPS_API std::atomic<std::int64_t> clock_word;

/// CLOCK_REALTIME_COARSE in ms (about 8 ns).
MLOPS_API std::int64_t coarse_now_ms() noexcept;

/// Everything that is not the common case: no lane, full segment, closed run, key 0, invalid time. May map a segment,
/// may wait for the drain within the bounded wait, never longer. Counts what it drops.
MLOPS_API MLOPS_COLD void log_slow(Gate* gate, std::uint32_t generation, std::uint32_t key, double value,
                                   std::int64_t step, std::int64_t time_ms) noexcept;

/// Seeded portable checksum of a cell: the high halves of two 64-bit multiplies. `where` is the cell's address or its
/// offset in its segment: only the low 16 bits count, and segments are 64 KiB aligned. Returned in the high 32 bits.
inline std::uint64_t cell_sum(std::uint64_t seed, std::uint64_t where, std::uint32_t low, std::int64_t step,
                              std::int64_t time_ms, double value) noexcept {
  std::uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const std::uint64_t a = (static_cast<std::uint64_t>(step) ^ seed) * 0x9E3779B97F4A7C15ull;
  const std::uint64_t b = (bits + (static_cast<std::uint64_t>(time_ms) ^ (where << 48) ^ low)) * 0xC2B2AE3D27D4EB4Full;
  return (a ^ b) & 0xFFFFFFFF00000000ull;
}

/// The lane's time when the clock word is not what it was: a new millisecond, or asleep.
inline std::int64_t lane_time(Lane* lane, std::int64_t word) noexcept {
  if (word == 0) word = coarse_now_ms();
  if (word > lane->last_ms) lane->last_ms = word;
  return lane->last_ms;
}

/// The one record store. `time_ms`: kNow, or at least 0.
inline void log_point(Gate* gate, std::uint32_t generation, std::uint32_t key, double value, std::int64_t step,
                      std::int64_t time_ms) noexcept {
  if (MLOPS_LIKELY(gate != nullptr)) {
    Lane* lane = tls_lane;
    while (lane != nullptr && lane->core != gate->core) lane = lane->next;
    if (MLOPS_LIKELY(lane != nullptr && gate->generation.load(std::memory_order_relaxed) == generation)) {
      Cell* cell = lane->cursor;
      const std::uint64_t where = reinterpret_cast<std::uintptr_t>(cell);
      // A segment ends where the next 64 KiB begin: there, and at null, the lane needs another one.
      if (MLOPS_LIKELY((where & 0xFFFFu) != 0)) {
        if (time_ms < 0) {
          time_ms = clock_word.load(std::memory_order_relaxed);
          if (!MLOPS_LIKELY(time_ms == lane->last_ms)) time_ms = lane_time(lane, time_ms);
        }
        const std::uint32_t low = (key << 8) | kCellMetric;
        cell->step = step;
        cell->time_ms = time_ms;
        cell->value = value;
        __atomic_store_n(&cell->head, cell_sum(lane->seed, where, low, step, time_ms, value) | low, __ATOMIC_RELEASE);
        lane->cursor = cell + 1;
        return;
      }
    }
  }
  log_slow(gate, generation, key, value, step, time_ms);
}

/// Many points of one key, in order: log_point's store, with lane, gate and clock looked up once for what fits into the
/// segment. `at(i)` gives {value, step, time_ms}, the time as for log_point or kInvalidTime.
template <typename PointAt>
void log_points(Gate* gate, std::uint32_t generation, std::uint32_t key, std::size_t count, PointAt at) noexcept {
  const std::uint32_t low = (key << 8) | kCellMetric;
  for (std::size_t i = 0; i < count;) {
    Lane* lane = gate == nullptr ? nullptr : tls_lane;
    while (lane != nullptr && lane->core != gate->core) lane = lane->next;
    Cell* cell = lane == nullptr ? nullptr : lane->cursor;
    std::size_t room = (0x10000u - (reinterpret_cast<std::uintptr_t>(cell) & 0xFFFFu)) / sizeof(Cell);
    if ((reinterpret_cast<std::uintptr_t>(cell) & 0xFFFFu) == 0 ||
        gate->generation.load(std::memory_order_relaxed) != generation) {
      const auto point = at(i++);
      log_slow(gate, generation, key, point.value, point.step, point.time_ms);
      continue;
    }
    if (room > count - i) room = count - i;
    const std::int64_t now = lane_time(lane, clock_word.load(std::memory_order_relaxed));
    const std::uint64_t seed = lane->seed;
    for (const std::size_t end = i + room; i < end; ++i) {
      const auto point = at(i);
      const std::int64_t time_ms = point.time_ms == kNow ? now : point.time_ms;
      if (!MLOPS_LIKELY(time_ms >= 0)) {
        log_slow(gate, generation, key, point.value, point.step, kInvalidTime);
        continue;
      }
      const std::uint64_t where = reinterpret_cast<std::uintptr_t>(cell);
      cell->step = point.step;
      cell->time_ms = time_ms;
      cell->value = point.value;
      __atomic_store_n(&cell->head, cell_sum(seed, where, low, point.step, time_ms, point.value) | low,
                       __ATOMIC_RELEASE);
      lane->cursor = ++cell;
    }
  }
}

}  // namespace detail
MLOPS_NAMESPACE_END
