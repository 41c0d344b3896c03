#include "client/download_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <vector>

#include "client/patience.h"

namespace mlops::client {
namespace {

constexpr std::uint64_t kWorthResuming = 4u << 20;
constexpr int kMostMismatches = 3;

std::string hex64(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016" PRIx64, value);
  return text;
}

/// Hashes a file from its begin.
bool hash(int fd, std::uint64_t size, base::Digest* digest) {
  std::vector<char> buffer(std::size_t{1} << 18);
  for (std::uint64_t at = 0; at < size;) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), size - at));
    const ssize_t got = ::pread(fd, buffer.data(), wanted, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    digest->update({buffer.data(), static_cast<std::size_t>(got)});
    at += static_cast<std::uint64_t>(got);
  }
  return true;
}

}  // namespace

FileDownload::FileDownload(const base::Beneath& folder, const WantedFile& file, const std::atomic<bool>* over)
    : folder_(folder), file_(file), over_(over) {
  const auto slash = file.path.rfind('/');
  const std::string dir = slash == std::string::npos ? "" : file.path.substr(0, slash + 1);
  part_ = dir + ".mlops-part-" + hex64(base::hash64(file.path));
  of_ = part_ + ".of";
}

bool FileDownload::is_there() const {
  if (file_.sha256.empty()) return false;
  const Result<base::Fd> fd = folder_.open_file(file_.path, O_RDONLY | O_NONBLOCK);
  struct stat info{};
  if (!fd.ok() || ::fstat(fd->get(), &info) != 0 || !S_ISREG(info.st_mode) ||
      static_cast<std::uint64_t>(info.st_size) != file_.size)
    return false;
  base::Digest digest;
  return hash(fd->get(), file_.size, &digest) && digest.finish_hex() == file_.sha256;
}

Status FileDownload::prepare() {
  if (fd_) return {};
  const auto slash = file_.path.rfind('/');
  if (slash != std::string::npos)
    if (Status s = folder_.make_dirs(file_.path.substr(0, slash)); !s.ok()) return s;
  struct stat info{}, named{};
  Result<base::Fd> fd = folder_.open_file(part_, O_RDWR | O_CREAT | O_NONBLOCK, 0666);
  for (int tries = 0;; ++tries) {
    if (!fd.ok()) return fd.status();
    if (::fstat(fd->get(), &info) != 0 || !S_ISREG(info.st_mode))
      return {StatusCode::failed_precondition, folder_.path() + "/" + part_ + " is no file; remove it"};
    if (::flock(fd->get(), LOCK_EX | LOCK_NB) != 0 || tries == 10)
      return {StatusCode::failed_precondition, "another process downloads " + folder_.path() + "/" + file_.path};
    // Who finished it between our open and our lock gave this inode its name for good.
    if (folder_.stat(part_, &named).ok() && named.st_ino == info.st_ino) break;
    fd = folder_.open_file(part_, O_RDWR | O_CREAT | O_NONBLOCK, 0666);
  }
  fd_ = std::move(*fd);
  at_ = static_cast<std::uint64_t>(info.st_size);
  if (at_ > 0) read_version();
  if (version_.etag.empty() || (version_.size && at_ > *version_.size)) at_ = 0;
  resumed_ = at_;
  return digest_part(at_);
}

Status FileDownload::digest_part(std::uint64_t size) {
  if (file_.sha256.empty()) return {};
  digest_ = std::make_unique<base::Digest>();
  if (hash(fd_.get(), size, digest_.get())) return {};
  return base::errno_status(errno, "read", folder_.path() + "/" + part_);
}

