// Files and folders. Whatever is created here is 0600 (files) or 0700 (folders) and is not reached through a link.
#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/base.h"

namespace mlops::base {
namespace {

StatusCode code_of(int error) {
  switch (error) {
    case ENOENT:
      return StatusCode::not_found;
    case EEXIST:
    case ENOTEMPTY:
      return StatusCode::already_exists;
    case EACCES:
    case EPERM:
    case EROFS:
      return StatusCode::permission_denied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case ENOLCK:
      return StatusCode::resource_exhausted;
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ETXTBSY:
    case EXDEV:
      return StatusCode::failed_precondition;
    case EAGAIN:
    case EBUSY:
    case EINTR:
    case ESTALE:
    case ETIMEDOUT:
      return StatusCode::unavailable;
    case EIO:
      return StatusCode::data_loss;
    case EINVAL:
    case ENAMETOOLONG:
    case EILSEQ:
      return StatusCode::invalid_argument;
    case ENOSYS:
    case EOPNOTSUPP:
      return StatusCode::unimplemented;
    default:
      return StatusCode::internal;
  }
}

const char* hint_of(int error) {
  switch (error) {
    case ENOENT:
      return "check the path";
    case EACCES:
    case EPERM:
      return "check who owns the path and its mode, or choose another folder (MLOPS_HOME moves the root)";
    case EROFS:
      return "the file system is read-only: choose another folder (MLOPS_HOME moves the root)";
    case ENOSPC:
    case EDQUOT:
      return "free some space or raise the quota, or choose another folder (MLOPS_HOME moves the root)";
    case EFBIG:
      return "raise the file size limit (ulimit -f)";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (ulimit -n)";
    case ENOMEM:
      return "free some memory, or raise its limit";
    case ENOTDIR:
      return "a part of the path is a file: move it away, or choose another path";
    case EISDIR:
      return "it is a folder: choose another path";
    case ELOOP:
      return "it is a symbolic link, which is not followed here: use the path it leads to";
    case EIO:
      return "the device reports an error: see the kernel log and check the disk";
    case ENAMETOOLONG:
      return "choose a shorter path";
    case ENOLCK:
      return "this file system has no locks left or none at all: choose another folder (MLOPS_HOME moves the root)";
    default:
      return nullptr;
  }
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status make_one(const std::string& path, bool last) {
  if (::mkdir(path.c_str(), 0700) == 0) return {};
  const int error = errno;
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return errno_status(error, "make the folder", path);
  if (!S_ISDIR(st.st_mode)) {
    return Status(StatusCode::failed_precondition, path +
                                                       " is a file, and a folder is needed there: move it away, or "
                                                       "choose another folder (MLOPS_HOME moves the root)");
  }
  if (last && st.st_uid != ::geteuid()) {
    return Status(StatusCode::failed_precondition,
                  path + " belongs to another user (uid " + std::to_string(st.st_uid) + ", this process runs as uid " +
                      std::to_string(::geteuid()) +
                      "): choose another folder (MLOPS_HOME moves the root), or chown it");
  }
  return {};
}

Status write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_status(errno, "write", path);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Status sync_dir(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errno_status(errno, "open the folder", path);
  if (::fsync(fd.get()) != 0 && errno != EINVAL) return errno_status(errno, "fsync the folder", path);
  return {};
}

// Calls fn(dir fd, name, stat) for every entry below `dir`, folders after what is in them; follows no link. Takes dir.
template <typename Fn>
int walk(int dir, Fn&& fn) {
  DIR* stream = ::fdopendir(dir);
  if (stream == nullptr) {
    const int error = errno;
    ::close(dir);
    return error;
  }
  const int here = ::dirfd(stream);
  if (here < 0) {
    ::closedir(stream);
    return EBADF;
  }
  int first = 0;
  const dirent* entry = nullptr;
  while (errno = 0, (entry = ::readdir(stream)) != nullptr) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat st{};
    if (::fstatat(here, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;  // gone meanwhile
    if (S_ISDIR(st.st_mode)) {
      const int below = ::openat(here, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      const int error = below >= 0 ? walk(below, fn) : (errno == ENOENT ? 0 : errno);
      if (first == 0) first = error;
    }
    const int error = fn(here, entry->d_name, st);
    if (first == 0) first = error;
  }
  if (first == 0) first = errno;
  ::closedir(stream);
  return first;
}

}  // namespace

Status errno_status(int error, std::string_view doing, std::string_view path) {
  std::string message = "cannot " + std::string(doing);
  if (!path.empty()) message += " " + std::string(path);
  message += ": " + std::generic_category().message(error);
  if (const char* hint = hint_of(error)) message += std::string(" (") + hint + ")";
  return Status(code_of(error), std::move(message));
}

Fd& Fd::operator=(Fd&& o) noexcept {
  if (this != &o) {
    reset();
    fd_ = o.release();
  }
  return *this;
}

void Fd::reset() {
  if (fd_ < 0) return;
  const int saved = errno;
  ::close(fd_);
  fd_ = -1;
  errno = saved;
}

Status make_dirs(const std::string& path) {
  if (path.empty()) return Status(StatusCode::invalid_argument, "a folder's path is empty: name one");
  if (path.find('\0') != std::string::npos) return Status(StatusCode::invalid_argument, "a folder's path holds a NUL");
  for (std::size_t at = 1; at <= path.size(); ++at) {
    if (at != path.size() && path[at] != '/') continue;
    if (path[at - 1] == '/') continue;
    const bool last = path.find_first_not_of('/', at) == std::string::npos;
    if (Status s = make_one(path.substr(0, at), last); !s.ok()) return s;
    if (last) break;
  }
  return {};
}

Result<std::string> read_file(const std::string& path, std::size_t max_bytes) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a FIFO must not block us
  if (!fd) return errno_status(errno, "open", path);
  struct stat st{};
  if (::fstat(fd.get(), &st) != 0) return errno_status(errno, "stat", path);
  if (S_ISDIR(st.st_mode)) return errno_status(EISDIR, "read", path);
  if (!S_ISREG(st.st_mode)) return Status(StatusCode::failed_precondition, path + " is not a regular file");
  std::string bytes;
  std::size_t done = 0;
  std::size_t room = std::min<std::size_t>(static_cast<std::size_t>(st.st_size) + 1, max_bytes);
  for (;;) {
    bytes.resize(std::max<std::size_t>(room, done + 1));
    const ssize_t n = ::read(fd.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_status(errno, "read", path);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
    if (done > max_bytes) {
      return Status(StatusCode::resource_exhausted, path + " is longer than " + std::to_string(max_bytes) + " bytes");
    }
    room = done == bytes.size() ? std::min(done * 2 + 4096, max_bytes + 1) : bytes.size();
  }
  bytes.resize(done);
  return bytes;
}

Status replace_file(const std::string& path, std::string_view bytes, bool sync) {
  const std::string beside = path + ".tmp." + std::to_string(::getpid()) + "." + std::to_string(random_u64());
  Fd fd(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return errno_status(errno, "write", path);
  Status s = write_all(fd.get(), bytes, path);
  if (s.ok() && sync && ::fsync(fd.get()) != 0) s = errno_status(errno, "fsync", path);
  fd.reset();
  MLOPS_POINT("base.replace_written");
  if (s.ok() && ::rename(beside.c_str(), path.c_str()) != 0) s = errno_status(errno, "replace", path);
  if (!s.ok()) {
    ::unlink(beside.c_str());
    return s;
  }
  MLOPS_POINT("base.replace_renamed");
  return sync ? sync_dir(parent_of(path)) : Status();
}

Result<std::vector<std::string>> list_dir(const std::string& path) {
  DIR* stream = ::opendir(path.c_str());
  if (stream == nullptr) return errno_status(errno, "list", path);
  std::vector<std::string> names;
  const dirent* entry = nullptr;
  while (errno = 0, (entry = ::readdir(stream)) != nullptr) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  const int error = errno;
  ::closedir(stream);
  if (error != 0) return errno_status(error, "list", path);
  std::sort(names.begin(), names.end());
  return names;
}

Status remove_tree(const std::string& path) {
  const int dir = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (dir < 0) {
    if (errno == ENOENT) return {};
    if (errno != ENOTDIR && errno != ELOOP) return errno_status(errno, "remove", path);
    return ::unlink(path.c_str()) == 0 || errno == ENOENT ? Status() : errno_status(errno, "remove", path);
  }
  const int error = walk(dir, [](int at, const char* name, const struct stat& st) {
    return ::unlinkat(at, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) == 0 || errno == ENOENT ? 0 : errno;
  });
  if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return {};
  return errno_status(error != 0 ? error : errno, "remove", path);
}

bool exists(const std::string& path) {
  struct stat st{};
  return ::lstat(path.c_str(), &st) == 0;
}

std::uint64_t disk_usage(const std::string& path) {
  struct stat top{};
  if (::lstat(path.c_str(), &top) != 0) return 0;
  std::uint64_t blocks = static_cast<std::uint64_t>(top.st_blocks);
  if (S_ISDIR(top.st_mode)) {
    const int dir = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir >= 0) {
      walk(dir, [&blocks](int, const char*, const struct stat& st) {
        blocks += static_cast<std::uint64_t>(st.st_blocks);
        return 0;
      });
    }
  }
  return blocks * 512;
}

bool is_network_fs(const std::string& path) {
  std::string at = path;
  struct statfs fs{};
  while (::statfs(at.c_str(), &fs) != 0) {  // the folder may not be there yet: its parent decides
    if (at == "/" || at == "." || at.empty()) return false;
    at = parent_of(at);
  }
  switch (static_cast<std::uint32_t>(fs.f_type)) {
    case 0x6969:      // NFS
    case 0x517B:      // SMB
    case 0xFE534D42:  // SMB2
    case 0xFF534D42:  // CIFS
    case 0x65735546:  // FUSE: sshfs, GlusterFS, s3fs, …
    case 0x0BD00BD0:  // Lustre
    case 0x00C36400:  // Ceph
    case 0x47504653:  // GPFS
    case 0x5346414F:  // AFS
    case 0x6B414653:  // kAFS
    case 0x01021997:  // 9p
    case 0x73757245:  // Coda
    case 0x564C:      // NCP
    case 0x7461636F:  // OCFS2
    case 0x01161970:  // GFS2
    case 0x19830326:  // BeeGFS
    case 0xAAD7AAEA:  // PanFS
      return true;
    default:
      return false;
  }
}

}  // namespace mlops::base
