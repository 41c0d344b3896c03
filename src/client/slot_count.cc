#include "client/slot_count.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "base/file.h"
#include "buffer/buffer.h"
#include "ledger/ledger.h"
#include "model/dataset.h"
#include "view/view.h"

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
    if (entry.row.uid == model::kRegistry) {  // no run
      std::uint64_t at = 1;
      if (snapshot.ok()) {
        const auto lane = snapshot->lanes.find(entry.row.uid);
        if (lane != snapshot->lanes.end()) at = lane->second.cursor;
      }
      count.intents_waiting = entry.row.next_seq - std::min(entry.row.next_seq, at);
      continue;
    }
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

Status count_files(const std::string& dir, const std::string& destination, Count* count, const base::Uid* only) {
  Result<std::unique_ptr<buffer::Reader>> reader = view::open_beside(dir);
  if (!reader.ok()) return reader.status();
  Result<std::vector<model::RunRow>> runs = (*reader)->runs();
  if (!runs.ok()) return runs.status();
  Result<ledger::Ledger::Snapshot> snapshot = ledger::Ledger::read(dir, destination);
  const buffer::Identity identity = (*reader)->identity();
  for (const model::RunRow& run : *runs) {
    if (run.uid == model::kRegistry || (only != nullptr && run.uid != *only)) continue;
    ledger::ArtifactPlace place;
    if (snapshot.ok()) {
      const auto known = snapshot->artifacts.find(run.uid);
      if (known != snapshot->artifacts.end() && known->second.buffer_uid == identity.uid &&
          known->second.buffer_generation == identity.generation) {
        place = known->second;
      }
    }
    Result<std::vector<buffer::ArtifactRow>> rows = (*reader)->artifacts(run.uid);
    if (!rows.ok()) return rows.status();
    for (const buffer::ArtifactRow& row : *rows) {
      if (place.done(row.seq) || model::is_part(row.op)) continue;
      ++count->files_waiting;
      const bool read = row.file.beat != 0;
      count->file_bytes_waiting +=
          read ? row.file.size : static_cast<std::uint64_t>(std::max<std::int64_t>(0, row.op.number));
    }
  }
  return {};
}

}  // namespace mlops::client
