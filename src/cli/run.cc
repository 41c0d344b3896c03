// mlops run: a run without a process: started here, logged to by `mlops log`, ended here.
#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/json_out.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct StartArguments {
  std::string experiment, name, parent, note;
  std::vector<std::string> params, tags;
};

struct EndArguments {
  std::string run, status = "FINISHED";
};

Result<Client> open_here(const Common& common) {
  Options options;
  options.root = common.root;
  options.system_metrics.enabled = false;
  options.deliver = false;
  return Client::open(options);
}

// A parent that is not in this root may be on the server only: then the id must at least be one.
Result<std::string> find_parent(const Common& common, const std::string& given) {
  Result<std::string> found = find_run(common, given);
  const bool an_id = given.size() == 32 && given.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
  return !found.ok() && found.status().code() == StatusCode::not_found && an_id ? Result<std::string>(given) : found;
}

int start(const Common& common, const StartArguments& arguments) {
  Result<Pairs> params = read_pairs(arguments.params, "param"), tags = read_pairs(arguments.tags, "tag");
  if (!params.ok()) return fail(params.status());
  if (!tags.ok()) return fail(tags.status());
  RunOptions run_options;
  run_options.name = arguments.name;
  run_options.note = arguments.note;
  run_options.tags = *tags;
  if (!arguments.parent.empty()) {
    Result<std::string> parent = find_parent(common, arguments.parent);
    if (!parent.ok()) return fail(parent.status());
    run_options.parent_id = *parent;
  }
  start_afresh();
  Result<Client> client = open_here(common);
  if (!client.ok()) return fail(client.status());
  Result<mlops::Run> run = client->start_run(arguments.experiment, run_options);
  if (!run.ok()) return fail(run.status());
  if (Status s = run->log_params(*params); !s.ok()) {
    run->end(RunStatus::failed).ignore();
    client->close().ignore();
    return fail(s);
  }
  if (Status s = run->leave(); !s.ok()) return fail(s);
  // Whoever gets the id finds the run: it is in the database before it is printed.
  if (Status s = client->close(); !s.ok()) return fail(s);
  if (common.json) {
    JsonOut out;
    out.begin_object().field("id", run->id()).field("name", run->name()).end_object();
    std::printf("%s\n", out.text().c_str());
  } else {
    std::printf("%s\n", run->id().c_str());
  }
  return kOk;
}

int end(const Common& common, const EndArguments& arguments) {
  Result<std::string> id = find_run(common, arguments.run);
  if (!id.ok()) return fail(id.status());
  const RunStatus status = arguments.status == "FAILED"   ? RunStatus::failed
                           : arguments.status == "KILLED" ? RunStatus::killed
                                                          : RunStatus::finished;
  attach_to(*id);  // its slot is the one to take
  Result<Client> client = open_here(common);
  if (!client.ok()) return fail(client.status());
  const Status ended = client->end_run(*id, status);
  const Status closed = client->close();
  if (!ended.ok()) return fail(ended);
  if (!closed.ok()) return fail(closed);
  if (common.json) {
    JsonOut out;
    out.begin_object().field("id", *id).field("status", arguments.status).end_object();
    std::printf("%s\n", out.text().c_str());
  }
  return kOk;
}

Command start_verb() {
  auto a = std::make_shared<StartArguments>();
  Command command{"start", "Start a run and print its id, and only that"};
  command.options = {
      {"--experiment", "Experiment [MLFLOW_EXPERIMENT_NAME; Default]", &a->experiment, false, Takes::experiment},
      {"--name", "Run name [MLFLOW_RUN_NAME; two words and a number]", &a->name},
      {"--param", "key=value", &a->params},
      {"--tag", "key=value", &a->tags},
      {"--parent", "Nested below this run", &a->parent, false, Takes::run},
      {"--note", "Markdown that the server shows with the run", &a->note},
  };
  command.about = "The run stays RUNNING, with no process, until `mlops run end`.";
  command.json = R"({"id", "name"})";
  command.examples = {{"RUN=$(mlops run start --experiment digits --name first --param lr=0.1)", "a run for a script"}};
  command.run = [a](const Common& common) { return start(common, *a); };
  return command;
}

Command end_verb() {
  auto a = std::make_shared<EndArguments>();
  Command command{"end", "End a run that no process owns"};
  command.options = {
      {"--run", "Run id: ours, the server's, or a prefix [MLOPS_RUN]", &a->run, false, Takes::run},
      {"--status", "How it ended [FINISHED]", &a->status, false, Takes::text, {"FINISHED", "FAILED", "KILLED"}},
  };
  command.about =
      "Also while other processes log to it. Exits with 5 when the run has ended or a living process owns it.";
  command.json = R"({"id", "status"})";
  command.examples = {{"mlops run end --run $RUN --status FAILED", "a run that went wrong"}};
  command.run = [a](const Common& common) { return end(common, *a); };
  return command;
}

}  // namespace

Command run_command() {
  Command command{"run", "Start and end runs from a shell script"};
  command.verbs = {start_verb(), end_verb()};
  return command;
}

}  // namespace mlops::cli
