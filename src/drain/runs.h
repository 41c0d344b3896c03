// Runs: every run of the slot as the buffer will know it after the next beat: rows, metrics with their summaries, and
// what the next beat has for each. The one place where points are numbered, merged and packed into blocks.
//
// Merged: a point the server's key (name, ms, step, value, is-NaN) cannot tell from another one of this beat or the
// beat before (after a restart: of the newest 20,000 records in the buffer). A point whose step or time is greater than
// any before it in its metric cannot be such a point, so the comparison is paid for by those alone that might be.
//
// Of a run that has ended only what the summary says of it is kept, less than 3 kB with the usual tags: a process may
// start many.
//
// Used by the drain thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "buffer/buffer.h"
#include "journal/journal.h"
#include "model/record.h"

namespace mlops::drain {

using base::Uid;

inline constexpr std::size_t kBlockPoints = 20'000;

struct MetricState {
  std::uint32_t number = 0;
  bool dirty = false;  // new or changed since the last beat
  // Greatest so far. Before the first point nothing can be merged.
  std::int64_t max_step = std::numeric_limits<std::int64_t>::min();
  std::int64_t max_time = std::numeric_limits<std::int64_t>::min();
  model::Summary summary;
  std::string name;
};

/// What the server's key says of a point, with the metric's number for its name.
struct PointKey {
  std::uint32_t metric;
  std::int64_t step, time_ms;
  std::uint64_t value;
  friend bool operator==(const PointKey&, const PointKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const PointKey& k) {
    return H::combine(std::move(h), k.metric, k.step, k.time_ms, k.value);
  }
};
PointKey key_of(std::uint32_t metric, const model::Point& p);

struct RunState {
  model::RunRow row;
  std::vector<std::unique_ptr<MetricState>> metrics;  // by number; addresses are stable
  absl::flat_hash_map<std::string, std::uint32_t> by_name;
  absl::flat_hash_map<std::string, std::size_t> params, tags;  // key -> index in row.params, row.tags
  bool resting = false;    // ended, and nothing is under way: the three maps above are empty
  Uid owner;               // writer of the newest run_start or run_attach; zero: from before this drain opened
  bool recovered = false;  // the row was made up: its start op has not been seen

  // Of the next beat.
  bool touched = false;
  bool texts_changed = true;        // row.params or row.tags differ from what the buffer has
  std::vector<buffer::Block> full;  // of kBlockPoints each
  buffer::Block open;               // columns longer than `filled`
  std::size_t filled = 0;
  std::vector<model::Op> head, ops;  // head: starts, numbered before the points; ops: after them
  std::vector<MetricState*> dirty;

  // The window of points that later ones may merge with.
  bool indexed = false;  // `now` holds every point of this beat so far, `before` those of the beat before
  bool before_indexed = false;
  bool had_points = false;  // in the beat being written
  bool seeded = false;      // `before` was filled from the buffer, or nothing older than this drain is there
  std::vector<buffer::Block> previous;
  absl::flat_hash_set<PointKey> now, before;
};

/// A writer's keys, by number: where its points go. Resolved on first use after each load.
struct KeySlot {
  RunState* run = nullptr;
  MetricState* metric = nullptr;
  Uid run_uid;
  std::string name;
  bool known = false;
};
struct KeyTable {
  std::vector<KeySlot> slots;
  void define(const journal::KeyDef& def);
  void forget_runs();  // pointers only; names stay
};

/// Points of the slot's whole life, as its rows say: accepted = stored + merged + dropped.
struct RunCounters {
  std::uint64_t accepted = 0, merged = 0, stored = 0, dropped = 0;
};

/// The row less its params and tags.
model::RunRow row_without_texts(const model::RunRow& row);
void index_texts(RunState* run);

class Runs {
 public:
  /// Reads rows and metrics of the database and forgets everything else, but who owns the runs: the ops that said so
  /// are not read again.
  Status load(const buffer::Reader& reader);

  /// Numbers of a run start here when the ledger has seen more than the database still knows.
  void set_floor(const Uid& run, std::uint64_t next_seq) { floors_[run] = next_seq; }
  RunState* find(const Uid& run);
  const std::deque<std::unique_ptr<RunState>>& all() const { return order_; }

  /// Ops in ticket order. `writer`: whose journal it came from.
  void add_op(const model::Op& op, const Uid& writer);
  /// Takes the points; runs nobody knows get a row named "recovered-<id>". With `over_quota` they are counted and
  /// dropped.
  void add_points(const std::vector<journal::KeyedPoint>& points, KeyTable& keys, bool over_quota);

  bool anything() const { return !touched_.empty() || !experiments_.empty(); }
  std::uint64_t points_waiting() const { return waiting_; }
  /// Numbers and packs what is there into the beat's runs and experiments; the window moves on.
  void pack(std::uint64_t beat_number, buffer::Beat* beat);
  /// The beat is written: its blocks become the window's older half.
  void written(buffer::Beat&& beat);

  /// Where duplicates of points from before this process are looked for. May be null.
  void set_history(const buffer::Reader* reader) { history_ = reader; }
  const RunCounters& totals() const { return totals_; }
  std::uint64_t dropped_invalid() const { return dropped_invalid_; }
  std::uint64_t dropped_quota() const { return dropped_quota_; }

 private:
  RunState* make(const Uid& run);
  RunState* recover(const Uid& run, std::int64_t time_ms);
  void touch(RunState* run);
  static void rest(RunState* run);
  static void wake(RunState* run);
  MetricState* metric_of(RunState* run, const std::string& name);
  bool resolve(KeySlot* slot, std::int64_t time_ms);
  bool merges(RunState* run, const MetricState& metric, const model::Point& p);
  void index(RunState* run);
  void grow(RunState* run);

  std::deque<std::unique_ptr<RunState>> order_;
  absl::flat_hash_map<Uid, RunState*, base::UidHash> runs_;
  absl::flat_hash_map<Uid, std::uint64_t, base::UidHash> floors_;
  absl::flat_hash_map<Uid, Uid, base::UidHash> owners_;  // as the database was last opened
  std::vector<RunState*> touched_;
  std::vector<RunState*> windowed_;  // runs with a window of the last beat
  std::vector<model::Op> experiments_;
  const buffer::Reader* history_ = nullptr;
  RunCounters totals_;
  std::uint64_t waiting_ = 0, dropped_invalid_ = 0, dropped_quota_ = 0;
};

}  // namespace mlops::drain
