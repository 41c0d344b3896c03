// mlops show: one run, or the points of one of its metrics.
#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/direction.h"
#include "cli/run_json.h"
#include "cli/spark.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

constexpr std::size_t kCurveColumns = 10;
constexpr std::uint64_t kCurvePoints = 2'000'000;  // read for the curves; more would take too long to wait for

struct Arguments {
  std::string run;
  std::string metric;  // its points instead of the summary
  Told told;
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
    return warn_of(series->damage);
  }
  if (is_terminal(1)) std::printf("%12s  %-23s  %s\n", "STEP", "TIME_MS", "VALUE");
  for (std::size_t i = 0; i < series->step.size(); ++i) {  // no table: a metric may have millions
    const char* line = is_terminal(1) ? "%12lld  %-23lld  %s\n" : "%lld\t%lld\t%s\n";
    std::printf(line, static_cast<long long>(series->step[i]), static_cast<long long>(series->time_ms[i]),
                Value(series->value[i]).text().c_str());
  }
  return warn_of(series->damage);
}

std::string short_text(double value) {
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), "%.4g", value);
  return out.data();
}

void print_pairs(const char* head, const Pairs& pairs) {
  if (pairs.empty()) return;
  const std::size_t room = is_terminal(1) ? terminal().width : 2'000;
  std::printf("\n%s\n", head);
  for (const auto& [key, value] : pairs) std::printf("%s\n", one_line("  " + key + " = " + value, room).c_str());
}

std::string state_of(const ArtifactInfo& artifact) {
  if (!artifact.lost.empty()) return "lost: " + artifact.lost;
  return artifact.sha256.empty() ? "in the spool" : artifact.sha256.substr(0, 12);
}

void put_artifacts(const std::vector<ArtifactInfo>& artifacts, JsonOut* out) {
  out->key("artifacts").begin_array();
  for (const ArtifactInfo& a : artifacts) {
    out->begin_object().field("path", a.path).field("model_id", a.model_id).field("size", a.size);
    out->field("time_ms", a.time_ms).field("sha256", a.sha256).field("lost", a.lost).field("file", a.file).end_object();
  }
  out->end_array();
}

void print_artifacts(const std::vector<ArtifactInfo>& artifacts) {
  if (artifacts.empty()) return;
  std::printf("\n");
  Table table({"ARTIFACT", ">SIZE", "SHA-256"});
  for (const ArtifactInfo& a : artifacts) {
    table.add({a.model_id.empty() ? a.path : a.model_id.substr(0, 8) + ":" + a.path, bytes_text(a.size), state_of(a)});
  }
  table.print();
}

int show(const Common& common, const Arguments& arguments) {
  Result<Reader> reader = Reader::open(common.root);
  if (!reader.ok()) return fail(reader.status());
  if (!arguments.metric.empty()) return show_metric(common, *reader, arguments);
  Result<RunSummary> run = reader->run(arguments.run);
  if (!run.ok()) return fail(run.status());
  const Result<std::vector<ArtifactInfo>> artifacts = reader->artifacts(run->id);
  if (!artifacts.ok()) fail(artifacts.status());  // the rest is known without the database
  const int code = artifacts.ok() ? kOk : exit_code(artifacts.status());
  if (common.json) {
    JsonOut out;
    put_run(*run, &out, [&](JsonOut* json) { put_artifacts(artifacts.value_or({}), json); });
    std::printf("%s\n", out.text().c_str());
    return code;
  }
  std::printf("run         %s\nname        %s\nexperiment  %s\nstatus      %s%s\n", run->id.c_str(), run->name.c_str(),
              run->experiment.c_str(), status_text(*run).c_str(),
              run->deleted ? ": `mlops restore` brings it back" : "");
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
  print_artifacts(artifacts.value_or({}));
  if (run->metrics.empty()) return code;
  CurveOptions options;
  options.most_buckets = 4 * kCurveColumns;
  options.most_points = kCurvePoints;
  Damage damage;
  Result<std::vector<Curve>> curves = reader->curves(run->id, options, &damage);
  if (!curves.ok()) fail(curves.status());  // the rest is known without the points
  std::printf("\n");
  Table table({"METRIC", ">POINTS", ">LAST", ">BEST", ">AT STEP", ">MIN", ">MAX", "CURVE"});
  for (const MetricSummary& m : run->metrics) {
    const std::optional<Best> best = best_of(m, arguments.told.of(m.name));
    std::string curve;
    for (std::size_t i = 0; curves.ok() && i < curves->size(); ++i) {
      if ((*curves)[i].metric == m.name) curve = spark((*curves)[i], kCurveColumns);
    }
    table.add({m.name, std::to_string(m.count), number_text(m.last), best ? number_text(best->value) : "-",
               best ? std::to_string(best->step) : "-", short_text(m.min), short_text(m.max), curve});
  }
  table.print();
  if (!curves.ok()) return exit_code(curves.status());
  const int damaged = warn_of(damage);
  return damaged != kOk ? damaged : code;
}

}  // namespace

Command show_command() {
  auto a = std::make_shared<Arguments>();
  Command command{"show", "One run: params, tags, metrics; or the points of one metric"};
  command.options = {
      {"run", "Run id: ours, the server's, or a prefix of at least 4 characters", &a->run, true, Takes::run},
      {"--metric", "Print this metric's points: step, time in ms, value", &a->metric, false, Takes::metric},
  };
  for (Option& option : direction_options(&a->told)) command.options.push_back(std::move(option));
  command.about =
      std::string("BEST is the least or the greatest value, - where nothing says which. ") + kDirectionWords +
      " The small curve is of the means, from the first step to the last; of more than two million points, of some "
      "blocks evenly chosen.";
  command.json =
      R"({"id", "server_id", "experiment", "name", "parent_id", "status", "live", "left_open", "deleted", "start_ms", "end_ms", "points", )"
      R"("params", "tags", "metrics": [{"name", "count", "last", "last_step", "last_time_ms", "min", "max", )"
      R"("min_step", "max_step"}], "artifacts": [{"path", "model_id", "size", "time_ms", "sha256", "lost", "file"}]}; with --metric {"metric", "step": [], "time_ms": [], "value": []})";
  command.examples = {{"mlops show $RUN", "what a run is and how its metrics stand"},
                      {"mlops show $RUN --metric loss", "every point of one metric"}};
  command.run = [a](const Common& common) { return show(common, *a); };
  return command;
}

}  // namespace mlops::cli
