// Beneath: a folder, and files below it by relative paths that cannot lead out of it, whoever made the path or put a
// link on the way: openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, a walk with O_NOFOLLOW on kernels that lack
// it.
#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>

#include "base/file.h"
#include "mlops/status.h"

namespace mlops::base {

class Beneath {
 public:
  Beneath() = default;
  /// The folder itself may be reached by links: it is the caller's. `create`: made with its parents (by the umask).
  static Result<Beneath> open(const std::string& folder, bool create);

  /// Relative, in normal form: no `..`, no empty segment; else invalid_argument. A link on the way or at the end is
  /// failed_precondition.
  Result<Fd> open_file(std::string_view path, int flags, unsigned mode = 0666) const;
  /// "" is the folder itself.
  Result<Fd> open_dir(std::string_view path) const;
  Status make_dirs(std::string_view path) const;  // all of `path`, as far as missing
  /// Renames within one folder, and syncs that when asked.
  Status rename(std::string_view from, std::string_view to, bool sync) const;
  Status remove(std::string_view path) const;  // a file; a missing one is fine
  Status stat(std::string_view path, struct stat* out) const;
  const std::string& path() const { return path_; }

 private:
  Result<Fd> resolve(std::string_view path, int flags, unsigned mode) const;
  Fd root_;
  std::string path_;
};

}  // namespace mlops::base
