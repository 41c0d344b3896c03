// LoggedModel: a model of a run, with its files, as MLflow shows and loads it. docs/models.md.
//
// Run::log_model writes an MLflow model directory: the files as they are, and beside them `MLmodel`, the Python
// environment where a flavor needs one to be loaded, an input example, and `mlops-manifest.json` (path, size and
// SHA-256 of every other file). On a server that has logged models (MLflow 3) it becomes one; on others its files are
// artifacts of the run, below its name. The server decides at delivery.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mlops/dataset.h"
#include "mlops/options.h"
#include "mlops/status.h"

MLOPS_NAMESPACE_BEGIN

/// A file of the model: what is read, and where it stands in the model's directory (a plain relative path; empty: the
/// file's own name).
struct ModelFile {
  std::string file;
  std::string path{};
};

/// How a model can be loaded. `data` is the path of its main file in the directory; empty: the first file. That of
/// onnx, xgboost and lightgbm is at the top of the directory: their loaders look for MLmodel beside it.
enum class Flavor : int {
  cpp = 1,       ///< `cpp`: for programs that know what to do with the files; nothing of it is Python
  onnx = 2,      ///< `onnx` and `python_function`: mlflow.onnx.load_model, mlflow.pyfunc.load_model
  xgboost = 3,   ///< `xgboost` and `python_function`; a Booster's file: .ubj, .json or .deprecated binary
  lightgbm = 4,  ///< `lightgbm` and `python_function`; the text file that Booster::SaveModel writes
  /// `pytorch` and `python_function`. A TorchScript archive; it stands at data/model.pth, whatever its name was.
  torchscript = 5,
};

struct ModelInfo {
  Flavor flavor = Flavor::cpp;
  std::string data;        ///< see Flavor
  std::string model_type;  ///< as MLflow shows it: "classifier", "xgboost", …; at most 500 characters
  std::int64_t step = 0;   ///< of the run, when the model was made: at least 0
  Pairs params;            ///< of the model, at most 100; keys as a run's, values at most 6,000 characters
  Pairs tags;              ///< of the model; keys as a run's, values at most 8,000 characters
  Schema inputs, outputs;  ///< its signature
  /// JSON: a pandas frame in "split" form ({"columns": […], "data": [[…]]}), or a list, the values of one tensor.
  /// Empty: none.
  std::string input_example;
  /// What Python needs, as pip writes it: "onnxruntime==1.20.1". Empty: the flavor's packages, any version.
  std::vector<std::string> requirements;
  std::string python = "3.11";  ///< its version there
  Pairs metadata;               ///< free texts in MLmodel
};

/// Of a model that was logged, in this process. A cheap copy; thread-safe. Empty when made by default.
class MLOPS_API LoggedModel {
 public:
  LoggedModel() noexcept = default;
  const std::string& id() const noexcept;  ///< ours, 32 hex; tag mlops.uid of the logged model
  const std::string& name() const noexcept;
  const std::string& run_id() const noexcept;  ///< ours, of its run
  /// The server's id, "m-…". Blocks until delivery has made it there, at most `deadline`. unimplemented: the server has
  /// no logged models; failed_precondition: it refused this one, or nothing is delivered from here.
  Result<std::string> server_id(Millis deadline = Millis(0)) const;
  /// A point of the run's metric `name` (as Run::log_metric) that is one of this model too, and of the dataset it was
  /// measured on. Where the server has no logged models it is one of the run. `time_ms`: since the epoch; -1: now. Not
  /// for hot loops: about 10 µs.
  Status log_metric(std::string_view name, double value, std::int64_t step = 0, const Dataset* dataset = nullptr,
                    std::int64_t time_ms = -1) noexcept;
  /// The calls below are accepted when they return, like all logging to the model's run, and fail once that has ended
  /// here. log_params: each key once; of another value the server's refusal is a dead letter (`mlops stuck`). At most
  /// 100 params and 44,000 bytes a call.
  Status log_params(const Pairs& params) noexcept;
  Status set_tags(const Pairs& tags) noexcept;  ///< last one wins
  Status delete_tag(std::string_view key) noexcept;
  /// Of a model that Run::start_model made: a file as it is now, under `path` and its own name; every file below a
  /// folder. As Run::log_artifact(s). failed_precondition in a process that did not make the model and joined its run
  /// beside another one.
  Status log_artifact(const std::string& file, std::string_view path = {}) noexcept;
  Status log_artifacts(const std::string& folder, std::string_view path = {}) noexcept;
  /// These are all files: READY on the server once they are there; false: UPLOAD_FAILED. The first one counts.
  Status finalize(bool ready = true) noexcept;
  /// MLflow's soft delete: out of sight, here and on the server, for good.
  Status remove() noexcept;

  struct Impl;  // private to src/client
  explicit LoggedModel(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
  const std::shared_ptr<Impl>& impl() const noexcept { return impl_; }

 private:
  std::shared_ptr<Impl> impl_;
};

MLOPS_NAMESPACE_END
