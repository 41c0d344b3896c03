#include "buffer/spool.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/hex.h"

namespace mlops::buffer {

std::string Spool::content(std::string_view sha256) const {
  return dir_ + "/" + base::to_hex(reinterpret_cast<const unsigned char*>(sha256.data()), sha256.size());
}

Result<std::string> Spool::find(const FileRow& row) const {
  if (!row.lost.empty()) return Status(StatusCode::not_found, row.lost);
  // In this order: a file is renamed from the second name to the first. Twice: the first may come while we look.
  const std::string names[] = {row.sha256.empty() ? std::string() : content(row.sha256), incoming(row.name)};
  for (int i = 0; i < 4; ++i) {
    const std::string& path = names[i % 2];
    struct stat st{};
    if (path.empty()) continue;
    if (::stat(path.c_str(), &st) != 0) {
      if (errno == ENOENT) continue;
      return base::errno_status(errno, "look at", path);
    }
    if (static_cast<std::uint64_t>(st.st_size) == row.size) return path;
    return Status(StatusCode::data_loss, path + " has " + std::to_string(st.st_size) + " bytes, not the " +
                                             std::to_string(row.size) + " that were logged");
  }
  return Status(StatusCode::not_found, "the bytes of " + row.name.hex() + " are not in " + dir_);
}

Result<base::Fd> Spool::open(const FileRow& row) const {
  for (int tries = 0;; ++tries) {
    Result<std::string> path = find(row);
    if (!path.ok()) return path.status();
    base::Fd fd(::open(path->c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (fd) return fd;
    if (errno != ENOENT || tries == 2) return base::errno_status(errno, "open", *path);  // ENOENT: renamed meanwhile
  }
}

std::uint64_t Spool::bytes(std::int64_t before_ns) const {
  std::uint64_t sum = 0;
  for (const std::string& folder : {dir_, in()}) {
    const auto names = base::list_dir(folder);
    if (!names.ok()) continue;
    for (const std::string& name : *names) {
      struct stat st{};
      if (::lstat((folder + "/" + name).c_str(), &st) != 0 || !S_ISREG(st.st_mode)) continue;
      const std::int64_t changed = std::int64_t{st.st_ctim.tv_sec} * 1'000'000'000 + st.st_ctim.tv_nsec;
      if (changed < before_ns) sum += static_cast<std::uint64_t>(st.st_size);
    }
  }
  return sum;
}

}  // namespace mlops::buffer
