// Snapshot: a file as it is at one moment, in a file of ours. A copy that shares its blocks where the file system can
// (FICLONE), else in the kernel, else by reading and writing; memory is bounded. A file that was written to meanwhile
// is noticed: inode, size, times of change. Two writes within one tick of the kernel's clock have the same time, so
// a copy that is not a clone first waits until the tick of the file's newest change is over (10 ms at most).
#pragma once

#include <cstdint>
#include <string>

#include "mlops/status.h"

namespace mlops::base {

/// What a file is as long as nobody touches it.
struct FileId {
  std::uint64_t device = 0, inode = 0, size = 0;
  std::int64_t mtime_ns = 0, ctime_ns = 0;
  friend bool operator==(const FileId&, const FileId&) = default;
};

/// Of a regular file, links followed. Anything else: failed_precondition, with what it is.
Result<FileId> identify(const std::string& path);

/// Copies the file `from` into the empty file `to`. `expected`: what it must still be, else failed_precondition; null:
/// whatever it is, and one that changes while it is copied is copied once more before that is failed_precondition.
/// What is in `to` after a failure is of no use. Blocks as long as the copy takes.
Result<FileId> snapshot(const std::string& from, int to, const FileId* expected);

}  // namespace mlops::base
