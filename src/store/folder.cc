// Folder: an artifact root on this machine's disk. Files are written beside their place and renamed into it; nothing
// below the root is reached through a link.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/base.h"
#include "base/beneath.h"
#include "store/answer.h"
#include "store/kinds.h"

namespace mlops::store {
namespace {

constexpr std::string_view kPart = ".mlops-part-";

Answer of_status(const Status& status) {
  switch (status.code()) {
    case StatusCode::ok:
      return {};
    case StatusCode::not_found:
      return make(Verdict::not_found, status.code(), std::string(status.message()));
    case StatusCode::permission_denied:
    case StatusCode::resource_exhausted:
      return make(Verdict::auth, status.code(), std::string(status.message()));
    case StatusCode::unavailable:
      return make(Verdict::ambiguous, status.code(), std::string(status.message()));
    default:
      return make(Verdict::rejected, status.code(), std::string(status.message()));
  }
}

class Folder final : public Store {
 public:
  explicit Folder(std::string root) : root_(std::move(root)) {}

  Answer put(std::string_view path, const Body& body, const Progress& progress) override {
    if (Status s = check_path(path); !s.ok()) return refuse(s);
    Result<base::Beneath> root = base::Beneath::open(root_, true);
    if (!root.ok()) return of_status(root.status());
    const auto slash = path.rfind('/');
    const std::string dir(slash == path.npos ? std::string_view() : path.substr(0, slash));
    if (Status s = root->make_dirs(dir); !s.ok()) return of_status(s);
    const std::string part = (dir.empty() ? "" : dir + "/") + std::string(kPart) + std::to_string(base::random_u64());
    Answer answer = write(*root, part, body, progress);
    if (answer.ok()) answer = of_status(root->rename(part, path, true));
    if (!answer.ok()) root->remove(part).ignore();
    return answer;
  }

  bool can_multipart(std::uint64_t) const override { return false; }
  Answer begin(std::string_view, std::uint64_t, Upload*) override { return whole_only(); }
  Answer put_part(std::string_view, const Upload&, Part*, const Body&, const Progress&) override {
    return whole_only();
  }
  Answer finish(std::string_view, const Upload&) override { return whole_only(); }
  Answer abort(std::string_view, const Upload&) override { return {}; }

  Answer stat(std::string_view path, std::uint64_t* size) override {
    if (Status s = check_path(path); !s.ok()) return refuse(s);
    Result<base::Beneath> root = base::Beneath::open(root_, false);
    if (!root.ok()) return of_status(root.status());
    struct stat info{};
    if (Status s = root->stat(path, &info); !s.ok()) return of_status(s);
    if (!S_ISREG(info.st_mode))
      return make(Verdict::not_found, StatusCode::not_found, root_ + "/" + std::string(path) + " is no file");
    *size = static_cast<std::uint64_t>(info.st_size);
    return {};
  }

  Answer list(std::string_view dir, std::vector<Entry>* out) override {
    if (!dir.empty())
      if (Status s = check_path(dir); !s.ok()) return refuse(s);
    Result<base::Beneath> root = base::Beneath::open(root_, false);
    Result<base::Fd> fd = root.ok() ? root->open_dir(dir) : Result<base::Fd>(root.status());
    if (!fd.ok()) return fd.status().code() == StatusCode::not_found ? Answer{} : of_status(fd.status());
    DIR* stream = ::fdopendir(fd->release());
    if (!stream) return of_status(base::errno_status(errno, "list", root_));
    const int folder = ::dirfd(stream);
    if (folder < 0) return ::closedir(stream), of_status(base::errno_status(errno, "list", root_));
    std::vector<Entry> entries;
    while (const dirent* item = ::readdir(stream)) {
      const std::string_view name(item->d_name);
      struct stat info{};
      if (name == "." || name == ".." || name.substr(0, kPart.size()) == kPart ||
          ::fstatat(folder, item->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        continue;
      if (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode)) continue;
      entries.push_back({(dir.empty() ? "" : std::string(dir) + "/") + std::string(name), S_ISDIR(info.st_mode),
                         S_ISREG(info.st_mode) ? static_cast<std::uint64_t>(info.st_size) : 0});
    }
    ::closedir(stream);
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.path < b.path; });
    out->insert(out->end(), std::make_move_iterator(entries.begin()), std::make_move_iterator(entries.end()));
    return {};
  }

