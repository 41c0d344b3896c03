// Plain records of everything that can be logged, and their bytes in the journal. Limits are in limits.h.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/uid.h"
#include "mlops/options.h"
#include "mlops/run.h"
#include "mlops/status.h"

namespace mlops::model {

using base::Uid;

/// One metric point. Time, step and value are fixed at the call and travel bit for bit.
struct Point {
  std::int64_t step = 0;
  std::int64_t time_ms = 0;
  double value = 0;
};

/// What two points must differ in so that the server keeps both: (name, ms, step, value, is-NaN). Its view of a value:
/// every NaN is one, -0 is 0, +-Inf is +-DBL_MAX (mlflow's SQL store).
bool same_on_server(const Point& a, const Point& b);

/// Kinds are bytes on disk: append only.
enum class OpKind : std::uint8_t {
  run_start = 1,   // key: experiment, value: run name, pairs: tags at creation; number: start number (1 first)
  run_attach = 2,  // a process that does not own the run joins it; key: experiment, value: run name
  param = 3,       // key, value
  set_tag = 4,     // key, value
  delete_tag = 5,  // key
  run_name = 6,    // value
  run_end = 7,     // number: RunStatus; time: end_time; key: start number in decimal
  run_detach = 8,
  experiment = 9,  // run zero; key: name, value: artifact_location, pairs: tags
  run_leave = 10,  // its process lets it go: it stays RUNNING without one; key: start number in decimal
  lifecycle = 11,  // number: 1 deleted, 0 restored (MLflow's soft delete: the run stays, out of sight)
  artifact = 12,   // key: path below the artifact root of the run or, with a parent, of that logged model;
                   // value: spool name of the bytes (hex of a uid); number: their size
  input = 13,  // a dataset the run used; key: name, value: digest, pairs: what else is known of it (model/dataset.h).
               // Without a key, a logged model it used: parent, or value: its id on the server
  model = 14,  // a logged model begins; parent: its uid, key: name, value: type, number: step, pairs: params, tags
               // and what MLmodel says of it (model/logged_model.h)
  model_end = 15,     // parent: its uid, number: 1 all files are there, 0 given up
  registry = 16,      // an intent, in the registry's stream; parent: the intent's uid, number: which, key: model name
  model_metric = 17,  // a point of the run is also one of a logged model; parent: its uid, key: metric, value: as text,
                      // number: step, time: the point's; pairs: the dataset (model/dataset.h)
  model_change = 18,  // of a logged model; parent: its uid, number: 1 it is deleted, pairs: params and tags that are
                      // new and tags that are gone (model/logged_model.h)
  output = 19,        // a logged model that the run made; parent: its uid, number: step
};
inline constexpr OpKind kLastOpKind = OpKind::output;

/// The stream of registry intents of a slot: records like a run's, under a uid that no run has ("mlops registry").
inline constexpr Uid kRegistry{{'m', 'l', 'o', 'p', 's', ' ', 'r', 'e', 'g', 'i', 's', 't', 'r', 'y', 0, 0}};

/// Everything but a point. Ordered by ticket within a slot.
struct Op {
  std::uint64_t ticket = 0;
  std::int64_t time_ms = 0;
  Uid run;
  Uid parent;  // what else it is about, by kind; zero: nothing
  OpKind kind = OpKind::set_tag;
  std::int64_t number = 0;
  std::string key, value;
  Pairs pairs;
};

/// Bytes of an op in the journal and the buffer (docs/format.md: version byte, little-endian, length-prefixed).
std::string encode_op(const Op& op);
Result<Op> decode_op(std::string_view bytes);  // data_loss names what is wrong

/// The value as MLflow's SQL store compares it: NaN is 0, +-Inf is +-DBL_MAX.
double server_value(double v);

/// Summary of one metric of one run. `add` keeps MLflow's "latest": greatest (step, time, server_value).
struct Summary {
  std::uint64_t count = 0;
  Point last;
  double min = std::numeric_limits<double>::quiet_NaN();  // over non-NaN values; both NaN while there is none
  double max = std::numeric_limits<double>::quiet_NaN();
  std::int64_t min_step = 0, max_step = 0;  // the step where min (max) was first reached
  void add(const Point& p);
};

/// A run as the buffer knows it.
struct RunRow {
  Uid uid, parent;
  std::string experiment, name;
  RunStatus status = RunStatus::running;
  bool attached = false;   // another slot owns it: we send points and params, never create it or its status
  bool left_open = false;  // RUNNING without a process: no death ends it, only a run_end does
  std::int64_t start_ms = 0, end_ms = 0, last_ms = 0;  // last_ms: time of the last record
  std::uint32_t starts = 0;                            // resumes counted; an end of an older start is not sent
  std::uint64_t next_seq = 1;                          // of the next record; a point and an op take one each
  std::uint64_t points = 0, merged = 0, dropped = 0;
  std::uint64_t evicted_before = 0;  // records below this seq were removed by retention
  std::uint64_t evicted_points = 0;
  bool deleted = false;           // by the newest lifecycle record of this slot
  std::int64_t lifecycle_ms = 0;  // its time; 0: there is none
  Pairs params, tags;             // current values; tags last-wins
};

/// Where collecting stands in one thread's journal chain: everything before is in the buffer.
struct JournalCursor {
  Uid writer;
  std::uint32_t thread = 0;
  std::uint64_t segment = 0;  // position in the thread's chain, 0..
  std::uint32_t cell = 0;     // cells consumed of that segment
};

}  // namespace mlops::model
