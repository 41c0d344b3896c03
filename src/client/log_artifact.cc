// The calls of Run that log artifacts: paths, folders, media; bytes and records go through put_artifact.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/base.h"
#include "base/file.h"
#include "client/json_text.h"
#include "client/media.h"
#include "client/model_impl.h"
#include "client/pictures.h"
#include "client/run_impl.h"
#include "client/spool_in.h"
#include "model/limits.h"

MLOPS_NAMESPACE_BEGIN

namespace {

using client::ArtifactIn;
using client::RunState;

constexpr std::uint32_t kPreviewSide = 256;
constexpr std::size_t kImageKeyBytes = 100;
constexpr const char* kImagesTag = "mlflow.loggedImages";

Status moved_from() { return Status(StatusCode::failed_precondition, "this Run object was moved from"); }
Status bad(const std::string& words) { return Status(StatusCode::invalid_argument, words); }

std::string join(std::string_view folder, std::string_view name) {
  return folder.empty() ? std::string(name) : std::string(folder) + "/" + std::string(name);
}

std::string last_name(const std::string& path) {
  const std::size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return {};
  const std::size_t slash = path.find_last_of('/', end);
  return path.substr(slash == std::string::npos ? 0 : slash + 1,
                     end - (slash == std::string::npos ? 0 : slash + 1) + 1);
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() > end.size() && text.substr(text.size() - end.size()) == end;
}

Status check_options(const ArtifactOptions& options) {
  if (options.move && options.when == ReadWhen::later) {
    return bad("ArtifactOptions: a file that is read later is not moved; set one of both");
  }
  return {};
}

Status put_file(RunState* run, const std::string& file, std::string path, const ArtifactOptions& options,
                const base::Uid& parent = {}) {
  ArtifactIn in;
  in.parent = parent;
  in.file = file;
  in.path = std::move(path);
  in.move = options.move;
  in.later = options.when == ReadWhen::later;
  return client::put_artifact(run, in);
}

Status put_bytes(RunState* run, std::string_view bytes, std::string_view path) {
  ArtifactIn in;
  in.bytes = bytes;
  in.path = path;
  return client::put_artifact(run, in);
}

/// A folder's files, one after the other; what cannot be logged is named and passed over.
class FolderWalk {
 public:
  FolderWalk(RunState* run, const ArtifactOptions& options, const base::Uid& parent = {})
      : run_(run), options_(options), parent_(parent) {}
  Status walk(const std::string& folder, const std::string& path) {
    struct stat st{};
    if (::stat(folder.c_str(), &st) != 0) return base::errno_status(errno, "read the folder", folder);
    if (!S_ISDIR(st.st_mode)) {
      return Status(StatusCode::failed_precondition, folder + " is no folder: log_artifact takes a file");
    }
    below(folder, path, st);
    return first_;
  }

 private:
  using Id = std::pair<dev_t, ino_t>;

  void fail(Status why) {
    base::log(base::LogLevel::warn, "not logged: " + std::string(why.message()));
    if (first_.ok()) first_ = std::move(why);
  }

  // NOLINTNEXTLINE(misc-no-recursion): as deep as the folders; a loop is found by its folder being one of those above
  void below(const std::string& folder, const std::string& path, const struct stat& self) {
    const Id id{self.st_dev, self.st_ino};
    if (std::find(above_.begin(), above_.end(), id) != above_.end()) {
      return fail(Status(StatusCode::failed_precondition, folder + " leads back to a folder that it lies in"));
    }
    const Result<std::vector<std::string>> names = base::list_dir(folder);
    if (!names.ok()) return fail(names.status());
    above_.push_back(id);
    for (const std::string& name : *names) {
      const std::string file = folder + "/" + name, below_path = join(path, name);
      struct stat st{};
      if (::stat(file.c_str(), &st) != 0) {
        fail(base::errno_status(errno, "read", file));
      } else if (S_ISDIR(st.st_mode)) {
        below(file, below_path, st);
      } else if (Status s = put_file(run_, file, below_path, options_, parent_); !s.ok()) {
        fail(std::move(s));
      }
    }
    above_.pop_back();
  }

