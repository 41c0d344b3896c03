// Beneath: every open starts at the folder's descriptor; paths are split here, so the walk and openat2 see the same.
#include "base/beneath.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace mlops::base {
namespace {

Status check(std::string_view path) {
  Status bad(StatusCode::invalid_argument,
             "'" + std::string(path.substr(0, 200)) + "' leads out of its folder, or is no plain relative path");
  if (path.find('\0') != path.npos) return bad;
  for (std::string_view rest = path;;) {
    const auto slash = rest.find('/');
    const std::string_view segment = rest.substr(0, slash);
    if (segment.empty() || segment == "." || segment == "..") return bad;
    if (slash == rest.npos) return {};
    rest.remove_prefix(slash + 1);
  }
}

std::string parent_of(std::string_view path) {
  const auto slash = path.rfind('/');
  return slash == path.npos ? std::string() : std::string(path.substr(0, slash));
}
std::string name_of(std::string_view path) {
  const auto slash = path.rfind('/');
  return std::string(slash == path.npos ? path : path.substr(slash + 1));
}

int walk(int root, const std::string& path, int flags, unsigned mode) {
  Fd at;
  for (std::size_t from = 0;;) {
    const auto slash = path.find('/', from);
    const std::string segment = path.substr(from, slash == path.npos ? path.npos : slash - from);
    const int dir = at ? at.get() : root;
    if (slash == path.npos) return ::openat(dir, segment.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode);
    const int next = ::openat(dir, segment.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0) return -1;
    at = Fd(next);
    from = slash + 1;
  }
}

}  // namespace

Result<Beneath> Beneath::open(const std::string& folder, bool create) {
  if (create) {
    for (std::size_t at = 1; at <= folder.size(); ++at) {
      if (at < folder.size() && folder[at] != '/') continue;
      if (::mkdir(folder.substr(0, at).c_str(), 0777) != 0 && errno != EEXIST)
        return errno_status(errno, "make the folder", folder);
    }
  }
  Beneath out;
  out.path_ = folder;
  out.root_ = Fd(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!out.root_) return errno_status(errno, "open the folder", folder);
  return out;
}

Result<Fd> Beneath::resolve(std::string_view path, int flags, unsigned mode) const {
  const std::string text(path);
  static std::atomic<bool> missing{false};
  int fd = -1;
  if (!missing.load(std::memory_order_relaxed)) {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC | O_NOFOLLOW);
    how.mode = (flags & O_CREAT) != 0 ? mode : 0;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    do {
      fd = static_cast<int>(::syscall(SYS_openat2, root_.get(), text.c_str(), &how, sizeof how));
    } while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
      missing.store(true, std::memory_order_relaxed);  // seccomp says EPERM
  }
  if (fd < 0 && missing.load(std::memory_order_relaxed)) fd = walk(root_.get(), text, flags, mode);
  if (fd >= 0) return Fd(fd);
  if (errno == ELOOP || errno == EXDEV)
    return Status(StatusCode::failed_precondition,
                  path_ + "/" + text + ": there is a symbolic link on the way; links are not followed here. Remove it");
  return errno_status(errno, "open", path_ + "/" + text);
}

Result<Fd> Beneath::open_file(std::string_view path, int flags, unsigned mode) const {
  if (Status s = check(path); !s.ok()) return s;
  return resolve(path, flags, mode);
}

Result<Fd> Beneath::open_dir(std::string_view path) const {
  if (path.empty()) return resolve(".", O_RDONLY | O_DIRECTORY, 0);
  if (Status s = check(path); !s.ok()) return s;
  return resolve(path, O_RDONLY | O_DIRECTORY, 0);
}

Status Beneath::make_dirs(std::string_view path) const {
  if (path.empty()) return {};
  if (Status s = check(path); !s.ok()) return s;
  for (std::size_t at = path.find('/');; at = path.find('/', at + 1)) {
    const std::string_view part = path.substr(0, at);
    const Result<Fd> parent = open_dir(parent_of(part));
    if (!parent.ok()) return parent.status();
    if (::mkdirat(parent->get(), name_of(part).c_str(), 0777) != 0 && errno != EEXIST)
      return errno_status(errno, "make the folder", path_ + "/" + std::string(part));
    if (at == path.npos) break;
  }
  const Result<Fd> last = open_dir(path);  // a file or a link in its place
  return last.status();
}

Status Beneath::rename(std::string_view from, std::string_view to, bool sync) const {
  if (Status s = check(from); !s.ok()) return s;
  if (Status s = check(to); !s.ok()) return s;
  if (parent_of(from) != parent_of(to)) return {StatusCode::internal, "rename across folders"};
  const Result<Fd> parent = open_dir(parent_of(to));
  if (!parent.ok()) return parent.status();
  if (::renameat(parent->get(), name_of(from).c_str(), parent->get(), name_of(to).c_str()) != 0)
    return errno_status(errno, "rename to", path_ + "/" + std::string(to));
  if (sync && ::fsync(parent->get()) != 0 && errno != EINVAL && errno != EROFS)
    return errno_status(errno, "sync the folder of", path_ + "/" + std::string(to));
  return {};
}

Status Beneath::remove(std::string_view path) const {
  if (Status s = check(path); !s.ok()) return s;
  const Result<Fd> parent = open_dir(parent_of(path));
  if (!parent.ok()) return parent.status().code() == StatusCode::not_found ? Status() : parent.status();
  if (::unlinkat(parent->get(), name_of(path).c_str(), 0) != 0 && errno != ENOENT)
    return errno_status(errno, "remove", path_ + "/" + std::string(path));
  return {};
}

Status Beneath::stat(std::string_view path, struct stat* out) const {
  const Result<Fd> fd = open_file(path, O_PATH);
  if (!fd.ok()) return fd.status();
  return ::fstat(fd->get(), out) == 0 ? Status() : errno_status(errno, "look at", path_ + "/" + std::string(path));
}

}  // namespace mlops::base
