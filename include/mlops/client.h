// Client: the door to a buffer. Open one per process; copies share it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "mlops/health.h"
#include "mlops/options.h"
#include "mlops/registry.h"
#include "mlops/run.h"
#include "mlops/status.h"

MLOPS_NAMESPACE_BEGIN

/// A named group of runs. Made on the server when the first run of it is delivered.
class MLOPS_API Experiment {
 public:
  const std::string& name() const noexcept;
  Result<Run> start_run(RunOptions options = {}) const;
  struct Impl;
  explicit Experiment(std::shared_ptr<Impl> impl) noexcept;

 private:
  std::shared_ptr<Impl> impl_;
};

/// Copyable (shares), thread-safe. Two clients on one root share slot, drain and buffer; another root is another core.
/// Destroying the last copy closes nothing: runs go on, and the exit of the process closes what is open.
///
/// In a forked child the inherited client still starts runs and logs (its parent's drain collects it), and `end` of an
/// inherited run only detaches. flush, resuming, attaching and opening another root are failed_precondition there.
class MLOPS_API Client {
 public:
  /// Reads the environment once, locks a slot (taking over a free one with what a dead process left in it), checks
  /// that the folder can be written, maps the first journal segment and starts the background threads. Waits for
  /// no network and opens no database on this thread. Fails with invalid_argument (a URI that is none),
  /// permission_denied, resource_exhausted (full disk), failed_precondition (root is a file, owned by another user). ≤
  /// 10 ms warm.
  static Result<Client> open(Options options = {});

  /// Experiment names: 1..256 characters. Empty: MLFLOW_EXPERIMENT_NAME, else "Default".
  Experiment experiment(std::string_view name, ExperimentOptions options = {}) const;
  /// Starts (or resumes, attaches to) a run. Valid offline.
  Result<Run> start_run(std::string_view experiment = {}, RunOptions options = {}) const;

  /// Ends a run of this root that no process has open: one that was left open (Run::leave) or whose process is gone.
  /// `id`: ours, the server's, or a prefix. Also while another process uses the run's slot. Accepted when it returns
  /// OK; waits up to five seconds for readers to see it. not_found; failed_precondition: it has ended, the living
  /// process it belongs to ends it, or it belongs to another host.
  /// `end_ms` is as in Run::end.
  Status end_run(std::string_view id, RunStatus status = RunStatus::finished, std::int64_t end_ms = 0) const;

  /// Registered models, versions, aliases: mlops/registry.h. Valid offline.
  Registry registry() const;

  /// Waits until everything this process accepted has reached `level`. deadline_exceeded says what is missing, and the
  /// work goes on; failed_precondition: closed, no destination to deliver to, or runs that wait for somebody to act.
  Status flush(Level level = Level::durable, Millis deadline = Millis(10'000)) const noexcept;
  Health health() const;
  /// `callback` is called on a background thread at most once a second while something changes, and at once when
  /// the state of the buffer or of a destination changes. It must not block. Empty: none.
  void on_health(std::function<void(const Health&)> callback) const;

  const std::string& root() const noexcept;          ///< absolute
  const std::string& tracking_uri() const noexcept;  ///< empty when local only

  /// Ends the runs started through this client (FINISHED); the last open client of a root also drains, tries to deliver
  /// (two seconds without a server are enough of a try: the rest is on disk) and lets the slot go. Bounded by
  /// Options::exit_deadline. Also done at exit for clients still open. Later calls are failed_precondition.
  Status close() const noexcept;

  struct Impl;
  explicit Client(std::shared_ptr<Impl> impl) noexcept;

 private:
  std::shared_ptr<Impl> impl_;
};

MLOPS_NAMESPACE_END
