#include "client/spool_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>

#include "base/file.h"

namespace mlops::client {
namespace {

using store::Answer;
using store::Verdict;

Answer answer(Verdict verdict, Status status) {
  Answer out;
  out.verdict = verdict;
  out.status = std::move(status);
  return out;
}

class SpoolStore final : public store::Store {
 public:
  explicit SpoolStore(const std::vector<ArtifactInfo>& artifacts) {
    for (const ArtifactInfo& a : artifacts) {
      if (a.model_id.empty() && !a.file.empty()) files_[a.path] = a;
    }
  }

  Answer list(std::string_view dir, std::vector<store::Entry>* out) override {
    const std::string front = dir.empty() ? std::string() : std::string(dir) + "/";
    for (const auto& [path, file] : files_) {
      if (path.compare(0, front.size(), front) != 0) continue;
      const std::size_t slash = path.find('/', front.size());
      if (slash == std::string::npos) {
        out->push_back({path, false, file.size});
      } else if (const std::string folder = path.substr(0, slash); out->empty() || out->back().path != folder) {
        out->push_back({folder, true, 0});
      }
    }
    return {};
  }

  Answer stat(std::string_view path, std::uint64_t* size) override {
    const auto found = files_.find(std::string(path));
    if (found == files_.end()) return not_here(path);
    *size = found->second.size;
    return {};
  }

  Answer get(std::string_view path, std::uint64_t offset, store::Version* version, const store::Sink& sink,
             const store::Progress& progress) override {
    const auto found = files_.find(std::string(path));
    if (found == files_.end()) return not_here(path);
    const ArtifactInfo& file = found->second;
    const base::Fd fd(::open(file.file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd) return not_here(path);
    const store::Version is{file.sha256, file.size};
    std::uint64_t at = version != nullptr && !is.etag.empty() && version->etag == is.etag ? offset : 0;
    if (version != nullptr) *version = is;
    std::vector<char> buffer(std::size_t{1} << 18);
    while (at < file.size) {
      if (cancelled_.exchange(false)) {
        return answer(Verdict::ambiguous, Status(StatusCode::unavailable, "the read was cancelled"));
      }
      const ssize_t got = ::pread(fd.get(), buffer.data(), buffer.size(), static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return answer(Verdict::rejected, base::errno_status(got == 0 ? EIO : errno, "read", file.file));
      const auto bytes = std::min(static_cast<std::uint64_t>(got), file.size - at);
      if (!sink(at, {buffer.data(), bytes})) {
        return answer(Verdict::ambiguous, Status(StatusCode::failed_precondition, "the reader stopped it"));
      }
      at += bytes;
      if (progress) progress(at);
    }
    return {};
  }

  void cancel() override { cancelled_.store(true); }

  Answer put(std::string_view, const store::Body&, const store::Progress&) override { return read_only(); }
  bool can_multipart(std::uint64_t) const override { return false; }
  Answer begin(std::string_view, std::uint64_t, store::Upload*) override { return read_only(); }
  Answer put_part(std::string_view, const store::Upload&, store::Part*, const store::Body&,
                  const store::Progress&) override {
    return read_only();
  }
  Answer finish(std::string_view, const store::Upload&) override { return read_only(); }
  Answer abort(std::string_view, const store::Upload&) override { return read_only(); }

 private:
  static Answer read_only() {
    return answer(Verdict::unsupported, Status(StatusCode::unimplemented, "the buffer's files are only read"));
  }
  static Answer not_here(std::string_view path) {
    return answer(Verdict::not_found,
                  Status(StatusCode::not_found, std::string(path) + " is not in the buffer (any more)"));
  }

  std::map<std::string, ArtifactInfo> files_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace

std::unique_ptr<store::Store> open_spool(const std::vector<ArtifactInfo>& artifacts) {
  return std::make_unique<SpoolStore>(artifacts);
}

}  // namespace mlops::client
