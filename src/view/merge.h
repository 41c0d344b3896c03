// Merge: how the parts of several slots become one row.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "buffer/buffer.h"
#include "ledger/ledger.h"
#include "mlops/reader.h"
#include "view/view.h"

namespace mlops::view {

/// `parts` is not empty, the owner's first. Status, name and times are the owner's; points add up; of params and tags
/// the owner's value wins; a metric's summary covers all parts.
RunSummary merge_run(const std::vector<const Part*>& parts, std::string server_id);
void add_counters(const buffer::SlotCounters& counters, Health* out);
/// Adds one slot's ledger, whose runs are `rows`, to its destination.
void add_ledger(const ledger::Ledger::Snapshot& snapshot, const std::vector<const model::RunRow*>& rows,
                DestinationHealth* out);
/// Appends all buffered points of a metric of a run in a slot, through a secondary. A damaged block is data_loss.
Status read_points(const std::string& slot_dir, const base::Uid& run, std::string_view metric,
                   std::vector<model::Point>* out);

}  // namespace mlops::view
