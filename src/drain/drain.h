// Drain: the one thread that moves journals into the buffer. Owns the slot's database.
//
// A beat: collect every writer's journal (this process's, forked children's, a dead predecessor's), sort ops by ticket,
// merge points the server cannot tell apart (the one place that counts `merged`), pack one block per run, write one
// WriteBatch, fsync at most every 0.5 s, publish durable_beat and the summary, give segments back. After a write error
// the database is closed and reopened and the journal replayed from its cursors; the journal holds on meanwhile.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "buffer/buffer.h"
#include "drain/slot.h"
#include "journal/journal.h"
#include "mlops/health.h"
#include "mlops/options.h"

namespace mlops::drain {

struct DrainOptions {
  Options client;  // beat, retention, quota
  std::string root;
  std::vector<base::Uid> evict{};  // at close: ended runs that are proved to be everywhere, whatever their age
  bool evict_deleted = false;      // of those also deleted ones that are not proved
  bool end_dead_runs = true;       // runs that a dead process left RUNNING are ended KILLED at their last record
  bool publish = true;             // for other nodes, where the slot is on a network file system
};

struct DrainStats {
  Status buffer;                                                      // not OK while the database cannot be written
  Status journals;                                                    // not OK while one cannot be read: it waits
  std::uint64_t accepted = 0, merged = 0, buffered = 0, durable = 0;  // points
  std::uint64_t dropped_damaged = 0, dropped_quota = 0, dropped_invalid = 0;
  buffer::Drops dropped_elsewhere;  // by earlier processes in this slot, and by forked children
  std::uint64_t disk_bytes = 0;
  std::uint64_t spool_bytes = 0, artifacts_waiting = 0, artifacts_lost = 0;
  std::uint64_t beats = 0, fsyncs = 0;
};

class Drain {
 public:
  /// Starts the thread; RocksDB opens there. `writer` may be null (mlops sync: recovery of a slot only).
  static std::unique_ptr<Drain> start(std::unique_ptr<Slot> slot, journal::Writer* writer, DrainOptions options);
  virtual ~Drain() = default;

  /// The database, once it is open; waits at most `deadline`. Shared with sync and view, thread-safe reads. The pointer
  /// stays valid until close even when the drain has to reopen the database behind it.
  virtual Result<std::shared_ptr<buffer::Reader>> reader(Millis deadline) = 0;
  /// Everything published before the call is buffered or durable.
  virtual Status flush(Level level, Millis deadline) = 0;
  virtual void wake() = 0;  // within 10 ms; non-blocking, any thread
  virtual DrainStats stats() const = 0;
  virtual std::uint64_t durable_beat() const = 0;
  /// Called on the drain thread after each fsync and each summary (cheap work only): sync wakes up.
  /// Replacing it waits for a call in progress: what the old one uses may be destroyed after that.
  virtual void on_beat(std::function<void()> callback) = 0;
  virtual const Slot& slot() const = 0;
  /// True when no journal of another writer (child, predecessor) is left to collect; as of the last beat.
  virtual bool recovered() const = 0;
  /// recovered(), and the runs that dead processes left are ended.
  virtual bool settled() const = 0;
  /// Last beat, fsync, memtable flush, database closed, lock released; bounded by `deadline`. Idempotent.
  virtual Status close(Millis deadline) = 0;
  /// In a forked child, from the atfork handler: closes the inherited lock, forgets the thread and the database.
  virtual void after_fork_in_child() = 0;
  virtual void before_fork() = 0;           // takes the drain's mutexes
  virtual void after_fork_in_parent() = 0;  // lets them go, looks for the child's journal soon
};

}  // namespace mlops::drain
