#include "client/slot_count.h"

#include <algorithm>
#include <vector>

#include "base/file.h"
#include "buffer/buffer.h"
#include "ledger/ledger.h"

namespace mlops::client {

Count count_slot(const std::string& dir, const std::string& destination) {
  Count count;
  Result<std::string> bytes = base::read_file(dir + "/summary");
  if (!bytes.ok()) return count;
  buffer::Identity identity;
  buffer::SlotCounters counters;
  std::vector<buffer::SummaryEntry> entries;
  if (!buffer::decode_summary(*bytes, &identity, &counters, &entries).ok()) return count;
  Result<ledger::Ledger::Snapshot> snapshot = ledger::Ledger::read(dir, destination);
  for (const buffer::SummaryEntry& entry : entries) {
    if (entry.row.uid == model::kRegistry) continue;  // no run
    ++count.runs;
    count.points += entry.row.points;
    std::uint64_t done = 0;
    bool finished = false;
    if (snapshot.ok()) {
      const auto lane = snapshot->lanes.find(entry.row.uid);
      if (lane != snapshot->lanes.end()) {
        done = std::min(entry.row.points, lane->second.delivered + lane->second.dead_points);
        finished = lane->second.cursor >= entry.row.next_seq && done >= entry.row.points;
        if (!lane->second.parked.empty()) ++count.parked;
      }
    }
    if (finished) {
      ++count.runs_done;
    } else {
      count.waiting += entry.row.points - done;
    }
  }
  return count;
}

}  // namespace mlops::client
