#include "base/snapshot.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/base.h"
#include "base/file.h"

namespace mlops::base {
namespace {

constexpr std::size_t kBuffer = std::size_t{256} << 10, kStep = std::size_t{64} << 20;
constexpr std::int64_t kTickNs = 10'000'000;  // of the coarsest kernel clock

std::int64_t ns_of(const timespec& t) { return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec; }

FileId id_of(const struct stat& st) {
  FileId id;
  id.device = static_cast<std::uint64_t>(st.st_dev);
  id.inode = static_cast<std::uint64_t>(st.st_ino);
  id.size = static_cast<std::uint64_t>(st.st_size);
  id.mtime_ns = ns_of(st.st_mtim);
  id.ctime_ns = ns_of(st.st_ctim);
  return id;
}

Status check_regular(const struct stat& st, const std::string& path) {
  if (S_ISREG(st.st_mode)) return {};
  const char* what = S_ISDIR(st.st_mode)    ? "a folder"
                     : S_ISFIFO(st.st_mode) ? "a FIFO"
                     : S_ISSOCK(st.st_mode) ? "a socket"
                                            : "a device";
  return Status(StatusCode::failed_precondition, path + " is " + what + ", and a regular file is needed");
}

Status changed(const std::string& path, const char* when) {
  return Status(StatusCode::failed_precondition, path + " changed " + when +
                                                     ": log it when nobody writes to it, or write it elsewhere and "
                                                     "rename it");
}

Result<FileId> now_is(int fd, const std::string& path) {
  struct stat st{};
  if (::fstat(fd, &st) != 0) return errno_status(errno, "stat", path);
  return id_of(st);
}

/// Until a write from now on would give the file another time of change.
void wait_for_tick(const FileId& id) {
  for (int i = 0; i < 12; ++i) {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    const std::int64_t age = ns_of(now) - id.ctime_ns;
    if (age > 0 || age < -kTickNs) return;  // over; or a time from a clock that is not ours
    const timespec pause{0, 1'000'000};
    ::nanosleep(&pause, nullptr);
  }
}

/// From where the two descriptors stand, until the end.
Status copy_rest(int from, int to, const std::string& path) {
  const auto buffer = std::make_unique<char[]>(kBuffer);
  for (;;) {
    const ssize_t n = ::read(from, buffer.get(), kBuffer);
    if (n == 0) return {};
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_status(errno, "read", path);
    for (ssize_t done = 0; done < n;) {
      const ssize_t put = ::write(to, buffer.get() + done, static_cast<std::size_t>(n - done));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return errno_status(errno, "copy", path);
      done += put;
    }
  }
}

Status copy_all(int from, int to, std::uint64_t size, const std::string& path) {
  for (std::uint64_t done = 0;;) {
    const ssize_t n = ::copy_file_range(from, nullptr, to, nullptr, kStep, 0);
    if (n > 0) {
      done += static_cast<std::uint64_t>(n);
      continue;
    }
    if (n == 0 && done > 0 && done >= size) return {};
    if (n == 0) return copy_rest(from, to, path);  // the end, or a file system that answers 0 (procfs, some FUSE)
    if (errno == EINTR) continue;
    if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO) return errno_status(errno, "copy", path);
    return copy_rest(from, to, path);  // not between these two: EXDEV, EINVAL, EOPNOTSUPP, …
  }
}

}  // namespace

Result<FileId> identify(const std::string& path) {
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return errno_status(errno, "look at", path);
  if (Status s = check_regular(st, path); !s.ok()) return s;
  return id_of(st);
}

Result<FileId> snapshot(const std::string& from, int to, const FileId* expected) {
  const Fd fd(::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a FIFO must not block us
  if (!fd) return errno_status(errno, "open", from);
  struct stat st{};
  if (::fstat(fd.get(), &st) != 0) return errno_status(errno, "stat", from);
  if (Status s = check_regular(st, from); !s.ok()) return s;
  for (int tries = 0; tries < 2; ++tries) {
    Result<FileId> before = now_is(fd.get(), from);
    if (!before.ok()) return before;
    if (expected != nullptr && *before != *expected) return changed(from, "after it was logged and before it was read");
    if (::ioctl(to, FICLONE, fd.get()) == 0) {
      // One moment's content, whichever that was.
      Result<FileId> after = now_is(fd.get(), from);
      const Result<FileId> copy = now_is(to, from);
      if (!after.ok() || !copy.ok()) return after.ok() ? copy : after;
      after->size = copy->size;
      if (expected == nullptr || *after == *expected) return after;
    } else {
      wait_for_tick(*before);
      if (before = now_is(fd.get(), from); !before.ok()) return before;
      if (::lseek(fd.get(), 0, SEEK_SET) != 0 || ::lseek(to, 0, SEEK_SET) != 0)
        return errno_status(errno, "read", from);
      if (Status s = copy_all(fd.get(), to, before->size, from); !s.ok()) return s;
      MLOPS_POINT("spool.copying");
      Result<FileId> after = now_is(fd.get(), from);
      if (!after.ok()) return after;
      const bool same = *after == *before && (expected == nullptr || *after == *expected);
      if (same && ::lseek(to, 0, SEEK_CUR) == static_cast<off_t>(after->size)) return after;
    }
    if (expected != nullptr) return changed(from, "while it was read");
    if (::ftruncate(to, 0) != 0) return errno_status(errno, "copy", from);
  }
  return changed(from, "while it was copied, twice");
}

}  // namespace mlops::base
