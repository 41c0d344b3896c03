// Buffer: what is kept of a slot, in RocksDB. Written by one drain; read by sync and view, in this process through the
// same handle, in others as a RocksDB secondary that takes no lock. Keys and rows: docs/format.md.
//
// A run's records have one sequence: a point takes one number, an op takes one. `d/<run><seq>` holds a block (many
// points) or an op, with the beat that wrote it: it is durable once Control::durable_beat has reached that beat.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/uid.h"
#include "mlops/status.h"
#include "model/record.h"

namespace mlops::buffer {

using base::Uid;

/// Which database this is: a new uid when it is made anew; the generation grows when records were found lost.
struct Identity {
  Uid uid;
  std::uint64_t generation = 1;
};

/// The points of one run and beat, in arrival order. `metric` is a run-local number, 0.. in order of appearance.
struct Block {
  std::uint64_t first_seq = 0;
  std::uint64_t beat = 0;
  std::vector<std::uint32_t> metric;
  std::vector<std::int64_t> step, time_ms;
  std::vector<double> value;
  std::size_t size() const { return metric.size(); }
};
/// A block holds at most this many points (the decoder's bound); Buffer::write cuts larger ones at kCutPoints.
inline constexpr std::size_t kMaxBlockPoints = std::size_t{1} << 20, kCutPoints = std::size_t{1} << 16;
/// Columns, codec per metric by what the values are, zstd, our checksum (drain to wire). Bit-exact for every double.
/// decode: data_loss when damaged, failed_precondition when of a newer format.
std::string encode_block(const Block& block);
Status decode_block(std::string_view bytes, Block* out);

/// One entry of `d/`.
struct Record {
  std::uint64_t seq = 0;    // of the first point, or of the op
  std::uint64_t count = 1;  // sequence numbers it takes
  std::uint64_t beat = 0;
  bool is_block = false;
  Block block;   // when is_block
  model::Op op;  // otherwise
};

/// One metric of a run, with its name and summary.
struct MetricRow {
  std::uint32_t metric = 0;
  std::string name;
  model::Summary summary;
};

/// What is known of an artifact's bytes, by the name its record gives them (OpKind::artifact: value). They lie in the
/// slot's spool (spool.h).
struct FileRow {
  Uid name;
  std::string sha256;  // 32 bytes; empty when they were never read
  std::uint64_t size = 0;
  std::uint64_t beat = 0;  // that wrote this row: durable, bytes and name, once Control::durable_beat has reached it
  std::string lost;        // why the bytes are not there, in words; empty: they are
  Uid run;                 // whose record it is, and which
  std::uint64_t seq = 0;
};

/// One artifact record of a run, with what became of its bytes. `file.beat` 0: they are not hashed and named yet.
struct ArtifactRow {
  std::uint64_t seq = 0, beat = 0;  // of the record
  model::Op op;
  FileRow file;
};

/// Points that a slot did not take, by reason, in all processes that had it: closed, invalid, journal_full, damaged.
/// Those above the quota are counted by their runs.
using Drops = std::map<std::string, std::uint64_t>;

/// Read side. Thread-safe.
class Reader {
 public:
  virtual ~Reader() = default;
  virtual Identity identity() const = 0;
  /// Sees what the writer wrote since (secondaries only; else nothing to do).
  virtual Status refresh() = 0;
  virtual Result<std::vector<model::RunRow>> runs() const = 0;
  virtual Result<model::RunRow> run(const Uid& run) const = 0;  // not_found
  virtual Result<std::vector<MetricRow>> metrics(const Uid& run) const = 0;
  /// Calls `take` for records that end after `from_seq`, in order, until it returns false. A damaged block is
  /// reported through `damaged` (may be empty) and skipped.
  virtual Status scan(
      const Uid& run, std::uint64_t from_seq, const std::function<bool(const Record&)>& take,
      const std::function<void(std::uint64_t seq, std::uint64_t count, const Status&)>& damaged) const = 0;
  virtual Result<std::vector<model::Op>> experiments() const = 0;  // OpKind::experiment records, by name
  virtual Result<std::vector<model::JournalCursor>> cursors() const = 0;
  /// not_found: unknown, or not hashed and named yet (the drain's spooler will).
  virtual Result<FileRow> file(const Uid& name) const = 0;
  /// The run's artifact records that retention has left, in order.
  virtual Result<std::vector<ArtifactRow>> artifacts(const Uid& run) const = 0;
  /// Every run's records of logged models (model, model_end, model_metric, model_change), those that retention removed
  /// too, by run and seq.
  virtual Result<std::vector<Record>> models() const = 0;
};
/// Whether models() has records of this kind.
bool tells_of_model(model::OpKind kind);
/// Another process's database; `scratch` is a folder for the secondary's own files (removed by the destructor).
Result<std::unique_ptr<Reader>> open_secondary(const std::string& slot_dir, const std::string& scratch);

/// All that one beat writes, atomically.
struct Beat {
  std::uint64_t beat = 0;
  struct RunPart {
    model::RunRow row;  // after this beat
    /// row.params and row.tags are left empty here and stay what they are in the database (a run with 5,000 params
    /// must not pay for them with every beat). So they are stored apart from the rest of the row.
    bool texts_unchanged = false;
    Block block;                     // may be empty; first_seq set
    std::vector<Record> ops;         // seq set
    std::vector<MetricRow> metrics;  // new or changed
  };
  std::vector<RunPart> runs;
  std::vector<model::Op> experiments;
  std::vector<model::JournalCursor> cursors;
  std::vector<Uid> writers_gone;  // cursors of finished journals to delete
  /// Artifact bytes that are hashed now, or lost. Those the database does not know (evicted meanwhile) are passed over.
  /// An artifact record among `ops` makes its own row, without a beat.
  std::vector<FileRow> files;
  Drops drops;  // all of them; empty: unchanged
};

/// What no row names any more: its file can go from the spool.
struct Freed {
  std::vector<std::string> contents;  // sha256
  std::vector<Uid> incoming;          // not hashed yet
  bool empty() const { return contents.empty() && incoming.empty(); }
};
/// Bytes of the spool by content, and how many file rows need them.
struct BlobRow {
  std::string sha256;
  std::uint64_t size = 0, refs = 0;
};

/// Makes everything that the database library creates on first use, with a throw-away store in memory (about 3 ms, and
/// its two idle threads): the library's static destructors then run after every exit handler registered later, so a
/// handler can still close a store, whenever exit comes. Once per process; databases of this room call it themselves.
void prepare_library();

/// The database library: the version this was built with, and the file it was loaded from, links resolved (ours, when
/// it is linked into us); empty when unknown.
struct Library {
  std::string built, file;
};
Library library();

/// Write side: the drain thread only (its Reader half is thread-safe).
class Buffer : public Reader {
 public:
  /// Opens or makes `<slot>/db`. A database of a newer format: failed_precondition. Damaged: data_loss.
  static Result<std::unique_ptr<Buffer>> open(const std::string& slot_dir);
  virtual Status write(const Beat& beat) = 0;  // one WriteBatch, WAL, no fsync
  virtual Status sync() = 0;                   // fsync of the WAL
  /// Of the newest write, by whichever node and clock; 0: none is known.
  virtual Result<std::uint64_t> newest_beat() const = 0;
  virtual Result<Drops> drops() const = 0;
  virtual Status bump_generation() = 0;
  /// Calls `take` for the bytes of the records that end after `from_seq`, in order, until it returns false: as they lie
  /// in the database, damaged ones too (those end where the next one begins, the last of them after one number).
  virtual Status copy(
      const Uid& run, std::uint64_t from_seq,
      const std::function<bool(std::uint64_t seq, std::uint64_t count, std::string_view bytes)>& take) const = 0;
  /// Removes records of the run below `seq` (whole records only), with their file rows, and counts them in its row.
  virtual Status evict(const Uid& run, std::uint64_t seq, Freed* freed = nullptr) = 0;
  /// The run's named files are lost from now on for this reason; their records and digests stay.
  virtual Status let_go(const Uid& run, const std::string& why, std::uint64_t beat, Freed* freed) = 0;
  /// Artifact records whose bytes have no name by content yet, in order of run and record.
  /// `lost` gets the number of those that could never be read.
  virtual Result<std::vector<ArtifactRow>> unnamed(std::uint64_t* lost) const = 0;
  virtual Result<std::vector<BlobRow>> blobs() const = 0;
  virtual Status flush_and_close() = 0;  // memtable flushed; later calls fail
  virtual std::uint64_t disk_bytes() const = 0;
};

/// `<slot>/summary`: the runs of a slot for listing without RocksDB. Own format, checksummed, replaced atomically.
struct SummaryEntry {
  model::RunRow row;
  std::vector<MetricRow> metrics;
};
struct SlotCounters {
  std::uint64_t accepted = 0, merged = 0, buffered = 0, durable = 0;
  Pairs dropped;  // reason, count in decimal
};
std::string encode_summary(const Identity& identity, const SlotCounters& counters,
                           const std::vector<SummaryEntry>& runs);
/// The same, run by run: no copy of all of them is made.
class SummaryEncoder {
 public:
  /// `runs`: how many there will be.
  SummaryEncoder(const Identity& identity, const SlotCounters& counters, std::size_t runs);
  void add(const model::RunRow& row, const std::vector<MetricRow>& metrics);
  std::string take();

 private:
  std::string body_;
};
Status decode_summary(std::string_view bytes, Identity* identity, SlotCounters* counters,
                      std::vector<SummaryEntry>* runs);

}  // namespace mlops::buffer
