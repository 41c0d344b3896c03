// mlops experiments: the experiments of a root, by the runs that are in them.
#include <algorithm>
#include <cstdio>
#include <map>
#include <string>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct Counts {
  std::uint64_t runs = 0, live = 0, points = 0;
  std::int64_t last_start_ms = 0;
};

int list(const Common& common) {
  const Result<Reader> reader = Reader::open(common.root);
  if (!reader.ok()) return fail(reader.status());
  const Result<std::vector<RunSummary>> runs = reader->runs();
  if (!runs.ok()) return fail(runs.status());
  std::map<std::string, Counts> experiments;
  for (const RunSummary& run : *runs) {
    Counts& counts = experiments[run.experiment];
    ++counts.runs;
    counts.live += run.live ? 1 : 0;
    counts.points += run.points;
    counts.last_start_ms = std::max(counts.last_start_ms, run.start_ms);
  }
  if (common.json) {
    JsonOut out;
    out.begin_object().field("root", reader->root()).key("experiments").begin_array();
    for (const auto& [name, counts] : experiments) {
      out.begin_object().field("name", name).field("runs", counts.runs).field("live", counts.live);
      out.field("points", counts.points).field("last_start_ms", counts.last_start_ms).end_object();
    }
    out.end_array().end_object();
    std::printf("%s\n", out.text().c_str());
  } else {
    Table table({"EXPERIMENT", ">RUNS", ">LIVE", ">POINTS", "LAST STARTED"});
    for (const auto& [name, counts] : experiments) {
      table.add({name, std::to_string(counts.runs), std::to_string(counts.live), std::to_string(counts.points),
                 time_text(counts.last_start_ms)});
    }
    table.print();
  }
  return warn_of(*reader);
}

}  // namespace

Command experiments_command() {
  Command command{"experiments", "List the experiments of a root"};
  command.json = R"({"root", "experiments": [{"name", "runs", "live", "points", "last_start_ms"}]})";
  command.examples = {{"mlops experiments", "each with its runs, those alive, and its points"}};
  command.run = list;
  return command;
}

}  // namespace mlops::cli