// "mlops part 1\n<boot>\n<size>\n<etag>\n"
void FileDownload::read_version() {
  const Result<base::Fd> fd = folder_.open_file(of_, O_RDONLY | O_NONBLOCK);
  if (!fd.ok()) return;
  std::string text(2'048, '\0');
  const ssize_t got = ::pread(fd->get(), text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  std::vector<std::string> lines;
  for (std::size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
    lines.push_back(text.substr(at, end - at));
  if (lines.size() != 4 || lines[0] != "mlops part 1") return;
  // Bytes that a crash of the machine may have lost are only believed when a digest will tell.
  if (file_.sha256.empty() && lines[1] != base::boot_id()) return;
  if (lines[2] != std::to_string(file_.size)) return;
  version_ = {lines[3], file_.size};
  version_written_ = true;
}

Status FileDownload::write_version() {
  version_written_ = true;
  if (version_.etag.empty() || !version_.size || *version_.size < kWorthResuming ||
      version_.etag.find('\n') != std::string::npos)
    return folder_.remove(of_);
  const Result<base::Fd> fd = folder_.open_file(of_, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK, 0666);
  if (!fd.ok()) return fd.status();
  const std::string text =
      "mlops part 1\n" + base::boot_id() + "\n" + std::to_string(*version_.size) + "\n" + version_.etag + "\n";
  if (::pwrite(fd->get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
    return base::errno_status(errno, "write", folder_.path() + "/" + of_);
  return {};
}

bool FileDownload::take(std::uint64_t where, std::string_view bytes, const std::function<void(std::int64_t)>& moved) {
  if (over_->load()) return false;
  if (where != at_ || (where == 0 && arrived_ == 0)) {  // all from its begin: another version, or no ranges
    if (where > at_) {
      trouble_ =
          Status(StatusCode::data_loss, file_.path + ": the server sent bytes from another place than asked for");
      return false;
    }
    if (::ftruncate(fd_.get(), static_cast<off_t>(where)) != 0) {
      trouble_ = base::errno_status(errno, "cut", folder_.path() + "/" + part_);
      return false;
    }
    at_ = where;
    resumed_ = std::min(resumed_, where);
    version_written_ = false;
    if (trouble_ = digest_part(at_); !trouble_.ok()) return false;
  }
  if (!version_written_)
    if (trouble_ = write_version(); !trouble_.ok()) return false;
  arrived_ += bytes.size();
  if (digest_) digest_->update(bytes);
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(at_));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) {
      trouble_ = base::errno_status(errno, "write", folder_.path() + "/" + part_);
      return false;
    }
    at_ += static_cast<std::uint64_t>(put);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  moved(static_cast<std::int64_t>(at_) - shown_);
  shown_ = static_cast<std::int64_t>(at_);
  return true;
}

void FileDownload::drop_part() {
  folder_.remove(of_).ignore();
  if (fd_) (void)!::ftruncate(fd_.get(), 0);
  version_ = {};
  version_written_ = false;
  at_ = resumed_ = 0;
  if (digest_) digest_ = std::make_unique<base::Digest>();
}

Status FileDownload::settle() {
  if (::fsync(fd_.get()) != 0 && errno != EINVAL && errno != EROFS)
    return base::errno_status(errno, "sync", folder_.path() + "/" + part_);
  if (Status s = folder_.rename(part_, file_.path, true); !s.ok()) return s;
  return folder_.remove(of_);
}

FileDownload::Outcome FileDownload::attempt(store::Store* store, const std::function<void(std::int64_t)>& moved) {
  Outcome out;
  auto ended = [&](bool done, bool again, Status status) {
    out.done = done;
    out.again = again;
    out.status = std::move(status);
    out.resumed = resumed_;
    return out;
  };
  auto show = [&](std::int64_t bytes) {
    moved(bytes - shown_);
    shown_ = bytes;
  };
  if (!fd_ && is_there()) {
    show(static_cast<std::int64_t>(file_.size));
    resumed_ = file_.size;
    return ended(true, false, {});
  }
  if (Status s = prepare(); !s.ok()) return ended(false, false, std::move(s));
  show(static_cast<std::int64_t>(at_));
  const bool whole = at_ > 0 && version_.size && at_ == *version_.size;  // only its end was missing
  if (!whole) {
    trouble_ = {};
    const store::Answer answer =
        store->get(file_.path, at_, &version_,
                   [&](std::uint64_t where, std::string_view bytes) { return take(where, bytes, moved); }, {});
    out.retry_after_ms = answer.retry_after_ms;
    if (!trouble_.ok()) return ended(false, false, trouble_);
    if (over_->load()) return ended(false, false, answer.status);
    if (!answer.ok()) return ended(false, may_help(answer.verdict), answer.status);
    if (version_.size == std::uint64_t{0}) drop_part();  // an empty file: the sink was never called
  }
  std::string wrong;
  if (at_ != file_.size) {
    wrong = std::to_string(at_) + " bytes arrived, and " + std::to_string(file_.size) + " are listed";
  } else if (digest_ && digest_->finish_hex() != file_.sha256) {
    wrong = "its SHA-256 is not " + file_.sha256;
  }
  if (!wrong.empty()) {
    drop_part();
    show(0);
    return ended(false, ++mismatches_ < kMostMismatches,
                 Status(StatusCode::data_loss,
                        file_.path + ": " + wrong + ". It was altered or cut on the way or on the server"));
  }
  if (Status s = settle(); !s.ok()) return ended(false, false, std::move(s));
  return ended(true, false, {});
}

}  // namespace mlops::client
