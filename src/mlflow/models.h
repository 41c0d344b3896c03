// Models: datasets and models of runs, logged models. MLflow 2.4 has datasets, 3.0 the rest; docs/protocol.md. An
// interface, so that what works on it is tested against a scripted server in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mlflow/mlflow.h"

namespace mlops::mlflow {

struct DatasetInput {
  std::string name, digest, source_type, source, schema, profile;
  Pairs tags;
};

struct NewLoggedModel {
  std::string experiment_id, name, type, run_id;
  Pairs params, tags;
};

struct RemoteLoggedModel {
  std::string model_id, name, artifact_uri, status;
  Pairs params;
};

/// A point of a run and of one of its models.
struct ModelPoint {
  std::string_view key;
  model::Point point;
  std::string_view model_id, dataset_name, dataset_digest;
};

/// What a run is tied to.
struct RunLinks {
  std::string artifact_uri;
  std::vector<std::pair<std::string, std::string>> datasets;  // name, digest
  std::vector<std::string> inputs;                            // model ids
  std::vector<std::pair<std::string, std::int64_t>> outputs;  // model id, step
  std::vector<std::string> recorded;                          // model_uuid of each entry of mlflow.log-model.history
};

/// As Api's calls: nothing is repeated here, out parameters are set when ok. unsupported: the server has no such
/// endpoint.
class Models {
 public:
  virtual ~Models() = default;

  virtual Answer run_links(std::string_view run_id, RunLinks* out) = 0;
  virtual Answer log_dataset(std::string_view run_id, const DatasetInput& input) = 0;  // again: no change
  virtual Answer log_model_input(std::string_view run_id, std::string_view model_id) = 0;
  virtual Answer log_model_output(std::string_view run_id, std::string_view model_id,
                                  std::int64_t step) = 0;  // again: duplicate
  /// By tag mlops.uid. Of two, the smallest model_id.
  virtual Answer find_logged_model(std::string_view experiment_id, std::string_view uid, RemoteLoggedModel* out,
                                   bool* found) = 0;
  virtual Answer create_logged_model(const NewLoggedModel& model, RemoteLoggedModel* out) = 0;  // fresh connection
  virtual Answer finalize_logged_model(std::string_view model_id, bool ready) = 0;              // again: no change
  /// A model that is not there is run_gone with status not_found, here and below.
  virtual Answer get_logged_model(std::string_view model_id, RemoteLoggedModel* out) = 0;
  virtual Answer log_model_params(std::string_view model_id, const Pairs& params) = 0;  // each key once and for all
  virtual Answer set_model_tags(std::string_view model_id, const Pairs& tags) = 0;
  virtual Answer delete_model_tag(std::string_view model_id, std::string_view key) = 0;  // absent: run_gone
  virtual Answer delete_logged_model(std::string_view model_id) = 0;
  virtual Answer log_model_metrics(std::string_view run_id, const std::vector<ModelPoint>& points) = 0;  // <= 100
  /// runs/log-model: appends `entry` with run_id to mlflow.log-model.history, every time.
  virtual Answer record_model(std::string_view run_id, std::string_view artifact_path, std::string_view entry) = 0;
};

struct Exchange;
std::unique_ptr<Models> models_over(Exchange* exchange);

}  // namespace mlops::mlflow
