// gc: which runs could leave the buffer, by the files of every slot; and, slot by slot, its free ones taken over by a
// drain, which looks at everything again and evicts.
#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "base/base.h"
#include "base/file.h"
#include "client/core.h"
#include "client/env.h"
#include "client/lifecycle.h"
#include "client/remotes.h"
#include "drain/drain.h"
#include "drain/proof.h"
#include "mlops/manage.h"
#include "view/view.h"

namespace mlops::client {
namespace {

constexpr Millis kPatience{60'000};

struct Candidate {
  GcRun run;
  base::Uid uid;
  std::string slot_dir;
};

struct SlotFile {
  buffer::Identity identity;
  std::map<base::Uid, model::RunRow> rows;
  std::uint64_t kept_points = 0;
};

Result<SlotFile> read_slot(const std::string& dir) {
  SlotFile slot;
  Result<std::string> bytes = base::read_file(dir + "/summary");
  if (!bytes.ok()) {
    if (bytes.status().code() == StatusCode::not_found) return slot;
    return bytes.status();
  }
  buffer::SlotCounters counters;
  std::vector<buffer::SummaryEntry> entries;
  if (Status s = buffer::decode_summary(*bytes, &slot.identity, &counters, &entries); !s.ok()) return s;
  for (buffer::SummaryEntry& e : entries) {
    slot.kept_points += e.row.points - e.row.evicted_points;
    slot.rows[e.row.uid] = std::move(e.row);
  }
  return slot;
}

class Collector {
 public:
  Collector(GcOptions options, std::string root) : options_(std::move(options)), root_(std::move(root)) {}

  Result<GcReport> run() {
    Result<std::vector<drain::SlotInfo>> slots = drain::find_slots(root_);
    if (!slots.ok()) return slots.status();
    Result<std::vector<KnownDestination>> destinations = known_destinations(root_);
    if (destinations.ok()) known_ = std::move(*destinations);  // for words only; each slot's Proof says what is wrong
    if (Status s = look_at_runs(); !s.ok()) return s;
    for (const drain::SlotInfo& slot : *slots) {
      if (Status s = look_at_slot(slot); !s.ok()) return s;
    }
    say_what_stays();
    std::stable_sort(found_.begin(), found_.end(),
                     [](const Candidate& a, const Candidate& b) { return a.run.end_ms < b.run.end_ms; });
    if (!options_.dry_run) {
      for (const drain::SlotInfo& slot : *slots) {
        if (Status s = collect(slot.dir); !s.ok()) return s;
      }
    }
    for (const Candidate& c : found_) {
      if (c.run.points == 0 && !options_.dry_run) continue;  // it did not go
      report_.points += c.run.points;
      report_.bytes += c.run.bytes;
      const auto same = [&c](const GcRun& r) { return r.id == c.run.id; };
      const auto known = std::find_if(report_.runs.begin(), report_.runs.end(), same);
      if (known == report_.runs.end()) {
        report_.runs.push_back(c.run);
      } else {
        known->points += c.run.points;
        known->bytes += c.run.bytes;
      }
    }
    return std::move(report_);
  }

 private:
  // Names, and which runs stay because they are among the newest of their experiment.
  Status look_at_runs() {
    Result<std::unique_ptr<view::View>> view = view::View::open(root_);
    if (!view.ok()) return view.status();
    RunQuery everything;
    everything.shown = RunQuery::Shown::all;
    Result<std::vector<RunSummary>> runs = (*view)->runs(everything);
    if (!runs.ok()) return runs.status();
    std::map<std::string, std::uint64_t> seen;
    for (RunSummary& r : *runs) {  // newest start first
      if (seen[r.experiment]++ < options_.keep) continue;
      if (!options_.experiment.empty() && r.experiment != options_.experiment) continue;
      base::Uid uid;
      if (base::Uid::parse(r.id, &uid)) chosen_[uid] = std::move(r);
    }
    return {};
  }

  Status look_at_slot(const drain::SlotInfo& info) {
    Result<SlotFile> slot = read_slot(info.dir);
    if (!slot.ok()) {
      report_.notes.push_back(info.dir + ": " + std::string(slot.status().message()));
      return {};
    }
    const drain::Proof proof(root_, info.dir, slot->identity);
    if (!proof.trouble().ok()) {
      report_.notes.push_back("the runs in " + info.dir + " stay: " + std::string(proof.trouble().message()));
    }
    const std::int64_t before = base::now_ms() - options_.older_than.count();
    const double bytes_per_point = static_cast<double>(base::disk_usage(info.dir + "/db")) /
                                   static_cast<double>(std::max<std::uint64_t>(1, slot->kept_points));
    std::uint64_t held = 0;
    for (const auto& [uid, row] : slot->rows) {
      const auto chosen = chosen_.find(uid);
      const bool ended = row.status != RunStatus::running && row.end_ms > 0 && row.end_ms <= before;
      const std::uint64_t points = row.points - row.evicted_points;
      if (chosen == chosen_.end() || points == 0) continue;
      if (!ended) {
        (row.status == RunStatus::running ? running_ : young_).insert(uid);
        continue;
      }
      const bool delivered = proof.whole(row);
      if (!delivered && !(options_.deleted && row.deleted)) {
        if (proof.trouble().ok()) note_waiting(uid, proof.lacking(row));
        continue;
      }
      if (info.alive) {
        ++held;
        continue;
      }
      Candidate c;
      c.run = {uid.hex(),
               chosen->second.name,
               chosen->second.experiment,
               row.end_ms,
               points,
               static_cast<std::uint64_t>(bytes_per_point * static_cast<double>(points)),
               row.deleted,
               delivered};
      c.uid = uid;
      c.slot_dir = info.dir;
      found_.push_back(std::move(c));
    }
    if (held != 0) {
      report_.notes.push_back(std::to_string(held) + " more runs could go, but " + holder_of(info.dir + "/lock") +
                              " holds their slot: its own retention takes them, or gc after its end");
    }
    return {};
  }

  // What no destination has a ledger of, every known one lacks.
  void note_waiting(const base::Uid& uid, const std::vector<std::string>& lacking) {
    for (const std::string& name : lacking) waiting_[name].insert(uid);
    for (std::size_t i = 0; lacking.empty() && i < known_.size(); ++i) {
      waiting_[known_[i].destination.name].insert(uid);
    }
    if (known_.empty()) waiting_[""].insert(uid);
  }

  void say_what_stays() {
    const auto runs = [](std::size_t count) {
      return std::to_string(count) + (count == 1 ? " run stays" : " runs stay");
    };
    if (found_.empty() && !young_.empty()) report_.notes.push_back(runs(young_.size()) + ": ended too recently");
    if (found_.empty() && !running_.empty()) report_.notes.push_back(runs(running_.size()) + ": not ended yet");
    for (const auto& [name, uids] : waiting_) {
      const auto k =
          std::find_if(known_.begin(), known_.end(), [&](const auto& d) { return d.destination.name == name; });
      if (k == known_.end()) {
        report_.notes.push_back(runs(uids.size()) + ": no server is known here, so the buffer is the store");
        continue;
      }
      report_.notes.push_back(
          runs(uids.size()) + ": not delivered whole to " + name + " (" + k->destination.uri + ")" +
          (k->reached ? ": `mlops sync --to " + name + "` delivers"
                      : ", which was never reached; a typo? `mlops remote remove " + name + "` forgets it"));
    }
  }

  Status collect(const std::string& dir) {
    drain::DrainOptions options;
    options.root = root_;
    options.client.retention_days = 0;  // only what was asked for
    options.client.retention_mib = 0;
    options.end_dead_runs = false;
    options.evict_deleted = options_.deleted;
    for (const Candidate& c : found_) {
      if (c.slot_dir == dir) options.evict.push_back(c.uid);
    }
    if (options.evict.empty()) return {};
    options.publish = false;
    Result<base::Placing> placing = prepare_root(root_);
    if (!placing.ok()) return placing.status();
    Result<std::unique_ptr<drain::Slot>> slot = drain::acquire_slot_at(dir, *placing);
    if (!slot.ok()) {
      if (slot.status().code() != StatusCode::unavailable) return slot.status();
      report_.notes.push_back(dir + " was taken by another process meanwhile: left alone");
    } else {
      std::unique_ptr<drain::Drain> drain = drain::Drain::start(std::move(*slot), nullptr, std::move(options));
      if (Status s = drain->close(kPatience); !s.ok()) return s;
    }
    Result<SlotFile> after = read_slot(dir);
    if (!after.ok()) return after.status();
    for (Candidate& c : found_) {
      if (c.slot_dir != dir) continue;
      const auto row = after->rows.find(c.uid);
      const std::uint64_t left = row == after->rows.end() ? 0 : row->second.points - row->second.evicted_points;
      if (left != 0) c.run.points = c.run.bytes = 0;
    }
    return {};
  }

  GcOptions options_;
  std::string root_;
  std::map<base::Uid, RunSummary> chosen_;
  std::vector<Candidate> found_;
  std::vector<KnownDestination> known_;
  std::set<base::Uid> young_, running_;
  std::map<std::string, std::set<base::Uid>> waiting_;  // runs that could go else, by the destination that lacks them
  GcReport report_;
};

}  // namespace
}  // namespace mlops::client

MLOPS_NAMESPACE_BEGIN

Result<GcReport> gc(const GcOptions& options) {
  Result<std::string> root = client::resolve_root(options.root, client::read_environment());
  if (!root.ok()) return root.status();
  if (!base::exists(*root)) {
    return Status(StatusCode::not_found, "there is no buffer at " + *root + ": give --root, or set MLOPS_HOME");
  }
  if (options.older_than.count() < 0) return Status(StatusCode::invalid_argument, "older_than must not be negative");
  if (client::registry().forked()) {
    return Status(StatusCode::failed_precondition, "gc in a forked child: its parent has a client open; exec instead");
  }
  client::install_lifecycle();
  return client::Collector(options, *root).run();
}

MLOPS_NAMESPACE_END
