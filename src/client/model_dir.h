// ModelDir: the files that make a folder an MLflow model: MLmodel, the Python environment, the example, our manifest.
//
// MLmodel is written once, when the model is logged, and says nothing that a server decides: no run_id, no model_id, no
// artifact_path (docs/adr/0022). Its YAML is of one kind: maps in blocks, and every value a JSON text.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/snapshot.h"
#include "base/uid.h"
#include "mlops/model.h"

namespace mlops::client {

/// A file of the model as it will be there.
struct ModelEntry {
  std::string path, file;  // file: where it is read; empty: `bytes` are it
  std::string bytes;
  std::uint64_t size = 0;
  std::string sha256;  // hex
  base::FileId id;     // of `file`, when the digest was taken
};

struct ModelDir {
  std::vector<ModelEntry> entries;  // the user's, then ours, the manifest last
  std::string history;              // of mlflow.log-model.history, without artifact_path and run_id
};

/// Reads the files (for their digests), changes nothing. The statuses are those of Run::log_model.
Result<ModelDir> make_model_dir(const std::vector<ModelFile>& files, const ModelInfo& info, const base::Uid& uid,
                                std::int64_t time_ms);
/// All that does not concern files; params and tags only in number (model::add_model_pairs).
Status check_model_info(const ModelInfo& info);
/// The history of a model of which only its files are known.
std::string history_without_flavors(const base::Uid& uid, std::int64_t time_ms);

}  // namespace mlops::client
