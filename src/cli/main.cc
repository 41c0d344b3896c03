// The mlops command: the table of commands, turned into a parser.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/nearest.h"
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

/// CLI11's own names the whole range of doubles.
std::string not_negative(const std::string& text) {
  double number = -1;
  return ::CLI::detail::lexical_cast(text, number) && number >= 0 ? "" : "'" + text + "' is no number from 0 on";
}

void add(::CLI::App* parent, const Command& command, Common* common, int* code) {
  ::CLI::App* app = parent->add_subcommand(command.name, command.summary);
  if (command.hidden) app->group("");
  for (const Option& option : command.options) {
    ::CLI::Option* added = std::visit(AddTo{app, option}, option.into);
    if (option.required) added->required();
    if (!option.choices.empty()) added->check(::CLI::IsMember(option.choices));
    if (std::holds_alternative<double*>(option.into) || std::holds_alternative<std::uint64_t*>(option.into))
      added->check(::CLI::Validator(not_negative, "NONNEGATIVE"));
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

int no_such(const char* what, const std::string& word, const std::vector<std::string>& candidates,
            const std::string& parents) {
  const std::string meant = nearest(word, candidates);
  const std::string typed = one_line(word, 60);
  if (meant.empty()) {
    std::fprintf(stderr, "mlops: no %s \"%s\"; `%s --help` lists what there is\n", what, typed.c_str(),
                 parents.c_str());
  } else {
    std::fprintf(stderr, "mlops: no %s \"%s\"; did you mean %s?\n", what, typed.c_str(), meant.c_str());
  }
  return kUsage;
}

/// A word in the place of a command that is none: said before the parser says that one is missing. The command that is
/// meant, or null.
const Command* find_command(const std::vector<Command>& commands, int argc, char** argv, std::string* parents,
                            int* code) {
  const Command* found = nullptr;
  const std::vector<Command>* among = &commands;
  for (int i = 1; i < argc && argv[i][0] != '-' && argv[i][0] != '\0' && !among->empty(); ++i) {
    const std::string word = argv[i];
    const auto command = std::find_if(among->begin(), among->end(), [&](const Command& c) { return c.name == word; });
    if (command == among->end()) {
      std::vector<std::string> names;
      for (const Command& c : *among) {
        if (!c.hidden) names.push_back(c.name);
      }
      *code = no_such("command", word, names, *parents);
      return nullptr;
    }
    found = &*command;
    *parents += " " + word;
    among = &found->verbs;
  }
  return found;
}

/// The first option that the parser left over; empty: none.
std::string unknown_option(::CLI::App* app) {
  while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
  for (const std::string& word : app->remaining()) {
    if (word.size() > 2 && word.rfind("--", 0) == 0) return word.substr(0, word.find('='));
  }
  return {};
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
  std::string parents = "mlops";
  const Command* const meant = find_command(commands, argc, argv, &parents, &code);
  if (code != kOk) return code;
  for (const Command& command : commands) add(&app, command, &common, &code);
  try {
    app.parse(argc, argv);
  } catch (const ::CLI::ExtrasError& error) {
    const std::string word = meant == nullptr ? std::string() : unknown_option(&app);
    if (word.empty()) return app.exit(error) == 0 ? kOk : kUsage;
    std::vector<std::string> names;
    for (const Option& option : meant->options) names.push_back(spelling(option).full);
    for (const Option& option : options_of_all(*meant)) names.push_back(spelling(option).full);
    return no_such("option", word, names, parents);
  } catch (const ::CLI::ParseError& error) {
    return app.exit(error) == 0 ? kOk : kUsage;
  }
  return code;
}
