// mlops config: what is in force here, and where it comes from. Secrets are never shown.
#include <cstdio>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/text.h"
#include "mlops/mlops.h"

namespace mlops::cli {
namespace {

int print(const Common& common) {
  Options options;
  options.root = common.root;
  const Result<std::vector<Setting>> settings = mlops::settings(options);
  if (!settings.ok()) return fail(settings.status());
  int code = kOk;
  JsonOut out;
  out.begin_object().key("settings").begin_array();
  Table table({"SETTING", "VALUE", "FROM"});
  for (const Setting& s : *settings) {
    if (!s.problem.empty()) code = kDifferences;
    std::string from = origin_name(s.origin);
    if (!s.source.empty()) from += " (" + s.source + ")";
    table.add({s.name, s.value.empty() ? "-" : one_line(s.value, 200), from});
    out.begin_object().field("name", s.name).field("value", s.value).field("origin", origin_name(s.origin));
    out.field("source", s.source).field("problem", s.problem).end_object();
  }
  out.end_array().end_object();
  if (common.json) {
    std::printf("%s\n", out.text().c_str());
    return code;
  }
  table.print();
  for (const Setting& s : *settings) {
    if (!s.problem.empty()) std::fprintf(stderr, "mlops: %s: %s\n", s.name.c_str(), s.problem.c_str());
  }
  return code;
}

}  // namespace

Command config_command() {
  Command command{"config", "What is in force here, and where it comes from"};
  command.about =
      "From an option of the command, the environment, a file, a folder found upwards, or a default, which then names "
      "the variable that would set it. A program's own options win over all of these. Secrets are shown as ***. Exits "
      "with 1 when something that is set cannot be used.";
  command.json =
      R"({"settings": [{"name", "value", "origin": "option|environment|file|found|default", "source", "problem"}]})";
  command.examples = {
      {"mlops config", "which root, which server, as whom"},
      {"mlops config --json | jq -r '.settings[] | select(.name == \"root\").value'", "the root, for a script"}};
  command.run = print;
  return command;
}

}  // namespace mlops::cli
