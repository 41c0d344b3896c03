// mlops show: one run, or the points of one of its metrics.
#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/run_json.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct Arguments {
  std::string run;
  std::string metric;  // its points instead of the summary
};

int show_metric(const Common& common, const Reader& reader, const Arguments& arguments) {
  Result<Series> series = reader.series(arguments.run, arguments.metric);
  if (!series.ok()) return fail(series.status());
  if (common.json) {
    JsonOut out;
    out.begin_object().field("metric", arguments.metric).key("step").begin_array();
    for (const std::int64_t step : series->step) out.value(step);
    out.end_array().key("time_ms").begin_array();
    for (const std::int64_t ms : series->time_ms) out.value(ms);
    out.end_array().key("value").begin_array();
    for (const double value : series->value) out.value(value);
    out.end_array().end_object();
    std::printf("%s\n", out.text().c_str());
    return kOk;
  }
  Table table({"STEP", "TIME_MS", "VALUE"});
  for (std::size_t i = 0; i < series->step.size(); ++i) {
    table.add({std::to_string(series->step[i]), std::to_string(series->time_ms[i]), Value(series->value[i]).text()});
  }
  table.print(is_terminal(1));
  return kOk;
}

void print_pairs(const char* head, const Pairs& pairs) {
  if (pairs.empty()) return;
  std::printf("\n%s\n", head);
  for (const auto& [key, value] : pairs) std::printf("  %s = %s\n", key.c_str(), one_line(value, 200).c_str());
}

int show(const Common& common, const Arguments& arguments) {
  Result<Reader> reader = Reader::open(common.root);
  if (!reader.ok()) return fail(reader.status());
  if (!arguments.metric.empty()) return show_metric(common, *reader, arguments);
  Result<RunSummary> run = reader->run(arguments.run);
  if (!run.ok()) return fail(run.status());
  if (common.json) {
    JsonOut out;
    put_run(*run, &out);
    std::printf("%s\n", out.text().c_str());
    return kOk;
  }
  std::printf("run         %s\nname        %s\nexperiment  %s\nstatus      %s%s\n", run->id.c_str(), run->name.c_str(),
              run->experiment.c_str(), run_status_name(run->status),
              run->status == RunStatus::running && !run->live && !run->left_open ? " (process gone)" : "");
  if (!run->parent_id.empty()) std::printf("parent      %s\n", run->parent_id.c_str());
  std::printf("on server   %s\n", run->server_id.empty() ? "not yet" : run->server_id.c_str());
  std::printf("started     %s\n", time_text(run->start_ms).c_str());
  if (run->end_ms != 0) {
    std::printf("ended       %s (%s)\n", time_text(run->end_ms).c_str(),
                duration_text(run->end_ms - run->start_ms).c_str());
  }
  std::printf("points      %s\n", count_text(run->points).c_str());
  print_pairs("params", run->params);
  print_pairs("tags", run->tags);
  if (run->metrics.empty()) return kOk;
  std::printf("\n");
  Table table({"METRIC", "POINTS", "LAST", "AT STEP", "MIN", "AT STEP", "MAX", "AT STEP"});
  for (const MetricSummary& m : run->metrics) {
    table.add({m.name, std::to_string(m.count), number_text(m.last), std::to_string(m.last_step), number_text(m.min),
               std::to_string(m.min_step), number_text(m.max), std::to_string(m.max_step)});
  }
  table.print(is_terminal(1));
  return kOk;
}

}  // namespace

Command show_command() {
  auto a = std::make_shared<Arguments>();
  Command command{"show", "One run: params, tags, metrics; or the points of one metric"};
  command.options = {
      {"run", "Run id: ours, the server's, or a prefix of at least 4 characters", &a->run, true, Takes::run},
      {"--metric", "Print this metric's points: step, time in ms, value", &a->metric, false, Takes::metric},
  };
  command.json =
      R"({"id", "server_id", "experiment", "name", "parent_id", "status", "live", "left_open", "start_ms", "end_ms", "points", )"
      R"("params", "tags", "metrics": [{"name", "count", "last", "last_step", "last_time_ms", "min", "max", )"
      R"("min_step", "max_step"}]}; with --metric {"metric", "step": [], "time_ms": [], "value": []})";
  command.examples = {{"mlops show $RUN", "what a run is and how its metrics stand"},
                      {"mlops show $RUN --metric loss", "every point of one metric"}};
  command.run = [a](const Common& common) { return show(common, *a); };
  return command;
}

}  // namespace mlops::cli
