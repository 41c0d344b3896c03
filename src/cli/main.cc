// The mlops command: the table of commands, turned into a parser.
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/text.h"
#include "cli/words.h"
#include "mlops/mlops.h"

namespace {

using namespace mlops::cli;  // NOLINT(google-build-using-namespace): a main file of the command

struct AddTo {
  ::CLI::App* app;
  const Option& option;
  ::CLI::Option* operator()(bool* into) const { return app->add_flag(option.names, *into, option.help); }
  template <typename T>
  ::CLI::Option* operator()(T* into) const {
    return app->add_option(option.names, *into, option.help);
  }
};

std::string footer_of(const Command& command) {
  std::string out = command.about;
  if (!command.json.empty()) out += (out.empty() ? "" : "\n\n") + ("JSON: " + command.json);
  if (!command.examples.empty()) out += std::string(out.empty() ? "" : "\n\n") + "Examples:";
  for (const Example& example : command.examples) out += "\n  " + example.line + "\n      " + example.says;
  return out;
}

void add(::CLI::App* parent, const Command& command, Common* common, int* code) {
  ::CLI::App* app = parent->add_subcommand(command.name, command.summary);
  if (command.hidden) app->group("");
  for (const Option& option : command.options) {
    ::CLI::Option* added = std::visit(AddTo{app, option}, option.into);
    if (option.required) added->required();
    if (!option.choices.empty()) added->check(::CLI::IsMember(option.choices));
    if (std::holds_alternative<double*>(option.into) || std::holds_alternative<std::uint64_t*>(option.into))
      added->check(::CLI::NonNegativeNumber);
    if (std::holds_alternative<std::vector<std::string>*>(option.into) && option.names.front() == '-') {
      added->allow_extra_args(false)->take_all();  // one word for each time it is given
    }
  }
  if (!command.verbs.empty()) {
    app->require_subcommand(command.run ? 0 : 1, 1);  // with a work of its own it can stand alone
    for (const Command& verb : command.verbs) add(app, verb, common, code);
  }
  if (command.run) {
    if (command.has_root) {
      app->add_option("--root", common->root, kRootHelp);
    }
    if (!command.json.empty()) app->add_flag("--json", common->json, kJsonHelp);
    app->callback([&command, common, code, app] {
      if (app->get_subcommands().empty()) *code = command.run(*common);
    });
  }
  app->footer(footer_of(command));
}

}  // namespace

int main(int argc, char** argv) {
  ::CLI::App app{kSummary, "mlops"};
  app.footer("Exit codes:\n" + exit_codes_text() + "\n`mlops COMMAND --help` has examples.");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("mlops ") + MLOPS_VERSION_STRING);
  const std::vector<Command> commands = all_commands();
  Common common;
  int code = kOk;
  for (const Command& command : commands) add(&app, command, &common, &code);
  try {
    app.parse(argc, argv);
  } catch (const ::CLI::ParseError& error) {
    return app.exit(error) == 0 ? kOk : kUsage;
  }
  return code;
}
