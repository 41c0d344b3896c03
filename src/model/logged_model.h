// LoggedModel: what the record of a logged model may say beside its name (key), type (value) and step (number).
//
// Pairs: "param:" and a key; "tag:" and a key; kHistory: what a server without logged models is told of it in
// mlflow.log-model.history, a JSON object that lacks artifact_path and run_id, which the server alone knows; kOpen "1":
// it is no output of its run, and stays PENDING beyond the run until it is ended. Of a change: kUntagPrefix and a key.
#pragma once

#include <string_view>

#include "mlops/options.h"
#include "mlops/status.h"

namespace mlops::model {

inline constexpr std::string_view kParamPrefix = "param:", kModelTagPrefix = "tag:", kHistory = "history",
                                  kOpen = "open", kUntagPrefix = "untag:";
inline constexpr std::size_t kModelNameChars = 200, kModelTypeChars = 500, kModelParams = 100, kModelParamChars = 6'000,
                             kModelTagChars = 8'000;
/// The manifest of a model's directory: {"version": 1, "files": [{"path": …, "size": …, "sha256": …}, …]}, sorted by
/// path, every file but itself.
inline constexpr std::string_view kManifestFile = "mlops-manifest.json";

/// MLflow's rule for names of logged models, and ours for folders: see Run::log_model.
Status check_logged_model_name(std::string_view name);

/// Keys and values within the limits above; `prefix` is put before each key.
Status add_model_pairs(std::string_view prefix, const Pairs& pairs, Pairs* out);

}  // namespace mlops::model
