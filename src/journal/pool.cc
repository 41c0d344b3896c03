#include "journal/pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

#include "base/file.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace mlops::journal {
namespace {

constexpr std::size_t kMaxChunks = 8192;  // 8 GiB: the cap and what chains without a segment take beyond it

constexpr std::int64_t kGrowMs = 20;  // waited for another thread's chunk even when the policy is to drop

// Page faults now, not in a logging call. The chunk is new, so that writing zeroes changes nothing.
void prefault(char* data, std::size_t bytes) {
  if (::madvise(data, bytes, MADV_POPULATE_WRITE) == 0) return;
  for (std::size_t i = 0; i < bytes; i += 4096) *static_cast<volatile char*>(data + i) = 0;
}

}  // namespace

void free_segment(SegmentHeader* h) {
  Cell* cells = cells_of(h);
  for (std::size_t i = 0; i < kCellsPerSegment; ++i) __atomic_store_n(&cells[i].head, 0, __ATOMIC_RELAXED);
  MLOPS_POINT("journal.zeroed");
  h->state.store(kSegmentFree, std::memory_order_release);
  MLOPS_POINT("journal.freed");
}

Pool::Pool(std::string dir, const base::Uid& writer, std::size_t cap_chunks, bool collected_here)
    : dir_(std::move(dir)),
      writer_(writer),
      cap_chunks_(std::clamp<std::size_t>(cap_chunks, 1, kMaxChunks)),
      collected_here_(collected_here),
      secret_(base::random_u64()),
      chunks_(std::make_unique<char*[]>(kMaxChunks)) {}

SegmentHeader* Pool::at(std::size_t index) const {
  return reinterpret_cast<SegmentHeader*>(chunks_[index / kSegmentsPerChunk] +
                                          index % kSegmentsPerChunk * kSegmentBytes);
}

