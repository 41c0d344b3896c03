// Merge: how the parts of several slots become one row.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "buffer/buffer.h"
#include "ledger/ledger.h"
#include "mlops/reader.h"
#include "view/view.h"

namespace mlops::view {

/// Runs out of their parts. Status, name and times are the owner's; points add up; of params and tags the owner's value
/// wins; a metric's summary covers all parts.
class Merger {
 public:
  /// `server_id`: the run's on a destination, as the part's slot knows it; may be empty.
  void add(Part part, std::string server_id);
  /// All of them, in no particular order, each with its metrics by name.
  std::vector<RunSummary> take();

 private:
  struct Merged {
    RunSummary run;
    bool owned = false;             // the owner's part is in it
    std::int64_t lifecycle_ms = 0;  // of the newest word on whether it is deleted, whoever said it
  };
  std::vector<Merged> runs_;
  std::unordered_map<std::string, std::size_t> places_;  // by run id
};

void add_counters(const buffer::SlotCounters& counters, Health* out);
/// Adds one slot's ledger, whose runs are `rows`, to its destination.
void add_ledger(const ledger::Ledger::Snapshot& snapshot, const std::vector<const model::RunRow*>& rows,
                DestinationHealth* out);

}  // namespace mlops::view
