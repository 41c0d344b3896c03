// Downloads: into a folder, from a server that answers a script, in every way in which it can go wrong; nothing but
// whole files get their names, and nothing is written outside.
#include "client/download.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "base/base.h"
#include "base/beneath.h"
#include "http/loopback.h"

namespace mlops::client {
namespace {

namespace fs = std::filesystem;
using test::Act;
using test::http_answer;
using test::Loopback;
using test::Seen;

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 131 + i / 251) & 0xff);
  return text;
}

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "mlops-download-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path_); }
  fs::path operator/(const std::string& name) const { return path_ / name; }
  std::string text() const { return path_.string(); }
  /// Every file below, relative.
  std::vector<std::string> files() const {
    std::vector<std::string> out;
    for (const auto& item : fs::recursive_directory_iterator(path_))
      if (!item.is_directory()) out.push_back(fs::relative(item.path(), path_).string());
    std::sort(out.begin(), out.end());
    return out;
  }

 private:
  fs::path path_;
};

const char* no_env(const char*) { return nullptr; }

/// Files of a proxied run "1/r/artifacts", served with ranges and ETags as MLflow 3.17 does.
class Files {
 public:
  std::map<std::string, std::string> content;
  std::string etag = "\"v1\"";
  std::function<std::optional<Act>(int index, const Seen&)> fault;
  bool ranges = true;

  Act answer(int index, const Seen& seen) {
    if (fault)
      if (auto act = fault(index, seen)) return *act;
    const std::string line = seen.head.substr(0, seen.head.find("\r\n"));
    const std::string prefix = "GET /api/2.0/mlflow-artifacts/artifacts/1/r/artifacts/";
    if (line.find("/presigned/") != std::string::npos)
      return {Act::answer, http_answer(501, R"({"error_code":"NOT_IMPLEMENTED","message":"no"})")};
    if (line.compare(0, prefix.size(), prefix) != 0) return {Act::answer, http_answer(404, "<html>", "text/html")};
    const std::string name = line.substr(prefix.size(), line.rfind(' ') - prefix.size());
    const auto found = content.find(name);
    if (found == content.end())
      return {Act::answer,
              http_answer(404, R"({"error_code":"RESOURCE_DOES_NOT_EXIST","message":"No such artifact"})")};
    const auto range = seen.head.find("Range: bytes=");
    const bool same = seen.head.find("If-Range: " + etag) != std::string::npos;
    if (ranges && range != std::string::npos && same) {
      const std::size_t from = std::stoul(seen.head.substr(range + 13));
      return {Act::answer, http_answer(206, found->second.substr(from), "x/y",
                                       "ETag: " + etag + "\r\nContent-Range: bytes " + std::to_string(from) + "-" +
                                           std::to_string(found->second.size() - 1) + "/" +
                                           std::to_string(found->second.size()) + "\r\n")};
    }
    return {Act::answer, http_answer(200, found->second, "x/y", ranges ? "ETag: " + etag + "\r\n" : "")};
  }
};

