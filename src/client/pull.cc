// Pull: a version's files by content in a cache, and a link that is switched to them.
//
// The cache: `content/<64 hex>` is a model's files, whole and checked, named by the SHA-256 of their manifest, or of
// the listing where there is none; `versions/<hash of server, name, version and creation>` says which content a version
// is, so that an unmoved one costs one request; `known/<hash of server and URI>` says which version a URI last was, for
// the time without a server. All written beside and renamed.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <thread>

#include "base/base.h"
#include "base/file.h"
#include "client/env.h"
#include "client/registry_impl.h"
#include "mlops/artifacts.h"
#include "mlops/registry.h"

MLOPS_NAMESPACE_BEGIN

namespace {

namespace fs = std::filesystem;

Result<std::string> cache_folder(const std::string& given) {
  if (!given.empty()) return fs::absolute(given).lexically_normal().native();
  const char* xdg = client::environment_variable("XDG_CACHE_HOME");
  if (xdg != nullptr && *xdg == '/') return std::string(xdg) + "/mlops/models";
  const char* home = client::environment_variable("HOME");
  if (home != nullptr && *home == '/') return std::string(home) + "/.cache/mlops/models";
  return Status(StatusCode::invalid_argument, "there is no HOME to keep a cache in: give PullOptions::cache");
}

std::string name_of(const std::string& text) { return base::sha256_hex(text).substr(0, 32); }

/// What `versions/` and `known/` hold: lines "word value".
std::string field_of(const std::string& text, const std::string& word) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    if (text.compare(at, word.size() + 1, word + " ") == 0) {
      return text.substr(at + word.size() + 1, end - at - word.size() - 1);
    }
    at = end + 1;
  }
  return {};
}

/// Of a cache: content/<64 hex>.
bool is_content(const fs::path& path) {
  const std::string name = path.filename().native();
  return name.size() == 64 && name.find_first_not_of("0123456789abcdef") == name.npos &&
         path.parent_path().filename() == "content";
}

/// `path` becomes a link to `target`, at once. True: it was another one before, or none.
Result<bool> switch_link(const std::string& target, const std::string& path) {
  std::error_code error;
  const fs::file_status there = fs::symlink_status(path, error);
  const fs::path leads_to = fs::is_symlink(there) ? fs::read_symlink(path, error) : fs::path();
  if (leads_to == target) return false;
  if (fs::exists(there) && !is_content(leads_to)) {
    return Status(StatusCode::failed_precondition,
                  path + " is there and no link of an earlier pull: move it away, or pull to another folder");
  }
  const fs::path parent = fs::path(path).parent_path();
  for (fs::path at = fs::weakly_canonical(fs::absolute(path, error).parent_path(), error); at.has_relative_path();
       at = at.parent_path()) {
    if (!is_content(at)) continue;
    return Status(StatusCode::failed_precondition,
                  at.native() + " is a model that an earlier pull brought: pull to a folder that is not inside one");
  }
  if (!parent.empty()) {
    if (Status s = base::make_dirs(parent.native()); !s.ok()) return s;
  }
  const std::string fresh = path + ".mlops-" + std::to_string(::getpid()) + "-" + std::to_string(base::random_u64());
  if (::symlink(target.c_str(), fresh.c_str()) != 0) return base::errno_status(errno, "link", fresh);
  if (::rename(fresh.c_str(), path.c_str()) != 0) {
    const int why = errno;
    ::unlink(fresh.c_str());
    return base::errno_status(why, "rename", path);
  }
  return true;
}

Result<std::string> sha256_of(const std::string& path) {
  const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return base::errno_status(errno, "open", path);
  base::Digest digest;
  std::string piece(1u << 20, '\0');
  for (;;) {
    const ssize_t n = ::read(fd.get(), piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::errno_status(errno, "read", path);
    if (n == 0) return digest.finish_hex();
    digest.update(std::string_view(piece.data(), static_cast<std::size_t>(n)));
  }
}

struct Content {
  std::string digest;
  std::uint64_t files = 0, bytes = 0;
  bool verified = false;
};

/// Each file of the manifest is there with its size and SHA-256; no other is, but for itself.
Status check_manifest(const std::string& folder, const std::vector<mlflow::ManifestFile>& manifest, Content* out) {
  for (const mlflow::ManifestFile& file : manifest) {
    const fs::path path = fs::path(folder) / fs::path(file.path).lexically_normal();
    std::error_code error;
    const std::uintmax_t size = fs::file_size(path, error);
    if (error || size != file.size) {
      return Status(StatusCode::data_loss, file.path + " has " +
                                               (error ? "not come" : std::to_string(size) + " bytes") +
                                               ", and the manifest says " + std::to_string(file.size));
    }
    Result<std::string> digest = sha256_of(path.native());
    if (!digest.ok()) return digest.status();
    if (*digest != file.sha256) {
      return Status(StatusCode::data_loss, file.path + " is not what the manifest says (SHA-256 " + *digest + ")");
    }
  }
  std::set<std::string> named = {std::string(mlflow::kManifestName)};
  for (const mlflow::ManifestFile& file : manifest) named.insert(fs::path(file.path).lexically_normal().native());
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string path = at->path().lexically_relative(folder).native();
    if (!at->is_directory(error) && named.count(path) == 0)
      return Status(StatusCode::data_loss, path + " is among the files, and the manifest does not name it");
  }
  if (error) return Status(StatusCode::internal, "cannot list " + folder + ": " + error.message());
  out->verified = true;
  return {};
}

}  // namespace

