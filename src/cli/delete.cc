// mlops delete, mlops restore: runs out of sight, and back.
#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct Arguments {
  std::vector<std::string> runs;
};

int done(const Common& common, const Result<std::uint64_t>& changed, const char* words) {
  if (!changed.ok()) return fail(changed.status());
  if (common.json) {
    JsonOut out;
    out.begin_object().field("changed", *changed).end_object();
    std::printf("%s\n", out.text().c_str());
  } else {
    std::fprintf(stderr, "%s %s; the server is told by the next delivery\n", count_text(*changed).c_str(), words);
  }
  return kOk;
}

Command command_of(const char* name, const char* summary, const std::shared_ptr<Arguments>& a) {
  Command command{name, summary};
  command.options = {{"run", "Run ids: ours, the server's, or prefixes", &a->runs, true, Takes::run}};
  command.json = R"({"changed"})";
  return command;
}

}  // namespace

Command delete_command() {
  auto a = std::make_shared<Arguments>();
  Command command = command_of("delete", "Put runs out of sight, here and on the server, as MLflow does", a);
  command.about =
      "Nothing is removed: `mlops runs --deleted` lists them, `mlops restore` brings them back, `mlops gc` frees "
      "space.\n"
      "What a living process delivers to a deleted run waits (`mlops stuck`) until it is restored.";
  command.examples = {{"mlops delete $RUN", "a run that went wrong"}};
  command.run = [a](const Common& common) { return done(common, delete_runs(common.root, a->runs), "deleted"); };
  return command;
}

Command restore_command() {
  auto a = std::make_shared<Arguments>();
  Command command = command_of("restore", "Bring deleted runs back", a);
  command.examples = {{"mlops restore $RUN", "what `mlops delete` did, undone"}};
  command.run = [a](const Common& common) { return done(common, restore_runs(common.root, a->runs), "restored"); };
  return command;
}

}  // namespace mlops::cli