  RunState* run_;
  const ArtifactOptions& options_;
  base::Uid parent_;
  std::vector<Id> above_;
  Status first_;
};

/// Appends to the tag that MLflow's table view reads, unless the table is in it.
std::string tables_tag(RunState* run, std::string_view path) {
  const std::string entry = "{\"path\": " + client::json_string(path) + ", \"type\": \"table\"}";
  const std::lock_guard<std::mutex> lock(run->core->mutex);
  std::string& tables = run->core->tables[run->uid];
  if (tables.find(entry) != std::string::npos) return {};
  std::string longer = tables.size() < 2 ? "[" + entry + "]" : tables.substr(0, tables.size() - 1) + ", " + entry + "]";
  if (model::count_chars(longer) > model::kTagChars) {
    base::log(base::LogLevel::warn, "tag mlflow.loggedArtifacts is full: table " + std::string(path) + " is not in it");
    return {};
  }
  tables = longer;
  return longer;
}

/// As MLflow's client names them: a random number of 128 bits, written as a UUID.
std::string picture_name() {
  const std::string hex = base::Uid::random().hex();
  return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" + hex.substr(16, 4) + "-" +
         hex.substr(20);
}

}  // namespace

Status Run::log_artifact(const std::string& file, std::string_view artifact_path,
                         const ArtifactOptions& options) noexcept {
  if (impl_ == nullptr) return moved_from();
  if (Status s = check_options(options); !s.ok()) return s;
  if (file.empty()) return bad("log_artifact needs a file");
  return put_file(impl_->state.get(), file, join(artifact_path, last_name(file)), options);
}

Status Run::log_artifacts(const std::string& folder, std::string_view artifact_path,
                          const ArtifactOptions& options) noexcept {
  if (impl_ == nullptr) return moved_from();
  if (Status s = check_options(options); !s.ok()) return s;
  if (folder.empty()) return bad("log_artifacts needs a folder");
  return FolderWalk(impl_->state.get(), options).walk(folder, std::string(artifact_path));
}

Status LoggedModel::log_artifact(const std::string& file, std::string_view path) noexcept {
  if (!impl_) return Status(StatusCode::failed_precondition, "this LoggedModel is of no model: start_model makes one");
  if (Status s = client::check_files_here(*impl_); !s.ok()) return s;
  const std::string name = last_name(file);
  if (name.empty()) return bad("\"" + file + "\" names no file");
  return put_file(impl_->run.get(), file, join(path, name), {}, impl_->uid);
}

Status LoggedModel::log_artifacts(const std::string& folder, std::string_view path) noexcept {
  if (!impl_) return Status(StatusCode::failed_precondition, "this LoggedModel is of no model: start_model makes one");
  if (Status s = client::check_files_here(*impl_); !s.ok()) return s;
  const ArtifactOptions options;
  return FolderWalk(impl_->run.get(), options, impl_->uid).walk(folder, std::string(path));
}

Status Run::log_bytes(std::string_view bytes, std::string_view artifact_file) noexcept {
  return impl_ == nullptr ? moved_from() : put_bytes(impl_->state.get(), bytes, artifact_file);
}

Status Run::log_text(std::string_view text, std::string_view artifact_file) noexcept {
  if (!model::is_utf8(text)) return bad("log_text: the text is not UTF-8; log_bytes takes any");
  return log_bytes(text, artifact_file);
}

Status Run::log_json(const Json& value, std::string_view artifact_file) noexcept {
  return log_json(value.text(), artifact_file);
}

Status Run::log_json(const std::string& text, std::string_view artifact_file) noexcept {
  if (Status s = client::check_json(text); !s.ok()) return s;
  return log_bytes(text, artifact_file);
}

