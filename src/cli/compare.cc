// mlops compare: runs side by side: the params in which they differ, and the metrics, the best of each marked.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "cli/chosen.h"
#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct Arguments {
  std::vector<std::string> runs, lower, higher;
  RunQuery query;
  bool all = false;
};

using Cells = std::vector<std::optional<std::string>>;        // of each run; none: it has no such param
using Rows = std::vector<std::pair<std::string, Cells>>;      // by key
using Values = std::vector<const MetricSummary*>;             // of each run; null: it has no such metric
using Metrics = std::vector<std::pair<std::string, Values>>;  // by name

Rows params_of(const std::vector<RunSummary>& runs, bool all) {
  std::map<std::string, Cells> rows;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    for (const auto& [key, value] : runs[i].params) {
      Cells& cells = rows[key];
      cells.resize(runs.size());
      cells[i] = value;
    }
  }
  Rows out;
  for (auto& [key, cells] : rows) {
    const bool differ = std::adjacent_find(cells.begin(), cells.end(), std::not_equal_to<>()) != cells.end();
    if (all || differ) out.emplace_back(key, std::move(cells));
  }
  return out;
}

Metrics metrics_of(const std::vector<RunSummary>& runs) {
  std::map<std::string, Values> rows;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    for (const MetricSummary& m : runs[i].metrics) {
      Values& values = rows[m.name];
      values.resize(runs.size());
      values[i] = &m;
    }
  }
  return {rows.begin(), rows.end()};
}

bool is_lower_better(const std::string& metric, const Arguments& arguments) {
  const auto named = [&](const std::vector<std::string>& names) {
    return std::find(names.begin(), names.end(), metric) != names.end();
  };
  return named(arguments.lower) || (!named(arguments.higher) && lower_is_better(metric));
}

// The last value that is best; none when no run has a number, or only one has the metric.
std::optional<double> best_of(const Values& values, bool lower) {
  std::optional<double> best;
  std::size_t present = 0;
  for (const MetricSummary* m : values) {
    if (m == nullptr) continue;
    ++present;
    if (std::isnan(m->last)) continue;
    if (!best || (lower ? m->last < *best : m->last > *best)) best = m->last;
  }
  return present > 1 ? best : std::nullopt;
}

void print_json(const std::vector<RunSummary>& runs, const Rows& params, const Metrics& metrics,
                const Arguments& arguments) {
  JsonOut out;
  out.begin_object().key("runs").begin_array();
  for (const RunSummary& run : runs) out.begin_object().field("id", run.id).field("name", run.name).end_object();
  out.end_array().key("params").begin_object();
  for (const auto& [key, cells] : params) {
    out.key(key).begin_array();
    for (const auto& cell : cells) cell ? out.value(*cell) : out.null();
    out.end_array();
  }
  out.end_object().key("metrics").begin_array();
  for (const auto& [name, values] : metrics) {
    const bool lower = is_lower_better(name, arguments);
    out.begin_object().field("name", name).field("lower_is_better", lower).key("last").begin_array();
    for (const MetricSummary* m : values) m == nullptr ? out.null() : out.value(m->last);
    out.end_array().key("best").begin_array();
    for (const MetricSummary* m : values) m == nullptr ? out.null() : out.value(lower ? m->min : m->max);
    out.end_array().end_object();
  }
  out.end_array().end_object();
  std::printf("%s\n", out.text().c_str());
}

int compare(const Common& common, const Arguments& arguments) {
  const Result<Reader> reader = Reader::open(common.root);
  if (!reader.ok()) return fail(reader.status());
  if (arguments.runs.empty() && arguments.query.filter.empty() && arguments.query.experiment.empty()) {
    return fail(Status(StatusCode::invalid_argument, "name the runs to compare, or give --filter or --experiment"));
  }
  const Result<std::vector<RunSummary>> runs = choose_runs(*reader, arguments.runs, arguments.query);
  if (!runs.ok()) return fail(runs.status());
  const Rows params = params_of(*runs, arguments.all);
  const Metrics metrics = metrics_of(*runs);
  if (common.json) {
    print_json(*runs, params, metrics, arguments);
    return kOk;
  }
  std::vector<std::string> head = {""};
  const std::vector<std::string> labels = labels_of(*runs);
  head.insert(head.end(), labels.begin(), labels.end());
  Table table(head);
  const Terminal out = terminal();
  if (!out.interactive) table.add(head);  // a pipe has no head, and here nothing says whose column it is
  for (const auto& [key, cells] : params) {
    std::vector<std::string> row = {"params." + key};
    for (const auto& cell : cells) row.push_back(cell.value_or("-"));
    table.add(std::move(row));
  }
  for (const auto& [name, values] : metrics) {
    const std::optional<double> best = best_of(values, is_lower_better(name, arguments));
    std::vector<std::string> row = {"metrics." + name};
    for (const MetricSummary* m : values) {
      row.push_back(m == nullptr ? "-" : number_text(m->last) + (best && m->last == *best ? " *" : ""));
    }
    table.add(std::move(row));
  }
  table.print(out);
  return kOk;
}

}  // namespace

Command compare_command() {
  auto a = std::make_shared<Arguments>();
  Command command{"compare", "Runs side by side: params that differ, metrics, the best marked"};
  command.options = {
      {"runs", "Run ids, or prefixes", &a->runs, false, Takes::run},
      {"-f,--filter", "Instead of ids: the runs that match, as in `mlops runs`", &a->query.filter},
      {"-o,--order-by", "Their order, as in `mlops runs`", &a->query.order_by},
      {"-n,--limit", "At most so many of them", &a->query.limit},
      {"--experiment", "Only of this experiment", &a->query.experiment, false, Takes::experiment},
      {"--all", "Params that are the same too", &a->all},
      {"--lower", "Of this metric less is better; may be given again", &a->lower, false, Takes::metric},
      {"--higher", "Of this metric more is better; may be given again", &a->higher, false, Takes::metric},
  };
  command.about =
      "Metrics are last values; * marks the best of each. Less is better of what is named like a loss, an error or a "
      "time, unless --lower or --higher say otherwise. - where a run has no such param or metric.";
  command.json =
      R"({"runs": [{"id", "name"}], "params": {key: [value or null per run]}, "metrics": [{"name", "lower_is_better", )"
      R"("last": [], "best": []}]})";
  command.examples = {{"mlops compare --experiment digits -n 3", "the newest three of an experiment"},
                      {"mlops compare $RUN --all --json", "one run's params and metrics, for a script"}};
  command.run = [a](const Common& common) { return compare(common, *a); };
  return command;
}

}  // namespace mlops::cli
