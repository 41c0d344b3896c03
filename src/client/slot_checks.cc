// check_slots: what is in the root already, whether it can be read and written, and what its files say of the clock.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/base.h"
#include "base/file.h"
#include "base/lease.h"
#include "base/place.h"
#include "buffer/buffer.h"
#include "client/checks.h"
#include "drain/slot.h"
#include "view/view.h"

namespace mlops::client {
namespace {

constexpr std::int64_t kClockSlackMs = 5'000;
constexpr std::int64_t kFirstGoodMs = 1'704'067'200'000;  // 2024-01-01: no machine with this library was there before

std::int64_t changed_ms(const std::string& path) {
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return 0;
  return static_cast<std::int64_t>(st.st_mtim.tv_sec) * 1'000 + st.st_mtim.tv_nsec / 1'000'000;
}

void check_clock(const std::vector<drain::SlotInfo>& slots, std::int64_t newest_start, Findings* findings) {
  const std::int64_t now = base::now_ms();
  std::int64_t newest = newest_start;
  for (const drain::SlotInfo& slot : slots) {
    for (const char* file : {"/summary", "/lock"}) newest = std::max(newest, changed_ms(slot.dir + file));
  }
  const char* set_it = "set the clock, by NTP: points carry its time, and curves over time are drawn by it";
  if (now < kFirstGoodMs) {
    findings->mend("clock", "this machine's clock stands before 2024", set_it);
  } else if (newest > now + kClockSlackMs) {
    findings->mend("clock",
                   "it was stepped back, or other machines' clocks are ahead: the root has files of " +
                       time_words(static_cast<double>(newest - now) / 1'000) + " from now",
                   set_it);
  } else {
    findings->ok("clock", "nothing in the root is from the future");
  }
}

// Of slots that other nodes can reach: who works there, and what dead processes left on their nodes.
void check_nodes(const std::vector<drain::SlotInfo>& slots, Findings* findings) {
  for (const drain::SlotInfo& slot : slots) {
    if (slot.alive && base::lease_alive_elsewhere(slot.dir + "/lease")) {
      findings->ok("slots.lease", slot.dir + ": " + base::lease_holder(slot.dir + "/lease"));
    }
    const Result<std::vector<base::Half>> halves = base::read_place(slot.dir);
    for (std::size_t i = 0; !slot.alive && halves.ok() && i < halves->size(); ++i) {
      const base::Half& half = (*halves)[i];
      if (half.here()) continue;
      findings->mend("slots.journal", slot.dir + ": what was accepted last on " + half.host + " may be in " + half.path,
                     "run `mlops sync`, or anything that opens this root, on " + half.host + ": it collects that");
    }
  }
}

// A slot of another user, or one whose rights were taken away, can be neither taken over nor delivered.
void check_rights(const std::vector<drain::SlotInfo>& slots, Findings* findings) {
  std::size_t foreign = 0, closed = 0;
  std::string first;
  for (const drain::SlotInfo& slot : slots) {
    struct stat st{};
    const bool seen = ::stat(slot.dir.c_str(), &st) == 0;
    const bool other = seen && st.st_uid != ::geteuid();
    const bool shut = !seen || ::access(slot.dir.c_str(), R_OK | W_OK | X_OK) != 0;
    foreign += other ? 1 : 0;
    closed += shut && !other ? 1 : 0;
    if ((other || shut) && first.empty()) first = slot.dir;
  }
  if (foreign != 0) {
    findings->mend("slots.rights", std::to_string(foreign) + " belong to other users, the first is " + first,
                   "chown -R them to this user, or deliver them as theirs");
  }
  if (closed != 0) {
    findings->mend("slots.rights", std::to_string(closed) + " cannot be read and written, the first is " + first,
                   "chmod -R u+rwX " + first + ", if the file system is not mounted read-only");
  }
}

void check_library(Findings* findings) {
  const buffer::Library library = buffer::library();
  std::string loaded;  // by the file's name: librocksdb.so.7.8.3
  const std::size_t mark = library.file.rfind("librocksdb.so.");
  if (mark != std::string::npos) loaded = library.file.substr(mark + std::strlen("librocksdb.so."));
  if (loaded.empty()) {
    findings->ok("database", "built with RocksDB " + library.built + ", which is in " +
                                 (library.file.empty() ? "this program" : library.file));
    return;
  }
  const std::string minor = library.built.substr(0, library.built.rfind('.'));
  const std::string words = "built with RocksDB " + library.built + ", loaded " + loaded;
  const bool same = loaded == minor || loaded.compare(0, minor.size() + 1, minor + ".") == 0;
  if (same || loaded.find('.') == std::string::npos) {
    findings->ok("database", words);
  } else {
    findings->mend("database", words, "use the one it was built with, or build mlops anew: " + library.file);
  }
}

}  // namespace

void check_slots(const std::string& root, Findings* findings) {
  check_library(findings);
  struct stat st{};
  if (::stat(root.c_str(), &st) != 0) return check_clock({}, 0, findings);
  const Result<std::vector<drain::SlotInfo>> slots = drain::find_slots(root);
  Result<std::unique_ptr<view::View>> view = view::View::open(root);
  if (!slots.ok() || !view.ok()) {
    const Status& why = slots.ok() ? view.status() : slots.status();
    findings->mend("slots", "the root cannot be read", std::string(why.message()));
    return check_clock({}, 0, findings);
  }
  const auto alive = std::count_if(slots->begin(), slots->end(), [](const auto& slot) { return slot.alive; });
  std::uint64_t gone = 0;
  std::int64_t newest = 0;
  const Result<std::vector<RunSummary>> runs = (*view)->runs({});
  for (std::size_t i = 0; runs.ok() && i < runs->size(); ++i) {
    const RunSummary& run = (*runs)[i];
    newest = std::max(newest, run.start_ms);
    gone += run.status == RunStatus::running && !run.live && !run.left_open ? 1 : 0;
  }
  std::string words = std::to_string(slots->size()) + ", " + std::to_string(alive) + " in use, " +
                      std::to_string(slots->size() - static_cast<std::size_t>(alive)) + " free";
  if (gone != 0) {
    words += "; " + std::to_string(gone) + " runs whose process is gone: `mlops sync` or the next start ends them";
  }
  findings->ok("slots", words);
  check_rights(*slots, findings);
  const Result<std::vector<Status>> problems = (*view)->problems();
  for (std::size_t i = 0; problems.ok() && i < problems->size(); ++i) {
    findings->mend("slots.readable", "a slot cannot be listed", std::string((*problems)[i].message()));
  }
  for (const drain::SlotInfo& slot : *slots) {
    const Status trouble = drain::buffer_trouble(slot);
    if (!trouble.ok()) {
      findings->mend("slots.written", slot.dir + ": its process cannot write", std::string(trouble.message()));
    }
  }
  check_nodes(*slots, findings);
  check_clock(*slots, newest, findings);
}

}  // namespace mlops::client
