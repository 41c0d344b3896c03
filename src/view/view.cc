#include "view/view.h"

#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <system_error>

#include "base/base.h"
#include "base/file.h"
#include "ledger/remotes.h"
#include "view/merge.h"

namespace mlops::view {
namespace {

constexpr std::size_t kShortestPrefix = 4;

bool starts_with(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

class ViewImpl : public View {
 public:
  explicit ViewImpl(std::string root) : root_(std::move(root)) {}

  // Reads every slot anew: cheap (summary files), and always what is there now.
  Status load() {
    slots_.clear();
    Result<ledger::Remotes> remotes = ledger::Remotes::load(root_);
    remotes_ = remotes.ok() ? std::move(*remotes) : ledger::Remotes();
    Result<std::vector<std::string>> hosts = base::list_dir(root_);
    if (!hosts.ok()) {
      if (hosts.status().code() != StatusCode::not_found) return hosts.status();
      return Status(StatusCode::not_found, "there is no buffer at " + root_ + ": give --root, or log something first");
    }
    for (const std::string& host : *hosts) {
      Result<std::vector<std::string>> slots = base::list_dir(root_ + "/" + host);
      if (!slots.ok()) continue;  // a file, or somebody else's folder
      for (const std::string& slot : *slots) {
        const std::string dir = root_ + "/" + host + "/" + slot;
        if (!base::exists(dir + "/lock")) continue;
        slots_.push_back(load_slot(dir, host));
      }
    }
    return {};
  }

  Result<std::vector<RunSummary>> runs() override {
    if (Status s = load(); !s.ok()) return s;
    std::vector<RunSummary> out;
    for (const auto& [uid, parts] : by_run()) out.push_back(merge_run(parts, server_id(uid)));
    std::stable_sort(out.begin(), out.end(),
                     [](const RunSummary& a, const RunSummary& b) { return a.start_ms > b.start_ms; });
    return out;
  }

  Result<std::vector<Part>> parts(std::string_view id) override {
    if (Status s = load(); !s.ok()) return s;
    auto runs = by_run();
    Result<Uid> uid = resolve(runs, id);
    if (!uid.ok()) return uid.status();
    std::vector<Part> out;
    for (const Part* part : runs[*uid]) out.push_back(*part);
    return out;
  }

  Result<RunSummary> run(std::string_view id) override {
    if (Status s = load(); !s.ok()) return s;
    auto runs = by_run();
    Result<Uid> uid = resolve(runs, id);
    if (!uid.ok()) return uid.status();
    return merge_run(runs[*uid], server_id(*uid));
  }

  Result<base::Uid> newest_named(std::string_view experiment, std::string_view name) override {
    if (Status s = load(); !s.ok()) return s;
    const model::RunRow* best = nullptr;
    for (const Slot& slot : slots_) {
      for (const Part& part : slot.parts) {
        const model::RunRow& row = part.row;
        if (row.attached || row.deleted || row.experiment != experiment || row.name != name) continue;
        if (best == nullptr || row.start_ms > best->start_ms) best = &row;
      }
    }
    if (best == nullptr) return Status(StatusCode::not_found, "no run of that name in this root");
    return best->uid;
  }

  Result<Series> series(std::string_view run_id, std::string_view metric) override;
  Result<Health> health() override;

 private:
  using Uid = base::Uid;
  using ByRun = std::map<Uid, std::vector<const Part*>>;
  struct Slot {
    std::string dir;
    std::vector<Part> parts;
    buffer::SlotCounters counters;
    std::vector<ledger::Ledger::Snapshot> ledgers;
    Status damaged;
  };

  Slot load_slot(const std::string& dir, const std::string& host) {
    Slot slot;
    slot.dir = dir;
    const bool alive = base::FileLock::is_held(dir + "/lock");
    Result<std::string> bytes = base::read_file(dir + "/summary");
    if (bytes.ok()) {
      buffer::Identity identity;
      std::vector<buffer::SummaryEntry> entries;
      slot.damaged = buffer::decode_summary(*bytes, &identity, &slot.counters, &entries);
      for (buffer::SummaryEntry& e : entries) {
        slot.parts.push_back({dir, host, alive, std::move(e.row), std::move(e.metrics)});
      }
    } else if (bytes.status().code() != StatusCode::not_found) {
      slot.damaged = bytes.status();
    }
    Result<std::vector<std::string>> names = ledger::Ledger::list(dir);
    if (names.ok()) {
      for (const std::string& name : *names) {
        Result<ledger::Ledger::Snapshot> snapshot = ledger::Ledger::read(dir, name);
        if (snapshot.ok()) slot.ledgers.push_back(std::move(*snapshot));
      }
    }
    return slot;
  }

  // Parts of each run, the owner's first.
  ByRun by_run() const {
    ByRun out;
    for (const Slot& slot : slots_) {
      for (const Part& part : slot.parts) out[part.row.uid].push_back(&part);
    }
    for (auto& [uid, parts] : out) {
      std::stable_sort(parts.begin(), parts.end(),
                       [](const Part* a, const Part* b) { return a->row.attached < b->row.attached; });
    }
    return out;
  }

  std::string server_id(const Uid& uid) const {
    for (const Slot& slot : slots_) {
      for (const auto& snapshot : slot.ledgers) {
        const auto lane = snapshot.lanes.find(uid);
        if (lane != snapshot.lanes.end() && !lane->second.server_id.empty()) return lane->second.server_id;
      }
    }
    return {};
  }

  Result<Uid> resolve(const ByRun& runs, std::string_view given) const {
    const std::string id = lower(given);
    Uid exact;
    if (Uid::parse(id, &exact) && runs.count(exact) != 0) return exact;
    std::vector<Uid> found;
    const auto add = [&found](const Uid& uid) {
      if (std::find(found.begin(), found.end(), uid) == found.end()) found.push_back(uid);
    };
    if (id.size() >= kShortestPrefix) {
      for (const auto& [uid, parts] : runs) {
        if (starts_with(uid.hex(), id)) add(uid);
      }
      for (const Slot& slot : slots_) {
        for (const auto& snapshot : slot.ledgers) {
          for (const auto& [uid, lane] : snapshot.lanes) {
            if (!lane.server_id.empty() && starts_with(lower(lane.server_id), id) && runs.count(uid) != 0) add(uid);
          }
        }
      }
    }
    if (found.size() == 1) return found.front();
    const std::string shown(given.substr(0, 80));
    if (found.empty()) {
      return Status(StatusCode::not_found,
                    "no run \"" + shown + "\" in " + root_ +
                        (id.size() < kShortestPrefix ? " (an id's prefix must have at least 4 characters)"
                                                     : "; `mlops runs` lists what there is"));
    }
    std::string words = "\"" + shown + "\" is the start of " + std::to_string(found.size()) + " runs:";
    for (std::size_t i = 0; i < std::min<std::size_t>(found.size(), 5); ++i) words += " " + found[i].hex();
    return Status(StatusCode::invalid_argument, words + "; give more characters");
  }

  std::string root_;
  ledger::Remotes remotes_;
  std::vector<Slot> slots_;
};

Result<Series> ViewImpl::series(std::string_view run_id, std::string_view metric) {
  if (Status s = load(); !s.ok()) return s;
  auto runs = by_run();
  Result<Uid> uid = resolve(runs, run_id);
  if (!uid.ok()) return uid.status();
  std::vector<model::Point> points;
  bool known = false;
  std::vector<std::string> names;
  for (const Part* part : runs[*uid]) {
    for (const buffer::MetricRow& m : part->metrics) {
      names.push_back(m.name);
      known = known || m.name == metric;
    }
  }
  if (!known) {
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    std::string words = "run " + uid->hex() + " has no metric \"" + std::string(metric.substr(0, 80)) + "\"";
    words += names.empty() ? "; it has none yet" : "; it has:";
    for (std::size_t i = 0; i < std::min<std::size_t>(names.size(), 50); ++i) words += " " + names[i];
    return Status(StatusCode::not_found, words);
  }
  for (const Part* part : runs[*uid]) {
    if (std::none_of(part->metrics.begin(), part->metrics.end(),
                     [&](const buffer::MetricRow& m) { return m.name == metric; })) {
      continue;
    }
    if (Status s = read_points(part->slot_dir, *uid, metric, &points); !s.ok()) return s;
  }
  std::stable_sort(points.begin(), points.end(), [](const model::Point& a, const model::Point& b) {
    return a.step != b.step ? a.step < b.step : a.time_ms < b.time_ms;
  });
  Series out;
  out.step.reserve(points.size());
  out.time_ms.reserve(points.size());
  out.value.reserve(points.size());
  for (const model::Point& p : points) {
    out.step.push_back(p.step);
    out.time_ms.push_back(p.time_ms);
    out.value.push_back(p.value);
  }
  return out;
}

Result<Health> ViewImpl::health() {
  if (Status s = load(); !s.ok()) return s;
  Health out;
  std::map<std::string, DestinationHealth> destinations;
  for (const ledger::Destination& remote : remotes_.all()) destinations[remote.name].name = remote.name;
  for (const Slot& slot : slots_) {
    add_counters(slot.counters, &out);
    if (out.buffer.ok()) out.buffer = slot.damaged;
    for (const auto& snapshot : slot.ledgers) {
      std::vector<const model::RunRow*> rows;
      for (const Part& part : slot.parts) rows.push_back(&part.row);
      add_ledger(snapshot, rows, &destinations[snapshot.destination.name]);
    }
  }
  // A slot that a destination has no ledger of yet waits in full.
  for (auto& [name, destination] : destinations) {
    if (const ledger::Destination* remote = remotes_.named(name)) destination.uri = remote->uri;
    for (const Slot& slot : slots_) {
      const bool has = std::any_of(slot.ledgers.begin(), slot.ledgers.end(),
                                   [&n = name](const auto& s) { return s.destination.name == n; });
      if (has) continue;
      for (const Part& part : slot.parts) destination.waiting += part.row.points;
    }
    if (destination.dropped != 0) out.dropped["rejected"] += destination.dropped;
    out.destinations.push_back(destination);
  }
  out.disk_bytes = base::disk_usage(root_);
  return out;
}

}  // namespace

Result<std::unique_ptr<View>> View::open(const std::string& root) {
  auto view = std::make_unique<ViewImpl>(root);
  if (Status s = view->load(); !s.ok()) return s;
  return std::unique_ptr<View>(std::move(view));
}

Result<std::string> make_scratch() {
  std::error_code error;
  std::filesystem::path folder = std::filesystem::temp_directory_path(error);
  if (error) folder = "/tmp";
  std::string name = (folder / "mlops-reader-XXXXXX").native();
  if (::mkdtemp(name.data()) == nullptr) return base::errno_status(errno, "make a temporary folder", name);
  return name;
}

}  // namespace mlops::view
