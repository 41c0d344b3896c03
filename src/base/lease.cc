#include "base/lease.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <sstream>

#include "base/base.h"
#include "base/file.h"
#include "base/uid.h"

namespace mlops::base {
namespace {

constexpr const char* kHead = "mlops-lease 1\n";
constexpr std::int64_t kSettleMs = 200;       // after a silent holder was followed: two who do it at once see one file
constexpr std::int64_t kLongAgoMs = 600'000;  // for lookers: a file nobody has touched for that long
std::atomic<std::int64_t> g_dead_ms{60'000};

/// Goes on while the machine sleeps: a holder that slept has been silent.
std::int64_t boot_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return std::int64_t{now.tv_sec} * 1'000 + now.tv_nsec / 1'000'000;
}

struct Words {
  std::string nonce, host, boot;
  std::uint64_t count = 0;
  std::int64_t dead_ms = 0, pid = 0;
  bool good = false;
  bool of_this_node() const { return good && host == host_name() && boot == boot_id(); }
};

Words parse(const std::string& bytes) {
  Words w;
  if (bytes.rfind(kHead, 0) != 0) return w;
  std::istringstream in(bytes.substr(std::string(kHead).size()));
  w.good = static_cast<bool>(in >> w.nonce >> w.count >> w.dead_ms >> w.pid >> w.host);
  in >> w.boot;
  return w;
}

std::string one_word(std::string text) {
  std::replace_if(text.begin(), text.end(), [](char c) { return c <= ' '; }, '_');
  return text.empty() ? "-" : text;
}

/// What this process has seen of leases, and since when it has looked like that.
struct Seen {
  std::string bytes;
  std::int64_t since = 0;
};
struct Watch {
  std::mutex mutex;
  std::map<std::string, Seen> seen;
};
Watch& watch() {
  static auto* one = new Watch;  // never destroyed: threads may come late
  return *one;
}

/// Milliseconds for which the file has held these bytes, as far as this process has looked.
std::int64_t silent_for(const std::string& path, const std::string& bytes) {
  const std::lock_guard lock(watch().mutex);
  Seen& seen = watch().seen[path];
  const std::int64_t now = boot_ms();
  if (seen.since == 0 || seen.bytes != bytes) seen = {bytes, now};
  return now - seen.since;
}

std::string words_of(const Words& w) {
  return w.good ? "process " + std::to_string(w.pid) + " on " + w.host : "a process of another node";
}

}  // namespace

void set_lease_silence(Millis dead) { g_dead_ms.store(std::max<std::int64_t>(60, dead.count())); }
Millis lease_silence() { return Millis(g_dead_ms.load()); }

Lease::Lease(std::string path)
    : path_(std::move(path)), nonce_(Uid::random().hex()), dead_ms_(g_dead_ms.load()), pid_(::getpid()) {}

Status Lease::write() {
  const std::string bytes = kHead + nonce_ + " " + std::to_string(++count_) + " " + std::to_string(dead_ms_) + " " +
                            std::to_string(pid_) + " " + one_word(host_name()) + " " + one_word(boot_id()) + "\n";
  return replace_file(path_, bytes, false);
}

Result<std::unique_ptr<Lease>> Lease::take(const std::string& path) {
  const Result<std::string> bytes = read_file(path, 4096);
  if (!bytes.ok() && bytes.status().code() != StatusCode::not_found) return bytes.status();
  bool followed = false;
  if (bytes.ok()) {
    const Words holder = parse(*bytes);
    const std::int64_t dead = std::max(g_dead_ms.load(), holder.dead_ms);
    if (!holder.of_this_node()) {
      const std::int64_t silent = silent_for(path, *bytes);
      if (silent < dead) {
        return Status(StatusCode::unavailable, path + " is held by " + words_of(holder) + ", silent for " +
                                                   std::to_string(silent / 1'000) + " of " +
                                                   std::to_string((dead + 999) / 1'000) + " s");
      }
      log(LogLevel::warn, path + ": " + words_of(holder) + " was silent for too long; this process goes on");
      followed = true;
    }
  }
  std::unique_ptr<Lease> lease(new Lease(path));
  const std::int64_t start = boot_ms();
  MLOPS_POINT("base.lease");
  if (Status s = lease->write(); !s.ok()) return s;
  MLOPS_POINT("base.leased");
  lease->renewed_.store(start);
  if (followed) {
    const timespec pause{0, std::min(kSettleMs, lease->dead_ms_ / 6) * 1'000'000};
    ::nanosleep(&pause, nullptr);
    const Result<std::string> now = read_file(path, 4096);
    if (!now.ok() || parse(*now).nonce != lease->nonce_) {
      lease->lost_.store(true);
      return Status(StatusCode::unavailable, path + " was taken by another node at the same moment");
    }
  }
  return lease;
}

Lease::~Lease() {
  if (lost_.load() || ::getpid() != pid_) return;
  const Result<std::string> bytes = read_file(path_, 4096);
  if (bytes.ok() && parse(*bytes).nonce == nonce_) ::unlink(path_.c_str());
}

bool Lease::held() const { return !lost_.load() && boot_ms() - renewed_.load() < dead_ms_ / 2; }

bool Lease::hold() {
  if (lost_.load()) return false;
  if (boot_ms() - renewed_.load() < dead_ms_ / 6) return true;
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return held();
  const std::int64_t start = boot_ms();
  if (start - renewed_.load() < dead_ms_ / 6) return true;
  const Result<std::string> bytes = read_file(path_, 4096);
  const bool gone = !bytes.ok() && bytes.status().code() == StatusCode::not_found;
  if (!bytes.ok() && !gone) return held();
  if (gone || parse(*bytes).nonce != nonce_) {
    lost_.store(true);
    log(LogLevel::warn, path_ + ": this process lost it" + (gone ? std::string() : " to " + words_of(parse(*bytes))));
    return false;
  }
  if (!write().ok()) return held();
  // A write that hung for so long may have come after somebody else's: whether it did, the next look tells.
  if (boot_ms() - start < dead_ms_ / 2) renewed_.store(start);
  return held();
}

bool lease_alive_elsewhere(const std::string& path) {
  struct stat st{};
  const Result<std::string> bytes = read_file(path, 4096);
  if (!bytes.ok() || ::stat(path.c_str(), &st) != 0) return false;
  const Words holder = parse(*bytes);
  if (holder.of_this_node()) return false;
  if (now_ms() - std::int64_t{st.st_mtim.tv_sec} * 1'000 > kLongAgoMs + holder.dead_ms) return false;
  return silent_for(path, *bytes) < (holder.good ? holder.dead_ms : g_dead_ms.load());
}

std::string lease_holder(const std::string& path) {
  const Result<std::string> bytes = read_file(path, 4096);
  return bytes.ok() ? words_of(parse(*bytes)) : std::string();
}

}  // namespace mlops::base
