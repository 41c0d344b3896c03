// LoggedModel: what the record of a logged model may say beside its name (key), type (value) and step (number).
//
// Pairs: "param:" and a key; "tag:" and a key; kHistory: what a server without logged models is told of it in
// mlflow.log-model.history, a JSON object that lacks artifact_path and run_id, which the server alone knows.
#pragma once

#include <string_view>

#include "mlops/status.h"

namespace mlops::model {

inline constexpr std::string_view kParamPrefix = "param:", kModelTagPrefix = "tag:", kHistory = "history";
inline constexpr std::size_t kModelNameChars = 200, kModelTypeChars = 500, kModelParams = 100, kModelParamChars = 6'000,
                             kModelTagChars = 8'000;
/// The manifest of a model's directory: {"version": 1, "files": [{"path": …, "size": …, "sha256": …}, …]}, sorted by
/// path, every file but itself.
inline constexpr std::string_view kManifestFile = "mlops-manifest.json";

/// MLflow's rule for names of logged models, and ours for folders: see Run::log_model.
Status check_logged_model_name(std::string_view name);

}  // namespace mlops::model
