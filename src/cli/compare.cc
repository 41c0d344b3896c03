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
#include "cli/direction.h"
#include "cli/json_out.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct Arguments {
  std::vector<std::string> runs;
  Told told;
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

// The last value that is best; none when no run has a number, only one has the metric, or nobody knows which way.
std::optional<double> best_last(const Values& values, Direction direction) {
  if (direction == Direction::unknown) return std::nullopt;
  const bool lower = direction == Direction::lower;
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
    const Direction direction = arguments.told.of(name);
    out.begin_object().field("name", name).key("lower_is_better");
    direction == Direction::unknown ? out.null() : out.value(direction == Direction::lower);
    out.key("last").begin_array();
    for (const MetricSummary* m : values) m == nullptr ? out.null() : out.value(m->last);
    out.end_array().key("best").begin_array();
    for (const MetricSummary* m : values) {
      const std::optional<Best> best = m == nullptr ? std::nullopt : best_of(*m, direction);
      best ? out.value(best->value) : out.null();
    }
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
    const std::optional<double> best = best_last(values, arguments.told.of(name));
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
  };
  for (Option& option : direction_options(&a->told)) command.options.push_back(std::move(option));
  command.about = std::string("Metrics are last values; * marks the best of each, where it is known which way. ") +
                  kDirectionWords + " - where a run has no such param or metric.";
  command.json =
      R"({"runs": [{"id", "name"}], "params": {key: [value or null per run]}, "metrics": [{"name", "lower_is_better": )"
      R"(true, false or null, "last": [], "best": []}]})";
  command.examples = {{"mlops compare --experiment digits -n 3", "the newest three of an experiment"},
                      {"mlops compare $RUN --all --json", "one run's params and metrics, for a script"}};
  command.run = [a](const Common& common) { return compare(common, *a); };
  return command;
}

}  // namespace mlops::cli
