// Journal: the mapped segments a logging call writes, and the only code it runs. docs/format.md has the bytes.
//
// One Writer per process and slot (a forked child has its own): folder `<slot>/journal/<writer uid>/` with a file
// `lock` (flocked while the writer lives), chunk files `NNNN.seg` of 1 MiB = 16 segments of 64 KiB. Every thread owns a
// chain of segments; a segment's header says magic, version, writer, thread, position in the chain, seed. A cell whose
// head is not zero is published; heads of recycled segments are zeroed before reuse.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/uid.h"
#include "mlops/detail/hot.h"
#include "mlops/options.h"
#include "mlops/status.h"
#include "model/record.h"

namespace mlops::journal {

inline constexpr std::size_t kSegmentBytes = 64 * 1024;
inline constexpr std::size_t kCellsPerSegment = kSegmentBytes / sizeof(detail::Cell) - 2;  // two cells of header
inline constexpr std::size_t kMaxRecord = 48 * 1024;  // an op's bytes; the limits of model keep every op below it

/// A writer's key: 24 bits, 1.. ; its definition is a record, published before first use.
struct KeyDef {
  std::uint32_t key = 0;
  base::Uid run;
  std::string name;
};

/// `<slot>/control`, one mapped page shared by everyone who uses the slot: forked children, readers, `mlops sync`.
struct Control {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t pad;
  std::atomic<std::uint64_t> ticket;        // last ticket given; forked children count on in it
  std::atomic<std::uint64_t> durable_beat;  // newest beat that was fsynced (drain)
  std::uint8_t buffer_uid[16];              // of the database durable_beat speaks of
  std::atomic<std::uint64_t> beat;          // newest beat written
  std::atomic<std::uint32_t> hurry;  // raised by a forked child whose journal fills: the drain looks at it as it polls
  // Why the database cannot be written (StatusCode), 0 while it can: said here, in a page that is there already,
  // because on a full disk no file can say it. The words are written before the code, and end with a NUL.
  std::atomic<std::uint32_t> buffer_code;
  char buffer_words[512];
  std::atomic<std::uint64_t> spool_bytes;   // in the slot's spool, or about to be; counted anew by each owner's drain
  std::atomic<std::uint64_t> spool_wanted;  // somebody lacks that much below the quota: the drain frees it, then 0
  std::atomic<std::uint64_t> artifacts_waiting, artifacts_lost;  // not hashed and named yet; never to be had
  // Points that forked children dropped and the drain has not counted yet.
  std::atomic<std::uint64_t> child_closed, child_full, child_invalid;
};

/// Bytes in the slot's spool. What a predecessor's child puts or takes away around a takeover is counted once only:
/// less than nothing is nothing.
inline std::uint64_t spool_used(std::uint64_t spool_bytes) {
  return static_cast<std::int64_t>(spool_bytes) < 0 ? 0 : spool_bytes;
}

struct WriterOptions {
  std::string slot_dir;
  std::uint32_t journal_mib = 64;
  WhenFull when_full = WhenFull::wait;
  Millis full_wait{100};
  /// Called (from a logging thread's slow path, must not block) when about 16 segments filled since the last call, or a
  /// thread waits for a segment: wakes the drain. May be empty.
  std::function<void()> wake;
};

struct WriterStats {
  std::uint64_t segments_in_use = 0, segments_free = 0, segments_cap = 0;
  std::uint64_t dropped_closed = 0, dropped_full = 0, dropped_invalid = 0;
  std::uint64_t accepted_points = 0;  // published points seen by collect so far
};

class Collector;

/// Writes. Thread-safe. Never destroyed while a thread may log: close() and leak it (segments stay mapped).
class Writer {
 public:
  static Result<std::unique_ptr<Writer>> create(const WriterOptions& options, Control* control, detail::Core* core);
  virtual ~Writer() = default;