Download wanted(const Loopback& server, const Folder& folder, std::vector<WantedFile> files) {
  Download what;
  what.place.artifact_uri = "mlflow-artifacts:/1/r/artifacts";
  what.place.tracking_uri = server.uri();
  what.place.abilities.presigned_download = false;
  what.place.writing = false;
  what.files = std::move(files);
  what.folder = folder.text() + "/out";
  what.connections = 2;
  what.patience = Millis(20'000);
  return what;
}

TEST(Download, FilesFoldersAndEmptyOnes) {
  Files files;
  files.content = {{"a.txt", "hello"}, {"d/e/f.bin", pattern(5'000'000)}, {"empty", ""}, {"d/g", "x"}};
  Loopback server([&](int i, const Seen& s) { return files.answer(i, s); });
  Folder folder;
  Download what = wanted(server, folder, {});
  for (const auto& [name, content] : files.content) what.files.push_back({name, content.size(), {}});
  DownloadProgress last;
  what.on_progress = [&](const DownloadProgress& p) { last = p; };
  const auto report = download(what, no_env);
  ASSERT_TRUE(report.ok()) << report.status().to_string();
  EXPECT_EQ(report->files, 4u);
  EXPECT_EQ(report->bytes, 5'000'006u);
  EXPECT_EQ(report->resumed_bytes, 0u);
  EXPECT_EQ(last.files_done, 4u);
  EXPECT_EQ(last.bytes_done, 5'000'006u);
  for (const auto& [name, content] : files.content) EXPECT_TRUE(bytes_of(folder / ("out/" + name)) == content) << name;
  EXPECT_EQ(folder.files().size(), 4u);  // no part is left
}

TEST(Download, CutAndResumedInOneCall) {
  Files files;
  files.content = {{"f", pattern(12'000'000)}};
  std::atomic<int> cuts{0};
  files.fault = [&](int index, const Seen& seen) -> std::optional<Act> {
    Files plain;
    plain.content = files.content;
    Act act = plain.answer(index, seen);
    if (act.bytes.size() <= 5'000'000) return std::nullopt;
    act.bytes.resize(5'000'000);
    act.close = true;
    ++cuts;
    return act;
  };
  Loopback server([&](int i, const Seen& s) { return files.answer(i, s); });
  Folder folder;
  const auto report = download(wanted(server, folder, {{"f", 12'000'000, {}}}), no_env);
  ASSERT_TRUE(report.ok()) << report.status().to_string();
  EXPECT_GT(cuts, 1);
  EXPECT_EQ(report->retries, static_cast<std::uint64_t>(cuts));
  EXPECT_TRUE(bytes_of(folder / "out/f") == files.content["f"]);
  EXPECT_NE(server.seen()[1].head.find("Range: bytes=4"), std::string::npos) << server.seen()[1].head;
}

TEST(Download, ResumedByTheNextProcess) {
  Files files;
  files.content = {{"d/f", pattern(9'000'000)}};
  Loopback server([&](int i, const Seen& s) { return files.answer(i, s); });
  Folder folder;
  Download what = wanted(server, folder, {{"d/f", 9'000'000, {}}});
  std::atomic<bool> stop{false};
  what.stop = &stop;
  what.on_progress = [&](const DownloadProgress& p) {
    if (p.bytes_done > 4'000'000) stop = true;
  };
  files.fault = [&](int, const Seen&) -> std::optional<Act> {
    std::string all = http_answer(200, files.content["d/f"], "x/y", "ETag: \"v1\"\r\n");
    all.resize(6'000'000);
    return Act{Act::answer, all};  // and then silence
  };
  auto report = download(what, no_env);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.status().code(), StatusCode::deadline_exceeded) << report.status().to_string();
  EXPECT_FALSE(fs::exists(folder / "out/d/f"));
  EXPECT_EQ(folder.files().size(), 2u);  // the part and whose it is
  files.fault = {};
  what.stop = nullptr;
  report = download(what, no_env);
  ASSERT_TRUE(report.ok()) << report.status().to_string();
  EXPECT_GT(report->resumed_bytes, 4'000'000u);
  EXPECT_TRUE(bytes_of(folder / "out/d/f") == files.content["d/f"]);
  EXPECT_EQ(folder.files().size(), 1u);
}

TEST(Download, AnotherVersionBeginsAnew) {
  for (const bool ranges : {true, false}) {
    Files files;
    files.content = {{"f", pattern(9'000'000)}};
    files.ranges = ranges;
    std::atomic<int> requests{0};
    const std::string other(9'000'000, 'z');
    files.fault = [&](int index, const Seen&) -> std::optional<Act> {
      ++requests;
      if (index > 0) return std::nullopt;
      std::string all = http_answer(200, other, "x/y", "ETag: \"v0\"\r\n");
      all.resize(5'000'000);
      return Act{Act::answer, all, true};
    };
    Loopback server([&](int i, const Seen& s) { return files.answer(i, s); });
    Folder folder;
    const auto report = download(wanted(server, folder, {{"f", 9'000'000, {}}}), no_env);
    ASSERT_TRUE(report.ok()) << report.status().to_string();
    EXPECT_EQ(requests, 2);
    EXPECT_TRUE(bytes_of(folder / "out/f") == files.content["f"]);
  }
}