SegmentHeader* Pool::take(std::uint32_t thread, std::uint64_t position, bool beyond_cap, std::chrono::milliseconds wait,
                          const std::function<void()>& wake) {
  Lock lock(mutex_);
  std::int64_t end = -1, grow_end = -1;  // steady ms
  while (free_.empty()) {
    const std::int64_t now = base::steady_ms();
    if (find_freed(now)) break;
    if (growing_) {  // another thread maps a chunk: about a millisecond, not a full journal
      if (grow_end < 0) grow_end = now + std::max<std::int64_t>(wait.count(), kGrowMs);
      if (now >= grow_end) return nullptr;
      changed_.wait_for(lock, std::chrono::milliseconds(grow_end - now));
      continue;
    }
    if (may_grow(beyond_cap, now)) {
      grow(lock);
      continue;
    }
    if (wait.count() <= 0 || gave_up_) return nullptr;
    if (end < 0) {
      end = now + wait.count();
      if (wake) {
        lock.unlock();
        wake();
        lock.lock();
        continue;
      }
    }
    if (now >= end) {
      gave_up_ = true;
      return nullptr;
    }
    const std::int64_t slice = collected_here_ ? end - now : std::min<std::int64_t>(end - now, 2);
    changed_.wait_for(lock, std::chrono::milliseconds(slice));
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  taken_[index] = true;
  ++taken_since_prepare_;
  in_use_.fetch_add(1, std::memory_order_relaxed);
  // Under the lock: a segment that is taken and still says free would be found freed again.
  SegmentHeader* h = at(index);
  h->magic = kSegmentMagic;
  h->version = kSegmentVersion;
  std::memcpy(h->writer, writer_.bytes.data(), sizeof h->writer);
  h->thread = thread;
  h->pad = 0;
  h->position = position;
  const std::uint64_t use[] = {thread, position};  // never the same again in this journal
  h->seed = base::hash64({reinterpret_cast<const char*>(use), sizeof use}, secret_);
  h->check = header_check(*h);
  MLOPS_POINT("journal.take");
  h->state.store(kSegmentUsed, std::memory_order_release);
  return h;
}

bool Pool::find_freed(std::int64_t now) {
  if (collected_here_) {
    if (!freed_.exchange(false, std::memory_order_acquire)) return false;
  } else {
    if (now == last_look_) return false;
    last_look_ = now;
  }
  const std::size_t before = free_.size();
  for (std::size_t i = 0; i < taken_.size(); ++i) {
    if (taken_[i] && at(i)->state.load(std::memory_order_acquire) == kSegmentFree) {
      taken_[i] = false;
      free_.push_back(static_cast<std::uint32_t>(i));
    }
  }
  if (free_.size() == before) return false;
  if (!collected_here_) in_use_.fetch_sub(free_.size() - before, std::memory_order_relaxed);
  gave_up_ = false;
  return true;
}

bool Pool::may_grow(bool beyond_cap, std::int64_t now) const {
  const std::size_t count = chunk_count();
  if (count >= (beyond_cap ? kMaxChunks : cap_chunks_)) return false;
  return now >= grow_again_;
}

void Pool::grow(Lock& lock) {
  growing_ = true;
  const std::size_t number = chunk_count();
  char name[16];
  std::snprintf(name, sizeof name, "/%04zu.seg", number);
  const std::string path = dir_ + name;
  lock.unlock();
  MLOPS_POINT("journal.grow");
  Result<base::Mapping> map = base::Mapping::create(path, kChunkBytes, kSegmentBytes);
  if (map.ok()) prefault(map->data(), kChunkBytes);
  MLOPS_POINT("journal.grown");
  lock.lock();
  growing_ = false;
  if (map.ok()) {
    chunks_[number] = map->data();
    map->leak();
    chunk_count_.store(number + 1, std::memory_order_release);
    taken_.resize((number + 1) * kSegmentsPerChunk, false);
    for (std::size_t i = kSegmentsPerChunk; i-- > 0;) {
      free_.push_back(static_cast<std::uint32_t>(number * kSegmentsPerChunk + i));
    }
    gave_up_ = false;
    grow_error_ = Status();
  } else {
    grow_error_ = map.status();
    grow_again_ = base::steady_ms() + 1000;
    base::log(base::LogLevel::warn, "the journal cannot grow: " + map.status().to_string());
  }
  changed_.notify_all();
}

void Pool::prepare() {
  Lock lock(mutex_);
  const std::int64_t now = base::steady_ms();
  find_freed(now);
  const std::size_t want = std::clamp<std::size_t>(2 + taken_since_prepare_, 2, 64);
  taken_since_prepare_ = 0;
  while (free_.size() < want && !growing_ && may_grow(false, now)) {
    grow(lock);
    if (!grow_error_.ok()) break;
  }
}

void Pool::note_freed(std::size_t count) {
  if (count == 0) return;
  in_use_.fetch_sub(count, std::memory_order_relaxed);
  {
    const Lock lock(mutex_);
    freed_.store(true, std::memory_order_release);
  }
  changed_.notify_all();
}

Status Pool::grow_error() const {
  const Lock lock(mutex_);
  return grow_error_;
}

void Pool::moved_to(const std::string& dir) {
  const Lock lock(mutex_);
  dir_ = dir;
}

Pool::Counts Pool::counts() const {
  Counts c;
  const std::size_t all = chunk_count() * kSegmentsPerChunk;
  c.in_use = std::min(in_use_.load(std::memory_order_relaxed), all);
  c.free = all - c.in_use;
  c.cap = cap_chunks_ * kSegmentsPerChunk;
  return c;
}

void Pool::drop_in_child() {
  const std::size_t count = chunk_count();
  for (std::size_t i = 0; i < count; ++i) ::munmap(chunks_[i], kChunkBytes);
  chunk_count_.store(0, std::memory_order_relaxed);
}

}  // namespace mlops::journal
