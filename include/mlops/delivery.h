// Delivery: what `mlops sync` and `mlops verify` do, as calls. A trainer needs none of it: Client delivers by itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "mlops/health.h"
#include "mlops/options.h"
#include "mlops/status.h"

MLOPS_NAMESPACE_BEGIN

struct DeliverProgress {
  std::uint64_t total = 0;      ///< points to deliver that are known so far
  std::uint64_t delivered = 0;  ///< of them
  std::uint64_t runs_total = 0, runs_done = 0;
  std::uint64_t files_total = 0, files_delivered = 0;            ///< artifacts, delivered before included
  std::uint64_t file_bytes_total = 0, file_bytes_delivered = 0;  ///< of them
  double points_per_second = 0;
  double seconds_left = -1;  ///< estimate; -1 unknown
  Status last_error;         ///< OK while all goes well
};

struct DeliverOptions {
  std::string root{};         ///< as in Options
  std::string to{};           ///< tracking URI, or a remote's name; MLFLOW_TRACKING_URI; the root's only destination
  Credentials credentials{};  ///< completed from the environment as in Client::open
  bool follow = false;        ///< stay: deliver live beside trainers, take over within 2 s, until *stop
  bool dry_run = false;       ///< count only, take no lock, send nothing
  bool end_dead_runs = true;  ///< runs whose process died are ended KILLED
  Millis deadline{0};         ///< give up after this long; 0 = not before everything is delivered or parked
  std::function<void(const DeliverProgress&)> on_progress{};  ///< about 5 times a second
  const std::atomic<bool>* stop = nullptr;                    ///< set it to leave early
  bool log_trouble = true;  ///< warn in the log of what keeps the server from taking data; false: on_progress shows it
};

struct DeliverReport {
  std::uint64_t runs = 0, points = 0, requests = 0, retries = 0, dead_letters = 0;
  std::uint64_t waiting = 0;                                ///< points not delivered at the end
  std::uint64_t files = 0, file_bytes = 0;                  ///< artifacts delivered now
  std::uint64_t files_waiting = 0, file_bytes_waiting = 0;  ///< artifacts not delivered at the end
  std::uint64_t intents_waiting = 0;                        ///< registry writes not settled at the end
  std::uint64_t parked = 0;                                 ///< runs that wait for somebody to act
  Status status;                                            ///< OK when nothing waits
};

/// Delivers a root: takes over free slots (collecting what dead processes left), stands by at slots somebody
/// delivers already. Blocks.
MLOPS_API Result<DeliverReport> deliver(const DeliverOptions& options);

struct Difference {
  std::string kind;  ///< "missing", "extra", "altered"
  std::string what;  ///< e.g. "metric loss step 12 value 0.5 time 1700000000000"
};
struct VerifyReport {
  std::string run_id, server_id;
  std::uint64_t points_local = 0, points_server = 0, points_waiting = 0;
  std::uint64_t params_checked = 0, tags_checked = 0;
  std::uint64_t files_checked = 0, files_waiting = 0;  ///< artifacts below the run's root
  std::uint64_t evicted = 0;            ///< points compared by count only, because retention removed them here
  std::vector<Difference> differences;  ///< the first 1,000
  std::uint64_t differences_total = 0;
  bool ok() const noexcept { return differences_total == 0; }
};
struct VerifyOptions {
  std::string root{};
  std::string to{};  ///< as in DeliverOptions
  Credentials credentials{};
  bool read_artifacts = false;  ///< reads every artifact back and compares digests; else sizes are compared
};
/// Compares what the server holds with what was accepted for a run. Blocks; reads only.
MLOPS_API Result<VerifyReport> verify(std::string_view run_id, const VerifyOptions& options);

MLOPS_NAMESPACE_END
