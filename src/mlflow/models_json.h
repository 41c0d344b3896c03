// Bodies and answers of Models. Private to mlflow.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mlflow/decode.h"
#include "mlflow/models.h"

namespace mlops::mlflow {

std::string encode_log_dataset(std::string_view run_id, const DatasetInput& input);
std::string encode_log_model_input(std::string_view run_id, std::string_view model_id);
std::string encode_log_model_output(std::string_view run_id, std::string_view model_id, std::int64_t step);
std::string encode_new_logged_model(const NewLoggedModel& model);
std::string encode_find_logged_model(std::string_view experiment_id, std::string_view filter);
std::string encode_finalize(std::string_view model_id, const char* status);
/// `what`: "params" or "tags".
std::string encode_model_pairs(std::string_view model_id, const char* what, const Pairs& pairs);
std::string encode_model_metrics(std::string_view run_id, const std::vector<ModelPoint>& points);
/// `entry` (a JSON object, or it counts as an empty one) with artifact_path and run_id, as the string that log-model
/// wants.
std::string encode_record_model(std::string_view run_id, std::string_view artifact_path, std::string_view entry);

// Each returns false when the reply is not of that shape.
bool read_links(const Reply& reply, RunLinks* out);
bool read_logged_model(const Reply& reply, RemoteLoggedModel* out);
bool read_logged_models(const Reply& reply, std::vector<RemoteLoggedModel>* out);

}  // namespace mlops::mlflow
