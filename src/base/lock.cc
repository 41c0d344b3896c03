// FileLock: flock(2). The lock belongs to the open file description, so it dies with the process however it ends.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

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

}  // namespace

Result<FileLock> FileLock::try_lock(const std::string& path) {
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
    lock.fd_ = static_cast<Fd&&>(fd);
    lock.before_ = ours.st_mtim;
    return lock;
  }
  return Status(StatusCode::unavailable, path + " is replaced again and again while it is locked");
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
