// Files as the SDK uses them: 0600 files in 0700 folders, O_CLOEXEC; every failure is a Status that names the path,
// errno in words, and what to do. Symbolic links are followed in folders and by read_file (a user's credentials file
// may be one), never by what creates, writes, locks or maps.
#pragma once

#include <time.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mlops/status.h"

namespace mlops::base {

/// Status from errno: ENOENT not_found, EACCES/EPERM/EROFS permission_denied, ENOSPC/EDQUOT/EFBIG resource_exhausted, …
Status errno_status(int error, std::string_view doing, std::string_view path);

/// An open descriptor, closed by the destructor. Movable.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& o) noexcept : fd_(o.release()) {}
  Fd& operator=(Fd&& o) noexcept;
  ~Fd() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() {
    int f = fd_;
    fd_ = -1;
    return f;
  }
  void reset();

 private:
  int fd_ = -1;
};

/// 0700 each; failed_precondition when a part is a file, or when the last one was there and is another user's.
Status make_dirs(const std::string& path);
/// A regular file's bytes, or what /proc says; resource_exhausted when it is longer than max_bytes.
Result<std::string> read_file(const std::string& path, std::size_t max_bytes = 1u << 30);
/// Writes beside, (f)syncs when asked, renames over: readers see the old or the new bytes.
Status replace_file(const std::string& path, std::string_view bytes, bool sync);
Result<std::vector<std::string>> list_dir(const std::string& path);  // names, sorted, without . and ..
Status remove_tree(const std::string& path);                         // a missing path is fine
bool exists(const std::string& path);
std::uint64_t disk_usage(const std::string& path);  // bytes allocated below path
bool is_network_fs(const std::string& path);        // by statfs magic (NFS, SMB, FUSE, Lustre, …)

/// An exclusive flock on a file (made 0600). Held until destroyed; the kernel lets it go when the process dies. A
/// forked child has none of its parent's locks: its descriptors of them are closed in the fork. Checks after locking
/// that the path still names the inode it locked. Writes "pid host boot" into the file.
class FileLock {
 public:
  static Result<FileLock> try_lock(const std::string& path);  // unavailable when somebody holds it
  /// By anybody, this process included. True also when that cannot be told, for want of descriptors or memory.
  static bool is_held(const std::string& path);
  FileLock() = default;
  FileLock(FileLock&& o) noexcept = default;
  FileLock& operator=(FileLock&& o) noexcept;
  ~FileLock() { unlock(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }
  void unlock();
  /// The file's time is again what it was before: for a holder who changed nothing. While it is held.
  void untouch() const;

 private:
  Fd fd_;
  std::uint32_t forks_ = 0;  // between this process and the first one, when it was taken
  timespec before_{};        // when it was last written before
};

/// A shared mapping of a file of fixed size, allocated with posix_fallocate (never sparse: a full disk is a Status,
/// not a SIGBUS) and aligned in memory to `align` (a power of two). Unmapped by the destructor unless leaked.
class Mapping {
 public:
  /// A new file of zero bytes; already_exists when the path is there.
  static Result<Mapping> create(const std::string& path, std::size_t bytes, std::size_t align);
  static Result<Mapping> open(const std::string& path, bool writable, std::size_t align);  // whole file
  Mapping() = default;
  Mapping(Mapping&& o) noexcept { *this = static_cast<Mapping&&>(o); }
  Mapping& operator=(Mapping&& o) noexcept;
  ~Mapping();
  char* data() const { return data_; }
  std::size_t size() const { return size_; }
  void leak() {
    data_ = nullptr;
    size_ = 0;
  }  // stays mapped until the process ends

 private:
  char* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace mlops::base
