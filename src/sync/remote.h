// Remote: the calls a lane makes, as an interface, so that lanes are tested against a scripted server in memory.
// Semantics of each call: mlflow/mlflow.h. One thread at a time, except cancel and the counters.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "mlflow/mlflow.h"
#include "mlflow/models.h"
#include "mlflow/registry.h"
#include "mlops/options.h"
#include "mlops/status.h"
#include "model/record.h"

namespace mlops::sync {

class Remote {
 public:
  virtual ~Remote() = default;
  virtual mlflow::Answer probe(mlflow::Server* out) = 0;
  virtual mlflow::Answer experiment_by_name(std::string_view name, std::string* id) = 0;
  virtual mlflow::Answer create_experiment(const model::Op& spec, std::string* id) = 0;
  virtual mlflow::Answer find_run(std::string_view experiment_id, std::string_view uid, mlflow::RemoteRun* out,
                                  bool* found) = 0;
  virtual mlflow::Answer create_run(std::string_view experiment_id, const model::Op& start, const Pairs& tags,
                                    std::string* run_id) = 0;
  virtual mlflow::Answer get_run(std::string_view run_id, mlflow::RemoteRun* out) = 0;
  virtual mlflow::Answer log_metrics(std::string_view run_id, const mlflow::MetricPoint* points, std::size_t count,
                                     std::string_view tag_key, std::string_view tag_value) = 0;
  virtual mlflow::Answer log_params(std::string_view run_id, const Pairs& params) = 0;
  virtual mlflow::Answer set_tags(std::string_view run_id, const Pairs& tags) = 0;
  virtual mlflow::Answer delete_tag(std::string_view run_id, std::string_view key) = 0;
  virtual mlflow::Answer update_run(std::string_view run_id, RunStatus status, std::int64_t end_ms,
                                    std::string_view name) = 0;
  virtual mlflow::Answer set_deleted(std::string_view run_id, bool deleted) = 0;
  virtual mlflow::Answer metric_history(std::string_view run_id, std::string_view key,
                                        std::vector<model::Point>* out) = 0;
  virtual mlflow::Registry& registry() = 0;
  virtual mlflow::Models& models() = 0;
  virtual void cancel() = 0;  // any thread: the call in progress returns soon
  virtual std::uint64_t bytes_sent() const = 0;
};

using MakeRemote = std::function<Result<std::unique_ptr<Remote>>()>;

/// Connections to a real server, one per call.
MakeRemote remote_to(std::string uri, Credentials credentials);

}  // namespace mlops::sync
