// Slots: what each slot of a root says of itself, one slot at a time, so that memory holds one slot's runs and not all.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "buffer/buffer.h"
#include "ledger/ledger.h"
#include "view/view.h"

namespace mlops::view {

/// A slot's summary file and its ledgers, as they were a moment ago.
struct SlotState {
  std::string dir;
  bool alive = false;  // a process holds it
  std::vector<Part> parts;
  buffer::SlotCounters counters;
  std::vector<ledger::Ledger::Snapshot> ledgers;
  Status damaged;  // why `parts` and `counters` are empty although there is a summary
  Status unread;   // why one of the ledgers is missing

  /// The run's id on the first destination that has it; empty.
  std::string server_id(const base::Uid& run) const;
};

/// Calls `take` for each slot of the root, in the order of their names; it may move parts out. not_found: no root.
Status each_slot(const std::string& root, const std::function<void(SlotState& slot)>& take);

}  // namespace mlops::view
