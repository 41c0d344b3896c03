// mlops version: of the command and the library.
#include <cstdio>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/text.h"
#include "mlops/mlops.h"

namespace mlops::cli {
namespace {

int print(const Common& common) {
  if (common.json) {
    JsonOut out;
    out.begin_object().field("version", MLOPS_VERSION_STRING).end_object();
    std::printf("%s\n", out.text().c_str());
  } else {
    std::printf("mlops %s\n", MLOPS_VERSION_STRING);
  }
  return kOk;
}

}  // namespace

Command version_command() {
  Command command{"version", "The version of command and library"};
  command.json = R"({"version"})";
  command.examples = {{"mlops version --json", "the version, for a script"}};
  command.run = print;
  command.has_root = false;
  return command;
}

}  // namespace mlops::cli
