// View: one picture of all slots of a root, for readers. Takes no lock that a writer would notice, changes nothing.
//
// Listing reads the slots' summary files and ledgers only; points come from the slots' databases, opened as
// secondaries. Each call looks anew. Not thread-safe: one object per thread or a lock around it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "buffer/buffer.h"
#include "ledger/ledger.h"
#include "mlops/reader.h"

namespace mlops::view {

/// One slot's part of a run.
struct Part {
  std::string slot_dir;
  std::string host;
  bool alive = false;  // a process holds the slot
  model::RunRow row;
  std::vector<buffer::MetricRow> metrics;
};

class View {
 public:
  /// not_found when the folder is missing.
  static Result<std::unique_ptr<View>> open(const std::string& root);
  virtual ~View() = default;
  /// Runs merged over slots: an attached process's part joins its owner's row.
  virtual Result<std::vector<RunSummary>> runs(const RunQuery& query) = 0;
  /// `id` as in mlops::Reader::run: ours, the server's, or a unique prefix of at least 4 characters.
  virtual Result<RunSummary> run(std::string_view id) = 0;
  virtual Result<Series> series(std::string_view run_id, std::string_view metric) = 0;
  virtual Result<Damage> scan(std::string_view run_id, const std::function<bool(const PointBatch&)>& take) = 0;
  virtual Result<std::vector<Curve>> curves(std::string_view run_id, const CurveOptions& options, Damage* damage) = 0;
  virtual Result<std::vector<ArtifactInfo>> artifacts(std::string_view run_id) = 0;
  virtual Result<std::vector<ModelSummary>> models() = 0;
  virtual Result<Health> health() = 0;
  /// Why the last runs() could not list those of some slots.
  virtual std::vector<Status> problems() const = 0;
  /// The slots that hold the run, its owner's first. not_found when there is none.
  virtual Result<std::vector<Part>> parts(std::string_view id) = 0;
  /// The newest run of that name in the experiment; not_found.
  virtual Result<base::Uid> newest_named(std::string_view experiment, std::string_view name) = 0;
};

/// A slot's database, read beside whoever writes it. Its own files lie below the system's temporary folder and go with
/// the reader.
Result<std::unique_ptr<buffer::Reader>> open_beside(const std::string& slot_dir);

}  // namespace mlops::view
