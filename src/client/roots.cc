// roots: which roots can be told from where we stand.
#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/file.h"
#include "client/env.h"
#include "mlops/manage.h"
#include "view/view.h"

namespace mlops::client {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostFolders = 20'000;

class Finder {
 public:
  Result<std::vector<RootInfo>> run(const std::string& given, int depth) {
    const Environment environment = read_environment();
    Result<std::string> force = resolve_root(given, environment);
    if (!force.ok()) return force.status();
    std::error_code error;
    const fs::path here = fs::current_path(error);
    if (error) return Status(StatusCode::failed_precondition, "the current folder cannot be read: " + error.message());
    const char* from = !given.empty()              ? "given"
                       : !environment.home.empty() ? "MLOPS_HOME"
                       : base::exists(*force)      ? "upwards"
                                                   : "default";
    add(*force, from, true);
    for (fs::path up = here;; up = up.parent_path()) {
      if (fs::is_directory(up / ".mlops", error)) add(up / ".mlops", "upwards", false);
      if (up == up.parent_path()) break;
    }
    look_below(here, depth);
    return std::move(found_);
  }

 private:
  void add(const fs::path& path, const char* from, bool in_force) {
    std::error_code error;
    fs::path real = fs::weakly_canonical(path, error);
    if (error) real = path;
    const auto same = [&real](const RootInfo& r) { return r.path == real.native(); };
    if (std::any_of(found_.begin(), found_.end(), same)) return;
    RootInfo root;
    root.path = real.native();
    root.from = from;
    root.in_force = in_force;
    root.exists = base::exists(root.path);
    if (root.exists) {
      root.bytes = base::disk_usage(root.path);
      Result<std::unique_ptr<view::View>> view = view::View::open(root.path);
      Result<std::vector<RunSummary>> runs = view.ok() ? (*view)->runs({}) : view.status();
      Result<Health> health = view.ok() ? (*view)->health() : view.status();
      root.status = runs.ok() ? health.status() : runs.status();
      if (runs.ok()) root.runs = runs->size();
      for (std::size_t i = 0; health.ok() && i < health->destinations.size(); ++i) {
        root.waiting += health->destinations[i].waiting;
      }
    }
    found_.push_back(std::move(root));
  }

  void look_below(const fs::path& folder, int depth) {
    if (depth <= 0) return;
    std::error_code error;
    std::vector<fs::path> folders;
    for (fs::directory_iterator it(folder, fs::directory_options::skip_permission_denied, error), end;
         !error && it != end; it.increment(error)) {
      std::error_code ignored;
      if (it->is_symlink(ignored) || !it->is_directory(ignored)) continue;
      const std::string name = it->path().filename().native();
      if (name == ".mlops") {
        add(it->path(), "below", false);
      } else if (name.front() != '.' && ++looked_ <= kMostFolders) {
        folders.push_back(it->path());
      }
    }
    std::sort(folders.begin(), folders.end());
    for (const fs::path& f : folders) look_below(f, depth - 1);
  }

  std::vector<RootInfo> found_;
  std::size_t looked_ = 0;
};

}  // namespace
}  // namespace mlops::client

MLOPS_NAMESPACE_BEGIN

Result<std::vector<RootInfo>> roots(const std::string& root, int depth) { return client::Finder().run(root, depth); }

MLOPS_NAMESPACE_END
