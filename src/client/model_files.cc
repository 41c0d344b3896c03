#include "client/model_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/base.h"
#include "base/file.h"

namespace mlops::client {
namespace {

constexpr std::size_t kRead = std::size_t{1} << 20;

Status changed(const std::string& file) {
  return Status(StatusCode::failed_precondition,
                file + " changed while it was logged: log it when nobody writes to it any more");
}

}  // namespace

Status digest_file(ModelEntry* entry) {
  Result<base::FileId> id = base::identify(entry->file);
  if (!id.ok()) return id.status();
  const base::Fd fd(::open(entry->file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return base::errno_status(errno, "open", entry->file);
  base::Digest sha;
  std::string block(kRead, '\0');
  entry->size = 0;
  for (;;) {
    const ssize_t n = ::read(fd.get(), block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::errno_status(errno, "read", entry->file);
    if (n == 0) break;
    entry->size += static_cast<std::uint64_t>(n);
    sha.update(std::string_view(block.data(), static_cast<std::size_t>(n)));
  }
  entry->sha256 = sha.finish_hex();
  entry->id = *id;
  return unchanged(*entry);
}

Status unchanged(const ModelEntry& entry) {
  const Result<base::FileId> now = base::identify(entry.file);
  if (!now.ok()) return now.status();
  return *now == entry.id && now->size == entry.size ? Status() : changed(entry.file);
}

}  // namespace mlops::client
