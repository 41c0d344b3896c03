// Slots on disk: found, locked, taken over; their control page made or checked.
#include "drain/slot.h"

#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <optional>

#include "base/base.h"
#include "buffer/buffer.h"
#include "buffer/spool.h"

namespace mlops::drain {
namespace {

constexpr std::size_t kPage = 4096;
constexpr const char* kJobFile = "/job";

bool is_slot_name(std::string_view name) {
  if (name.size() != 10 || name.substr(0, 2) != "s-") return false;
  return std::all_of(name.begin() + 2, name.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string new_slot_name() {
  char name[16];
  std::snprintf(name, sizeof name, "s-%08x", static_cast<unsigned>(base::random_u64()));
  return name;
}

/// A host's name as a folder: what is no letter, digit, dot, dash or underscore becomes an underscore.
std::string folder_name(std::string_view host) {
  std::string name(host.empty() ? "localhost" : host.substr(0, 200));
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '-' && c != '_') c = '_';
  }
  if (name.front() == '.') name.front() = '_';
  return name;
}

/// The slot's control page, under its lock. Tickets go on above every ticket that may have been given before: the page
/// may be older than the journals after a power loss, so they never start below the clock (in microseconds).
Result<base::Mapping> own_control(const std::string& slot_dir) {
  const std::string path = slot_dir + "/control";
  struct stat st{};
  if (::stat(path.c_str(), &st) == 0 && st.st_size != static_cast<off_t>(kPage)) {
    // Its maker died in the middle: no journal of this slot has been written yet.
    if (Status s = base::remove_tree(path); !s.ok()) return s;
  }
  auto map = base::exists(path) ? base::Mapping::open(path, true, kPage) : base::Mapping::create(path, kPage, kPage);
  if (!map.ok()) return map.status();
  auto* control = reinterpret_cast<journal::Control*>(map->data());
  if (control->magic == kControlMagic && control->version > kControlVersion) {
    return Status(StatusCode::failed_precondition,
                  slot_dir + " was written by a newer version of mlops; use that version, or another root");
  }
  if (control->magic != kControlMagic) {
    if (control->magic != 0) base::log(base::LogLevel::warn, path + " was damaged and is made anew");
    std::memset(map->data(), 0, map->size());
    new (map->data()) journal::Control{};
    control->version = kControlVersion;
    __atomic_store_n(&control->magic, kControlMagic, __ATOMIC_RELEASE);  // last: open_control looks at it first
  }
  const auto clock = static_cast<std::uint64_t>(base::now_ms()) * 1000;
  if (control->ticket.load() < clock) control->ticket.store(clock);
  return map;
}

Result<std::unique_ptr<Slot>> make_slot(const std::string& host_dir, const base::Placing& placing) {
  for (int tries = 0; tries < 1000; ++tries) {
    const std::string dir = host_dir + "/" + new_slot_name();
    if (::mkdir(dir.c_str(), 0700) != 0) {
      if (errno == EEXIST) continue;
      return base::errno_status(errno, "make the folder", dir);
    }
    MLOPS_POINT("drain.slot.made");
    auto slot = acquire_slot_at(dir, placing);
    // Another starting process may have found the new folder first: then that one is its, and we make another.
    if (slot.ok() || slot.status().code() != StatusCode::unavailable) return slot;
  }
  return Status(StatusCode::unavailable, "no slot can be made in " + host_dir + ": others take each new one");
}

std::optional<model::RunRow> owned_run(const std::string& slot_dir, const base::Uid& run) {
  const auto bytes = base::read_file(slot_dir + "/summary");
  if (!bytes.ok()) return std::nullopt;
  buffer::Identity identity;
  buffer::SlotCounters counters;
  std::vector<buffer::SummaryEntry> entries;
  if (!buffer::decode_summary(*bytes, &identity, &counters, &entries).ok()) return std::nullopt;
  const auto found =
      std::find_if(entries.begin(), entries.end(), [&](const auto& e) { return e.row.uid == run && !e.row.attached; });
  if (found == entries.end()) return std::nullopt;
  return std::move(found->row);
}

bool holds_run(const std::string& slot_dir, const base::Uid& run) { return owned_run(slot_dir, run).has_value(); }

/// As the kernel stamps files.
std::int64_t coarse_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

Result<std::vector<SlotInfo>> find_slots(const std::string& root) {
  auto hosts = base::list_dir(root);
  if (!hosts.ok()) return hosts.status();
  std::vector<SlotInfo> found;
  for (const std::string& host : *hosts) {
    const auto names = base::list_dir(root + "/" + host);
    if (!names.ok()) continue;  // a file, or a folder of somebody else
    for (const std::string& name : *names) {
      if (!is_slot_name(name)) continue;
      const std::string dir = root + "/" + host + "/" + name;
      found.push_back({dir, host, base::is_slot_alive(dir)});
    }
  }
  return found;
}

namespace {

std::string lease_of(const std::string& slot_dir) { return slot_dir + "/lease"; }

/// Finds the slot's halves, and makes one where this process would have it. Under the slot's lock.
Status find_homes(const base::Placing& placing, Slot* slot) {
  auto halves = base::read_place(slot->dir);
  if (!halves.ok()) return halves.status();
  std::vector<base::Half> kept;
  const base::Half* current = nullptr;
  bool changed = false;
  for (base::Half& half : *halves) {
    const bool here = half.here();
    if (!here && half.host == base::host_name() && base::exists(half.path.substr(0, half.path.find("/mlops-")))) {
      base::log(base::LogLevel::warn,
                "the folder " + half.path +
                    " is gone (a temporary folder that was cleared?): what was accepted there and "
                    "not yet buffered is lost; MLOPS_JOURNAL names a folder that stays");
      changed = true;
      continue;
    }
    if (!here) {
      base::log(base::LogLevel::warn, slot->dir + ": what its process on " + half.host +
                                          " accepted last may still be in " + half.path +
                                          " there; the next process on that node that takes the slot "
                                          "collects it");
      slot->far.push_back(half);
    }
    kept.push_back(std::move(half));
  }
  for (base::Half& half : base::find_halves(placing, slot->dir)) {
    if (std::any_of(kept.begin(), kept.end(), [&](const auto& known) { return known.token == half.token; })) continue;
    kept.push_back(std::move(half));
    changed = true;
  }
  // Journals go where this process wants them: an older half may be in a folder that is about to be cleared.
  for (const base::Half& half : kept) {
    const bool wanted = placing.folder.empty() ? half.path == slot->dir : half.in(placing);
    if (current == nullptr && wanted && half.here()) current = &half;
  }
  if (current != nullptr) {
    slot->local = current->path;
  } else if (placing.folder.empty() && kept.empty()) {
    slot->local = slot->dir;
  } else {
    auto made = placing.folder.empty() ? base::slot_as_half(slot->dir) : base::make_half(placing, slot->dir);
    if (!made.ok()) return made.status();
    slot->local = made->path;
    kept.insert(kept.begin(), std::move(*made));
    changed = true;
  }
  if (current != nullptr && current != &kept.front()) {
    std::rotate(kept.begin(), kept.begin() + (current - kept.data()), kept.begin() + (current - kept.data()) + 1);
    changed = true;
  }
  MLOPS_POINT("drain.slot.placed");
  if (changed) {
    if (Status s = base::write_place(slot->dir, kept); !s.ok()) return s;
  }
  slot->homes = {slot->local};
  for (const base::Half& half : kept) {
    if (half.path != slot->local && half.here()) slot->homes.push_back(half.path);
  }
  if (slot->local != slot->dir && base::exists(slot->dir + "/journal")) slot->homes.push_back(slot->dir);
  return {};
}

}  // namespace

Status Slot::hold_again() {
  if (lease == nullptr || lease->held()) return {};
  lease.reset();  // what is lost is not given back
  auto taken = base::Lease::take(lease_of(dir));
  if (taken.ok()) lease = std::move(*taken);
  return taken.status();
}

void Slot::tidy() {
  auto halves = base::read_place(dir);
  if (!halves.ok() || halves->empty()) return;
  std::vector<base::Half> left, going;
  for (const base::Half& half : *halves) (half.here() ? going : left).push_back(half);
  if (going.empty()) return;
  // Off the list first: who begins a journal there looks at the list after it (client/end.cc). One that is not empty
  // comes back; after a death in between, find_homes finds it.
  if (Status s = base::write_place(dir, left); !s.ok()) return;
  MLOPS_POINT("drain.slot.tidy");
  std::vector<base::Half> stay;
  for (const base::Half& half : going) {
    if (half.path != dir && !base::remove_half(half)) stay.push_back(half);
  }
  if (stay.empty()) return;
  stay.insert(stay.end(), left.begin(), left.end());
  base::write_place(dir, stay).ignore();
}

Result<std::unique_ptr<Slot>> acquire_slot_at(const std::string& slot_dir, const base::Placing& placing) {
  auto lock = base::FileLock::try_lock(slot_dir + "/lock");
  if (!lock.ok()) return lock.status();
  MLOPS_POINT("drain.slot.locked");
  auto slot = std::make_unique<Slot>();
  slot->dir = slot_dir;
  slot->network = placing.network || base::is_network_root(base::root_of_slot(slot_dir));
  if (slot->network) {
    auto lease = base::Lease::take(lease_of(slot_dir));
    if (!lease.ok()) return lease.status();
    slot->lease = std::move(*lease);
  }
  if (Status s = find_homes(placing, slot.get()); !s.ok()) return s;
  auto control = own_control(slot->local);
  if (!control.ok()) return control.status();
  // What is left over is counted by the drain thread before it removes any of it: 10,000 files take it too long to be
  // waited for here. By the files' times, which on a network are another machine's.
  std::uint64_t left = 0;
  if (slot->network) {
    left = buffer::Spool(slot_dir).bytes();
  } else {
    slot->taken_ns = coarse_ns();
  }
  reinterpret_cast<journal::Control*>(control->data())->spool_bytes.store(left);
  if (Status s = base::make_dirs(slot->local + "/journal"); !s.ok()) return s;
  for (const std::string& home : slot->homes) {
    const auto found = journal::find_journals(home);
    if (!found.ok()) return found.status();
    for (const journal::Found& f : *found) slot->predecessors.push_back(f.writer);
  }
  slot->lock = std::move(*lock);
  slot->control_map = std::move(*control);
  return slot;
}

std::string experiment_of(const std::string& root, const base::Uid& run) {
  const auto slots = find_slots(root);
  if (!slots.ok()) return {};
  for (const SlotInfo& slot : *slots) {
    if (const auto row = owned_run(slot.dir, run)) return row->experiment.empty() ? "Default" : row->experiment;
  }
  return {};
}

Result<std::unique_ptr<Slot>> acquire_slot(const std::string& root, const std::string& host, const SlotWish& wish,
                                           const base::Placing& placing) {
  const std::string host_dir = root + "/" + folder_name(host);
  if (Status s = base::make_dirs(host_dir); !s.ok()) return s;
  auto names = base::list_dir(host_dir);
  if (!names.ok()) return names.status();
  std::vector<std::string> dirs;
  for (const std::string& name : *names) {
    if (is_slot_name(name)) dirs.push_back(host_dir + "/" + name);
  }
  if (!placing.folder.empty()) {  // what dead processes left on this node first: nobody else can collect it
    const auto left_here = [](const std::string& dir) {
      const auto halves = base::read_place(dir);
      return halves.ok() && std::any_of(halves->begin(), halves->end(), [](const auto& half) { return half.here(); });
    };
    std::stable_partition(dirs.begin(), dirs.end(), left_here);
  }
  if (!wish.run.zero()) {
    std::stable_partition(dirs.begin(), dirs.end(), [&](const std::string& dir) { return holds_run(dir, wish.run); });
  }
  if (!wish.job.empty()) {
    const auto marked = [&](const std::string& dir) {
      return base::read_file(dir + kJobFile, 4096).value_or({}) == wish.job;
    };
    const auto rest = std::stable_partition(dirs.begin(), dirs.end(), marked);
    if (!wish.owns_job) dirs.erase(dirs.begin(), rest);
  }
  for (const std::string& dir : dirs) {
    auto slot = acquire_slot_at(dir, placing);
    if (slot.ok()) return slot;
    if (slot.status().code() != StatusCode::unavailable) {
      base::log(base::LogLevel::warn, "slot " + dir + " is passed over: " + std::string(slot.status().message()));
    }
    if (slot.status().code() == StatusCode::resource_exhausted) return slot.status();
  }
  return make_slot(host_dir, placing);
}

Status mark_slot(const std::string& slot_dir, const std::string& job) {
  const std::string path = slot_dir + kJobFile;
  if (base::read_file(path, 4096).value_or({}) == job) return {};
  return base::replace_file(path, job, false);
}

namespace {

Result<base::Mapping> checked_control(const std::string& slot_dir, bool writable) {
  const Result<std::string> local = base::local_half(slot_dir);
  if (!local.ok()) return local.status();
  auto map = base::Mapping::open(*local + "/control", writable, kPage);
  if (!map.ok()) return map.status();
  const auto* control = reinterpret_cast<const journal::Control*>(map->data());
  if (map->size() < sizeof(journal::Control) || __atomic_load_n(&control->magic, __ATOMIC_ACQUIRE) != kControlMagic)
    return Status(StatusCode::data_loss, slot_dir + "/control is no control page");
  if (control->version > kControlVersion)
    return Status(StatusCode::failed_precondition,
                  slot_dir + " was written by a newer version of mlops; use that version, or another root");
  return map;
}

}  // namespace

Result<base::Mapping> open_control(const std::string& slot_dir) { return checked_control(slot_dir, false); }
Result<base::Mapping> join_control(const std::string& slot_dir) { return checked_control(slot_dir, true); }

SpoolState spool_state(const std::string& slot_dir) {
  const auto map = open_control(slot_dir);
  if (!map.ok()) return {};
  const auto* control = reinterpret_cast<const journal::Control*>(map->data());
  return {journal::spool_used(control->spool_bytes.load()), control->artifacts_waiting.load(),
          control->artifacts_lost.load()};
}

Status buffer_trouble(const SlotInfo& slot) {
  if (!slot.alive) return {};
  const auto map = open_control(slot.dir);
  if (!map.ok()) return {};
  const auto* control = reinterpret_cast<const journal::Control*>(map->data());
  const std::uint32_t code = control->buffer_code.load(std::memory_order_acquire);
  if (code == 0) return {};
  std::string words(control->buffer_words, ::strnlen(control->buffer_words, sizeof control->buffer_words));
  words = slot.dir + ": the buffer cannot be written, the journal holds on: " + words;
  return Status(
      code <= static_cast<std::uint32_t>(StatusCode::internal) ? static_cast<StatusCode>(code) : StatusCode::internal,
      std::move(words));
}

bool has_live_attachment(const std::string& root, const base::Uid& run) {
  const auto slots = find_slots(root);
  if (!slots.ok()) return false;
  for (const SlotInfo& slot : *slots) {
    if (!slot.alive) continue;
    const auto bytes = base::read_file(slot.dir + "/summary");
    if (!bytes.ok()) continue;
    buffer::Identity identity;
    buffer::SlotCounters counters;
    std::vector<buffer::SummaryEntry> entries;
    if (!buffer::decode_summary(*bytes, &identity, &counters, &entries).ok()) continue;
    for (const auto& e : entries) {
      if (e.row.uid == run && e.row.attached && e.row.status == RunStatus::running) return true;
    }
  }
  return false;
}

}  // namespace mlops::drain