  Answer get(std::string_view path, std::uint64_t offset, Version* version, const Sink& sink,
             const Progress& progress) override {
    if (Status s = check_path(path); !s.ok()) return refuse(s);
    Result<base::Beneath> root = base::Beneath::open(root_, false);
    Result<base::Fd> fd = root.ok() ? root->open_file(path, O_RDONLY | O_NONBLOCK) : Result<base::Fd>(root.status());
    if (!fd.ok()) return of_status(fd.status());
    struct stat info{};
    if (::fstat(fd->get(), &info) != 0 || !S_ISREG(info.st_mode))
      return make(Verdict::not_found, StatusCode::not_found, root_ + "/" + std::string(path) + " is no file");
    const Version is{version_of(info), static_cast<std::uint64_t>(info.st_size)};
    std::uint64_t at = version && version->etag == is.etag && offset <= *is.size ? offset : 0;
    if (version) *version = is;
    std::vector<char> buffer(std::size_t{1} << 18);
    while (at < *is.size) {
      if (cancelled_.exchange(false))
        return make(Verdict::ambiguous, StatusCode::unavailable, "the read was cancelled");
      const ssize_t got = ::pread(fd->get(), buffer.data(), buffer.size(), static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return of_status(base::errno_status(errno, "read", root_ + "/" + std::string(path)));
      if (got == 0)
        return make(Verdict::ambiguous, StatusCode::unavailable, std::string(path) + " got shorter while it was read");
      if (!sink(at, {buffer.data(), static_cast<std::size_t>(got)}))
        return make(Verdict::ambiguous, StatusCode::failed_precondition, "the reader stopped it");
      at += static_cast<std::uint64_t>(got);
      if (progress) progress(at);
    }
    struct stat after{};
    if (::fstat(fd->get(), &after) != 0 || version_of(after) != is.etag)
      return make(Verdict::ambiguous, StatusCode::unavailable, std::string(path) + " changed while it was read");
    return {};
  }

  void cancel() override { cancelled_.store(true); }

 private:
  static std::string version_of(const struct stat& info) {
    return std::to_string(info.st_ino) + "-" + std::to_string(info.st_size) + "-" +
           std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec);
  }

  static Answer whole_only() {
    return make(Verdict::unsupported, StatusCode::unimplemented, "a folder takes whole files only");
  }

  Answer write(const base::Beneath& root, const std::string& part, const Body& body, const Progress& progress) {
    const Result<base::Fd> fd = root.open_file(part, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (!fd.ok()) return of_status(fd.status());
    const std::string name = root_ + "/" + part;
    std::vector<char> buffer(std::size_t{1} << 18);
    for (std::uint64_t at = 0; at < body.size;) {
      if (cancelled_.exchange(false))
        return make(Verdict::ambiguous, StatusCode::unavailable, "the write was cancelled");
      const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), body.size - at));
      const ssize_t got = ::pread(body.fd, buffer.data(), wanted, static_cast<off_t>(body.offset + at));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0)
        return refuse({StatusCode::data_loss, got < 0 ? std::string("the file cannot be read: ") + std::strerror(errno)
                                                      : "the file got shorter while it was copied"});
      for (ssize_t done = 0; done < got;) {
        const ssize_t put = ::write(fd->get(), buffer.data() + done, static_cast<std::size_t>(got - done));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return of_status(base::errno_status(errno, "write", name));
        done += put;
      }
      at += static_cast<std::uint64_t>(got);
      if (progress) progress(at);
    }
    return ::fsync(fd->get()) == 0 ? Answer{} : of_status(base::errno_status(errno, "sync", name));
  }

  const std::string root_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace

Result<std::unique_ptr<Store>> open_folder(std::string folder) {
  return std::unique_ptr<Store>(std::make_unique<Folder>(std::move(folder)));
}

}  // namespace mlops::store