Result<PullReport> Registry::pull(std::string_view uri, const std::string& folder, const PullOptions& options) const {
  const std::string dir = folder.substr(0, folder.find_last_not_of('/') + 1);
  if (dir.empty()) return Status(StatusCode::invalid_argument, "pull: name the folder that the model shall be");
  Result<std::string> cache = cache_folder(options.cache);
  if (!cache.ok()) return cache.status();
  const std::string known_file = *cache + "/known/" + name_of(impl_->uri + "\n" + std::string(uri));
  PullReport report;
  std::string digest;

  Result<ModelVersion> found = resolve(uri);
  const bool away = found.status().code() == StatusCode::unavailable;
  if (!found.ok() && !(away && options.offline)) return found.status();
  if (found.ok()) {
    report.version = std::move(*found);
  } else {
    Result<std::string> known = base::read_file(known_file, 1u << 20);
    if (!known.ok()) {
      return Status(StatusCode::unavailable, std::string(found.status().message()) + "; and the cache has never had " +
                                                 std::string(uri) + " (" + *cache + ")");
    }
    report.offline = true;
    report.version.name = field_of(*known, "name");
    report.version.version = field_of(*known, "version");
    report.version.created_ms = std::atoll(field_of(*known, "created").c_str());
  }
  const ModelVersion& version = report.version;
  const std::string version_file =
      *cache + "/versions/" +
      name_of(impl_->uri + "\n" + version.name + "\n" + version.version + "\n" + std::to_string(version.created_ms));
  Result<std::string> cached = base::read_file(version_file, 1u << 20);
  if (cached.ok()) digest = field_of(*cached, "content");
  if (digest.size() != 64 || !base::exists(*cache + "/content/" + digest)) {
    if (report.offline) {
      return Status(StatusCode::unavailable, std::string(found.status().message()) +
                                                 "; and the cache has not version " + version.version + " of " +
                                                 version.name);
    }
    // Fetched beside, checked, named by what it is.
    std::string source = version.source;
    if (source.compare(0, 8, "models:/") == 0 || source.empty()) {
      Result<std::string> where = download_uri(version.name, version.version);
      if (!where.ok()) return where.status();
      source = *where;
    }
    DownloadOptions from;
    from.root = impl_->root;
    from.from = impl_->uri;
    from.credentials = impl_->credentials;
    Result<std::vector<RemoteArtifact>> listed = list_artifacts(source, {}, true, from);
    if (!listed.ok()) return listed.status();
    if (Status s = base::make_dirs(*cache + "/content"); !s.ok()) return s;
    const std::string staging = *cache + "/content/.fetch-" + name_of(impl_->uri + "\n" + source);
    Result<base::FileLock> lock = base::FileLock::try_lock(staging + ".lock");
    for (int i = 0; !lock.ok() && lock.status().code() == StatusCode::unavailable && i < 600; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));  // another process fetches the same
      lock = base::FileLock::try_lock(staging + ".lock");
    }
    if (!lock.ok()) return lock.status();
    if (Result<DownloadReport> got = download_artifacts(source, {}, staging, from); !got.ok()) return got.status();
    Content content;
    std::string listing;
    std::sort(listed->begin(), listed->end(), [](const auto& a, const auto& b) { return a.path < b.path; });
    for (const RemoteArtifact& file : *listed) {
      if (file.is_dir) continue;
      ++content.files;
      content.bytes += file.bytes;
    }
    const std::string manifest_path = staging + "/" + std::string(mlflow::kManifestName);
    const bool registered = std::any_of(version.tags.begin(), version.tags.end(),
                                        [](const auto& tag) { return tag.first == "mlops.manifest"; });
    if (registered && !base::exists(manifest_path)) {
      return Status(StatusCode::data_loss,
                    "the manifest that was registered (tag mlops.manifest) is not among the files: " + source);
    }
    if (base::exists(manifest_path)) {
      Result<std::string> text = base::read_file(manifest_path, 64u << 20);
      if (!text.ok()) return text.status();
      std::vector<mlflow::ManifestFile> manifest;
      if (!mlflow::decode_manifest(*text, &manifest)) {
        return Status(StatusCode::data_loss, "the model's manifest is damaged: " + source);
      }
      content.digest = base::sha256_hex(*text);
      for (const auto& [key, value] : version.tags) {
        if (key == "mlops.manifest" && value != content.digest) {
          return Status(StatusCode::data_loss,
                        "the manifest is not the one that was registered (tag mlops.manifest): " + source);
        }
      }
      Status checked = check_manifest(staging, manifest, &content);
      if (!checked.ok()) {
        base::remove_tree(staging).ignore();  // so that the next try fetches anew
        return checked;
      }
    } else {
      for (const RemoteArtifact& file : *listed) {
        if (file.is_dir) continue;
        Result<std::string> sum = sha256_of(staging + "/" + file.path);
        if (!sum.ok()) return sum.status();
        listing += file.path + "\n" + std::to_string(file.bytes) + "\n" + *sum + "\n";
      }
      content.digest = base::sha256_hex(listing);
    }
    const std::string final_path = *cache + "/content/" + content.digest;
    if (base::exists(final_path)) {
      base::remove_tree(staging).ignore();
    } else if (::rename(staging.c_str(), final_path.c_str()) != 0) {
      return base::errno_status(errno, "rename", final_path);
    }
    report.fetched = true;
    digest = content.digest;
    if (Status s = base::make_dirs(*cache + "/versions"); !s.ok()) return s;
    const std::string text = "content " + digest + "\nfiles " + std::to_string(content.files) + "\nbytes " +
                             std::to_string(content.bytes) + "\nverified " + (content.verified ? "1" : "0") + "\n";
    if (Status s = base::replace_file(version_file, text, true); !s.ok()) return s;
    cached = text;
  }
  report.files = static_cast<std::uint64_t>(std::atoll(field_of(*cached, "files").c_str()));
  report.bytes = static_cast<std::uint64_t>(std::atoll(field_of(*cached, "bytes").c_str()));
  report.verified = field_of(*cached, "verified") == "1";
  report.path = dir;
  if (options.layout == PullOptions::Layout::triton) report.path += "/" + version.name + "/" + version.version;
  Result<bool> changed = switch_link(*cache + "/content/" + digest, report.path);
  if (!changed.ok()) return changed.status();
  report.changed = *changed;
  if (!report.offline) {
    const std::string text = "name " + version.name + "\nversion " + version.version + "\ncreated " +
                             std::to_string(version.created_ms) + "\n";
    Result<std::string> before = base::read_file(known_file, 1u << 20);
    if (!before.ok() || *before != text) {
      if (Status s = base::make_dirs(*cache + "/known"); !s.ok()) return s;
      if (Status s = base::replace_file(known_file, text, false); !s.ok()) return s;
    }
  }
  return report;
}

