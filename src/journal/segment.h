// Segment: 64 KiB of one thread's journal, and how records lie in it. Shared by those who write and those who collect.
//
// Header of two cells, then cells in order of publication. A metric is one cell. A longer record is a head cell (step =
// payload bytes, time = hash of the payload, value = ticket) and as many cells of raw payload as it needs, published by
// its head word alone. A skip cell sends the reader to the next segment. `state` is the hand-over between processes:
// whoever collects zeroes all head words and then frees the segment; its writer takes it and fills in the header first.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/base.h"
#include "base/uid.h"
#include "journal/journal.h"
#include "mlops/detail/hot.h"

namespace mlops::journal {

using detail::Cell;

inline constexpr std::uint64_t kSegmentMagic = 0x314C4A53504F4C4Dull;  // "MLOPSJL1"
inline constexpr std::uint32_t kSegmentVersion = 1;
inline constexpr std::size_t kSegmentsPerChunk = 16;
inline constexpr std::size_t kChunkBytes = kSegmentsPerChunk * kSegmentBytes;
inline constexpr std::uint32_t kMaxKey = (1u << 24) - 1;
/// The chain that holds every key definition of a writer. Never recycled while the writer's folder exists.
inline constexpr std::uint32_t kDictionaryThread = 0xFFFFFFFFu;

enum SegmentState : std::uint32_t { kSegmentFree = 0, kSegmentUsed = 1 };

struct SegmentHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::atomic<std::uint32_t> state;
  std::uint8_t writer[16];
  std::uint32_t thread;
  std::uint32_t pad;
  std::uint64_t position;  // in the thread's chain, 0..
  std::uint64_t seed;      // of the checksums; another one with each use
  std::uint64_t check;     // over the above but state
};
static_assert(sizeof(SegmentHeader) == 2 * sizeof(Cell));
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

inline Cell* cells_of(SegmentHeader* h) { return reinterpret_cast<Cell*>(h) + 2; }
inline const Cell* cells_of(const SegmentHeader* h) { return reinterpret_cast<const Cell*>(h) + 2; }

inline std::uint64_t header_check(const SegmentHeader& h) {
  char bytes[16 + 4 + 4 + 8 + 8];
  std::memcpy(bytes, h.writer, 16);
  std::memcpy(bytes + 16, &h.thread, 4);
  std::memcpy(bytes + 20, &h.version, 4);
  std::memcpy(bytes + 24, &h.position, 8);
  std::memcpy(bytes + 32, &h.seed, 8);
  return base::hash64({bytes, sizeof bytes}, h.magic);
}

inline bool header_valid(const SegmentHeader& h, const base::Uid& writer) {
  return h.magic == kSegmentMagic && h.version == kSegmentVersion &&
         std::memcmp(h.writer, writer.bytes.data(), 16) == 0 && h.check == header_check(h);
}

inline std::uint64_t load_head(const Cell* cell) { return __atomic_load_n(&cell->head, __ATOMIC_ACQUIRE); }

inline std::uint64_t cell_offset(const Cell* cell) {
  return reinterpret_cast<std::uintptr_t>(cell) & (kSegmentBytes - 1);
}

/// What Lane::seed is while the lane is in this segment.
inline std::uint64_t lane_seed(const SegmentHeader* h) { return h->seed - reinterpret_cast<std::uintptr_t>(h); }

inline bool cell_valid(const Cell& cell, std::uint64_t head, std::uint64_t seed) {
  const auto low = static_cast<std::uint32_t>(head);
  return detail::cell_head(seed + cell_offset(&cell), low, cell.step, cell.time_ms, cell.value) == head;
}

inline std::size_t record_cells(std::size_t payload) { return 1 + (payload + sizeof(Cell) - 1) / sizeof(Cell); }

inline double ticket_bits(std::uint64_t ticket) {
  double d;
  std::memcpy(&d, &ticket, sizeof d);
  return d;
}
inline std::uint64_t bits_ticket(double d) {
  std::uint64_t ticket;
  std::memcpy(&ticket, &d, sizeof ticket);
  return ticket;
}

/// Makes a consumed segment free: from here on no stale byte of it can be taken for a record.
void free_segment(SegmentHeader* h);

}  // namespace mlops::journal
