// Words: what --help, the man page, the completions and the reference say of every command, once.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"

namespace mlops::cli {

inline constexpr const char* kSummary =
    "Local experiment runs: look at them, log to them, deliver them, compare them with the server.";
inline constexpr const char* kRootHelp = "The buffer's folder [MLOPS_HOME; .mlops found upwards from here]";
inline constexpr const char* kJsonHelp = "Print JSON";

struct ExitWords {
  int code;
  const char* means;
};
const std::vector<ExitWords>& exit_codes();
std::string exit_codes_text();  // one in a line

struct Variable {
  const char* name;
  const char* means;
};
/// The environment variables that steer the command.
const std::vector<Variable>& environment_variables();

/// "-n,--limit" taken apart; both empty when it is positional.
struct Spelling {
  std::string brief;  // "-n"
  std::string full;   // "--limit"
  std::string positional;
};
Spelling spelling(const Option& option);
bool is_flag(const Option& option);
bool is_list(const Option& option);
/// What stands for the option's word in a synopsis: "RUN", "N", "A|B".
std::string placeholder(const Option& option);

/// --root, --json and --help, where the command has them. They point to nothing that lasts: for printing only.
std::vector<Option> options_of_all(const Command& command);
/// "mlops show [options] RUN"; `parents` is "mlops" or "mlops run".
std::string synopsis(const std::string& parents, const Command& command);

}  // namespace mlops::cli
