#include "drain/proof.h"

#include <algorithm>
#include <map>

#include "base/base.h"
#include "base/file.h"
#include "drain/slot.h"
#include "ledger/ledger.h"
#include "ledger/remotes.h"

namespace mlops::drain {
namespace {

constexpr std::int64_t kDayMs = 24 * 3600 * 1000;

std::vector<ledger::Ledger::Snapshot> ledgers(const std::string& slot_dir, Status* status) {
  std::vector<ledger::Ledger::Snapshot> all;
  const auto names = ledger::Ledger::list(slot_dir);
  if (!names.ok()) {
    *status = names.status();
    return all;
  }
  for (const std::string& name : *names) {
    auto snapshot = ledger::Ledger::read(slot_dir, name);
    if (snapshot.ok()) {
      all.push_back(std::move(*snapshot));
    } else {
      *status = snapshot.status();
    }
  }
  return all;
}

}  // namespace

Floors floors_of(const std::string& slot_dir, const buffer::Reader& reader, Status* status) {
  Floors floors;
  const buffer::Identity identity = reader.identity();
  std::map<base::Uid, std::uint64_t> seen;
  for (const auto& snapshot : ledgers(slot_dir, status)) {
    for (const auto& [run, lane] : snapshot.lanes) {
      const std::uint64_t top = std::max({lane.cursor, lane.in_flight, lane.watermark});
      if (top <= 1) continue;  // nothing was sent
      const auto row = reader.run(run);
      if (!row.ok() && row.status().code() != StatusCode::not_found) {
        *status = row.status();
        continue;
      }
      if (row.ok() && row->next_seq >= top && lane.buffer_uid == identity.uid) continue;
      seen[run] = std::max(seen[run], top);
      // Another database's lane is told apart by the uid; a new database says so once by its generation too.
      const bool same = lane.buffer_uid == identity.uid;
      floors.bump = floors.bump || (same ? lane.buffer_generation >= identity.generation : identity.generation == 1);
    }
  }
  floors.next_seq.assign(seen.begin(), seen.end());
  return floors;
}

Proof::Proof(const std::string& root, const std::string& slot_dir, const buffer::Identity& identity,
             const buffer::Reader* reader)
    : reader_(reader), identity_(identity) {
  ledgers_ = ledgers(slot_dir, &trouble_);
  const auto remotes = ledger::Remotes::load(root);
  if (trouble_.ok()) trouble_ = remotes.status();
  for (std::size_t i = 0; remotes.ok() && i < remotes->all().size(); ++i) {
    const std::string& name = remotes->all()[i].name;
    const bool here =
        std::any_of(ledgers_.begin(), ledgers_.end(), [&](const auto& s) { return s.destination.name == name; });
    if (!here) absent_.push_back(name);
  }
}

bool Proof::has(const ledger::Ledger::Snapshot& snapshot, const model::RunRow& row) const {
  const auto lane = snapshot.lanes.find(row.uid);
  if (lane == snapshot.lanes.end() || lane->second.cursor < row.next_seq || lane->second.in_flight != 0) return false;
  return lane->second.buffer_uid == identity_.uid && lane->second.buffer_generation == identity_.generation &&
         std::none_of(snapshot.dead.begin(), snapshot.dead.end(), [&](const ledger::DeadLetter& letter) {
           return letter.run == row.uid && letter.state == ledger::DeadLetter::State::retrying;
         });
}

std::vector<std::string> Proof::lacking(const model::RunRow& row) const {
  std::vector<std::string> names = absent_;
  for (const auto& snapshot : ledgers_) {
    if (!has(snapshot, row)) names.push_back(snapshot.destination.name);
  }
  return names;
}

bool Proof::whole(const model::RunRow& row) const {
  if (!trouble_.ok() || ledgers_.empty() || !lacking(row).empty()) return false;
  if (reader_ == nullptr) return true;
  const auto artifacts = reader_->artifacts(row.uid);
  const auto has_files = [&](const ledger::Ledger::Snapshot& snapshot) {
    const auto place = snapshot.artifacts.find(row.uid);
    return place != snapshot.artifacts.end() && place->second.buffer_uid == identity_.uid &&
           place->second.buffer_generation == identity_.generation &&
           std::all_of(artifacts->begin(), artifacts->end(),
                       [&](const buffer::ArtifactRow& artifact) { return place->second.done(artifact.seq); });
  };
  return artifacts.ok() && (artifacts->empty() || std::all_of(ledgers_.begin(), ledgers_.end(), has_files));
}

std::uint64_t spool_bytes_of(const buffer::Reader& reader, const base::Uid& run) {
  const auto artifacts = reader.artifacts(run);
  std::uint64_t bytes = 0;
  if (!artifacts.ok()) return 0;
  for (const buffer::ArtifactRow& artifact : *artifacts) bytes += artifact.file.lost.empty() ? artifact.file.size : 0;
  return bytes;
}

std::uint64_t usage_without_spools(const std::string& root) {
  const std::uint64_t all = base::disk_usage(root);
  std::uint64_t spools = 0;
  const auto slots = find_slots(root);
  if (slots.ok()) {
    for (const SlotInfo& slot : *slots) spools += base::disk_usage(slot.dir + "/spool");
  }
  return all > spools ? all - spools : 0;
}

std::vector<base::Uid> evictable(const RetentionOptions& options, const Runs& runs, const buffer::Reader& reader,
                                 std::uint64_t slot_bytes) {
  const Proof proof(options.root, options.slot_dir, reader.identity(), &reader);
  std::vector<const model::RunRow*> ended;
  std::uint64_t kept_points = 0;
  for (const auto& run : runs.all()) {
    kept_points += run->row.points - run->row.evicted_points;
    const bool gone = run->row.evicted_before >= run->row.next_seq;
    if (run->row.status != RunStatus::running && run->row.end_ms > 0 && !run->touched && !gone &&
        proof.whole(run->row)) {
      ended.push_back(&run->row);
    }
  }
  std::sort(ended.begin(), ended.end(), [](const auto* a, const auto* b) { return a->end_ms < b->end_ms; });
  // Artifacts that are not delivered yet are no reason to evict others: they do not count.
  std::map<base::Uid, std::uint64_t> spooled;
  std::uint64_t used = options.retention_mib == 0 ? 0 : usage_without_spools(options.root);
  for (const model::RunRow* row : ended) {
    if (options.retention_mib != 0 && options.spool_bytes) used += spooled[row->uid] = options.spool_bytes(row->uid);
  }
  const std::uint64_t most = options.retention_mib << 20;
  std::uint64_t over = used > most ? used - most : 0;
  const std::int64_t oldest = base::now_ms() - options.retention_days * kDayMs;
  const double bytes_per_point =
      static_cast<double>(slot_bytes) / static_cast<double>(std::max<std::uint64_t>(1, kept_points));
  std::vector<base::Uid> out;
  for (const model::RunRow* row : ended) {
    const bool old = options.retention_days > 0 && row->end_ms < oldest;
    if (!old && over == 0) continue;
    out.push_back(row->uid);
    const auto bytes =
        static_cast<std::uint64_t>(bytes_per_point * static_cast<double>(row->points - row->evicted_points)) +
        spooled[row->uid];
    over -= std::min(over, std::max<std::uint64_t>(1, bytes));
  }
  return out;
}

}  // namespace mlops::drain