Status Run::log_figure(std::string_view picture, std::string_view artifact_file) noexcept {
  const bool png = picture.substr(0, 8) == "\x89PNG\r\n\x1A\n";
  const bool svg = !png && picture.find("<svg") != std::string_view::npos;
  if (!png && !svg) return bad("log_figure takes the bytes of a PNG or SVG file, and these are neither");
  if (!ends_with(artifact_file, png ? ".png" : ".svg")) {
    return bad(std::string("log_figure: a ") + (png ? "PNG" : "SVG") + " file's path ends with " +
               (png ? ".png" : ".svg"));
  }
  return log_bytes(picture, artifact_file);
}

Status Run::log_image(const Image& image, std::string_view artifact_file) noexcept {
  if (!ends_with(artifact_file, ".png")) return bad("log_image writes PNG: the path ends with .png");
  if (artifact_file.substr(0, 7) == "images/" && artifact_file.find('/', 7) == std::string_view::npos) {
    return bad("log_image: the folder images/ is that of images by step; give a step, or another folder");
  }
  const Result<client::Pixels> pixels = client::pixels_of(image);
  if (!pixels.ok()) return pixels.status();
  const Result<std::string> png = client::encode_png(*pixels);
  return png.ok() ? log_bytes(*png, artifact_file) : png.status();
}

Status Run::log_image(const Image& image, std::string_view key, std::int64_t step) noexcept {
  if (impl_ == nullptr) return moved_from();
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_-./ ").find(c) != std::string_view::npos;
  };
  if (key.empty() || key.size() > kImageKeyBytes || !std::all_of(key.begin(), key.end(), allowed)) {
    return bad("log_image: a key is 1 to 100 letters, digits, '_', '-', '.', '/' and spaces");
  }
  const Result<client::Pixels> pixels = client::pixels_of(image);
  if (!pixels.ok()) return pixels.status();
  const Result<std::string> png = client::encode_png(*pixels);
  if (!png.ok()) return png.status();
  const Result<std::string> preview = client::encode_webp(client::shrink(*pixels, kPreviewSide));
  if (!preview.ok()) return preview.status();

  // The form that the pages of 2.22 and of 3.x both read, and every server keeps as it is.
  std::string name(key);
  std::replace(name.begin(), name.end(), '/', '~');
  name = "images/" + name + "+step+" + std::to_string(step) + "+timestamp+" + std::to_string(base::now_ms()) + "+" +
         picture_name();
  if (Status s = log_bytes(*png, name + ".png"); !s.ok()) return s;
  if (Status s = log_bytes(*preview, name + "+compressed.webp"); !s.ok()) return s;
  return set_tag(kImagesTag, Value(true));
}

Status Run::log_table(const std::vector<TableColumn>& columns, std::string_view artifact_file) noexcept {
  if (impl_ == nullptr) return moved_from();
  if (!ends_with(artifact_file, ".json")) return bad("log_table writes JSON: the path ends with .json");
  if (artifact_file.find_first_of("\"',:[]{}") != std::string_view::npos) {
    return bad("log_table: MLflow takes no \" ' , : [ ] { } in a table's path");
  }
  const Result<std::string> json = client::table_json(columns);
  if (!json.ok()) return json.status();
  if (Status s = log_bytes(*json, artifact_file); !s.ok()) return s;
  const std::string tag = tables_tag(impl_->state.get(), artifact_file);
  return tag.empty() ? Status() : set_tag(client::kTablesTag, Value(tag));
}

Status Run::log_histogram(const Histogram& histogram, std::string_view artifact_file) noexcept {
  if (Status s = client::check_histogram(histogram); !s.ok()) return s;
  if (ends_with(artifact_file, ".svg")) return log_bytes(client::histogram_svg(histogram), artifact_file);
  if (ends_with(artifact_file, ".json")) return log_bytes(client::histogram_json(histogram), artifact_file);
  return bad("log_histogram: the path ends with .svg (drawn) or .json (numbers)");
}

MLOPS_NAMESPACE_END
