// Run: one training run. What it takes is *accepted* when the call returns and survives SIGKILL of the process.
#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "mlops/artifact.h"
#include "mlops/dataset.h"
#include "mlops/health.h"
#include "mlops/metric.h"
#include "mlops/model.h"
#include "mlops/options.h"
#include "mlops/registry.h"
#include "mlops/status.h"

MLOPS_NAMESPACE_BEGIN

enum class RunStatus : int { running = 1, scheduled = 2, finished = 3, failed = 4, killed = 5 };
MLOPS_API const char* run_status_name(RunStatus status) noexcept;  ///< MLflow's: "RUNNING", "FINISHED", …

/// A param's or tag's value: text, number or bool, written as MLflow's Python client writes it ("0.001", "True").
class MLOPS_API Value {
 public:
  // NOLINTBEGIN(google-explicit-constructor): log_param("lr", 1e-3) is the point of it
  Value(std::string_view text) : text_(text) {}
  Value(const char* text) : text_(text) {}
  Value(const std::string& text) : text_(text) {}
  Value(bool flag) : text_(flag ? "True" : "False") {}
  Value(double number);  ///< shortest form that reads back the same; "nan", "inf", "-inf"
  Value(float number);
  template <typename I, std::enable_if_t<std::is_integral<I>::value && !std::is_same<I, bool>::value, int> = 0>
  Value(I number) : text_(std::to_string(number)) {}
  // NOLINTEND(google-explicit-constructor)
  const std::string& text() const noexcept { return text_; }

 private:
  std::string text_;
};

/// Movable, not copyable. Leaving the scope ends the run: FINISHED, or FAILED while the stack unwinds from an
/// exception; it blocks at most RunOptions::end_deadline. In a forked child and in an attached process it only
/// detaches. All methods are thread-safe, except the destructor and moves.
///
/// None of the log_* and set_* calls waits for disk or network, except for the bounded wait of a full journal.
/// They fail with invalid_argument (message names the key, the limit and the value's start), failed_precondition
/// (ended, closed), already_exists (a param logged before with another value in this run), resource_exhausted
/// (journal full). What fails is not accepted; in a call of many, the good ones are accepted and the first failure
/// is returned. Keys: 1..250 characters of letters, digits, `_ - . / :` and space, normalised as a path. Text is
/// UTF-8 without NUL.
class MLOPS_API Run {
 public:
  Run(Run&&) noexcept;
  Run& operator=(Run&&) noexcept;
  ~Run();

  const std::string& id() const noexcept;    ///< ours, 32 hex; never changes; tag mlops.uid on the server
  const std::string& name() const noexcept;  ///< as of the last set_name here; the reference stays valid with the Run
  /// The server's run id. Blocks until delivery has created the run there, at most `deadline`.
  Result<std::string> server_id(Millis deadline = Millis(0)) const;

  /// The handle for `name`; the same name gives the same metric. An invalid name gives a handle whose points are
  /// dropped (reason `invalid`) and a message in the log; use try_metric to see the Status.
  Metric metric(std::string_view name) const noexcept;
  Result<Metric> try_metric(std::string_view name) const;
  /// A handle that counts its own steps: log(value) takes the next one, from the last step of the metric in this run
  /// on. Making it may wait up to 5 s for what was logged before to be buffered.
  class AutoStep;
  AutoStep auto_step(std::string_view name) const;

  /// One point by name; step 0 and time now when not given.
  Status log_metric(std::string_view name, double value, std::int64_t step = 0) noexcept;
  Status log_metric(std::string_view name, double value, std::int64_t step,
                    std::chrono::system_clock::time_point when) noexcept;
  using MetricPair = std::pair<std::string_view, double>;
  /// Many points of one step, one time stamp.
  Status log_metrics(std::initializer_list<MetricPair> metrics, std::int64_t step = 0) noexcept;
  Status log_metrics(const MetricPair* metrics, std::size_t count, std::int64_t step = 0) noexcept;

  /// Params are written once: the same value again is a no-op, another value is already_exists. Values of more than
  /// 6,000 characters are cut there as MLflow does, with a note in the log and the tag `mlops.truncated.<key>`.
  Status log_param(std::string_view key, const Value& value) noexcept;
  Status log_params(std::initializer_list<std::pair<std::string_view, Value>> params) noexcept;
  Status log_params(const Pairs& params) noexcept;

  Status set_tag(std::string_view key, const Value& value) noexcept;  ///< last one wins; cut at 8,000 characters
  Status set_tags(std::initializer_list<std::pair<std::string_view, Value>> tags) noexcept;
  Status set_tags(const Pairs& tags) noexcept;
  Status delete_tag(std::string_view key) noexcept;
  Status set_name(std::string_view name) noexcept;      ///< 1..250 characters
  Status set_note(std::string_view markdown) noexcept;  ///< tag mlflow.note.content

