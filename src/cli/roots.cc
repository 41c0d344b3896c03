// mlops roots: the roots that can be told from here: the one in force, and others above and below the current folder.
#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct Arguments {
  std::uint64_t depth = 4;
};

int list(const Common& common, const Arguments& a) {
  if (a.depth > 32) return fail(Status(StatusCode::invalid_argument, "--depth is 0 to 32"));
  Result<std::vector<RootInfo>> all = roots(common.root, static_cast<int>(a.depth));
  if (!all.ok()) return fail(all.status());
  JsonOut out;
  out.begin_object().key("roots").begin_array();
  Table table({"=ROOT", "=FROM", ">SIZE", ">RUNS", ">WAITING"});
  for (const RootInfo& root : *all) {
    out.begin_object().field("path", root.path).field("from", root.from).field("in_force", root.in_force);
    out.field("exists", root.exists).field("bytes", root.bytes).field("runs", root.runs);
    out.field("waiting", root.waiting).field("message", root.status.message()).end_object();
    const std::string from = root.from + (root.in_force ? ", in force" : "");
    table.add({root.path, root.exists ? from : from + ", not there yet", bytes_text(root.bytes),
               std::to_string(root.runs), std::to_string(root.waiting)});
  }
  out.end_array().end_object();
  if (common.json) {
    std::printf("%s\n", out.text().c_str());
  } else {
    table.print();
  }
  for (const RootInfo& root : *all) {
    if (root.status.ok() || root.status.code() == StatusCode::not_found) continue;
    std::fprintf(stderr, "mlops: %s: %s\n", root.path.c_str(), std::string(root.status.message()).c_str());
  }
  return kOk;
}

}  // namespace

Command roots_command() {
  auto a = std::make_shared<Arguments>();
  Command command{"roots", "The roots that can be told from here, with their sizes and what waits"};
  command.options = {{"--depth", "So many folders below the current one are looked into, 0 to 32 [4]", &a->depth}};
  command.about =
      "The root in force first: --root, MLOPS_HOME, or .mlops found upwards from here. There is no list of the roots\n"
      "elsewhere on this machine.";
  command.json =
      R"({"roots": [{"path", "from": "given"|"MLOPS_HOME"|"upwards"|"default"|"below", "in_force", "exists", "bytes", )"
      R"("runs", "waiting", "message"}]})";
  command.examples = {{"mlops roots", "which buffer is used here, and which others are near"}};
  command.run = [a](const Common& common) { return list(common, *a); };
  return command;
}

}  // namespace mlops::cli
