// check_folder, check_limits: whether a buffer can live in this folder, tried and not guessed.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/quota.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/base.h"
#include "base/file.h"
#include "base/lease.h"
#include "base/place.h"
#include "client/checks.h"

namespace mlops::client {
namespace {

constexpr const char* kElsewhere = "set MLOPS_HOME to a folder of your own on a local disk";
constexpr std::size_t kProbe = std::size_t{64} << 10;
constexpr std::uint64_t kMib = std::uint64_t{1} << 20;
constexpr std::uint64_t kDatabaseRoom = 64 * kMib;  // its write-ahead log and memtables, at most
constexpr std::uint64_t kFewFiles = 1'000;

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  return slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
}

// The folder, or what there is of the way to it.
std::string nearest(std::string path) {
  struct stat st{};
  while (path != "/" && ::stat(path.c_str(), &st) != 0 && (errno == ENOENT || errno == ENOTDIR)) path = parent_of(path);
  return path;
}

const char* kind_of(const std::string& path) {
  struct statfs fs{};
  if (::statfs(path.c_str(), &fs) != 0) return "unknown";
  switch (static_cast<std::uint32_t>(fs.f_type)) {
    case 0xEF53:
      return "ext4";
    case 0x58465342:
      return "xfs";
    case 0x9123683E:
      return "btrfs";
    case 0x2FC12FC1:
      return "zfs";
    case 0xF2F52010:
      return "f2fs";
    case 0x794C7630:
      return "overlay";
    case 0x01021994:
    case 0x858458F6:
      return "in memory (tmpfs): it does not survive a restart of the machine";
    case 0x6969:
      return "NFS";
    case 0x517B:
    case 0xFE534D42:
    case 0xFF534D42:
      return "SMB";
    case 0x65735546:
      return "FUSE";
    case 0x0BD00BD0:
      return "Lustre";
    case 0x00C36400:
      return "Ceph";
    case 0x47504653:
      return "GPFS";
    case 0x01021997:
      return "9p";
    default:
      return base::is_network_fs(path) ? "a network file system" : "local";
  }
}

std::string words_of(int error) { return std::strerror(error); }

/// A file of 64 KiB in a folder: without a name where that is possible, else removed by the destructor.
class Probe {
 public:
  explicit Probe(const std::string& folder, bool may_have_name) {
#ifdef O_TMPFILE
    fd_ = base::Fd(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    error_ = fd_ ? 0 : errno;
    const bool cannot = error_ == EOPNOTSUPP || error_ == EISDIR || error_ == EINVAL || error_ == ENOENT;
    if (fd_ || !cannot) return;
#endif
    if (!may_have_name) {
      error_ = EOPNOTSUPP;
      return;
    }
    path_ = folder + "/.doctor-" + std::to_string(::getpid()) + "-" + std::to_string(base::random_u64());
    fd_ = base::Fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    error_ = fd_ ? 0 : errno;
    if (!fd_) path_.clear();
  }
  ~Probe() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  int fd() const { return fd_.get(); }
  int error() const { return error_; }
  /// The same file once more, as another process would open it.
  base::Fd again() const {
    const std::string name = path_.empty() ? "/proc/self/fd/" + std::to_string(fd_.get()) : path_;
    return base::Fd(::open(name.c_str(), O_RDWR | O_CLOEXEC));
  }

 private:
  base::Fd fd_;
  std::string path_;
  int error_ = 0;
};

// Allocates, as a journal segment is: 0, or why not.
int allocate(int fd) {
  int error = 0;
  do {
    error = ::posix_fallocate(fd, 0, static_cast<off_t>(kProbe));
  } while (error == EINTR);
  return error;
}

void try_mapping(const Probe& probe, Findings* findings) {
  void* at = ::mmap(nullptr, kProbe, PROT_READ | PROT_WRITE, MAP_SHARED, probe.fd(), 0);
  if (at == MAP_FAILED) {
    findings->mend("root.mmap", "a file there cannot be mapped: " + words_of(errno), kElsewhere);
    return;
  }
  const char* text = "mapped";
  std::memcpy(at, text, 6);
  char back[6] = {};
  const bool same = ::pread(probe.fd(), back, sizeof back, 0) == 6 && std::memcmp(back, text, 6) == 0;
  ::munmap(at, kProbe);
  if (same) {
    findings->ok("root.mmap", "what is written to a mapped file is read back");
  } else {
    findings->mend("root.mmap", "what is written to a mapped file is not read back", kElsewhere);
  }
}

void try_locks(const Probe& probe, Findings* findings) {
  if (::flock(probe.fd(), LOCK_EX | LOCK_NB) != 0) {
    findings->mend("root.locks", "a file there cannot be locked: " + words_of(errno), kElsewhere);
    return;
  }
  const base::Fd second = probe.again();
  if (!second) {
    findings->ok("root.locks", "a file can be locked (whether the lock holds could not be tried)");
  } else if (::flock(second.get(), LOCK_EX | LOCK_NB) == 0) {
    findings->mend("root.locks", "two can hold the same lock there", kElsewhere);
  } else {
    findings->ok("root.locks", "a lock holds");
  }
}

void check_owner(const std::string& root, Findings* findings) {
  struct stat st{};
  if (::stat(root.c_str(), &st) != 0) {
    findings->mend("root.owner", "cannot be looked at: " + words_of(errno), kElsewhere);
  } else if (!S_ISDIR(st.st_mode)) {
    findings->mend("root.owner", root + " is a file", "move it away, or " + std::string(kElsewhere));
  } else if (st.st_uid != ::geteuid()) {
    const std::string me = std::to_string(::geteuid());
    findings->mend("root.owner", "belongs to uid " + std::to_string(st.st_uid) + ", and this is uid " + me,
                   "chown -R " + me + " " + root + ", or " + kElsewhere);
  } else if ((st.st_mode & 022u) != 0) {
    findings->mend("root.owner", "others may write there", "chmod go-w " + root);
  } else {
    findings->ok("root.owner", "this user's");
  }
}

// Of the file system's own quota for this user; silent where it has none or does not tell.
void check_quota(const std::string& folder, std::uint64_t need, Findings* findings) {
#ifdef SYS_quotactl_fd
  const base::Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return;
  struct dqblk quota{};
  if (::syscall(SYS_quotactl_fd, fd.get(), QCMD(Q_GETQUOTA, USRQUOTA), ::geteuid(), &quota) != 0) return;
  const std::uint64_t limit = quota.dqb_bhardlimit * 1024;
  if (limit == 0) return;
  const std::uint64_t left = limit - std::min<std::uint64_t>(limit, quota.dqb_curspace);
  const std::string words = size_words(left) + " of " + size_words(limit) + " are left to this user";
  if (left < need) {
    findings->mend("disk.quota", words, "free some space, or ask for more: a process wants " + size_words(need));
  } else {
    findings->ok("disk.quota", words);
  }
#else
  (void)folder, (void)need, (void)findings;
#endif
}

void check_disk(const std::string& root, const std::string& folder, std::uint64_t journal_mib, Findings* findings) {
  struct statvfs fs{};
  if (::statvfs(folder.c_str(), &fs) != 0) {
    findings->mend("disk.free", "unknown: " + words_of(errno), kElsewhere);
    return;
  }
  const std::uint64_t need = journal_mib * kMib + kDatabaseRoom;
  const std::uint64_t left = static_cast<std::uint64_t>(fs.f_bavail) * fs.f_frsize;
  const std::uint64_t all = static_cast<std::uint64_t>(fs.f_blocks) * fs.f_frsize;
  std::string words = size_words(left) + " of " + size_words(all) + " are free";
  if (folder == root) words += "; the root takes " + size_words(base::disk_usage(root));
  if (left < need) {
    findings->mend("disk.free", words,
                   "free some space: a process wants " + size_words(need) +
                       " for its journal and log (less with MLOPS_JOURNAL_MIB), or " + kElsewhere);
  } else {
    findings->ok("disk.free", words);
  }
  if (fs.f_files != 0 && fs.f_favail < kFewFiles) {
    findings->mend("disk.inodes", std::to_string(fs.f_favail) + " more files can be made",
                   "remove files there: the file system has no inodes left, whatever its free space");
  }
  check_quota(folder, need, findings);
}

// What other nodes can reach has its journals on this one.
base::Placing check_place(const std::string& root, const std::string& folder, const Environment& environment,
                          Findings* findings) {
  const Result<base::Placing> placing = place_root(folder, environment);
  const bool marked = base::is_network_root(root), network = marked || base::is_network_fs(folder);
  std::string words = kind_of(folder);
  if (placing.ok() && placing->network) {
    words += base::is_network_fs(folder) ? ""
             : marked                    ? ", which other nodes reach too"
                                         : ", a network one by MLOPS_NETWORK_FS";
    words += "; a node that is silent for " + time_words(static_cast<double>(base::lease_silence().count()) / 1'000) +
             " loses its leases";
  }
  findings->ok("root.filesystem", words);
  if (!placing.ok()) {
    findings->mend("root.journal", "nowhere on this node", std::string(placing.status().message()));
    base::Placing none;
    none.network = network;
    return none;
  }
  if (placing->folder.empty()) return *placing;
  const std::string at = nearest(placing->folder);
  const Probe probe(at, false);
  if (probe.error() != 0 && probe.error() != EOPNOTSUPP) {
    findings->mend("root.journal", "in " + placing->folder + ": " + words_of(probe.error()),
                   "set MLOPS_JOURNAL to a folder of this node where files can be made");
  } else {
    const bool named = !environment.journal.empty();
    findings->ok("root.journal", "in " + placing->folder +
                                     (named ? ""
                                            : ", a temporary folder: what it holds when it is "
                                              "cleared is lost; MLOPS_JOURNAL names another"));
  }
  return *placing;
}

}  // namespace

void check_folder(const std::string& root, const std::string& found_how, std::uint64_t journal_mib,
                  const Environment& environment, Findings* findings) {
  const std::string folder = nearest(root);
  const bool there = folder == root;
  findings->ok("root", root + ", " + found_how + (there ? "" : "; not there yet, the first run makes it"));
  if (there) check_owner(root, findings);
  const base::Placing placing = check_place(root, folder, environment, findings);
  {
    const Probe probe(folder, there);
    const int error = probe.error() != 0 ? probe.error() : allocate(probe.fd());
    if (probe.error() == EOPNOTSUPP && !there) {
      findings->ok("root.write", "not tried: " + root + " is not there yet");
    } else if (error != 0) {
      const Status why = base::errno_status(error, "write in", folder);
      findings->mend("root.write", words_of(error), std::string(why.message()));
    } else {
      findings->ok("root.write", there ? "files can be made" : "it can be made in " + folder);
      if (!placing.network) try_mapping(probe, findings);
      try_locks(probe, findings);
    }
  }
  check_disk(root, folder, journal_mib, findings);
}

void check_limits(Findings* findings) {
  constexpr rlim_t kFiles = 256;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    const std::string words = std::to_string(limit.rlim_cur) + " files may be open";
    if (limit.rlim_cur < kFiles) {
      findings->mend("limits.files", words, "raise it to 1024 (ulimit -n): the database alone keeps up to 64 open");
    } else {
      findings->ok("limits.files", words);
    }
  }
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    const std::string words = "a file may have " + size_words(limit.rlim_cur);
    if (limit.rlim_cur < kDatabaseRoom) {
      findings->mend("limits.file_size", words, "raise it (ulimit -f): a larger write ends the process");
    } else {
      findings->ok("limits.file_size", words);
    }
  }
}

}  // namespace mlops::client
