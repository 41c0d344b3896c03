// mlops reference: the table of commands as Markdown (docs/commands.md is what it prints) and as JSON, for programs.
#include <cstdio>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/text.h"
#include "cli/words.h"
#include "mlops/mlops.h"

namespace mlops::cli {
namespace {

// In a table's cell.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '<' || c == '@') out.push_back('\\');
    out.push_back(c == '\n' ? ' ' : c);
  }
  return out;
}

// As Markdown: each line of its own is a paragraph, and <key> is no tag, except in `code`, which is as it is.
std::string prose(const std::string& text) {
  std::string out;
  bool code = false;
  for (const char c : text) {
    if (c == '`') code = !code;
    if ((c == '<' || c == '@') && !code) out.push_back('\\');
    out.push_back(c);
    if (c == '\n') out.push_back(c);
  }
  return out;
}

std::string option_words(const Option& option) {
  const Spelling names = spelling(option);
  if (!names.positional.empty()) return "`" + placeholder(option) + (is_list(option) ? "...`" : "`");
  std::string out = names.brief;
  if (!names.full.empty()) out += (out.empty() ? "" : ", ") + names.full;
  if (!is_flag(option)) out += " " + placeholder(option);
  return "`" + cell(out) + "`" + (is_list(option) ? " (repeatable)" : "");
}

void put_markdown(const std::string& parents, const Command& command, std::string* out) {
  *out += "\n## " + parents + " " + command.name + "\n\n" + command.summary + ".\n";
  *out += "\n```\n" + synopsis(parents, command) + "\n```\n";
  if (!command.about.empty()) *out += "\n" + prose(command.about) + "\n";
  if (command.verbs.empty()) {
    *out += "\n| option | |\n|---|---|\n";
    std::vector<Option> options = command.options;
    for (const Option& option : options_of_all(command)) options.push_back(option);
    for (const Option& option : options) {
      *out += "| " + option_words(option) + " | " + cell(option.help) + (option.required ? " (required)" : "") + " |\n";
    }
  }
  if (!command.json.empty()) *out += "\nJSON: `" + command.json + "`\n";
  if (!command.examples.empty()) {
    *out += "\n```sh\n";
    for (const Example& example : command.examples) *out += "# " + example.says + "\n" + example.line + "\n";
    *out += "```\n";
  }
  for (const Command& verb : command.verbs) put_markdown(parents + " " + command.name, verb, out);
}

std::string markdown() {
  std::string out = "# The mlops command\n\n";
  out += kSummary;
  out +=
      "\n\nThis page is what `mlops reference` prints; `man mlops` and `mlops COMMAND --help` say the same. In a "
      "pipe tables are plain lines with tabs; `--json` is for programs.\n\n| command | |\n|---|---|\n";
  for (const Command& command : all_commands()) {
    if (!command.hidden)
      out += "| [`" + command.name + "`](#mlops-" + command.name + ") | " + cell(command.summary) + " |\n";
  }
  out += "\n| exit code | |\n|---|---|\n";
  for (const ExitWords& exit : exit_codes()) out += "| " + std::to_string(exit.code) + " | " + exit.means + " |\n";
  out += "\n| environment | |\n|---|---|\n";
  for (const Variable& variable : environment_variables()) {
    out += "| `" + std::string(variable.name) + "` | " + cell(variable.means) + " |\n";
  }
  for (const Command& command : all_commands()) {
    if (!command.hidden) put_markdown("mlops", command, &out);
  }
  return out;
}

const char* takes_name(Takes takes) {
  switch (takes) {
    case Takes::text:
      return "text";
    case Takes::run:
      return "run";
    case Takes::experiment:
      return "experiment";
    case Takes::metric:
      return "metric";
    case Takes::file:
      return "file";
    case Takes::folder:
      return "folder";
    case Takes::uri:
      return "uri";
  }
  return "text";
}

void put_json(const std::string& parents, const Command& command, JsonOut* out) {
  const std::string name = parents + " " + command.name;
  if (!command.verbs.empty()) {
    for (const Command& verb : command.verbs) put_json(name, verb, out);
    return;
  }
  out->begin_object().field("name", name).field("summary", command.summary).field("about", command.about);
  out->field("json", command.json).field("has_root", command.has_root).key("options").begin_array();
  for (const Option& option : command.options) {
    const Spelling names = spelling(option);
    out->begin_object().field("short", names.brief).field("long", names.full).field("positional", names.positional);
    out->field("help", option.help).field("flag", is_flag(option)).field("list", is_list(option));
    out->field("required", option.required).field("takes", takes_name(option.takes)).key("choices").begin_array();
    for (const std::string& choice : option.choices) out->value(choice);
    out->end_array().end_object();
  }
  out->end_array().key("examples").begin_array();
  for (const Example& example : command.examples) {
    out->begin_object().field("line", example.line).field("says", example.says).end_object();
  }
  out->end_array().end_object();
}

int print(const Common& common) {
  if (!common.json) {
    std::fputs(markdown().c_str(), stdout);
    return kOk;
  }
  JsonOut out;
  out.begin_object().field("version", MLOPS_VERSION_STRING).key("commands").begin_array();
  for (const Command& command : all_commands()) {
    if (!command.hidden) put_json("mlops", command, &out);
  }
  out.end_array().end_object();
  std::printf("%s\n", out.text().c_str());
  return kOk;
}

}  // namespace

Command reference_command() {
  Command command{"reference", "All commands as Markdown, or as JSON"};
  command.json =
      R"({"version", "commands": [{"name", "summary", "about", "json", "has_root", "options": [{"short", "long", )"
      R"("positional", "help", "flag", "list", "required", "takes", "choices": []}], "examples": [{"line", "says"}]}]})";
  command.run = print;
  command.has_root = false;
  command.hidden = true;
  return command;
}

}  // namespace mlops::cli
