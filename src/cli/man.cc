// mlops man: the manual page, in the man(7) macros that mandoc and man-db both render without a warning.
#include <cstdio>

#include "cli/commands.h"
#include "cli/text.h"
#include "cli/words.h"
#include "mlops/mlops.h"

namespace mlops::cli {
namespace {

constexpr const char* kDate = "2026-11-25";  // of the words; not of the build, so that a build can be repeated
constexpr std::size_t kColumns = 76;

// Text as roff takes it: no escapes, no requests by accident, quotes and dashes as typed.
std::string roff(const std::string& text) {
  std::string out;
  bool line_starts = true;
  for (const char c : text) {
    if (line_starts && (c == '.' || c == '\'')) out += "\\&";
    line_starts = c == '\n';
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if (c == '\'') {
      out += "\\(aq";
    } else if (c == '`') {
      out += "\\(ga";
    } else if (c == '~') {
      out += "\\(ti";
    } else if (c == '^') {
      out += "\\(ha";
    } else {
      out.push_back(c);
    }
  }
  return out;
}

// The same for running text: lines of the source stay short.
std::string prose(const std::string& text) {
  std::string wrapped;
  std::size_t column = 0;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = text.find(' ', at);
    if (end == std::string::npos) end = text.size();
    if (column != 0) wrapped.push_back(column + end - at > kColumns ? '\n' : ' ');
    if (column + end - at > kColumns) column = 0;
    wrapped.append(text, at, end - at);
    column += end - at + 1;
    at = end + 1;
  }
  return roff(wrapped);
}

// Paragraphs of running text; an empty line of the source begins a new one, another line end a new line.
std::string paragraphs(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = text.find('\n', at);
    if (end == std::string::npos) end = text.size();
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    if (line.empty()) {
      out += ".PP\n";
    } else {
      if (!out.empty() && out.rfind(".PP\n") != out.size() - 4) out += ".br\n";
      out += prose(line) + "\n";
    }
  }
  return out;
}

void put_option(const Option& option, std::string* out) {
  const Spelling names = spelling(option);
  *out += ".TP\n";
  if (!names.positional.empty()) {
    *out += "\\fI" + roff(placeholder(option)) + "\\fR" + (is_list(option) ? " ..." : "");
  } else {
    if (!names.brief.empty()) *out += "\\fB" + roff(names.brief) + "\\fR";
    if (!names.full.empty()) *out += (names.brief.empty() ? "\\fB" : ", \\fB") + roff(names.full) + "\\fR";
    if (!is_flag(option)) *out += " \\fI" + roff(placeholder(option)) + "\\fR";
  }
  *out += "\n" + prose(option.help) + (option.required ? " (required)" : "") + "\n";
}

void put_command(const std::string& parents, const Command& command, std::string* out) {
  const std::string name = parents + " " + command.name;
  if (!command.verbs.empty()) {
    for (const Command& verb : command.verbs) put_command(name, verb, out);
    return;
  }
  *out += ".SS \"" + roff(synopsis(parents, command)) + "\"\n" + prose(command.summary) + ".\n";
  if (!command.about.empty()) *out += ".PP\n" + paragraphs(command.about);
  for (const Option& option : command.options) put_option(option, out);
  if (!command.examples.empty()) {
    *out += ".PP\n";
    for (std::size_t i = 0; i < command.examples.size(); ++i) {
      if (i != 0) *out += ".PP\n";
      *out += roff(command.examples[i].says) + ":\n.PP\n.nf\n    " + roff(command.examples[i].line) + "\n.fi\n";
    }
  }
}

std::string page() {
  std::string out = std::string(".\\\" Made by `mlops man`.\n.TH MLOPS 1 \"") + kDate + "\" \"mlops " +
                    MLOPS_VERSION_STRING + "\" \"User Commands\"\n";
  out += std::string(".SH NAME\nmlops \\- ") + "local experiment runs and their delivery to an MLflow server\n";
  out += ".SH SYNOPSIS\n\\fBmlops\\fR \\fICOMMAND\\fR [\\fIoptions\\fR]\n.SH DESCRIPTION\n";
  out += prose(std::string(kSummary) +
               " The runs are in a root, a folder that programs write through libmlops and that needs no server. On a "
               "terminal tables have a head; in a pipe they are plain lines with tabs.");
  out += "\n.SH OPTIONS OF ALL COMMANDS\n";
  Command any{"", ""};
  any.json = "{}";
  any.run = [](const Common&) { return 0; };
  for (const Option& option : options_of_all(any)) put_option(option, &out);
  out += ".SH COMMANDS\n";
  for (const Command& command : all_commands()) {
    if (!command.hidden) put_command("mlops", command, &out);
  }
  out += ".SH ENVIRONMENT\n";
  for (const Variable& variable : environment_variables()) {
    out += ".TP\n\\fB" + roff(variable.name) + "\\fR\n" + prose(variable.means) + "\n";
  }
  out += ".SH FILES\n.TP\n\\fB.mlops\\fR\nThe root, found upwards from the current folder.\n.TP\n";
  out += "\\fB" + roff("~/.mlflow/credentials") + "\\fR\nUser and password, as MLflow keeps them.\n.SH EXIT STATUS\n";
  for (const ExitWords& exit : exit_codes()) {
    out += ".TP\n\\fB" + std::to_string(exit.code) + "\\fR\n" + prose(exit.means) + "\n";
  }
  return out;
}

}  // namespace

Command man_command() {
  Command command{"man", "The manual page, for `man -l -`"};
  command.examples = {{"mlops man | man -l -", "read it"}};
  command.run = [](const Common&) {
    std::fputs(page().c_str(), stdout);
    return static_cast<int>(kOk);
  };
  command.has_root = false;
  return command;
}

}  // namespace mlops::cli
