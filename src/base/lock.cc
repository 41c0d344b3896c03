// FileLock: flock(2). The lock belongs to the open file description, so it dies with the process however it ends.
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/base.h"
#include "base/file.h"

namespace mlops::base {
namespace {

int lock_retrying(int fd) {
  // is_held() takes a shared lock for some microseconds: that must not look like an owner.
  for (int attempt = 0;; ++attempt) {
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return 0;
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK || attempt == 3) return errno;
    const timespec pause{0, 300'000};
    ::nanosleep(&pause, nullptr);
  }
}

/// The locks of this process. A child of a fork shares each descriptor's lock with its parent, and would keep it alive
/// after its parent let it go.
struct Held {
  std::mutex mutex;
  std::vector<int> fds;
  std::uint32_t forks = 0;
};
Held& held() {
  static auto* one = new Held;  // never destroyed: a fork may come late
  return *one;
}

void before_fork() { held().mutex.lock(); }
void after_fork_in_parent() { held().mutex.unlock(); }
void after_fork_in_child() {
  for (const int fd : held().fds) ::close(fd);  // never LOCK_UN: the parent's lock stands alone
  held().fds.clear();
  ++held().forks;
  held().mutex.unlock();
}

// When the library is loaded, so before all other handlers of ours: those that wait for a thread which may want a lock
// have been called before this mutex is taken.
[[maybe_unused]] const int g_installed = ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);

}  // namespace

Result<FileLock> FileLock::try_lock(const std::string& path) {
  const std::lock_guard<std::mutex> guard(held().mutex);  // no fork between the lock and the note of it
  for (int attempt = 0; attempt < 100; ++attempt) {
    Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return errno_status(errno, "open the lock", path);
    if (const int error = lock_retrying(fd.get()); error != 0) {
      if (error != EWOULDBLOCK) return errno_status(error, "lock", path);
      auto owner = read_file(path, 4096);
      std::string who = owner.ok() ? *owner : std::string();
      while (!who.empty() && who.back() == '\n') who.pop_back();
      return Status(StatusCode::unavailable, path + " is locked" + (who.empty() ? std::string() : " by " + who));
    }
    struct stat ours{}, named{};
    if (::fstat(fd.get(), &ours) != 0) return errno_status(errno, "stat", path);
    if (::stat(path.c_str(), &named) != 0 || ours.st_ino != named.st_ino || ours.st_dev != named.st_dev) {
      continue;  // somebody removed or replaced the file between open and flock
    }
    const std::string who = std::to_string(::getpid()) + " " + host_name() + " " + boot_id() + "\n";
    // For people only: a full disk must not stop who may lock.
    if (::ftruncate(fd.get(), 0) == 0) {
      [[maybe_unused]] const ssize_t n = ::pwrite(fd.get(), who.data(), who.size(), 0);
    }
    FileLock lock;
    held().fds.push_back(fd.get());
    lock.fd_ = static_cast<Fd&&>(fd);
    lock.forks_ = held().forks;
    lock.before_ = ours.st_mtim;
    return lock;
  }
  return Status(StatusCode::unavailable, path + " is replaced again and again while it is locked");
}

FileLock& FileLock::operator=(FileLock&& o) noexcept {
  if (this == &o) return *this;
  unlock();
  fd_ = static_cast<Fd&&>(o.fd_);
  forks_ = o.forks_;
  before_ = o.before_;
  return *this;
}

void FileLock::unlock() {
  if (!fd_) return;
  const std::lock_guard<std::mutex> guard(held().mutex);
  if (forks_ != held().forks) {  // closed in the fork; the number may be another file's by now
    fd_.release();
    return;
  }
  std::vector<int>& fds = held().fds;
  fds.erase(std::find(fds.begin(), fds.end(), fd_.get()));
  fd_.reset();
}

void FileLock::untouch() const {
  const timespec times[2] = {{0, UTIME_OMIT}, before_};
  ::futimens(fd_.get(), times);
}

bool FileLock::is_held(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EINTR || errno == EIO;
  for (;;) {
    if (::flock(fd.get(), LOCK_SH | LOCK_NB) == 0) return false;  // the close lets it go
    if (errno != EINTR) return errno == EWOULDBLOCK;
  }
}

}  // namespace mlops::base
