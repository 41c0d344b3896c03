// Reader: what is in a root, read without a server and without disturbing who writes it.
//
// Takes no lock and changes nothing. Sees what is buffered; points younger than a beat (0.5 s), and those a killed
// process left in its journal, appear once a drain has collected them (the next start, or `mlops sync`).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mlops/health.h"
#include "mlops/options.h"
#include "mlops/run.h"
#include "mlops/status.h"

MLOPS_NAMESPACE_BEGIN

struct MetricSummary {
  std::string name;
  std::uint64_t count = 0;
  double last = 0;  ///< the server's "latest": greatest (step, time, value)
  std::int64_t last_step = 0;
  std::int64_t last_time_ms = 0;
  double min = 0, max = 0;  ///< over values that are not NaN
  std::int64_t min_step = 0, max_step = 0;
};

struct RunSummary {
  std::string id;         ///< ours
  std::string server_id;  ///< of the first destination that has it; empty
  std::string experiment;
  std::string name;
  std::string parent_id;
  RunStatus status = RunStatus::running;
  bool left_open = false;                 ///< RUNNING without a process, until somebody ends it (Run::leave)
  bool live = false;                      ///< its process is alive
  bool deleted = false;                   ///< out of sight until it is restored (mlops/manage.h)
  std::int64_t start_ms = 0, end_ms = 0;  ///< end 0 while running
  std::uint64_t points = 0;
  Pairs params, tags;
  std::vector<MetricSummary> metrics;
};

/// What Reader::runs looks for. `filter` and `order_by` are MLflow's search language: clauses joined by AND over
/// `metrics.<key>` (its last value), `params.<key>`, `tags.<key>` and attributes (status, run_name, run_id, start_time,
/// end_time, user_id); = != < <= > >= for numbers, = != LIKE ILIKE IN for texts, IS [NOT] NULL for params and tags;
/// keys with other characters in backticks or double quotes. NaN matches nothing but !=.
struct RunQuery {
  std::string filter{};
  std::vector<std::string> order_by{};  ///< "metrics.loss ASC", "start_time DESC"; default newest start first
  std::string experiment{};             ///< only its runs; empty: all
  enum class Shown { active, deleted, all } shown = Shown::active;  ///< as MLflow's run_view_type
  std::uint64_t limit = 0;                                          ///< at most so many; 0: all
};

/// What a reader met and had to leave out. The rest is readable.
struct Damage {
  std::uint64_t blocks = 0;  ///< damaged blocks, skipped
  std::uint64_t points = 0;  ///< that were in them, near enough
  std::string words;         ///< where and what the first one is; empty when all is well
};

/// One artifact of a run.
struct ArtifactInfo {
  std::string path;
  std::string model_id;    ///< ours, of the logged model whose file it is; empty: the run's own
  std::uint64_t size = 0;  ///< bytes
  std::int64_t time_ms = 0;
  std::string sha256{};  ///< hex; empty while it is not hashed yet
  std::string lost{};    ///< why the bytes are not here (changed before they were read, evicted, …); empty: they are
  std::string file{};    ///< where they are at this moment; empty when lost
};

/// A point of a logged model, measured on a dataset where one is named.
struct ModelMetric {
  std::string name;
  double value = 0;
  std::int64_t step = 0, time_ms = 0;
  std::string dataset{}, digest{};
  std::string run_id{};  ///< ours, of the run that logged it
};

/// A logged model that was made in this root.
struct ModelSummary {
  std::string id;         ///< ours
  std::string server_id;  ///< "m-…", of the first destination that has it; empty
  std::string name, type;
  std::string run_id, experiment;               ///< ours, of the run that made it
  std::string status;                           ///< "PENDING", "READY", "FAILED"
  std::int64_t created_ms = 0, updated_ms = 0;  ///< milliseconds since the epoch
  bool deleted = false;
  Pairs params, tags;                ///< by key
  std::vector<ModelMetric> metrics;  ///< in the order in which they were logged
};

/// Columns of one metric in (step, time) order as logged; equal lengths.
struct Series {
  std::vector<std::int64_t> step;
  std::vector<std::int64_t> time_ms;
  std::vector<double> value;
  Damage damage;
};

/// Some points of a run, as they were buffered. What it points to is valid during the call that hands it over.
struct PointBatch {
  std::size_t part = 0;                ///< 0: its owner's points; 1..: those of processes that attached to the run
  const std::string* names = nullptr;  ///< of the metrics, by number; numbers are the part's own
  std::size_t size = 0;                ///< points
  const std::uint32_t* metric = nullptr;
  const std::int64_t* step = nullptr;
  const std::int64_t* time_ms = nullptr;
  const double* value = nullptr;
};

/// A metric drawn with few points: equally wide buckets of x, in order, empty ones left out. Equal lengths.
struct Curve {
  std::string metric;
  std::vector<std::int64_t> x;  ///< the bucket's smallest step, or time in ms since the epoch
  std::vector<std::uint64_t> count;
  std::vector<double> mean, min, max;  ///< over values that are not NaN; NaN where there are none
};
struct CurveOptions {
  std::vector<std::string> metrics{};  ///< empty: all
  bool by_time = false;                ///< x is the time, not the step
  std::size_t most_buckets = 1024;     ///< per curve, 2..65,536
  std::uint64_t most_points =
      0;  ///< of the run, read evenly in whole blocks; counts are of what was read. 0: every one
};

class MLOPS_API Reader {
 public:
  /// root as in Options; not_found when there is none.
  static Result<Reader> open(std::string root = {});
  /// The runs asked for. Reads the summary files only. invalid_argument says what is wrong with a filter.
  Result<std::vector<RunSummary>> runs(const RunQuery& query = {}) const;
  /// `id`: ours or the server's, or a prefix of at least 4 characters that is unique.
  Result<RunSummary> run(std::string_view id) const;
  /// All buffered points of a metric; not_found names the metrics there are. Opens the slot's database as a secondary.
  Result<Series> series(std::string_view run_id, std::string_view metric) const;
  /// Every buffered point of a run, batch by batch in flat memory, until `take` returns false.
  Result<Damage> scan(std::string_view run_id, const std::function<bool(const PointBatch&)>& take) const;
  /// One curve for each metric of the run (or of `options.metrics`), by name. `damage` may be null.
  Result<std::vector<Curve>> curves(std::string_view run_id, const CurveOptions& options,
                                    Damage* damage = nullptr) const;
  /// Artifacts of a run, in the order in which they were logged; those of evicted records are gone.
  Result<std::vector<ArtifactInfo>> artifacts(std::string_view run_id) const;
  /// The logged models of this root, newest first; those of before this release are not known. Opens the database of
  /// each slot.
  Result<std::vector<ModelSummary>> models() const;
  /// What the last runs() had to leave out: slots whose runs cannot be listed (a damaged summary, one of a newer
  /// version), each with the reason.
  std::vector<Status> problems() const;
  /// Counts per slot and destination, as Health, for the whole root (`mlops status`).
  Result<Health> health() const;
  const std::string& root() const noexcept;

  struct Impl;
  explicit Reader(std::shared_ptr<Impl> impl) noexcept;

 private:
  std::shared_ptr<Impl> impl_;
};

MLOPS_NAMESPACE_END
