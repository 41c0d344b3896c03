// stuck: the dead letters and parked runs of a root, and what a person decides about them. The ledger is changed by
// whoever holds its lock: by this process when nobody does, else by the deliverer that is asked.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "base/base.h"
#include "base/file.h"
#include "buffer/buffer.h"
#include "client/env.h"
#include "client/remotes.h"
#include "ledger/ledger.h"
#include "ledger/requests.h"
#include "mlops/manage.h"
#include "model/limits.h"

namespace mlops::client {
namespace {

using Letter = ledger::DeadLetter;

constexpr std::int64_t kPatienceMs = 5'000;

struct Found {
  Stuck item;
  std::string slot_dir;
  ledger::Destination destination;
  ledger::Request request;  // what is to be asked about it, but for the verb and the correction
  bool open = true;         // somebody may still decide
  bool gone = false;        // its records are not in the buffer
};

const char* state_name(Letter::State state) {
  switch (state) {
    case Letter::State::refused:
      return "refused";
    case Letter::State::retrying:
      return "retrying";
    case Letter::State::corrected:
      return "corrected";
    case Letter::State::given_up:
    case Letter::State::delivered:
      break;
  }
  return "dropped";
}

std::string id_of(const std::string& slot_dir, const std::string& destination, const base::Uid& run,
                  std::uint64_t seq) {
  const std::size_t host = slot_dir.rfind('/', slot_dir.rfind('/') - 1);
  char hex[9];
  const std::string place = slot_dir.substr(host + 1) + "/" + destination + "/" + run.hex() + "/" + std::to_string(seq);
  std::snprintf(hex, sizeof hex, "%08x", static_cast<unsigned>(base::hash64(place) >> 32));
  return hex;
}

std::map<base::Uid, model::RunRow> rows_of(const std::string& slot_dir) {
  std::map<base::Uid, model::RunRow> rows;
  const Result<std::string> bytes = base::read_file(slot_dir + "/summary");
  buffer::Identity identity;
  buffer::SlotCounters counters;
  std::vector<buffer::SummaryEntry> entries;
  if (!bytes.ok() || !buffer::decode_summary(*bytes, &identity, &counters, &entries).ok()) return rows;
  for (buffer::SummaryEntry& e : entries) rows[e.row.uid] = std::move(e.row);
  return rows;
}

Result<std::vector<Found>> find_all(const std::string& given_root) {
  Result<std::string> root = resolve_root(given_root, read_environment());
  if (!root.ok()) return root.status();
  if (!base::exists(*root)) {
    return Status(StatusCode::not_found, "there is no buffer at " + *root + ": give --root, or set MLOPS_HOME");
  }
  Result<std::vector<KnownDestination>> known = known_destinations(*root);
  if (!known.ok()) return known.status();
  std::vector<Found> out;
  std::map<std::string, std::map<base::Uid, model::RunRow>> rows;
  for (const KnownDestination& k : *known) {
    for (const std::string& dir : k.slot_dirs) {
      Result<ledger::Ledger::Snapshot> snapshot = ledger::Ledger::read(dir, k.destination.name);
      if (!snapshot.ok()) return snapshot.status();
      if (rows.find(dir) == rows.end()) rows[dir] = rows_of(dir);
      const auto add = [&](const base::Uid& run, std::uint64_t seq) -> Found& {
        Found& f = out.emplace_back();
        f.slot_dir = dir;
        f.destination = k.destination;
        f.request.run = run;
        f.request.seq = seq;
        f.item.id = id_of(dir, k.destination.name, run, seq);
        f.item.run_id = run.hex();
        f.item.destination = k.destination.name;
        f.item.uri = k.destination.uri;
        const auto row = rows[dir].find(run);
        if (row != rows[dir].end()) {
          f.item.run_name = row->second.name;
          f.item.experiment = row->second.experiment;
        }
        return f;
      };
      std::map<base::Uid, std::uint64_t> retrying;  // points that are neither delivered nor dead
      for (const Letter& letter : snapshot->dead) {
        Found& f = add(letter.run, letter.seq);
        f.item.kind = "record";
        f.item.state = state_name(letter.state);
        f.item.what = letter.what;
        f.item.reason = letter.reason;
        f.item.since_ms = letter.time_ms;
        f.item.records = letter.count;
        f.item.points = letter.points;
        f.item.key = letter.key.value_or("");
        f.item.value = letter.value.value_or("");
        f.open = letter.state == Letter::State::refused || letter.state == Letter::State::retrying;
        f.gone = letter.count != 1;
        if (letter.state == Letter::State::retrying) retrying[letter.run] += letter.points;
      }
      for (const auto& [run, lane] : snapshot->lanes) {
        if (lane.parked.empty()) continue;
        Found& f = add(run, 0);
        f.item.kind = "run";
        f.item.state = "parked";
        f.item.reason = lane.parked;
        f.item.since_ms = lane.parked_ms;
        const auto row = rows[dir].find(run);
        if (row == rows[dir].end()) continue;
        const std::uint64_t next = row->second.next_seq, done = lane.delivered + lane.dead_points + retrying[run];
        f.item.records = next > lane.cursor ? next - lane.cursor : 0;
        f.item.points = row->second.points > done ? row->second.points - done : 0;
        f.item.what = std::to_string(f.item.points) + " points wait";
        f.request.until = next;
        f.request.points = f.item.points;
      }
    }
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Found& a, const Found& b) { return a.item.since_ms < b.item.since_ms; });
  return out;
}

Result<std::vector<Found*>> choose(std::vector<Found>* all, const StuckChange& change) {
  std::vector<Found*> out;
  if (change.ids.empty()) {
    for (Found& f : *all) {
      if (f.open && !(change.verb == StuckVerb::retry && f.gone)) out.push_back(&f);
    }
    return out;
  }
  for (const std::string& id : change.ids) {
    std::vector<Found*> fit;
    for (Found& f : *all) {
      if (!id.empty() && f.item.id.compare(0, id.size(), id) == 0) fit.push_back(&f);
    }
    if (fit.empty()) {
      return Status(StatusCode::not_found,
                    "nothing stuck has the id \"" + id.substr(0, 40) + "\"; `mlops stuck` lists it");
    }
    if (fit.size() > 1) {
      return Status(StatusCode::invalid_argument, "\"" + id.substr(0, 40) + "\" is the start of " +
                                                      std::to_string(fit.size()) + " ids; give more characters");
    }
    Found* f = fit.front();
    if (!f->open) {
      return Status(StatusCode::failed_precondition, f->item.id + " is settled: it was " + f->item.state);
    }
    if (change.verb == StuckVerb::retry && f->gone) {
      return Status(StatusCode::failed_precondition, f->item.id + " (" + f->item.what +
                                                         ") cannot be sent again: its records are not readable here (" +
                                                         f->item.reason + "); `mlops stuck drop` gives them up");
    }
    if (std::find(out.begin(), out.end(), f) == out.end()) out.push_back(f);
  }
  return out;
}

/// Only what has a key has another one, and only what has a text has another text.
Status check_correction(const StuckChange& change, const std::vector<Found*>& chosen) {
  if (!change.key && !change.value) return {};
  if (change.verb != StuckVerb::retry || chosen.size() != 1) {
    return Status(StatusCode::invalid_argument, "a key or a value is corrected for one refused record at a time");
  }
  const Stuck& item = chosen.front()->item;
  const std::string kind = item.kind == "run" ? "run" : item.what.substr(0, item.what.find(' '));
  if (kind != "metric" && kind != "param" && kind != "tag") {
    return Status(StatusCode::invalid_argument, item.id + " is a " + (item.kind == "run" ? "parked run" : item.what) +
                                                    ": it has no key or value to correct; retry or drop it");
  }
  if (change.value && kind == "metric") {
    return Status(StatusCode::invalid_argument, "a metric's value is what was measured: only its key can be corrected");
  }
  if (change.key) {
    if (Status s = model::check_key(kind + " key", *change.key); !s.ok()) return s;
  }
  if (change.value) {
    const std::size_t most = kind == "param" ? model::kParamChars : model::kTagChars;
    if (Status s = model::check_text(kind + " value", *change.value, most, true); !s.ok()) return s;
  }
  return {};
}

/// By ourselves when nobody has the ledger. False: somebody has.
Result<bool> apply_here(const Found& at, const std::vector<ledger::Request>& requests) {
  Result<std::unique_ptr<ledger::Ledger>> ledger = ledger::Ledger::open(at.slot_dir, at.destination);
  if (ledger.status().code() == StatusCode::unavailable) return false;
  if (!ledger.ok()) return ledger.status();
  for (const ledger::Request& request : requests) {
    if (Status s = ledger::apply(request, ledger->get()); !s.ok()) return s;
  }
  if (Status s = (*ledger)->sync(); !s.ok()) return s;
  return true;
}

/// The deliverer is asked. "": it is done; else words.
Result<std::string> ask_and_wait(const Found& at, const std::vector<ledger::Request>& requests) {
  Result<std::string> path = ledger::ask(at.slot_dir, at.destination.name, requests);
  if (!path.ok()) return path.status();
  const std::int64_t until = base::steady_ms() + kPatienceMs;
  while (base::exists(*path)) {
    if (base::steady_ms() >= until) {
      const std::string holder = holder_of(at.slot_dir + "/delivery/" + at.destination.name + "/lock");
      return (holder.empty() ? "nobody delivers to " + at.destination.name + " right now"
                             : holder + ", which delivers to " + at.destination.name + ", has not looked yet") +
             ": what was asked for is kept, and done at the next delivery";
    }
    ::usleep(20'000);
  }
  return std::string();
}

Result<StuckReport> carry_out(const StuckChange& change, const std::vector<Found*>& chosen) {
  StuckReport report;
  std::map<std::string, std::vector<Found*>> by_ledger;
  for (Found* f : chosen) by_ledger[f->slot_dir + "/" + f->destination.name].push_back(f);
  for (const auto& [where, items] : by_ledger) {
    for (std::size_t from = 0; from < items.size(); from += ledger::kMaxRequests) {
      std::vector<ledger::Request> requests;
      for (std::size_t i = from; i < std::min(items.size(), from + ledger::kMaxRequests); ++i) {
        ledger::Request r = items[i]->request;
        r.verb = change.verb == StuckVerb::retry ? ledger::Request::Verb::retry : ledger::Request::Verb::drop;
        r.key = change.key;
        r.value = change.value;
        requests.push_back(std::move(r));
      }
      Result<bool> done = apply_here(*items.front(), requests);
      if (!done.ok()) return done.status();
      if (!*done) {
        Result<std::string> note = ask_and_wait(*items.front(), requests);
        if (!note.ok()) return note.status();
        if (!note->empty()) report.notes.push_back(*note);
      }
      report.changed += requests.size();
    }
  }
  return report;
}

}  // namespace
}  // namespace mlops::client

MLOPS_NAMESPACE_BEGIN

Result<std::vector<Stuck>> stuck(const std::string& root, bool settled_too) {
  Result<std::vector<client::Found>> all = client::find_all(root);
  if (!all.ok()) return all.status();
  std::vector<Stuck> out;
  for (client::Found& f : *all) {
    if (f.open || settled_too) out.push_back(std::move(f.item));
  }
  return out;
}

Result<StuckReport> change_stuck(const std::string& root, const StuckChange& change) {
  Result<std::vector<client::Found>> all = client::find_all(root);
  if (!all.ok()) return all.status();
  Result<std::vector<client::Found*>> chosen = client::choose(&*all, change);
  if (!chosen.ok()) return chosen.status();
  if (Status s = client::check_correction(change, *chosen); !s.ok()) return s;
  return client::carry_out(change, *chosen);
}

MLOPS_NAMESPACE_END
