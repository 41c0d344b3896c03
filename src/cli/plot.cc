// mlops plot: metrics of runs as curves, in the terminal or as an SVG file.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>

#include "cli/chart.h"
#include "cli/chosen.h"
#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

constexpr std::size_t kMostLines = 12;  // more cannot be told apart

struct Arguments {
  std::vector<std::string> runs, metrics;
  std::string x = "step", output;
  bool log = false;
  double smooth = 0;
  std::uint64_t width = 0, height = 0;
  RunQuery query;
};

struct Drawn {
  RunSummary run;
  std::string label;
  std::vector<Curve> curves;
};

// Exponential moving average, freed of the bias of its start, over the buckets' means; as TensorBoard's.
void smooth(double weight, std::vector<double>* values) {
  double sum = 0, scale = 0;
  for (double& value : *values) {
    if (std::isnan(value)) continue;
    sum = weight * sum + (1 - weight) * value;
    scale = weight * scale + (1 - weight);
    value = sum / scale;
  }
}

Line line_of(const Drawn& drawn, const Curve& curve, const std::string& label, const Arguments& arguments) {
  Line line;
  line.label = label;
  for (const std::int64_t x : curve.x) {
    line.x.push_back(arguments.x == "step" ? static_cast<double>(x)
                                           : static_cast<double>(x - drawn.run.start_ms) / 1000);
  }
  line.y = curve.mean;
  if (arguments.smooth > 0) {
    smooth(arguments.smooth, &line.y);
  } else if (std::any_of(curve.count.begin(), curve.count.end(), [](std::uint64_t n) { return n > 1; })) {
    line.low = curve.min;
    line.high = curve.max;
  }
  return line;
}

void print_json(const std::vector<Drawn>& all) {
  JsonOut out;
  out.begin_object().key("curves").begin_array();
  for (const Drawn& drawn : all) {
    for (const Curve& curve : drawn.curves) {
      out.begin_object().field("run", drawn.run.id).field("metric", curve.metric).key("x").begin_array();
      for (const std::int64_t x : curve.x) out.value(x);
      out.end_array().key("count").begin_array();
      for (const std::uint64_t n : curve.count) out.value(n);
      for (const auto& [name, column] : {std::pair{"mean", &curve.mean}, {"min", &curve.min}, {"max", &curve.max}}) {
        out.end_array().key(name).begin_array();
        for (const double value : *column) out.value(value);
      }
      out.end_array().end_object();
    }
  }
  out.end_array().end_object();
  std::printf("%s\n", out.text().c_str());
}

/// A pipe or a device.
bool is_special(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error) && !std::filesystem::is_regular_file(path, error);
}