TEST(Download, A200ThatIsShorterThanListedIsAnError) {
  Files files;
  files.content = {{"f", "only half"}};
  Loopback server([&](int i, const Seen& s) { return files.answer(i, s); });
  Folder folder;
  const auto report = download(wanted(server, folder, {{"f", 20, {}}}), no_env);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.status().code(), StatusCode::data_loss);
  EXPECT_NE(report.status().message().find("9 bytes arrived, and 20 are listed"), std::string_view::npos);
  EXPECT_FALSE(fs::exists(folder / "out/f"));
}

TEST(Download, DigestsAreCheckedAndWhatIsThereIsKept) {
  Files files;
  files.content = {{"f", pattern(700'000)}};
  Loopback server([&](int i, const Seen& s) { return files.answer(i, s); });
  Folder folder;
  const std::string right = base::sha256_hex(files.content["f"]);
  auto report = download(wanted(server, folder, {{"f", 700'000, std::string(64, 'a')}}), no_env);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.status().code(), StatusCode::data_loss);
  EXPECT_FALSE(fs::exists(folder / "out/f"));
  report = download(wanted(server, folder, {{"f", 700'000, right}}), no_env);
  ASSERT_TRUE(report.ok()) << report.status().to_string();
  const auto requests = server.seen().size();
  report = download(wanted(server, folder, {{"f", 700'000, right}}), no_env);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->resumed_bytes, 700'000u);
  EXPECT_EQ(server.seen().size(), requests);  // nothing was asked
  {
    std::ofstream damaged(folder / "out/f", std::ios::in | std::ios::binary);
    damaged.seekp(1'000);
    damaged << "oops";
  }
  report = download(wanted(server, folder, {{"f", 700'000, right}}), no_env);
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(bytes_of(folder / "out/f") == files.content["f"]);
}

TEST(Download, MissingAndForbiddenFilesAreNamedAtOnce) {
  Files files;
  files.content = {{"a", "a"}};
  Loopback server([&](int i, const Seen& s) { return files.answer(i, s); });
  Folder folder;
  auto report = download(wanted(server, folder, {{"a", 1, {}}, {"gone", 1, {}}}), no_env);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.status().code(), StatusCode::not_found);
  EXPECT_NE(report.status().message().find("gone"), std::string_view::npos);
  files.fault = [](int, const Seen&) { return Act{Act::answer, http_answer(403, "Permission denied", "text/plain")}; };
  report = download(wanted(server, folder, {{"a", 1, {}}}), no_env);
  EXPECT_EQ(report.status().code(), StatusCode::permission_denied) << report.status().to_string();
}

TEST(Download, ItGivesUpWhenNothingComesWithinItsPatience) {
  Folder folder;
  Download what;
  {
    Loopback server([](int, const Seen&) { return Act{Act::answer, http_answer(500, "{}")}; });
    what = wanted(server, folder, {{"f", 1, {}}});
  }
  what.patience = Millis(700);
  const auto before = base::steady_ms();
  const auto report = download(what, no_env);
  EXPECT_EQ(report.status().code(), StatusCode::unavailable) << report.status().to_string();
  EXPECT_LT(base::steady_ms() - before, 5'000);
}

TEST(Download, NothingIsWrittenOutside) {
  Files files;
  files.content = {{"link/f", "evil"}, {"f", "fine"}, {"a/b", "x"}};
  Loopback server([&](int i, const Seen& s) { return files.answer(i, s); });
  Folder folder;
  for (const char* path : {"../f", "/etc/f", "a/../../f", "a//b", "a/./b", ""}) {
    const auto report = download(wanted(server, folder, {{path, 4, {}}}), no_env);
    EXPECT_EQ(report.status().code(), StatusCode::invalid_argument) << path;
  }
  fs::create_directories(folder / "out");
  fs::create_directories(folder / "elsewhere");
  fs::create_directory_symlink(folder / "elsewhere", folder / "out/link");
  auto report = download(wanted(server, folder, {{"link/f", 4, {}}}), no_env);
  EXPECT_EQ(report.status().code(), StatusCode::failed_precondition) << report.status().to_string();
  EXPECT_TRUE(fs::is_empty(folder / "elsewhere"));
  // A link in the file's own place is replaced, not followed.
  {
    std::ofstream(folder / "elsewhere/precious") << "keep";
  }
  fs::create_symlink(folder / "elsewhere/precious", folder / "out/f");
  report = download(wanted(server, folder, {{"f", 4, {}}}), no_env);
  ASSERT_TRUE(report.ok()) << report.status().to_string();
  EXPECT_EQ(bytes_of(folder / "elsewhere/precious"), "keep");
  EXPECT_FALSE(fs::is_symlink(folder / "out/f"));
  EXPECT_EQ(bytes_of(folder / "out/f"), "fine");
  // A file where a folder belongs.
  {
    std::ofstream(folder / "out/a") << "file";
  }
  report = download(wanted(server, folder, {{"a/b", 1, {}}}), no_env);
  EXPECT_FALSE(report.ok());
}

TEST(Download, ListsAreChecked) {
  std::string body;
  Loopback server([&](int, const Seen&) { return Act{Act::answer, http_answer(200, body)}; });
  store::Place place;
  place.artifact_uri = "mlflow-artifacts:/1/r/artifacts";
  place.tracking_uri = server.uri();
  for (const char* name : {"..", "../x", "/etc/passwd", "a/b", "x\\\\y", "."}) {
    body = std::string(R"({"files":[{"path":")") + name + R"(","is_dir":false,"file_size":3}]})";
    const auto found = find_artifacts(place, "", true, Millis(1'000), nullptr, no_env);
    EXPECT_EQ(found.status().code(), StatusCode::failed_precondition) << name;
  }
  body = R"({"files":[{"path":"b","is_dir":false,"file_size":3},{"path":"a b","is_dir":false,"file_size":"4"}]})";
  auto found = find_artifacts(place, "", false, Millis(1'000), nullptr, no_env);
  ASSERT_TRUE(found.ok()) << found.status().to_string();
  ASSERT_EQ(found->size(), 2u);
  EXPECT_EQ((*found)[0].path, "a b");
  EXPECT_EQ((*found)[0].size, 4u);
  found = find_artifacts(place, "b", true, Millis(1'000), nullptr, no_env);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->size(), 1u);
  EXPECT_EQ(find_artifacts(place, "c", true, Millis(1'000), nullptr, no_env).status().code(), StatusCode::not_found);
  // A folder that holds itself without end.
  body = R"({"files":[{"path":"loop","is_dir":true}]})";
  EXPECT_EQ(find_artifacts(place, "", true, Millis(60'000), nullptr, no_env).status().code(),
            StatusCode::failed_precondition);
}

TEST(Beneath, NoLinkIsFollowedAndNoPathLeadsOut) {
  Folder folder;
  fs::create_directories(folder / "in/deep");
  fs::create_directory_symlink("/tmp", folder / "in/link");
  const auto beneath = base::Beneath::open(folder.text(), false);
  ASSERT_TRUE(beneath.ok());
  EXPECT_TRUE(beneath->make_dirs("in/deep/er/and/deeper").ok());
  EXPECT_TRUE(beneath->open_dir("in/deep/er/and/deeper").ok());
  EXPECT_EQ(beneath->open_dir("in/link").status().code(), StatusCode::failed_precondition);
  EXPECT_EQ(beneath->make_dirs("in/link/x").code(), StatusCode::failed_precondition);
  EXPECT_EQ(beneath->open_file("in/../in/deep", 0).status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(beneath->open_file("nix", 0).status().code(), StatusCode::not_found);
}

}  // namespace
}  // namespace mlops::client
