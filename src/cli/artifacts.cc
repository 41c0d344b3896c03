// mlops artifacts: what files of a run are on the server, and down with them. Ctrl-C leaves a download in order: the
// same command goes on with it.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct Arguments {
  std::string run, path, from;
  std::string output = ".";
  std::uint64_t connections = 4;
  bool recursive = false;
};

constexpr const char* kInBuffer = "from the buffer: no server is known here";

std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void listen_to_signals() {
  struct sigaction action{};
  action.sa_handler = [](int) { stop_requested.store(true); };
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // a second Ctrl-C ends it the hard way
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

DownloadOptions options_of(const Common& common, const Arguments& a) {
  DownloadOptions options;
  options.root = common.root;
  options.from = a.from;
  options.connections = static_cast<std::uint32_t>(std::min<std::uint64_t>(a.connections, 1'000));
  options.stop = &stop_requested;
  return options;
}

int list(const Common& common, const Arguments& a) {
  listen_to_signals();
  const Result<std::vector<RemoteArtifact>> found = list_artifacts(a.run, a.path, a.recursive, options_of(common, a));
  if (!found.ok()) return fail(found.status());
  if (common.json) {
    JsonOut out;
    out.begin_object().key("artifacts").begin_array();
    for (const RemoteArtifact& artifact : *found) {
      out.begin_object().field("path", artifact.path).field("is_dir", artifact.is_dir);
      out.field("bytes", artifact.bytes).field("in_buffer", artifact.in_buffer).end_object();
    }
    out.end_array().end_object();
    std::printf("%s\n", out.text().c_str());
    return kOk;
  }
  Table table({"=PATH", ">SIZE"});
  for (const RemoteArtifact& artifact : *found) {
    table.add({one_line(artifact.path, SIZE_MAX) + (artifact.is_dir ? "/" : ""),
               artifact.is_dir ? "" : bytes_text(artifact.bytes)});
  }
  table.print();
  if (found->empty()) std::fprintf(stderr, "no artifacts\n");
  if (!found->empty() && found->front().in_buffer) std::fprintf(stderr, "%s\n", kInBuffer);
  return kOk;
}

class Bar {
 public:
  void draw(const DownloadProgress& p) {
    constexpr int kWidth = 30;
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - begun_).count();
    if (!first_) first_ = p.bytes_done + 1;
    const double share = p.bytes == 0 ? 1.0 : static_cast<double>(p.bytes_done) / static_cast<double>(p.bytes);
    const int filled = static_cast<int>(std::min(1.0, share) * kWidth);
    std::string bar(static_cast<std::size_t>(filled), '#');
    bar.append(static_cast<std::size_t>(kWidth - filled), '.');
    std::string line = "[" + bar + "] " + bytes_text(p.bytes_done) + "/" + bytes_text(p.bytes) + ", " +
                       count_text(p.files_done) + "/" + count_text(p.files) + " files";
    const double rate =
        seconds > 0.5 ? static_cast<double>(p.bytes_done + 1 - std::min(first_, p.bytes_done + 1)) / seconds : 0;
    if (rate >= 1) {
      line += ", " + bytes_text(static_cast<std::uint64_t>(rate)) + "/s";
      if (p.bytes > p.bytes_done)
        line += ", " +
                duration_text(static_cast<std::int64_t>(static_cast<double>(p.bytes - p.bytes_done) / rate * 1'000)) +
                " left";
    }
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    std::fflush(stderr);
  }

 private:
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  std::uint64_t first_ = 0;  // bytes that were there from a try before, plus 1
};

int get(const Common& common, const Arguments& a) {
  listen_to_signals();
  DownloadOptions options = options_of(common, a);
  Bar bar;
  const bool show = is_terminal(2) && !common.json;
  if (show) options.on_progress = [&bar](const DownloadProgress& p) { bar.draw(p); };
  const Result<DownloadReport> report = download_artifacts(a.run, a.path, a.output, options);
  if (show) std::fprintf(stderr, "\n");
  if (!report.ok()) return fail(report.status());
  if (common.json) {
    JsonOut out;
    out.begin_object().field("folder", a.output).field("files", report->files).field("bytes", report->bytes);
    out.field("resumed_bytes", report->resumed_bytes).field("retries", report->retries);
    out.field("in_buffer", report->in_buffer).end_object();
    std::printf("%s\n", out.text().c_str());
    return kOk;
  }
  std::printf("%s, %s, in %s", counted(report->files, "file").c_str(), bytes_text(report->bytes).c_str(),
              a.output.c_str());
  if (report->resumed_bytes > 0) std::printf("; %s were there already", bytes_text(report->resumed_bytes).c_str());
  std::printf("\n");
  if (report->in_buffer) std::fprintf(stderr, "%s\n", kInBuffer);
  return kOk;
}

}  // namespace

Command artifacts_command() {
  auto a = std::make_shared<Arguments>();
  const Option run{"run", "Id (ours, the server's, a prefix), or runs:/ID/PATH, mlflow-artifacts:/…, s3://…, file:…",
                   &a->run, true, Takes::run};
  const Option path{"path", "A file or folder of it [all]", &a->path};
  const Option from{"--from", "Tracking URI or remote [MLFLOW_TRACKING_URI; the root's only one]", &a->from, false,
                    Takes::uri};
  Command ls{"ls", "The files of a run that are on the server; with none known, in the buffer"};
  ls.options = {run, path, {"-R,--recursive", "Also what is in its folders", &a->recursive}, from};
  ls.json = R"({"artifacts": [{"path", "is_dir", "bytes", "in_buffer"}]})";
  ls.examples = {{"mlops artifacts ls $RUN", "what is on the server"}};
  ls.run = [a](const Common& common) { return list(common, *a); };
  Command down{"get", "Download a file, a folder, or all artifacts of a run"};
  down.options = {run,
                  path,
                  {"-o,--output", "Into this folder, which is made [.]", &a->output, false, Takes::folder},
                  {"-c,--connections", "Files at once, 1 to 16 [4]", &a->connections},
                  from};
  down.about =
      "With no server known, what of the run lies in the buffer. A file has its name only when all of it is there; "
      "paths are as in the run. After Ctrl-C or a failure the same "
      "command goes on where it was, if the server takes ranges and the file is still the same. Nothing is written "
      "outside of the folder. S3 is read with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (or ~/.aws), AWS_REGION and "
      "MLFLOW_S3_ENDPOINT_URL; without keys, and wherever else the artifacts are, through the tracking server.";
  down.json = R"({"folder", "files", "bytes", "resumed_bytes", "retries", "in_buffer"})";
  down.examples = {{"mlops artifacts get $RUN --output files", "all of a run, into ./files"}};
  down.run = [a](const Common& common) { return get(common, *a); };

  Command command{"artifacts", "The files of runs: list, download and log them"};
  command.verbs = {ls, down, artifacts_put_command()};
  return command;
}

}  // namespace mlops::cli
