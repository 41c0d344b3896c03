// mlops models pull: a model's files in a folder, for a program that serves them.
#include <atomic>
#include <csignal>
#include <cstdio>
#include <memory>

#include "cli/models.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct Arguments {
  std::string to, uri, folder, cache, layout = "plain";
  double every = 30;
  bool watch = false, online = false;
};

std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);
void request_stop(int) { stop_requested.store(true); }

void print(const Common& common, const PullReport& r) {
  if (common.json) {
    JsonOut out;
    out.begin_object().field("model", r.version.name).field("version", r.version.version).field("path", r.path);
    out.field("changed", r.changed).field("fetched", r.fetched).field("offline", r.offline);
    out.field("verified", r.verified).field("files", r.files).field("bytes", r.bytes).end_object();
    std::printf("%s\n", out.text().c_str());
  } else {
    std::printf("%s %s: %s files, %s in %s%s\n", r.version.name.c_str(), r.version.version.c_str(),
                count_text(r.files).c_str(), bytes_text(r.bytes).c_str(), r.path.c_str(),
                r.changed ? "" : " (as before)");
    if (r.offline) std::fprintf(stderr, "mlops: the server is away: this is what the cache has\n");
  }
  std::fflush(stdout);
}

int pull(const Common& common, const Arguments& a) {
  Result<Registry> registry = open_registry(common, a.to);
  if (!registry.ok()) return fail(registry.status());
  PullOptions options;
  options.cache = a.cache;
  options.offline = !a.online;
  if (a.layout == "triton") options.layout = PullOptions::Layout::triton;
  if (!a.watch) {
    Result<PullReport> report = registry->pull(a.uri, a.folder, options);
    if (!report.ok()) return fail(report.status());
    print(common, *report);
    return kOk;
  }
  if (!(a.every >= 0.1 && a.every <= 86'400)) {
    return fail(Status(StatusCode::invalid_argument, "--every takes 0.1 to 86400 seconds"));
  }
  struct sigaction action{};
  action.sa_handler = request_stop;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  Status watched = registry->watch(
      a.uri, a.folder, options, Millis(static_cast<std::int64_t>(a.every * 1'000)),
      [&](const Result<PullReport>& report) {
        if (report.ok()) {
          print(common, *report);
        } else {
          fail(report.status());
        }
      },
      &stop_requested);
  return watched.ok() ? kOk : fail(watched);
}

}  // namespace

Command model_pull() {
  auto a = std::make_shared<Arguments>();
  Command command{"pull", "A model's files in a folder, checked, and switched in at once"};
  command.options = {
      {"uri", "models:/NAME@ALIAS, models:/NAME/3, models:/NAME/latest", &a->uri, true},
      {"folder", "Becomes a link to the files", &a->folder, true, Takes::folder},
      {"--watch", "Stay, and pull again when the alias moves, until Ctrl-C", &a->watch},
      {"--every", "Seconds between two looks [30]", &a->every},
      {"--layout",
       "plain, or a Triton repository: FOLDER/<model>/<version> [plain]",
       &a->layout,
       false,
       Takes::text,
       {"plain", "triton"}},
      {"--cache", "[$XDG_CACHE_HOME/mlops/models; ~/.cache/mlops/models]", &a->cache, false, Takes::folder},
      {"--online", "Fail when the server is away, whatever the cache has", &a->online},
      to_option(&a->to)};
  command.about =
      "Files are kept once by what they are. What is in the cache and has not moved costs one request. Without a\n"
      "server the cache serves, and that is said. SHA-256 is checked where the model has a manifest (mlops'\n"
      "log_model writes one), else each size.";
  command.json = R"({"model", "version", "path", "changed", "fetched", "offline", "verified", "files", "bytes"})";
  command.examples = {{"mlops models pull models:/digits@champion serving", "what serves now, in the folder serving"}};
  command.run = [a](const Common& common) { return pull(common, *a); };
  return command;
}

}  // namespace mlops::cli
