// Encode: request bodies, as JSON objects with their fields in the order MLflow parses them (a field that fails to
// parse there takes all later ones with it, silently: so what proves the rest stands last). Private to mlflow.
#pragma once

#include <string>
#include <string_view>

#include "mlflow/mlflow.h"

namespace mlops::mlflow {

std::string encode_create_experiment(const model::Op& spec);
/// Tags of the start and `tags` (these win), mlops.uid always.
std::string encode_create_run(std::string_view experiment_id, const model::Op& start, const Pairs& tags);
std::string encode_search_runs(std::string_view experiment_id, std::string_view filter, bool deleted_too,
                               int max_results);
/// `field`: "params" or "tags" of log-batch.
std::string encode_pairs(std::string_view run_id, const char* field, const Pairs& pairs);
std::string encode_delete_tag(std::string_view run_id, std::string_view key);
std::string encode_run_id(std::string_view run_id);
std::string encode_update_run(std::string_view run_id, const char* status, std::int64_t end_ms, std::string_view name);

}  // namespace mlops::mlflow
