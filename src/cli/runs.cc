// mlops runs: the runs of a root, newest first.
#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/run_json.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct Arguments {
  std::string experiment;
  std::uint64_t limit = 0;  // 0: all
  bool deleted = false, all = false;
};

int list(const Common& common, const Arguments& arguments) {
  Result<Reader> reader = Reader::open(common.root);
  if (!reader.ok()) return fail(reader.status());
  Result<std::vector<RunSummary>> runs = reader->runs();
  if (!runs.ok()) return fail(runs.status());
  std::vector<const RunSummary*> chosen;
  for (const RunSummary& run : *runs) {
    if (!arguments.all && run.deleted != arguments.deleted) continue;
    if (!arguments.experiment.empty() && run.experiment != arguments.experiment) continue;
    if (arguments.limit != 0 && chosen.size() == arguments.limit) break;
    chosen.push_back(&run);
  }
  if (common.json) {
    JsonOut out;
    out.begin_object().field("root", reader->root()).key("runs").begin_array();
    for (const RunSummary* run : chosen) put_run(*run, &out);
    out.end_array().end_object();
    std::printf("%s\n", out.text().c_str());
    return kOk;
  }
  Table table({"RUN", "NAME", "EXPERIMENT", "STATUS", "STARTED", "TOOK", "POINTS"});
  for (const RunSummary* run : chosen) {
    const std::string status = std::string(run_status_name(run->status)) +
                               (run->status == RunStatus::running && !run->live ? " (process gone)" : "") +
                               (run->deleted ? " (deleted)" : "");
    table.add({run->id, one_line(run->name, 40), one_line(run->experiment, 40), status, time_text(run->start_ms),
               run->end_ms == 0 ? "-" : duration_text(run->end_ms - run->start_ms), std::to_string(run->points)});
  }
  table.print(is_terminal(1));
  return kOk;
}

}  // namespace

Command runs_command() {
  auto a = std::make_shared<Arguments>();
  Command command{"runs", "List the runs of a root, newest first"};
  command.options = {
      {"--experiment", "Only runs of this experiment", &a->experiment, false, Takes::experiment},
      {"-n,--limit", "At most so many", &a->limit},
      {"--deleted", "Only deleted ones", &a->deleted},
      {"--all", "Deleted ones, too", &a->all},
  };
  command.json = R"({"root", "runs": [as in `mlops show --json`]})";
  command.examples = {{"mlops runs --experiment digits -n 5", "the newest five of an experiment"}};
  command.run = [a](const Common& common) { return list(common, *a); };
  return command;
}

}  // namespace mlops::cli
