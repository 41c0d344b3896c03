// mlops doctor: each thing that was looked at, ok or with what mends it.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/text.h"
#include "mlops/mlops.h"

namespace mlops::cli {
namespace {

struct Arguments {
  std::string to;
  double timeout_seconds = 10;
};

void print_json(const std::vector<Check>& checks, bool all_ok) {
  JsonOut out;
  out.begin_object().field("ok", all_ok).key("checks").begin_array();
  for (const Check& check : checks) {
    out.begin_object().field("name", check.name).field("ok", check.ok).field("found", check.found);
    out.field("mend", check.mend).end_object();
  }
  out.end_array().end_object();
  std::printf("%s\n", out.text().c_str());
}

void print_lines(const std::vector<Check>& checks) {
  const bool terminal = is_terminal(1);
  int width = 0;
  for (const Check& check : checks) width = std::max(width, static_cast<int>(check.name.size()));
  for (const Check& check : checks) {
    const char* state = check.ok ? "ok" : "mend";
    const std::string found = one_line(check.found, 1'000), mend = one_line(check.mend, 1'000);
    if (terminal) {
      std::printf("%-4s  %-*s  %s\n", state, width, check.name.c_str(), found.c_str());
      if (!check.ok) std::printf("      %-*s  -> %s\n", width, "", mend.c_str());
    } else {
      std::printf("%s\t%s\t%s\t%s\n", state, check.name.c_str(), found.c_str(), mend.c_str());
    }
  }
}

int look(const Common& common, const Arguments& arguments) {
  DoctorOptions options;
  options.root = common.root;
  options.to = arguments.to;
  options.deadline = Millis(std::max<std::int64_t>(1, static_cast<std::int64_t>(arguments.timeout_seconds * 1'000)));
  const Result<std::vector<Check>> checks = examine(options);
  if (!checks.ok()) return fail(checks.status());
  const bool all_ok = std::all_of(checks->begin(), checks->end(), [](const Check& check) { return check.ok; });
  if (common.json) {
    print_json(*checks, all_ok);
  } else {
    print_lines(*checks);
  }
  return all_ok ? kOk : kDifferences;
}

}  // namespace

Command doctor_command() {
  auto a = std::make_shared<Arguments>();
  Command command{"doctor", "What keeps runs from being kept or delivered, and what mends it"};
  command.options = {
      {"--to", "Tracking URI [MLFLOW_TRACKING_URI; every destination of the root]", &a->to, false, Takes::uri},
      {"--timeout", "Seconds for a server to answer, twice [10]", &a->timeout_seconds},
  };
  command.about =
      "Looks at root, disk, file system, limits, clock, slots, database, server, TLS, credentials and what waits. "
      "Changes nothing: a probe file in the root is removed again, a server is only read. Exits with 1 when something "
      "needs mending.";
  command.json = R"({"ok", "checks": [{"name", "ok", "found", "mend"}]})";
  command.examples = {
      {"mlops doctor", "each line ok, or what to do"},
      {"mlops doctor --to http://localhost:5000 --json | jq '.checks[] | select(.name == \"server.version\")'",
       "one answer, for a script"}};
  command.run = [a](const Common& common) { return look(common, *a); };
  return command;
}

}  // namespace mlops::cli
