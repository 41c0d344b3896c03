// Pool: the segments of one writer, in chunk files of 1 MiB that are allocated and pre-faulted. Hands out free ones,
// most recently used first, grows up to the cap, waits within a bound. Chunks stay mapped until the process ends.
// Thread-safe.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/uid.h"
#include "journal/segment.h"

namespace mlops::journal {

class Pool {
 public:
  /// `collected_here`: the collector lives in this process and calls note_freed; otherwise freed segments are looked
  /// for.
  Pool(std::string dir, const base::Uid& writer, std::size_t cap_chunks, bool collected_here);

  /// A zeroed segment with its header filled in, or null when the journal is full after `wait`. `beyond_cap`: a chain
  /// that holds no segment at all gets one even above the cap. `wake` is called once before the first wait.
  SegmentHeader* take(std::uint32_t thread, std::uint64_t position, bool beyond_cap, std::chrono::milliseconds wait,
                      const std::function<void()>& wake);
  /// Makes sure that the next segments are there before a producer asks. For the drain thread.
  void prepare();
  /// So many segments were freed by the collector of this process; wakes those who wait.
  void note_freed(std::size_t count);
  Status grow_error() const;
  /// The folder got its name.
  void moved_to(const std::string& dir);

  struct Counts {
    std::uint64_t in_use = 0, free = 0, cap = 0;
  };
  /// Takes no lock and touches no segment: the drain asks often, and a producer pays for each line it shares.
  Counts counts() const;

  std::size_t chunk_count() const { return chunk_count_.load(std::memory_order_acquire); }
  char* chunk(std::size_t i) const { return chunks_[i]; }
  /// In a forked child: unmaps the parent's chunks.
  void drop_in_child();

 private:
  using Lock = std::unique_lock<std::mutex>;
  SegmentHeader* at(std::size_t index) const;
  bool find_freed(std::int64_t now);  // true when free_ got something
  bool may_grow(bool beyond_cap, std::int64_t now) const;
  void grow(Lock& lock);

  std::string dir_;  // guarded by mutex_
  const base::Uid writer_;
  const std::size_t cap_chunks_;
  const bool collected_here_;
  const std::uint64_t secret_;  // of the segments' seeds
  std::unique_ptr<char*[]> chunks_;
  std::atomic<std::size_t> chunk_count_{0};
  std::atomic<std::size_t> in_use_{0};  // taken and, as far as is known here, not freed
  std::atomic<bool> freed_{false};

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::uint32_t> free_;  // indices, last one first out
  std::vector<bool> taken_;          // by index
  bool growing_ = false;
  bool gave_up_ = false;  // somebody waited in vain: do not wait again before something is freed
  std::int64_t last_look_ = 0;
  std::int64_t grow_again_ = 0;  // steady ms; after a failure
  std::size_t taken_since_prepare_ = 0;
  Status grow_error_;
};

}  // namespace mlops::journal
