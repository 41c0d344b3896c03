// Chains: this process's open journal: its folder and lock, its pool, and the chain of segments each thread writes. A
// thread's lane is the head of its chain; when the thread ends, the chain waits for the next thread. Never destroyed.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "journal/journal.h"
#include "journal/pool.h"

namespace mlops::journal {

class Chains;

/// One chain. The Lane part belongs to the thread that has it; the rest too, but for what Chains guards.
struct Chain : detail::Lane {
  Chains* home = nullptr;
  std::uint32_t thread = 0;
  std::uint64_t next_position = 0;
  SegmentHeader* current = nullptr;
  // Taken before they are needed, so that a thread that fills segments fast takes the pool's lock for one in 32 of
  // them.
  static constexpr std::uint32_t kAhead = 31;
  std::array<SegmentHeader*, kAhead> ahead{};
  std::uint32_t ahead_used = 0, ahead_end = 0;
  std::int64_t taken_ms = 0;  // last_ms when the last ones were taken
  bool idle = false;          // guarded by Chains::mutex_: no thread has it
};

class Chains {
 public:
  /// Makes `<slot>/journal/<uid>` under another name, locks it, maps the first chunk, and only then gives it its name,
  /// so that a collector never sees a journal that looks dead.
  static Result<std::unique_ptr<Chains>> create(const std::string& slot_dir, std::uint32_t cap_mib, bool collected_here,
                                                std::function<void()> wake);

  const base::Uid& uid() const { return uid_; }
  const std::string& dir() const { return dir_; }
  pid_t pid() const { return pid_; }
  Pool& pool() { return pool_; }
  Chain& dictionary() { return dictionary_; }  // guarded by the writer's lock on keys

  /// This thread's chain; made, or taken over from a thread that ended. Null when memory is out.
  Chain* mine(detail::Core* core);
  /// A fresh segment for the chain; false when the journal is full.
  bool advance(Chain* chain, std::chrono::milliseconds wait);
  /// Publishes a record of several cells. False when the journal is full.
  bool put(Chain* chain, std::uint8_t kind, std::uint32_t key, std::uint64_t ticket, std::string_view payload,
           std::chrono::milliseconds wait);

  /// Chains without a thread give up segments that are consumed to their end, and those taken ahead. For the collector
  /// of this process; returns the cursors that moved past them.
  std::vector<Cursor> retire_idle(const std::vector<Cursor>& upto);
  /// Chains of other threads than `thread_chain`'s that still have their thread.
  bool other_threads_live() const;

  void close();
  bool closed() const { return closed_.load(std::memory_order_acquire); }

 private:
  friend void give_back(Chain* chain);
  Chains(std::string dir, const base::Uid& uid, base::FileLock lock, std::uint32_t cap_mib, bool collected_here,
         std::function<void()> wake);

  const base::Uid uid_;
  const pid_t pid_;
  std::string dir_;
  base::FileLock lock_;
  Pool pool_;
  const std::function<void()> wake_;
  std::atomic<bool> closed_{false};
  std::atomic<std::uint32_t> taken_since_wake_{0};
  Chain dictionary_;
  const Chain* closer_ = nullptr;  // guarded by mutex_: chain of the thread that called close

  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Chain>> chains_;
  std::vector<Chain*> idle_;
};

/// This thread goes on in a segment taken ahead; false when it has none, or is not at the end of one.
bool step_ahead(const detail::Core* core) noexcept;
/// Makes thread exit give this thread's chains back. Once per process.
void prepare_threads();
/// In a forked child: the forking thread has no chains.
void forget_thread();

}  // namespace mlops::journal
