#include "drain/spooler.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <memory>
#include <system_error>
#include <utility>

#include "base/base.h"
#include "base/file.h"
#include "base/snapshot.h"
#include "model/artifact.h"

namespace mlops::drain {
namespace {

constexpr std::size_t kRead = std::size_t{512} << 10;
constexpr auto kAgain = std::chrono::seconds(1);
constexpr std::size_t kTogether = 64;  // rows handed over at once

/// The disk, the limits of this process: what may be otherwise in a moment. All else is how the file is.
bool passing(const Status& s) {
  return s.code() == StatusCode::resource_exhausted || s.code() == StatusCode::unavailable ||
         s.code() == StatusCode::internal;
}

std::string_view find(const Pairs& pairs, std::string_view key) {
  for (const auto& [name, value] : pairs) {
    if (name == key) return value;
  }
  return {};
}

template <typename Number>
Number number(const Pairs& pairs, std::string_view key) {
  const std::string_view text = find(pairs, key);
  Number value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

Spooler::Spooler(const std::string& slot_dir, journal::Control* control, std::uint64_t most_bytes,
                 std::function<void()> ring)
    : spool_(slot_dir), control_(control), most_bytes_(most_bytes), ring_(std::move(ring)) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // no signal of the host is ever handled on our thread
  try {
    thread_ = std::thread([this] {
      base::begin_own_thread("mlops-spool");
      main();
    });
  } catch (const std::system_error& e) {
    base::log(base::LogLevel::error, std::string("no thread for the spool, artifacts wait there: ") + e.what());
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Spooler::wind_down() {
  {
    const std::lock_guard lock(mutex_);
    stopping_.store(true, std::memory_order_relaxed);
  }
  changed_.notify_all();
}

void Spooler::stop() {
  wind_down();
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Spooler::ask(Task task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_all();
}

void Spooler::hash(buffer::ArtifactRow artifact) { ask({Kind::hash, std::move(artifact), {}, {}}); }
void Spooler::name(buffer::FileRow row) { ask({Kind::name, {}, std::move(row), {}}); }
void Spooler::remove(buffer::Freed freed) {
  if (!freed.empty()) ask({Kind::remove, {}, {}, std::move(freed)});
}
void Spooler::answer_wish() { ask({Kind::answer, {}, {}, {}}); }

std::vector<buffer::FileRow> Spooler::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(hashed_, {});
}

void Spooler::main() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopped_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    const Task task = std::move(tasks_.front());
    tasks_.pop_front();
    if (task.kind == Kind::hash && stopping_.load(std::memory_order_relaxed)) continue;
    lock.unlock();
    bool done = true;
    switch (task.kind) {
      case Kind::hash:
        done = hash_now(task.artifact);
        break;
      case Kind::name:
        name_now(task.row);
        break;
      case Kind::remove:
        for (const std::string& sha256 : task.freed.contents) unlink(spool_.content(sha256));
        for (const base::Uid& name : task.freed.incoming) unlink(spool_.incoming(name));
        break;
      case Kind::answer:
        control_->spool_wanted.store(0, std::memory_order_release);
        break;
    }
    lock.lock();
    const bool more = done && !tasks_.empty() && tasks_.front().kind == Kind::hash && unsettled_.size() < kTogether;
    if (!more && !unsettled_.empty()) {
      lock.unlock();
      settle();
      lock.lock();
    }
    if (done) continue;
    tasks_.push_front(task);
    changed_.wait_for(lock, kAgain, [this] { return stopping_.load(std::memory_order_relaxed); });
  }
}

bool Spooler::hash_now(const buffer::ArtifactRow& artifact) {
  buffer::FileRow row = artifact.file;
  Status s = artifact.op.pairs.empty() ? Status() : read_source(artifact, &row);
  if (s.ok()) s = digest(spool_.incoming(row.name), &row);
  if (stopping_.load(std::memory_order_relaxed)) return false;
  if (!s.ok() && passing(s)) {
    base::log(base::LogLevel::warn, "artifact \"" + artifact.op.key + "\" waits: " + s.to_string());
    return false;
  }
  if (!s.ok()) {
    row.lost = std::string(s.message());
    base::log(base::LogLevel::error, "artifact \"" + artifact.op.key + "\" is lost: " + row.lost);
    unlink(spool_.incoming(row.name));  // what is left of it is not what was logged
  }
  MLOPS_POINT("spool.hashed");
  unsettled_.push_back(std::move(row));
  return true;
}

/// Of many small files one after the other the folder is fsynced once.
void Spooler::settle() {
  sync_folder(spool_.in());
  MLOPS_POINT("spool.settled");
  {
    const std::lock_guard lock(mutex_);
    for (buffer::FileRow& row : unsettled_) hashed_.push_back(std::move(row));
  }
  unsettled_.clear();
  ring_();
}

/// A file that was to be read later: copied now, if it is still the one it was, and not a second time.
Status Spooler::read_source(const buffer::ArtifactRow& artifact, buffer::FileRow* row) {
  const Pairs& pairs = artifact.op.pairs;
  const std::string source(find(pairs, model::kSource));
  const std::string path = spool_.incoming(row->name);
  if (source.empty() || base::exists(path)) return {};
  base::FileId id;
  id.device = number<std::uint64_t>(pairs, model::kSourceDevice);
  id.inode = number<std::uint64_t>(pairs, model::kSourceInode);
  id.mtime_ns = number<std::int64_t>(pairs, model::kSourceMtime);
  id.ctime_ns = number<std::int64_t>(pairs, model::kSourceCtime);
  id.size = row->size;
  if (most_bytes_ != 0 && journal::spool_used(control_->spool_bytes.load()) + id.size > most_bytes_) {
    return Status(StatusCode::failed_precondition, "the spool was full (spool_mib) when " + source + " was to be read");
  }
  if (Status s = base::make_dirs(spool_.in()); !s.ok()) return s;
  // Under another name until it is whole: a death leaves no half of it.
  const std::string half = path + ".half";
  ::unlink(half.c_str());
  const base::Fd fd(::open(half.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return base::errno_status(errno, "make", half);
  const Result<base::FileId> copied = base::snapshot(source, fd.get(), &id);
  Status s = copied.ok() ? Status() : copied.status();
  MLOPS_POINT("spool.read");
  if (s.ok() && ::rename(half.c_str(), path.c_str()) != 0) s = base::errno_status(errno, "rename", half);
  if (!s.ok()) {
    ::unlink(half.c_str());
    return s;
  }
  control_->spool_bytes.fetch_add(id.size);
  return {};
}

Status Spooler::digest(const std::string& path, buffer::FileRow* row) {
  const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return base::errno_status(errno, "read", path);
  base::Digest sum;
  const auto buffer = std::make_unique<char[]>(kRead);
  std::uint64_t size = 0;
  for (;;) {
    if (stopping_.load(std::memory_order_relaxed)) return {};
    const ssize_t n =
        ::read(fd.get(), buffer.get(), kRead);  // NOLINT(clang-analyzer-unix.BlockInCriticalSection): none
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::errno_status(errno, "read", path);
    if (n == 0) break;
    sum.update({buffer.get(), static_cast<std::size_t>(n)});
    size += static_cast<std::uint64_t>(n);
  }
  if (size != row->size) {
    return Status(StatusCode::data_loss, "the spool has " + std::to_string(size) + " of the " +
                                             std::to_string(row->size) + " bytes that were logged (power loss?)");
  }
  row->sha256 = sum.finish();
  if (row->sha256.size() != 32) return Status(StatusCode::internal, "SHA-256 failed");
  if (::fsync(fd.get()) != 0) return base::errno_status(errno, "fsync", path);
  return {};
}

void Spooler::name_now(const buffer::FileRow& row) {
  const std::string from = spool_.incoming(row.name), to = spool_.content(row.sha256);
  struct stat st{};
  if (::lstat(to.c_str(), &st) == 0 && static_cast<std::uint64_t>(st.st_size) == row.size) {
    // The same bytes have that name already. Not before that name survives a power loss, too.
    if (std::exchange(renamed_, false)) sync_folder(spool_.dir());
    unlink(from);
    MLOPS_POINT("spool.same");
    return;
  }
  if (::rename(from.c_str(), to.c_str()) == 0) {
    renamed_ = true;
  } else if (errno != ENOENT) {  // it stays where readers look next, and the next process tries again
    base::log(base::LogLevel::warn, std::string(base::errno_status(errno, "rename", from).message()));
  }
  MLOPS_POINT("spool.named");
}

void Spooler::unlink(const std::string& path) {
  struct stat st{};
  if (::lstat(path.c_str(), &st) != 0 || ::unlink(path.c_str()) != 0) return;
  control_->spool_bytes.fetch_sub(static_cast<std::uint64_t>(st.st_size));
  MLOPS_POINT("spool.removed");
}

void Spooler::sync_folder(const std::string& path) {
  const base::Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) base::log(base::LogLevel::warn, "cannot fsync the folder " + path);
}

}  // namespace mlops::drain
