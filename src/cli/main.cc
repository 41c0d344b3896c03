// The mlops command: words and options; the work is in one file per command.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/text.h"

namespace {

using namespace mlops;       // NOLINT(google-build-using-namespace): a main file of the command
using namespace mlops::cli;  // NOLINT(google-build-using-namespace)

constexpr const char* kFooter =
    "Exit codes: 0 ok; 1 differences found, or points left undelivered; 2 wrong usage; 3 not found;\n"
    "4 server or network out of reach; 5 anything else.\n\n"
    "Examples:\n"
    "  mlops runs                                 what was logged, newest first\n"
    "  mlops show 3f2a --metric loss              the points of one metric\n"
    "  mlops sync --to http://localhost:5000      deliver what waits\n"
    "  mlops sync --follow                        deliver live, beside a trainer without network\n"
    "  mlops verify 3f2a                          compare the server with what was accepted\n"
    "  mlops status --json | jq .destinations";

int version_command(const Common& common) {
  if (common.json) {
    JsonOut out;
    out.begin_object().field("version", MLOPS_VERSION_STRING).end_object();
    std::printf("%s\n", out.text().c_str());
  } else {
    std::printf("mlops %s\n", MLOPS_VERSION_STRING);
  }
  return kOk;
}

void add_common(::CLI::App* command, Common* common) {
  command->add_option("--root", common->root, "The buffer's folder [MLOPS_HOME; .mlops found upwards from here]");
  command->add_flag("--json", common->json, "Print JSON");
}

}  // namespace

int main(int argc, char** argv) {
  ::CLI::App app{"Local experiment runs: look at them, deliver them, compare them with the server.", "mlops"};
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("mlops ") + MLOPS_VERSION_STRING);
  Common common;
  RunsArguments runs;
  ShowArguments show;
  SyncArguments sync;
  VerifyArguments check;
  int code = kOk;

  ::CLI::App* command = app.add_subcommand("runs", "List the runs of a root, newest first");
  add_common(command, &common);
  command->add_option("--experiment", runs.experiment, "Only runs of this experiment");
  command->add_option("-n,--limit", runs.limit, "At most so many");
  command->footer(
      "JSON: {\"root\", \"runs\": [as in `mlops show --json`]}\n\nExample: mlops runs --experiment digits -n 5");
  command->callback([&] { code = runs_command(common, runs); });

  command = app.add_subcommand("show", "One run: params, tags, metrics; or the points of one metric");
  add_common(command, &common);
  command->add_option("run", show.run, "Run id: ours, the server's, or a prefix of at least 4 characters")->required();
  command->add_option("--metric", show.metric, "Print this metric's points: step, time in ms, value");
  command->footer(
      "JSON: {\"id\", \"server_id\", \"experiment\", \"name\", \"parent_id\", \"status\", \"live\", \"start_ms\", "
      "\"end_ms\", \"points\", \"params\", \"tags\", \"metrics\": [{\"name\", \"count\", \"last\", \"last_step\", "
      "…}]}\n"
      "With --metric: {\"metric\", \"step\": [], \"time_ms\": [], \"value\": []}\n\nExample: mlops show 3f2a --metric "
      "loss");
  command->callback([&] { code = show_command(common, show); });

  command = app.add_subcommand("status", "Accepted, buffered, durable, delivered, dropped; per destination");
  add_common(command, &common);
  command->footer(
      "Exits with 1 while points wait for a destination.\nJSON: {\"root\", \"accepted\", \"merged\", \"buffered\", "
      "\"durable\", \"dropped\": {reason: count}, \"disk_bytes\", \"buffer\": {\"code\", \"message\"},\n"
      "\"destinations\": [{\"name\", \"uri\", \"state\", \"delivered\", \"waiting\", \"dead_letters\", \"retries\", "
      "\"requests\", \"bytes_sent\", \"lag_seconds\", \"last_error\": {\"code\", \"message\"}, \"advice\"}]}");
  command->callback([&] { code = status_command(common); });

  command = app.add_subcommand("sync", "Deliver a root to a server");
  add_common(command, &common);
  command->add_option("--to", sync.to, "Tracking URI [MLFLOW_TRACKING_URI; the root's only destination]");
  command->add_flag("--follow", sync.follow, "Stay and deliver live, beside trainers, until Ctrl-C");
  command->add_flag("--dry-run", sync.dry_run, "Count what waits; send nothing, lock nothing");
  command->add_flag("--keep-dead-runs", sync.keep_dead, "Do not end runs whose process died (they are ended KILLED)");
  command->add_option("--deadline", sync.deadline_seconds, "Give up after so many seconds [never]")
      ->check(::CLI::NonNegativeNumber);
  command->footer(
      "Credentials come from MLflow's environment variables and ~/.mlflow/credentials.\nExits with 1 when points are "
      "left, 4 when the server is out of reach.\nJSON: {\"dry_run\", \"runs\", \"points\", \"requests\", \"retries\", "
      "\"dead_letters\", \"waiting\", \"parked\", \"status\", \"message\"}\n\nExample: mlops sync --to "
      "http://localhost:5000");
  command->callback([&] { code = sync_command(common, sync); });

  command = app.add_subcommand("verify", "Compare what the server holds of a run with what was accepted");
  add_common(command, &common);
  command->add_option("run", check.run, "Run id: ours, the server's, or a prefix")->required();
  command->add_option("--to", check.to, "Tracking URI [MLFLOW_TRACKING_URI; the root's only destination]");
  command->footer(
      "Exits with 1 when there are differences or undelivered points.\nJSON: {\"run_id\", \"server_id\", \"ok\", "
      "\"points_local\", \"points_server\", \"points_waiting\", \"evicted\", \"params_checked\", \"tags_checked\", "
      "\"differences_total\", \"differences\": [{\"kind\", \"what\"}]}\n\nExample: mlops verify 3f2a");
  command->callback([&] { code = verify_command(common, check); });

  command = app.add_subcommand("version", "The version of command and library");
  command->add_flag("--json", common.json, "Print JSON");
  command->callback([&] { code = version_command(common); });

  try {
    app.parse(argc, argv);
  } catch (const ::CLI::ParseError& error) {
    return app.exit(error) == 0 ? kOk : kUsage;
  }
  return code;
}