Status check(const Arguments& arguments) {
  const std::string& output = arguments.output;
  const bool svg = output.size() > 4 && output.compare(output.size() - 4, 4, ".svg") == 0;
  if (!output.empty() && !svg && !is_special(output)) {
    return Status(StatusCode::invalid_argument,
                  "--output writes SVG, and " + one_line(output, 200) + " does not end in .svg: give a name that does");
  }
  if (arguments.smooth < 0 || arguments.smooth >= 1) {
    return Status(StatusCode::invalid_argument, "--smooth must be at least 0 and below 1");
  }
  const auto beyond = [](std::uint64_t value) { return value != 0 && (value < 20 || value > 10'000); };
  if (beyond(arguments.width) || (arguments.height != 0 && (arguments.height < 6 || arguments.height > 10'000))) {
    return Status(StatusCode::invalid_argument, "--width must be 20..10000, --height 6..10000");
  }
  if (arguments.runs.empty() && arguments.query.filter.empty() && arguments.query.experiment.empty()) {
    return Status(StatusCode::invalid_argument, "name the runs to plot, or give --filter or --experiment");
  }
  return {};
}

// A run has no curve of a metric that it does not have; all of them without one is an error.
Result<std::vector<Drawn>> read(const Reader& reader, const Arguments& arguments, int* code) {
  Result<std::vector<RunSummary>> runs = choose_runs(reader, arguments.runs, arguments.query);
  if (!runs.ok()) return runs.status();
  const std::vector<std::string> labels = labels_of(*runs);
  std::vector<Drawn> out;
  std::size_t lines = 0;
  for (std::size_t i = 0; i < runs->size(); ++i) {
    Drawn drawn{std::move((*runs)[i]), labels[i], {}};
    CurveOptions options;
    options.by_time = arguments.x == "time";
    for (const MetricSummary& m : drawn.run.metrics) {
      const bool asked =
          std::find(arguments.metrics.begin(), arguments.metrics.end(), m.name) != arguments.metrics.end();
      if (asked || arguments.metrics.empty()) options.metrics.push_back(m.name);
    }
    lines += options.metrics.size();
    if (lines > kMostLines) {
      return Status(StatusCode::invalid_argument, "more than " + std::to_string(kMostLines) +
                                                      " curves cannot be told apart: choose with --metric, " +
                                                      "--limit or fewer runs");
    }
    if (options.metrics.empty()) continue;
    Damage damage;
    Result<std::vector<Curve>> curves = reader.curves(drawn.run.id, options, &damage);
    if (!curves.ok()) return curves.status();
    *code = std::max(*code, warn_of(damage));
    drawn.curves = std::move(*curves);
    out.push_back(std::move(drawn));
  }
  if (lines != 0) return out;
  std::string words = runs->empty() ? "no run matches" : "none of these runs has the metric";
  for (const std::string& metric : arguments.metrics) words += " \"" + one_line(metric, 60) + "\"";
  return Status(StatusCode::not_found, words + "; `mlops show RUN` lists a run's metrics");
}

// There whole or not at all, and what was there before stays then; a pipe or device is written as it is.
bool write_whole(const std::string& path, const std::string& text) {
  std::error_code error;
  const bool special = is_special(path);
  const std::string to = special ? path : path + ".part-" + std::to_string(::getpid());
  std::ofstream file(to, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) error = std::make_error_code(std::errc::io_error);
  if (!special && file) std::filesystem::rename(to, path, error);
  if (!special && error) std::remove(to.c_str());
  return !error;
}

int plot(const Common& common, const Arguments& arguments) {
  if (Status s = check(arguments); !s.ok()) return fail(s);
  const Result<Reader> reader = Reader::open(common.root);
  if (!reader.ok()) return fail(reader.status());
  int code = kOk;
  const Result<std::vector<Drawn>> all = read(*reader, arguments, &code);
  if (!all.ok()) return fail(all.status());
  if (common.json) {
    print_json(*all);
    return code;
  }
  Chart chart;
  chart.x_name = arguments.x == "step" ? "step" : "seconds";
  chart.log_y = arguments.log;
  for (const Drawn& drawn : *all) {
    for (const Curve& curve : drawn.curves) {
      const std::string label = all->size() == 1 ? curve.metric : drawn.label + "  " + curve.metric;
      chart.lines.push_back(line_of(drawn, curve, label, arguments));
    }
  }
  if (!arguments.output.empty()) {
    const std::string svg =
        draw_svg(chart, arguments.width == 0 ? 800 : arguments.width, arguments.height == 0 ? 480 : arguments.height);
    if (write_whole(arguments.output, svg)) return code;
    return fail(Status(StatusCode::internal, "cannot write " + arguments.output +
                                                 ": does its folder exist, may you "
                                                 "write there, is there space?"));
  }
  const Terminal out = terminal();
  const std::size_t height = out.interactive ? std::max<std::size_t>(10, out.height - 1) : 24;
  std::printf("%s", draw(chart, out, arguments.width == 0 ? out.width : arguments.width,
                         arguments.height == 0 ? std::min<std::size_t>(height, 40) : arguments.height)
                        .c_str());
  return code;
}

}  // namespace

Command plot_command() {
  auto a = std::make_shared<Arguments>();
  Command command{"plot", "Metrics of runs as curves, in the terminal or as an SVG file"};
  command.options = {
      {"runs", "Run ids, or prefixes", &a->runs, false, Takes::run},
      {"-m,--metric", "This metric; may be given again [all of them]", &a->metrics, false, Takes::metric},
      {"-x,--x-axis",
       "step or time (seconds since the run's start) [step]",
       &a->x,
       false,
       Takes::text,
       {"step", "time"}},
      {"--log", "Logarithmic values; those at or below 0 are gaps", &a->log},
      {"--smooth", "Exponential moving average, 0 to below 1 [0]", &a->smooth},
      {"-f,--filter", "Instead of ids: the runs that match, as in `mlops runs`", &a->query.filter},
      {"-o,--order-by", "Their order, as in `mlops runs`", &a->query.order_by},
      {"-n,--limit", "At most so many of them", &a->query.limit},
      {"--experiment", "Only of this experiment", &a->query.experiment, false, Takes::experiment},
      {"--width", "Columns, or pixels of an SVG [the terminal's; 800]", &a->width},
      {"--height", "Rows, or pixels of an SVG [the terminal's, at most 40; 480]", &a->height},
      {"--output", "An SVG file instead of the terminal", &a->output, false, Takes::file},
  };
  command.about =
      "A curve has at most 1,024 points, each the mean of equally many steps; an SVG shows their least and greatest as "
      "a "
      "band. Without colours each line is drawn with a letter of its own.";
  command.json = R"({"curves": [{"run", "metric", "x": [step or ms], "count": [], "mean": [], "min": [], "max": []}]})";
  command.examples = {{"mlops plot $RUN -m loss --log", "one curve"},
                      {"mlops plot -f \"params.model = 'mlp'\" -n 3 -m loss --smooth 0.6", "three runs in one chart"},
                      {"mlops plot $RUN -m loss --output loss.svg && ls -l loss.svg", "for a page"}};
  command.run = [a](const Common& common) { return plot(common, *a); };
  return command;
}

}  // namespace mlops::cli
