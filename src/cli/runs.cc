// mlops runs: the runs of a root: which, in what order, with what beside them; once or again and again.
#include <time.h>

#include <cstdio>
#include <memory>
#include <string>

#include "cli/columns.h"
#include "cli/commands.h"
#include "cli/run_json.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct Arguments {
  RunQuery query;
  bool deleted = false, all = false;
  std::string columns = "id,name,experiment,status,started,took,points";
  double watch_seconds = 0;
};

int print_table(const std::vector<RunSummary>& runs, const std::vector<Column>& columns, const Terminal& out,
                std::size_t most_rows) {
  std::vector<std::string> head;
  head.reserve(columns.size());
  for (const Column& column : columns) head.push_back(column.name == "id" ? "RUN" : column.head());
  Table table(std::move(head));
  const std::size_t id_chars = out.interactive ? shown_of_ids(runs) : std::string::npos;
  for (const RunSummary& run : runs) {
    std::vector<std::string> row;
    row.reserve(columns.size());
    for (const Column& column : columns) {
      row.push_back(column.name == "id" ? run.id.substr(0, id_chars) : column.text(run));
    }
    table.add(std::move(row));
  }
  table.print(out, most_rows);
  return kOk;
}

int print_json(const std::string& root, const std::vector<RunSummary>& runs) {
  std::printf("{\"root\":");
  JsonOut name;
  name.value(root);
  std::printf("%s,\"runs\":[", name.text().c_str());
  const char* between = "";
  for (const RunSummary& run : runs) {  // one by one: all of them as one text would double the memory
    JsonOut out;
    put_run(run, &out);
    std::printf("%s%s", between, out.text().c_str());
    between = ",";
  }
  std::printf("]}\n");
  return kOk;
}

int watch(const Reader& reader, const Arguments& arguments, const std::vector<Column>& columns) {
  for (;;) {
    const Result<std::vector<RunSummary>> runs = reader.runs(arguments.query);
    if (!runs.ok()) return fail(runs.status());
    const Terminal out = terminal();
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    std::printf("\033[H\033[J%s\n", paint(out, Paint::faint,
                                          one_line(count_text(runs->size()) + " runs in " + reader.root() + ", " +
                                                       time_text(now.tv_sec * 1000) + "; Ctrl-C ends",
                                                   out.width))
                                        .c_str());
    print_table(*runs, columns, out, out.height > 3 ? out.height - 3 : 1);
    if (std::fflush(stdout) != 0) return kOk;
    const timespec pause{
        static_cast<time_t>(arguments.watch_seconds),
        static_cast<long>(
            (arguments.watch_seconds - static_cast<double>(static_cast<time_t>(arguments.watch_seconds))) * 1e9)};
    ::nanosleep(&pause, nullptr);
  }
}

int list(const Common& common, Arguments arguments) {
  using Shown = RunQuery::Shown;
  arguments.query.shown = arguments.all ? Shown::all : arguments.deleted ? Shown::deleted : Shown::active;
  const Result<std::vector<Column>> columns = read_columns(arguments.columns);
  if (!columns.ok()) return fail(columns.status());
  if (columns->empty()) return fail(Status(StatusCode::invalid_argument, "--columns names no column"));
  const Result<Reader> reader = Reader::open(common.root);
  if (!reader.ok()) return fail(reader.status());
  if (arguments.watch_seconds != 0) {
    if (!is_terminal(1) || common.json) {
      return fail(
          Status(StatusCode::invalid_argument, "--watch draws on a terminal; in a script, call `mlops runs` again"));
    }
    return watch(*reader, arguments, *columns);
  }
  const Result<std::vector<RunSummary>> runs = reader->runs(arguments.query);
  if (!runs.ok()) return fail(runs.status());
  if (common.json) {
    print_json(reader->root(), *runs);
  } else {
    print_table(*runs, *columns, terminal(), 0);
  }
  return warn_of(*reader);
}

}  // namespace

Command runs_command() {
  auto a = std::make_shared<Arguments>();
  Command command{"runs", "List the runs of a root, newest first"};
  command.options = {
      {"--experiment", "Only runs of this experiment", &a->query.experiment, false, Takes::experiment},
      {"-f,--filter", "Only runs that match, in MLflow's search language", &a->query.filter},
      {"-o,--order-by", "\"metrics.loss ASC\"; may be given again for ties [newest start first]", &a->query.order_by},
      {"-c,--columns", "What to show [id,name,experiment,status,started,took,points]", &a->columns},
      {"-n,--limit", "At most so many", &a->query.limit},
      {"--deleted", "Only deleted runs", &a->deleted},
      {"--all", "Deleted runs too", &a->all},
      {"--watch", "Draw it again every so many seconds, until Ctrl-C", &a->watch_seconds},
  };
  command.about =
      "Filters are clauses joined by AND: metrics.<key> (its last value) with = != < <= > >= and a number; "
      "params.<key>, "
      "tags.<key>, status, run_name, run_id, user_id with = != LIKE ILIKE IN and texts in 'quotes'; start_time and "
      "end_time in ms. Keys with other characters stand in `backticks` or \"quotes\".\n"
      "Columns: id, name, experiment, status, started, ended, took, points, server_id, parent, user, metrics.<key>, "
      "params.<key>, tags.<key>.\n"
      "A table on a terminal; in a pipe lines with tabs, ids in full. Exits with 1 when runs of some slot cannot be "
      "listed.";
  command.json = R"({"root", "runs": [as in `mlops show --json`]})";
  command.examples = {{"mlops runs -n 5", "the newest five"},
                      {"mlops runs -f \"metrics.loss < 0.9 and params.model = 'mlp'\" -o 'metrics.loss ASC'",
                       "the best ones of a setting"},
                      {"mlops runs -c id,name,metrics.loss,params.model", "with a metric and a param beside each"}};
  command.run = [a](const Common& common) { return list(common, *a); };
  return command;
}

}  // namespace mlops::cli
