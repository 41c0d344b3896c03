// Window: the next records of a run that go to the server together, gathered from the buffer.
//
// Points in seq order and at most 999; params, tags, deletes within the server's limits; tags coalesced, the last one
// wins. A window ends after a run's end, so nothing is sent behind it; its deletion has a window of its own, because
// nothing else can be repeated behind it. Only records of durable beats are taken. What a window does not hold (points
// below the watermark, dead letters) is counted in it all the same: its commit moves the cursor over them.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "buffer/buffer.h"
#include "ledger/ledger.h"
#include "mlflow/mlflow.h"
#include "model/record.h"

namespace mlops::sync {

struct Text {  // a param or a tag with its place
  std::uint64_t seq = 0;
  std::string key, value;
};

/// Records that are not sent with the others, by seq of their first, so that no count is made twice.
using DeadMarks = std::map<std::uint64_t, ledger::DeadLetter>;

struct Window {
  std::uint64_t begin = 0, end = 0;         // [begin, end)
  std::vector<mlflow::MetricPoint> points;  // keys live in the Gatherer
  std::vector<std::uint64_t> seqs;          // of the points
  std::vector<Text> params;
  std::vector<Text> tags;
  std::vector<Text> deletes;    // value unused
  Text name;                    // value empty: none
  bool reopen = false;          // a later start of the run: RUNNING again
  std::uint64_t start_seq = 0;  // of that start
  bool ends = false;
  std::uint64_t end_seq = 0;
  RunStatus end_status = RunStatus::finished;
  std::int64_t end_ms = 0;
  bool lifecycle = false;  // alone in its window: the run is deleted, or restored
  bool deleted = false;
  std::uint64_t lifecycle_seq = 0;
  bool held = false;               // it ends before a record that waits for files
  std::optional<model::Op> alone;  // an input, a model or its end: nothing else is in its window
  std::uint64_t alone_seq = 0;
  std::vector<model::Op> model_metrics;  // at most 100, which every server takes twice
  std::vector<std::uint64_t> model_metric_seqs;
  std::uint64_t all_points = 0;  // points between begin and end, sent now or not
  std::int64_t first_ms = 0;     // time of its first record
  bool empty() const { return end == begin; }
  bool sends() const {  // anything of it goes to the server
    return !points.empty() || !params.empty() || !tags.empty() || !deletes.empty() || !name.value.empty() || reopen ||
           ends || lifecycle || alone || !model_metrics.empty();
  }
  void clear();
};

/// A damaged stretch of the buffer met while gathering.
struct Damage {
  std::uint64_t seq = 0, count = 0;
  std::string reason;
};

/// Reads one run's records ahead and cuts windows out of them. Holds at most a few thousand decoded points beyond the
/// block at hand, until release().
class Gatherer {
 public:
  Gatherer(const buffer::Reader* reader, const base::Uid& run) : reader_(reader), run_(run) {}

  struct Limits {
    std::uint64_t durable_beat = 0;
    std::uint64_t skip_points_below = 0;  // the watermark
    std::size_t max_points = 0, max_bytes = 0;
    std::uint64_t starts = 1;                                 // of the run now: an end of an older start is passed over
    bool attached = false;                                    // no status is sent for it
    std::function<bool(std::uint64_t ticket)> files_there{};  // all artifact records up to there are delivered
  };
  /// The window that begins at `from`; empty when nothing durable is there.
  Status gather(std::uint64_t from, const Limits& limits, const DeadMarks& dead, Window* out,
                std::vector<Damage>* damaged);
  /// The record that holds `seq`, alone: a point or an op. False: it is not there, or not readable, which `reason`
  /// says.
  bool one(std::uint64_t seq, const Limits& limits, Window* out, std::string* reason);
  /// The first run_start or run_attach, when it is still there.
  Status find_start(std::uint64_t durable_beat, model::Op* out, bool* found) const;
  void release();

 private:
  struct Item {
    buffer::Record record;
    bool damaged = false;
    std::string reason;
  };
  Status fill(std::uint64_t from, std::uint64_t durable_beat);
  Status name_of(std::uint32_t metric, std::string_view* out);
  bool take_points(const Item& item, std::uint64_t from, const Limits& limits, const DeadMarks& dead, Window* out,
                   std::size_t* bytes, Status* status);
  bool take_op(const Item& item, const Limits& limits, Window* out, std::size_t* bytes);

  const buffer::Reader* reader_;
  base::Uid run_;
  std::deque<Item> stock_;
  std::deque<std::string> names_;  // by run-local number; addresses stay
  std::vector<bool> known_;
};

}  // namespace mlops::sync