Status Registry::watch(std::string_view uri, const std::string& dir, const PullOptions& options, Millis interval,
                       const std::function<void(const Result<PullReport>&)>& callback,
                       const std::atomic<bool>* stop) const {
  if (!callback) return Status(StatusCode::invalid_argument, "watch: a callback is needed");
  if (interval < Millis(10)) return Status(StatusCode::invalid_argument, "watch: an interval is at least 10 ms");
  const auto over = [stop] { return stop != nullptr && stop->load(std::memory_order_relaxed); };
  bool first = true, was_offline = false;
  Status trouble;
  while (!over()) {
    const std::int64_t next = base::steady_ms() + interval.count();
    const Result<PullReport> pulled = pull(uri, dir, options);
    const bool new_trouble = !pulled.ok() && pulled.status().code() != trouble.code();
    const bool told = pulled.ok() && (first || pulled->changed || pulled->offline != was_offline);
    if (new_trouble || told) callback(pulled);
    if (pulled.ok()) {
      first = false;
      was_offline = pulled->offline;
    }
    trouble = pulled.status();
    while (!over() && base::steady_ms() < next) {
      std::this_thread::sleep_for(
          std::chrono::milliseconds(std::min<std::int64_t>(100, std::max<std::int64_t>(1, next - base::steady_ms()))));
    }
  }
  return {};
}

MLOPS_NAMESPACE_END