  virtual const base::Uid& uid() const = 0;
  /// The key of (run, name); defines it (one record) on first use. Lock-free read after that. resource_exhausted when
  /// the journal is full or 2^24 - 1 keys are in use.
  virtual Result<std::uint32_t> key(const base::Uid& run, std::string_view name) = 0;
  /// Publishes an op with the next ticket; `op.ticket` is set. Waits like log on a full journal.
  virtual Status append(model::Op* op) = 0;
  /// The slow path of log_point for this writer (maps or fetches a segment, bounded wait, policy).
  virtual void log_slow(detail::Handle handle, double value, std::int64_t step, std::int64_t time_ms) = 0;
  /// For the drain thread, once per beat: the next segments are mapped before a producer needs them, a stalled clock
  /// thread is noticed. Not in a forked child.
  virtual void prepare() = 0;
  virtual WriterStats stats() const = 0;
  /// Ends: lets the lock go, so that collectors know no more will come. Later records are dropped as closed.
  virtual void close() = 0;
  /// In a forked child, from the atfork child handler: forgets the parent's segments; the next record makes a writer of
  /// the child's own below the same slot. Async-signal-safe work only.
  virtual void after_fork_in_child() = 0;
};

/// Gates, writers and cores outlive all handles: the address of a Core is never reused.
///
/// A gate for a run; from an arena that lives until the process ends. `close_gate` bumps its generation (points through
/// old handles count as closed) and recycles it.
detail::Gate* open_gate(detail::Core* core);
void close_gate(detail::Gate* gate);
/// The writer a core logs into; set once by the composition root before the first handle exists.
void bind_core(detail::Core* core, Writer* writer);
/// Starts or stops the 1 kHz clock thread (drain decides by rate). Idempotent; not inherited by fork.
void set_ticker(bool on);

using Cursor = model::JournalCursor;

struct KeyedPoint {
  std::uint32_t key;
  model::Point point;
};
/// What one pass took from one writer. Points per thread in publication order; ops unsorted (the drain sorts by
/// ticket). A point's KeyDef, and every op published before the key was defined (its run_start), come in this or an
/// earlier batch.
struct Batch {
  base::Uid writer;
  std::vector<KeyedPoint> points;  // every key has been seen in a KeyDef before (of this or an earlier batch)
  std::vector<model::Op> ops;
  std::vector<KeyDef> keys;
  std::uint64_t damaged = 0;  // records recovery had to give up (counted, named in the log)
};

/// Reads a writer's segments. For the living writer of this process it follows published heads; for a dead one it
/// checks checksums and takes each thread's longest valid prefix; for a living child of a fork: published heads,
/// through its files.
class Collector {
 public:
  /// The live writer of this process.
  static std::unique_ptr<Collector> of(Writer* writer);
  /// Another process's journal folder; cursors as persisted with the last beat (empty = from the start).
  static Result<std::unique_ptr<Collector>> open(const std::string& journal_dir, const std::vector<Cursor>& cursors);
  virtual ~Collector() = default;
  virtual const base::Uid& writer() const = 0;
  /// Takes what is published, up to about `max_points`. Ops are taken only with everything that was published before
  /// them: each pass reads all threads' positions once more after it saw an op. False when there was nothing.
  virtual bool collect(Batch* out, std::size_t max_points) = 0;
  /// Points published and not collected, roughly; cheap.
  virtual std::uint64_t pending() const = 0;
  /// Cursors after the last collect: to be written with the batch's blocks.
  virtual std::vector<Cursor> cursors() const = 0;
  /// What was collected up to these cursors is durable (or, under pool pressure, buffered): segments go back.
  virtual void release(const std::vector<Cursor>& upto) = 0;
  /// Goes back, after the database failed and was reopened: the next collect starts at these cursors again (threads
  /// that are not named: from the start); where that was released already (pool pressure), at the oldest that is left.
  virtual void rewind(const std::vector<Cursor>& to) = 0;
  /// No writer lives and nothing is left: the folder may be removed.
  virtual bool finished() const = 0;
};

/// Journal folders of a slot (one per writer), and whether their writers live.
struct Found {
  std::string dir;
  base::Uid writer;
  bool alive;
};
Result<std::vector<Found>> find_journals(const std::string& slot_dir);
/// Removes a finished journal's folder for good (the parent folder is fsynced), so that its cursors may be deleted
/// after.
Status remove_journal(const std::string& journal_dir);

}  // namespace mlops::journal