  /// A file, as it is now, under `artifact_path/<its name>`. This call and the ones below wait for a disk: as long as a
  /// copy of the file takes, or next to nothing where the file system can share its blocks (reflinks) or the file is
  /// moved; of a file that was changed within the last tick of the kernel's clock a few milliseconds more. None waits
  /// for the network. Hashing and upload are in the background; flush(durable) waits until bytes and names are.
  ///
  /// They fail with not_found, permission_denied, failed_precondition (no regular file; one that changed while it was
  /// copied, twice; an ended run), invalid_argument (the path: mlops/artifact.h), resource_exhausted (disk,
  /// Options::spool_mib, journal). What fails leaves nothing behind, and a file that was to be moved where it was.
  Status log_artifact(const std::string& file, std::string_view artifact_path = {},
                      const ArtifactOptions& options = {}) noexcept;
  /// Every file below the folder, under `artifact_path` and its path there; links are followed. A FIFO, a socket, a
  /// device, a link that leads nowhere or back, a file that cannot be read: the rest goes on, the first failure is
  /// returned, each is named in the log.
  Status log_artifacts(const std::string& folder, std::string_view artifact_path = {},
                       const ArtifactOptions& options = {}) noexcept;
  /// Below, `artifact_file` is the whole path of the artifact.
  Status log_bytes(std::string_view bytes, std::string_view artifact_file) noexcept;
  Status log_text(std::string_view text, std::string_view artifact_file) noexcept;  ///< UTF-8
  Status log_json(const Json& value, std::string_view artifact_file) noexcept;      ///< MLflow's log_dict
  Status log_json(const std::string& text, std::string_view artifact_file) noexcept;
  Status log_json(const char* text, std::string_view artifact_file) noexcept {
    return log_json(std::string(text), artifact_file);
  }
  /// A finished picture: PNG or SVG, as the ending of `artifact_file` must say (.png, .svg).
  Status log_figure(std::string_view png_or_svg, std::string_view artifact_file) noexcept;
  /// As PNG, at full depth of 8 bits.
  Status log_image(const Image& image, std::string_view artifact_file) noexcept;
  /// One of a series, shown by step in MLflow's image grid, with a preview of at most 256 pixels a side. key: letters,
  /// digits, `_ - . /` and space, 1..100 bytes.
  Status log_image(const Image& image, std::string_view key, std::int64_t step) noexcept;
  /// Columns of one length; a .json file that mlflow.load_table reads and MLflow's table view shows (tag
  /// mlflow.loggedArtifacts). No `" ' , : [ ] { }` in the path. Does not append: the same path again replaces it.
  Status log_table(const std::vector<TableColumn>& columns, std::string_view artifact_file) noexcept;
  /// Drawn (.svg) or as numbers (.json: {"edges": [], "counts": []}).
  Status log_histogram(const Histogram& histogram, std::string_view artifact_file) noexcept;
  /// A new version of the registered model `name` (made when it is not there) with the files below `artifact_path` of
  /// this run's artifacts; empty: all of them. Accepted at once, offline too; the version appears on the server once
  /// the artifacts logged before are there. Also after end. invalid_argument names what no server takes.
  Result<Pending> register_model(std::string_view artifact_path, std::string_view name,
                                 const RegisterOptions& options = {});

  /// The run used this dataset; `context` is what for ("training", "eval", …; tag mlflow.data.context; may be empty).
  /// Name and digest are its identity: a server keeps source, schema and profile of the first that has them, and
  /// of a run that logs it again the first context. A value too large for a record waits for the disk.
  Status log_input(const Dataset& dataset, std::string_view context = {}) noexcept;
  /// The run used this logged model. `model_id`: the server's ("m-…").
  Status log_model_input(const LoggedModel& model) noexcept;
  Status log_model_input(std::string_view model_id) noexcept;
  /// Logs a model; its files are what they were when the call returned. Waits for the disk as log_artifact does.
  /// `name`: 1..200 characters, none of / : . % " ' and no control character. Everything is checked before anything is
  /// promised; a file that cannot be read then leaves a model that is marked as failed, and the Status says which.
  Result<LoggedModel> log_model(std::string_view name, const std::vector<ModelFile>& files,
                                const ModelInfo& info = {}) noexcept;
  /// A model without files yet: PENDING until LoggedModel::finalize, also beyond the run's end, and an output of its
  /// run only where log_model_output says so. Of `info` its type, params and tags are taken. For programs that write
  /// a model's directory themselves; log_model does all of it.
  Result<LoggedModel> start_model(std::string_view name, const ModelInfo& info = {}) noexcept;
  /// A model of this run that was made before, perhaps by another process, by our id (32 hex); whether it is there is
  /// not asked. `name`: for messages.
  Result<LoggedModel> logged_model(std::string_view id, std::string_view name = {}) const noexcept;
  /// The run made this model, at `step`, 0 or more. log_model says so by itself.
  Status log_model_output(const LoggedModel& model, std::int64_t step = 0) noexcept;

  /// Ends the run; later calls fail, later points are dropped as `closed`. In an attached process and a forked
  /// child: detaches, status ignored. Accepted at once; blocks no longer than RunOptions::end_deadline for *durable*.
  /// `end_ms`: when it was, in milliseconds since the epoch; 0: now.
  Status end(RunStatus status = RunStatus::finished, std::int64_t end_ms = 0) noexcept;
  /// Lets the run go without ending it: it stays RUNNING, here and on the server, with no process, until somebody
  /// resumes it or ends it with Client::end_run; attached processes log to it meanwhile. This object is as after end.
  /// In an attached process and a forked child: detaches. Blocks as end does.
  Status leave() noexcept;
  bool ended() const noexcept;

  /// Waits until everything this process accepted for this run has reached `level`; deadline_exceeded says how
  /// much is missing, and the work goes on.
  Status flush(Level level = Level::durable, Millis deadline = Millis(10'000)) noexcept;

  struct Impl;  // private to src/client
  explicit Run(std::unique_ptr<Impl> impl) noexcept;

 private:
  std::unique_ptr<Impl> impl_;
};

/// Counts on from the run's last step of the metric. One thread at a time per object.
class Run::AutoStep {
 public:
  void log(double value) noexcept { metric_.log(value, next_++); }
  std::int64_t next_step() const noexcept { return next_; }
  AutoStep(Metric metric, std::int64_t next) noexcept : metric_(metric), next_(next) {}

 private:
  Metric metric_;
  std::int64_t next_;
};

MLOPS_NAMESPACE_END
