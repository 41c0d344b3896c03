// mlops verify: what the server holds of a run against what was accepted.
#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

void print_json(const VerifyReport& r) {
  JsonOut out;
  out.begin_object().field("run_id", r.run_id).field("server_id", r.server_id).field("ok", r.ok());
  out.field("points_local", r.points_local).field("points_server", r.points_server);
  out.field("points_waiting", r.points_waiting).field("evicted", r.evicted);
  out.field("params_checked", r.params_checked).field("tags_checked", r.tags_checked);
  out.field("files_checked", r.files_checked).field("files_waiting", r.files_waiting);
  out.field("differences_total", r.differences_total).key("differences").begin_array();
  for (const Difference& d : r.differences) {
    out.begin_object().field("kind", d.kind).field("what", d.what).end_object();
  }
  out.end_array().end_object();
  std::printf("%s\n", out.text().c_str());
}

struct Arguments {
  std::string run, to;
  bool artifacts = false;
};

int compare(const Common& common, const Arguments& arguments) {
  VerifyOptions options;
  options.root = common.root;
  options.to = arguments.to;
  options.read_artifacts = arguments.artifacts;
  Result<VerifyReport> report = verify(arguments.run, options);
  if (!report.ok()) return fail(report.status());
  const int code = report->ok() && report->points_waiting == 0 && report->files_waiting == 0 ? kOk : kDifferences;
  if (common.json) {
    print_json(*report);
    return code;
  }
  std::printf("run %s (on the server %s)\n%s here, %s there, %s not delivered yet; %s and %s compared\n",
              report->run_id.c_str(), report->server_id.c_str(), counted(report->points_local, "point").c_str(),
              count_text(report->points_server).c_str(), count_text(report->points_waiting).c_str(),
              counted(report->params_checked, "param").c_str(), counted(report->tags_checked, "tag").c_str());
  if (report->files_checked != 0 || report->files_waiting != 0) {
    std::printf("%s compared by %s, %s not delivered yet\n", counted(report->files_checked, "file").c_str(),
                arguments.artifacts ? "size and digest" : "size", count_text(report->files_waiting).c_str());
  }
  if (report->evicted != 0) {
    std::printf("%s points were compared by count only: retention removed them here\n",
                count_text(report->evicted).c_str());
  }
  for (const Difference& d : report->differences) std::printf("%s: %s\n", d.kind.c_str(), d.what.c_str());
  if (report->differences_total > report->differences.size()) {
    std::printf("... and %s more\n", count_text(report->differences_total - report->differences.size()).c_str());
  }
  std::printf("%s\n", report->ok() ? "identical" : (count_text(report->differences_total) + " differences").c_str());
  return code;
}

}  // namespace

Command verify_command() {
  auto a = std::make_shared<Arguments>();
  Command command{"verify", "Compare what the server holds of a run with what was accepted"};
  command.options = {
      {"run", "Run id: ours, the server's, or a prefix", &a->run, true, Takes::run},
      {"--to", "Tracking URI or remote [MLFLOW_TRACKING_URI; the root's only one]", &a->to, false, Takes::uri},
      {"--artifacts", "Read every artifact back and compare its digest, not only its size", &a->artifacts},
  };
  command.about = "Exits with 1 when there are differences, undelivered points or files.";
  command.json =
      R"({"run_id", "server_id", "ok", "points_local", "points_server", "points_waiting", "evicted", "params_checked", )"
      R"("tags_checked", "files_checked", "files_waiting", "differences_total", "differences": [{"kind", "what"}]})";
  command.examples = {{"mlops verify $RUN", "missing, extra and altered points, params and tags"}};
  command.run = [a](const Common& common) { return compare(common, *a); };
  return command;
}

}  // namespace mlops::cli
