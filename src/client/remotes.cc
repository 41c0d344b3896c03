#include "client/remotes.h"

#include <stdio.h>

#include <algorithm>
#include <map>

#include "base/base.h"
#include "base/file.h"
#include "client/env.h"
#include "drain/slot.h"
#include "http/http.h"
#include "ledger/destination.h"
#include "ledger/remotes.h"
#include "mlops/manage.h"
#include "view/view.h"

namespace mlops::client {

ledger::Destination destination_of(const std::string& root, const std::string& uri) {
  Result<ledger::Remotes> remotes = ledger::Remotes::load(root);
  if (remotes.ok()) return remotes->resolve(uri);
  base::log(base::LogLevel::warn, "names of servers are not known: " + remotes.status().to_string());
  return ledger::Remotes().resolve(uri);
}

std::string uri_of_name(const std::string& root, std::string_view name) {
  Result<std::vector<KnownDestination>> known = known_destinations(root);
  if (!known.ok()) return {};
  for (const KnownDestination& k : *known) {
    if (k.destination.name == name) return k.destination.uri;
  }
  return {};
}

Result<std::vector<KnownDestination>> known_destinations(const std::string& root) {
  std::map<std::string, KnownDestination> known;
  Result<ledger::Remotes> remotes = ledger::Remotes::load(root);
  if (!remotes.ok()) return remotes.status();
  for (const ledger::Destination& d : remotes->all()) known[d.name] = {d, true, false, {}};
  Result<std::vector<drain::SlotInfo>> slots = drain::find_slots(root);
  if (!slots.ok() && slots.status().code() != StatusCode::not_found) return slots.status();
  for (std::size_t i = 0; slots.ok() && i < slots->size(); ++i) {
    const std::string& dir = (*slots)[i].dir;
    Result<std::vector<std::string>> names = ledger::Ledger::list(dir);
    if (!names.ok()) continue;
    for (const std::string& name : *names) {
      KnownDestination& k = known[name];
      k.slot_dirs.push_back(dir);
      if (k.destination.uri.empty() || !k.reached) {
        Result<ledger::Ledger::Snapshot> snapshot = ledger::Ledger::read(dir, name);
        if (snapshot.ok() && k.destination.uri.empty()) k.destination.uri = snapshot->destination.uri;
        k.reached = k.reached || (snapshot.ok() && snapshot->answered());
      }
      k.destination.name = name;
    }
  }
  std::vector<KnownDestination> out;
  for (auto& [name, k] : known) out.push_back(std::move(k));
  return out;
}

const KnownDestination* only_one(const std::vector<KnownDestination>& known, bool even_unreached, std::string* words) {
  if (known.size() == 1) return &known.front();
  const KnownDestination* only = nullptr;
  std::size_t counted = 0;
  *words = known.empty() ? "nobody has said where to deliver"
                         : "this root delivers to " + std::to_string(known.size()) + " servers:";
  for (const KnownDestination& k : known) {
    *words += (&k == &known.front() ? " " : ", ") + k.destination.name + " (" + k.destination.uri +
              (k.reached ? ")" : "; never reached)");
    if (!k.reached && !k.named) continue;
    ++counted;
    only = k.reached ? &k : nullptr;
  }
  return counted == 1 && !even_unreached ? only : nullptr;
}

std::string holder_of(const std::string& lock_path) {
  if (!base::FileLock::is_held(lock_path)) return {};
  const Result<std::string> text = base::read_file(lock_path, 1'000);  // "pid host boot"
  const std::string words = text.ok() ? *text : std::string();
  const std::size_t pid = words.find(' ');
  if (pid == std::string::npos) return "another process";
  const std::size_t host = words.find_first_of(" \n", pid + 1);
  return "process " + words.substr(0, pid) + " on " + words.substr(pid + 1, host - pid - 1);
}

namespace {

std::string ledger_dir(const std::string& slot_dir, std::string_view name) {
  return slot_dir + "/delivery/" + std::string(name);
}

std::string quoted(std::string_view name) { return "\"" + std::string(name.substr(0, 80)) + "\""; }

/// One change of the names: the lock is held from the reading of what there is to the writing of what shall be.
class Change {
 public:
  static Result<Change> begin(const std::string& given_root, bool make_root) {
    Change change;
    Result<std::string> root = resolve_root(given_root, read_environment());
    if (!root.ok()) return root.status();
    change.root = *root;
    if (make_root) {
      if (Status s = base::make_dirs(*root); !s.ok()) return s;
    } else if (!base::exists(*root)) {
      return Status(StatusCode::not_found, "there is no buffer at " + *root + ": give --root, or set MLOPS_HOME");
    }
    Result<base::FileLock> lock = ledger::Remotes::lock(*root);
    if (!lock.ok()) return lock.status();
    change.lock_ = std::move(*lock);
    Result<ledger::Remotes> remotes = ledger::Remotes::load(*root);
    if (!remotes.ok()) return remotes.status();
    change.remotes = std::move(*remotes);
    Result<std::vector<KnownDestination>> known = known_destinations(*root);
    if (!known.ok()) return known.status();
    change.known = std::move(*known);
    return change;
  }

  Result<const KnownDestination*> find(std::string_view name) const {
    std::string words;
    for (const KnownDestination& k : known) {
      if (k.destination.name == name) return &k;
      words += " " + k.destination.name;
    }
    return Status(StatusCode::not_found, "this root has no remote " + quoted(name) +
                                             (words.empty() ? "; `mlops remote add NAME URI` makes one" : "; it has:") +
                                             words);
  }

  /// Locks every ledger of a destination; nobody delivers there while the result lives.
  static Result<std::vector<base::FileLock>> hold(const KnownDestination& k) {
    std::vector<base::FileLock> held;
    for (const std::string& dir : k.slot_dirs) {
      const std::string path = ledger_dir(dir, k.destination.name) + "/lock";
      Result<base::FileLock> lock = base::FileLock::try_lock(path);
      if (lock.status().code() == StatusCode::unavailable) {
        return Status(StatusCode::failed_precondition, holder_of(path) + " delivers to " + k.destination.name +
                                                           " right now (" + dir +
                                                           "): end it, or wait until it has ended, and try again");
      }
      if (!lock.ok()) return lock.status();
      held.push_back(std::move(*lock));
    }
    return held;
  }

  std::string root;
  ledger::Remotes remotes;
  std::vector<KnownDestination> known;

 private:
  base::FileLock lock_;
};

Result<std::string> checked(const std::string& uri) {
  Result<std::string> good = http::check_uri(uri);  // refuses user and password, and does not repeat them
  if (!good.ok()) return good;
  return ledger::clean_uri(*good);
}

Status add(Change* change, std::string_view name, const std::string& uri) {
  for (const KnownDestination& k : change->known) {
    const ledger::Destination& d = k.destination;
    if (d.name == name && d.uri != uri) {
      return Status(StatusCode::already_exists, "remote " + d.name + " is " + d.uri + "; `mlops remote set-url " +
                                                    d.name + " " + uri + "` gives it another address");
    }
    if (d.uri == uri && d.name != name) {
      return Status(StatusCode::already_exists, uri + " is known here as " + d.name + "; `mlops remote rename " +
                                                    d.name + " " + std::string(name) +
                                                    "` keeps what was delivered there");
    }
  }
  change->remotes.put({std::string(name), uri});
  return change->remotes.save(change->root);
}

Status rename(Change* change, const KnownDestination& from, std::string_view to) {
  for (const KnownDestination& k : change->known) {
    if (k.destination.name == to) {
      return Status(StatusCode::already_exists, "there is a remote " + quoted(to) + " already (" + k.destination.uri +
                                                    "); take another name, or remove that one");
    }
  }
  Result<std::vector<base::FileLock>> held = Change::hold(from);
  if (!held.ok()) return held.status();
  // A crash in between leaves some slots under the old name: they are still delivered, after a proof by read-back.
  for (const std::string& dir : from.slot_dirs) {
    const std::string old = ledger_dir(dir, from.destination.name), fresh = ledger_dir(dir, to);
    if (::rename(old.c_str(), fresh.c_str()) != 0) return base::errno_status(errno, "rename", old);
  }
  change->remotes.erase(from.destination.name);
  change->remotes.put({std::string(to), from.destination.uri});
  return change->remotes.save(change->root);
}

/// What would be forgotten with it; empty: nothing that matters.
std::string what_it_lacks(const DestinationHealth& d) {
  std::string words, mends;
  const auto say = [](std::string* to, const std::string& more, const char* between) {
    *to += (to->empty() ? "" : between) + more;
  };
  if (d.waiting != 0) say(&words, std::to_string(d.waiting) + " points wait for " + d.name, "");
  if (d.files_waiting != 0) say(&words, std::to_string(d.files_waiting) + " files wait for " + d.name, ", ");
  if (!words.empty()) mends = "`mlops sync --to " + d.name + "` delivers";
  if (d.dead_letters != 0) {
    say(&words, d.name + " refused " + std::to_string(d.dead_letters) + " records", ", and ");
    say(&mends, "`mlops stuck` shows what was refused", ", ");
  }
  return words.empty() ? words : words + ": " + mends;
}

/// Whoever calls this holds its lock.
Status remove_ledger(const std::string& slot_dir, const std::string& name) {
  const std::string old = ledger_dir(slot_dir, name), gone = ledger_dir(slot_dir, "." + name);
  if (Status s = base::remove_tree(gone); !s.ok()) return s;  // of a removal that was cut off
  if (::rename(old.c_str(), gone.c_str()) != 0) return base::errno_status(errno, "rename", old);
  return base::remove_tree(gone);
}

Status remove(Change* change, const KnownDestination& remote, bool even_waiting) {
  const std::string& name = remote.destination.name;
  if (!even_waiting) {
    Result<std::unique_ptr<view::View>> view = view::View::open(change->root);
    if (!view.ok()) return view.status();
    Result<Health> health = (*view)->health();
    if (!health.ok()) return health.status();
    for (const DestinationHealth& d : health->destinations) {
      if (d.name != name) continue;
      const std::string words = what_it_lacks(d);
      if (!words.empty()) return Status(StatusCode::failed_precondition, words + "; --yes removes it all the same");
    }
  }
  Result<std::vector<base::FileLock>> held = Change::hold(remote);
  if (!held.ok()) return held.status();
  change->remotes.erase(name);
  if (Status s = change->remotes.save(change->root); !s.ok()) return s;
  for (const std::string& dir : remote.slot_dirs) {
    if (Status s = remove_ledger(dir, name); !s.ok()) return s;
  }
  return {};
}

}  // namespace

bool forget_unreached(const std::string& root, const std::string& name, const std::vector<std::string>& slot_dirs) {
  const Result<base::FileLock> names = ledger::Remotes::lock(root);
  const Result<ledger::Remotes> remotes = ledger::Remotes::load(root);
  if (!names.ok() || !remotes.ok() || remotes->named(name) != nullptr) return false;
  bool all = true;
  for (const std::string& dir : slot_dirs) {
    const Result<base::FileLock> lock = base::FileLock::try_lock(ledger_dir(dir, name) + "/lock");
    const Result<ledger::Ledger::Snapshot> ledger = ledger::Ledger::read(dir, name);
    const bool vain = lock.ok() && ledger.ok() && !ledger->answered() && !ledger::Ledger::held_elsewhere(dir, name);
    all = vain && remove_ledger(dir, name).ok() && all;
  }
  return all;
}

}  // namespace mlops::client

MLOPS_NAMESPACE_BEGIN

using client::Change;
using client::KnownDestination;

Result<std::vector<Remote>> remotes(const std::string& given_root) {
  Result<std::string> root = client::resolve_root(given_root, client::read_environment());
  if (!root.ok()) return root.status();
  if (!base::exists(*root)) {
    return Status(StatusCode::not_found, "there is no buffer at " + *root + ": give --root, or set MLOPS_HOME");
  }
  Result<std::vector<KnownDestination>> known = client::known_destinations(*root);
  if (!known.ok()) return known.status();
  std::vector<Remote> out;
  for (const KnownDestination& k : *known) out.push_back({k.destination.name, k.destination.uri, k.named});
  return out;
}

Status add_remote(const std::string& root, std::string_view name, const std::string& uri) {
  if (Status s = ledger::check_remote_name(name); !s.ok()) return s;
  Result<std::string> clean = client::checked(uri);
  if (!clean.ok()) return clean.status();
  Result<Change> change = Change::begin(root, true);
  if (!change.ok()) return change.status();
  return client::add(&*change, name, *clean);
}

Status rename_remote(const std::string& root, std::string_view name, std::string_view to) {
  if (Status s = ledger::check_remote_name(to); !s.ok()) return s;
  Result<Change> change = Change::begin(root, false);
  if (!change.ok()) return change.status();
  Result<const KnownDestination*> from = change->find(name);
  if (!from.ok()) return from.status();
  return name == to ? Status() : client::rename(&*change, **from, to);
}

Result<std::vector<std::string>> set_remote_url(const std::string& root, std::string_view name,
                                                const std::string& uri) {
  Result<std::string> clean = client::checked(uri);
  if (!clean.ok()) return clean.status();
  Result<Change> change = Change::begin(root, false);
  if (!change.ok()) return change.status();
  Result<const KnownDestination*> remote = change->find(name);
  if (!remote.ok()) return remote.status();
  for (const KnownDestination& k : change->known) {
    if (k.destination.uri == *clean && k.destination.name != name) {
      return Status(StatusCode::already_exists, *clean + " is remote " + k.destination.name +
                                                    "; two remotes of one address would deliver everything twice");
    }
  }
  change->remotes.put({std::string(name), *clean});
  if (Status s = change->remotes.save(change->root); !s.ok()) return s;
  std::vector<std::string> notes;
  for (const std::string& dir : (*remote)->slot_dirs) {
    const std::string holder = client::holder_of(client::ledger_dir(dir, name) + "/lock");
    if (!holder.empty()) notes.push_back(holder + " delivers to the old address until it ends");
  }
  return notes;
}

Status remove_remote(const std::string& root, std::string_view name, bool even_waiting) {
  Result<Change> change = Change::begin(root, false);
  if (!change.ok()) return change.status();
  Result<const KnownDestination*> remote = change->find(name);
  if (!remote.ok()) return remote.status();
  return client::remove(&*change, **remote, even_waiting);
}

MLOPS_NAMESPACE_END
