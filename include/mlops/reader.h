// Reader: what is in a root, read without a server and without disturbing who writes it.
//
// Takes no lock and changes nothing. Sees what is buffered; points younger than a beat (0.5 s), and those a killed
// process left in its journal, appear once a drain has collected them (the next start, or `mlops sync`).
#pragma once

#include <cstdint>
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
  bool live = false;                      ///< its process is alive
  bool deleted = false;                   ///< out of sight until it is restored (mlops/manage.h)
  std::int64_t start_ms = 0, end_ms = 0;  ///< end 0 while running
  std::uint64_t points = 0;
  Pairs params, tags;
  std::vector<MetricSummary> metrics;
};

/// Columns of one metric in (step, time) order as logged; equal lengths.
struct Series {
  std::vector<std::int64_t> step;
  std::vector<std::int64_t> time_ms;
  std::vector<double> value;
};

class MLOPS_API Reader {
 public:
  /// root as in Options; not_found when there is none.
  static Result<Reader> open(std::string root = {});
  /// All runs, newest start first. Reads the summary files only.
  Result<std::vector<RunSummary>> runs() const;
  /// `id`: ours or the server's, or a prefix of at least 4 characters that is unique.
  Result<RunSummary> run(std::string_view id) const;
  /// All buffered points of a metric; not_found names the metrics there are. Opens the slot's database as a secondary.
  Result<Series> series(std::string_view run_id, std::string_view metric) const;
  /// Counts per slot and destination, as Health, for the whole root (`mlops status`).
  Result<Health> health() const;
  const std::string& root() const noexcept;

  struct Impl;
  explicit Reader(std::shared_ptr<Impl> impl) noexcept;

 private:
  std::shared_ptr<Impl> impl_;
};

MLOPS_NAMESPACE_END
