#include "client/intents.h"

#include <algorithm>
#include <map>

#include "base/base.h"
#include "base/file.h"
#include "buffer/buffer.h"
#include "drain/slot.h"
#include "model/intent.h"
#include "view/view.h"

namespace mlops::client {
namespace {

/// Whether the slot ever had an intent, without opening its database. Unknown is yes.
bool may_have_intents(const std::string& slot_dir) {
  Result<std::string> bytes = base::read_file(slot_dir + "/summary");
  if (!bytes.ok()) return bytes.status().code() != StatusCode::not_found;
  buffer::Identity identity;
  buffer::SlotCounters counters;
  std::vector<buffer::SummaryEntry> entries;
  if (!buffer::decode_summary(*bytes, &identity, &counters, &entries).ok()) return true;
  return std::any_of(entries.begin(), entries.end(),
                     [](const buffer::SummaryEntry& e) { return e.row.uid == model::kRegistry; });
}

std::map<std::string, ledger::Ledger::Snapshot> ledgers_of(const std::string& slot_dir) {
  std::map<std::string, ledger::Ledger::Snapshot> out;
  Result<std::vector<std::string>> names = ledger::Ledger::list(slot_dir);
  if (!names.ok()) return out;
  for (const std::string& name : *names) {
    Result<ledger::Ledger::Snapshot> snapshot = ledger::Ledger::read(slot_dir, name);
    if (snapshot.ok()) out.emplace(name, std::move(*snapshot));
  }
  return out;
}

}  // namespace

PendingStatus status_of(const ledger::IntentResult& result, const std::string& destination) {
  using State = ledger::IntentResult::State;
  PendingStatus out;
  out.id = result.uid.hex();
  out.verb = model::verb_name(static_cast<model::Verb>(result.verb));
  out.model = result.model;
  out.version = result.version;
  out.from = result.from;
  out.destination = destination;
  out.time_ms = result.time_ms;
  switch (result.state) {
    case State::sending:
      out.state = PendingState::waiting;
      return out;
    case State::done:
      out.state = PendingState::done;
      return out;
    case State::refused:
      out.state = PendingState::refused;
      break;
    case State::condition_failed:
      out.state = PendingState::condition_failed;
      break;
  }
  const bool known = result.code > 0 && result.code <= static_cast<int>(StatusCode::internal);
  out.status = Status(known ? static_cast<StatusCode>(result.code) : StatusCode::failed_precondition, result.words);
  return out;
}

std::optional<PendingStatus> find_result(const std::string& root, const base::Uid& uid,
                                         const std::string& destination) {
  std::optional<PendingStatus> found;
  Result<std::vector<drain::SlotInfo>> slots = drain::find_slots(root);
  if (!slots.ok()) return found;
  for (const drain::SlotInfo& slot : *slots) {
    for (const auto& [name, snapshot] : ledgers_of(slot.dir)) {
      const auto it = snapshot.intents.find(uid);
      if (it == snapshot.intents.end()) continue;
      if (!found || name == destination) found = status_of(it->second, name);
    }
  }
  return found;
}

Result<std::vector<PendingStatus>> list_intents(const std::string& root) {
  Result<std::vector<drain::SlotInfo>> slots = drain::find_slots(root);
  if (!slots.ok()) return slots.status();
  std::vector<std::pair<std::int64_t, PendingStatus>> all;
  for (const drain::SlotInfo& slot : *slots) {
    if (!may_have_intents(slot.dir)) continue;
    Result<std::unique_ptr<buffer::Reader>> reader = view::open_beside(slot.dir);
    if (!reader.ok()) {
      if (reader.status().code() == StatusCode::not_found) continue;
      return Status(reader.status().code(), slot.dir + ": " + std::string(reader.status().message()));
    }
    const std::map<std::string, ledger::Ledger::Snapshot> ledgers = ledgers_of(slot.dir);
    Status scanned = (*reader)->scan(model::kRegistry, 0,
                                     [&](const buffer::Record& record) {
                                       if (record.is_block) return true;
                                       Result<model::Intent> intent = model::intent_of(record.op);
                                       PendingStatus waiting;
                                       waiting.id = record.op.parent.hex();
                                       waiting.model = record.op.key;
                                       waiting.time_ms = record.op.time_ms;
                                       waiting.verb = intent.ok() ? model::verb_name(intent->verb) : "unknown";
                                       if (intent.ok() && model::is_version(intent->version))
                                         waiting.version = intent->version;
                                       if (ledgers.empty()) all.emplace_back(record.op.time_ms, waiting);
                                       for (const auto& [name, snapshot] : ledgers) {
                                         const auto it = snapshot.intents.find(record.op.parent);
                                         if (it != snapshot.intents.end()) {
                                           all.emplace_back(record.op.time_ms, status_of(it->second, name));
                                           continue;
                                         }
                                         const auto lane = snapshot.lanes.find(model::kRegistry);
                                         if (lane != snapshot.lanes.end() && lane->second.cursor > record.seq)
                                           continue;  // settled long ago
                                         waiting.destination = name;
                                         all.emplace_back(record.op.time_ms, waiting);
                                       }
                                       return true;
                                     },
                                     {});
    if (!scanned.ok()) return scanned;
  }
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<PendingStatus> out;
  out.reserve(all.size());
  for (auto& [time, status] : all) out.push_back(std::move(status));
  return out;
}

}  // namespace mlops::client
