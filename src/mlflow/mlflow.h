// Mlflow: the dialect. Bodies, endpoints, what a server can, and what each answer means. Source: MLflow's REST API as
// measured on 2.22 to 3.17; docs/protocol.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/http.h"
#include "mlops/options.h"
#include "mlops/status.h"
#include "model/record.h"

namespace mlops::mlflow {

/// What to do after a call: the classification table (durability-and-speed 7.8, corrected by what was measured).
enum class Verdict {
  ok,
  offline,        // certainly not executed: back off, try again
  ambiguous,      // may have been executed: prove by read-back before repeating
  throttled,      // 429/503 with a time: wait that long
  too_large,      // 413: halve
  rejected,       // 400 about a record: bisect to it, dead-letter it; status already_exists: a param with another value
  duplicate,      // 400 naming a unique constraint: already there or a race: resend small, read back
  exists,         // create repeated: look it up
  run_gone,       // run deleted, missing or in a deleted experiment: park the run
  auth,           // 401/403: pause, re-read credentials
  misconfigured,  // redirect, HTML where JSON belongs at a wrong path, host header refused: park, say so
  unsupported,    // endpoint absent: capability off
};

struct Answer {
  Verdict verdict = Verdict::ok;
  Status status;  // words with what to do; OK when verdict is ok
  std::int64_t retry_after_ms = -1;
  int http_status = 0;
};

/// What the server can; probed once per connection set, again after reconnects.
struct Server {
  std::string version;  // "" unknown
  int major = 0, minor = 0, patch = 0;
  bool whole_resend_ok = false;  // >= 3.10: a repeated batch of any shape is a no-op
  bool nan_resend_ok = false;    // >= 3.17.2
  std::string store_type;        // "SqlStore", "FileStore" (appends what is repeated), "" unknown
  std::optional<bool> multipart_uploads, multipart_downloads;  // of the proxied store; unset: not said (before 3.15)
};

struct MetricPoint {
  std::string_view key;  // valid UTF-8, checked by model
  model::Point point;
};

struct RemoteRun {
  std::string run_id, experiment_id, name;
  std::string lifecycle_stage, status;
  std::string artifact_uri;
  Pairs params, tags;
  std::vector<std::pair<std::string, std::int64_t>> last_steps;  // of each metric, that of the latest point
  std::vector<std::pair<std::string, double>> last_values;       // the same points
};

class Models;    // mlflow/models.h
class Registry;  // mlflow/registry.h

/// Calls over one connection; one thread at a time (cancel and the counters from any). Each returns what it means; out
/// parameters are set when ok. Nothing is repeated here. A read of something that is not there (get_run,
/// experiment_by_name) is run_gone with status not_found; what is there but deleted is run_gone with
/// failed_precondition.
class Api {
 public:
  /// A connection to `uri` (as http::check_uri takes it), made but not opened yet.
  static Result<std::unique_ptr<Api>> connect(const std::string& uri, const Credentials& credentials);
  explicit Api(std::unique_ptr<http::Connection> connection);
  ~Api();

  Answer probe(Server* out);  // server-info, /version; never mandatory: fails only when nobody answers
  Answer experiment_by_name(std::string_view name, std::string* id);  // run_gone + not_found when absent
  Answer create_experiment(const model::Op& spec, std::string* id);   // exists: look it up; a deleted one counts
  /// By tag mlops.uid, deleted ones too (see lifecycle_stage). Of two, an active one, then the smallest run_id.
  Answer find_run(std::string_view experiment_id, std::string_view uid, RemoteRun* out, bool* found);
  Answer find_run_by_name(std::string_view experiment_id, std::string_view name, RemoteRun* out,
                          bool* found);  // newest, active
  Answer create_run(std::string_view experiment_id, const model::Op& start, const Pairs& tags,
                    std::string* run_id);  // fresh connection
  Answer get_run(std::string_view run_id, RemoteRun* out);
  /// ≤ 1,000 entities; `tag` (may be empty) is the watermark, last in the body.
  Answer log_metrics(std::string_view run_id, const MetricPoint* points, std::size_t count, std::string_view tag_key,
                     std::string_view tag_value);
  Answer log_params(std::string_view run_id, const Pairs& params);   // ≤ 100
  Answer set_tags(std::string_view run_id, const Pairs& tags);       // ≤ 100
  Answer delete_tag(std::string_view run_id, std::string_view key);  // absent is ok
  /// `name` may be empty. running + end_ms 0 with a name: the name only; without: RUNNING again (a resumed run).
  Answer update_run(std::string_view run_id, RunStatus status, std::int64_t end_ms, std::string_view name);
  Answer set_deleted(std::string_view run_id, bool deleted);  // runs/delete, runs/restore; the same again is ok
  /// All pages, sorted by (step, time); a key the run does not have is no point.
  Answer metric_history(std::string_view run_id, std::string_view key, std::vector<model::Point>* out);
  Registry& registry();  // over the same connection
  Models& models();      // so is this
  void cancel();         // from another thread: the call in progress ends at once
  std::uint64_t bytes_sent() const;
  std::uint64_t requests() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The body of log-batch, appended to `out`: keys escaped by the JSON library, numbers shortest round-trip, NaN and
/// infinities as quoted strings. Exposed for tests and the bench.
void encode_log_batch(std::string_view run_id, const MetricPoint* points, std::size_t count, std::string_view tag_key,
                      std::string_view tag_value, std::string* out);
/// Size in bytes one point takes in that body, at most.
std::size_t encoded_size(const MetricPoint& p);

/// Of LOGNAME, USER, … as `env` (may be empty) gives them, else of our user in /etc/passwd: no name service is asked.
/// Empty: not known.
std::string user_name(const http::Env& env);
/// Tags as MLflow's own client sets them: mlflow.user, mlflow.source.name, .type, .git.commit, .git.branch,
/// .git.repoURL of the current folder. No process is started.
Pairs source_tags(const http::Env& env = {});

}  // namespace mlops::mlflow
