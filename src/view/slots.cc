#include "view/slots.h"

#include <utility>

#include "base/base.h"
#include "base/file.h"
#include "base/place.h"

namespace mlops::view {
namespace {

SlotState load(const std::string& dir, const std::string& host) {
  SlotState slot;
  slot.dir = dir;
  slot.alive = base::is_slot_alive(dir);
  Result<std::string> bytes = base::read_file(dir + "/summary");
  if (bytes.ok()) {
    buffer::Identity identity;
    std::vector<buffer::SummaryEntry> entries;
    slot.damaged = buffer::decode_summary(*bytes, &identity, &slot.counters, &entries);
    bytes = std::string();
    slot.parts.reserve(entries.size());
    for (buffer::SummaryEntry& e : entries) {
      if (e.row.uid == model::kRegistry) continue;
      slot.parts.push_back({dir, host, slot.alive, std::move(e.row), std::move(e.metrics)});
    }
  } else if (bytes.status().code() != StatusCode::not_found) {
    slot.damaged = bytes.status();
  }
  Result<std::vector<std::string>> names = ledger::Ledger::list(dir);
  if (names.ok()) {
    for (const std::string& name : *names) {
      Result<ledger::Ledger::Snapshot> snapshot = ledger::Ledger::read(dir, name);
      if (snapshot.ok()) {
        slot.ledgers.push_back(std::move(*snapshot));
      } else if (snapshot.status().code() != StatusCode::not_found) {  // just removed
        slot.unread = snapshot.status();
      }
    }
  }
  return slot;
}

}  // namespace

std::string SlotState::server_id(const base::Uid& run) const {
  for (const auto& snapshot : ledgers) {
    const auto lane = snapshot.lanes.find(run);
    if (lane != snapshot.lanes.end() && !lane->second.server_id.empty()) return lane->second.server_id;
  }
  return {};
}

Status each_slot(const std::string& root, const std::function<void(SlotState& slot)>& take) {
  Result<std::vector<std::string>> hosts = base::list_dir(root);
  if (!hosts.ok()) {
    if (hosts.status().code() != StatusCode::not_found) return hosts.status();
    return Status(StatusCode::not_found, "there is no buffer at " + root + ": give --root, or log something first");
  }
  for (const std::string& host : *hosts) {
    Result<std::vector<std::string>> slots = base::list_dir(root + "/" + host);
    if (!slots.ok()) continue;  // a file, or somebody else's folder
    for (const std::string& name : *slots) {
      const std::string dir = root + "/" + host + "/" + name;
      if (!base::exists(dir + "/lock")) continue;
      SlotState slot = load(dir, host);
      take(slot);
    }
  }
  return {};
}

}  // namespace mlops::view
