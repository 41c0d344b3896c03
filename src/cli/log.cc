// mlops log: from a shell script to a run that another process started. Its 0 says: accepted.
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/json_out.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

constexpr std::int64_t kNow = -1;

struct Arguments {
  std::vector<std::string> metrics, params, tags;
  std::string run;
  std::int64_t step = 0, time_ms = kNow;
};

struct Metrics {
  std::vector<std::string> names;
  std::vector<double> values;
};

Result<Metrics> read_metrics(const std::vector<std::string>& words) {
  Metrics out;
  for (const std::string& word : words) {
    Result<std::pair<std::string, std::string>> pair = read_pair(word, "metric");
    if (!pair.ok()) return pair.status();
    const std::optional<double> value = read_number(pair->second);
    if (!value) {
      return Status(StatusCode::invalid_argument, "metric \"" + one_line(word, 60) +
                                                      "\": the value is no number that a double holds (nan, inf and "
                                                      "-inf are); text is a --param or a --tag");
    }
    out.names.push_back(std::move(pair->first));
    out.values.push_back(*value);
  }
  return out;
}

void keep_first(Status* first, Status next) {
  if (first->ok()) *first = std::move(next);
}

Status put(mlops::Run* run, const Arguments& arguments, const Metrics& metrics, const Pairs& params,
           const Pairs& tags) {
  Status first;
  const std::size_t n = metrics.names.size();
  if (arguments.time_ms == kNow) {
    std::vector<mlops::Run::MetricPair> pairs;
    for (std::size_t i = 0; i < n; ++i) pairs.emplace_back(metrics.names[i], metrics.values[i]);
    first = run->log_metrics(pairs.data(), n, arguments.step);
  } else {
    const std::chrono::system_clock::time_point when{Millis(arguments.time_ms)};
    for (std::size_t i = 0; i < n; ++i) {
      keep_first(&first, run->log_metric(metrics.names[i], metrics.values[i], arguments.step, when));
    }
  }
  keep_first(&first, run->log_params(params));
  keep_first(&first, run->set_tags(tags));
  return first;
}

int log(const Common& common, const Arguments& arguments) {
  Result<Metrics> metrics = read_metrics(arguments.metrics);
  if (!metrics.ok()) return fail(metrics.status());
  Result<Pairs> params = read_pairs(arguments.params, "param"), tags = read_pairs(arguments.tags, "tag");
  if (!params.ok()) return fail(params.status());
  if (!tags.ok()) return fail(tags.status());
  if (metrics->names.empty() && params->empty() && tags->empty()) {
    return fail(Status(StatusCode::invalid_argument, "nothing to log: give metric=value, --param k=v or --tag k=v"));
  }
  if (arguments.time_ms < kNow) {
    return fail(Status(StatusCode::invalid_argument, "--time is before 1970, which MLflow refuses"));
  }
  Result<std::string> id = find_run(common, arguments.run);
  if (!id.ok()) return fail(id.status());

  attach_to(*id);
  Options options;
  options.root = common.root;
  options.system_metrics.enabled = false;
  options.deliver = false;  // a script's line takes milliseconds, whatever the server does
  Result<Client> client = Client::open(options);
  if (!client.ok()) return fail(client.status());
  Result<mlops::Run> run = client->start_run();
  if (!run.ok()) return fail(run.status());
  const Status accepted = put(&*run, arguments, *metrics, *params, *tags);
  if (accepted.ok() && common.json) {
    JsonOut out;
    out.begin_object().field("run", *id).field("points", metrics->names.size());
    out.field("params", params->size()).field("tags", tags->size()).end_object();
    std::printf("%s\n", out.text().c_str());
    std::fflush(stdout);  // accepted: from here on a kill takes nothing back
  }
  run->end().ignore();  // detaches
  const Status closed = client->close();
  if (!accepted.ok()) return fail(accepted);
  if (!closed.ok()) {
    std::fprintf(stderr,
                 "mlops: accepted, but the buffer cannot be written now: %s; the journal holds it for the next "
                 "start or `mlops sync`\n",
                 std::string(closed.message()).c_str());
  }
  return kOk;
}

}  // namespace

Command log_command() {
  auto a = std::make_shared<Arguments>();
  Command command{"log", "Log to a run from a shell script"};
  command.options = {
      {"metrics", "metric=value, any number of them, all of one step and time", &a->metrics},
      {"--run", "Run id: ours, the server's, or a prefix [MLOPS_RUN]", &a->run, false, Takes::run},
      {"--step", "Step of the metrics [0]", &a->step},
      {"--time", "Their time, milliseconds since the epoch [now]", &a->time_ms},
      {"--param", "key=value; written once, another value is refused", &a->params},
      {"--tag", "key=value; the last one wins", &a->tags},
  };
  command.about =
      "Exits with 0 once all is accepted: it survives the death of this process, and the next `mlops sync` delivers "
      "it. Sends nothing itself. Values are decimal numbers, nan, inf or -inf. When one of several is refused, the "
      "others are accepted all the same, and the exit code says so. An ended run is no exception: what is logged to it "
      "is delivered, and changes what the server shows of a FINISHED run, as it does with MLflow's own client.";
  command.json = R"({"run", "points", "params", "tags"}: counts; printed when accepted)";
  command.examples = {{"mlops log --run $RUN loss=0.31 acc=0.9 --step 5", "two points of one step"},
                      {"mlops log --run $RUN --param seed=7 --tag stage=warmup", "a param and a tag"}};
  command.run = [a](const Common& common) { return log(common, *a); };
  return command;
}

}  // namespace mlops::cli
