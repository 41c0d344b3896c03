// Command: all there is to say of one subcommand: its words, options, JSON, examples, and its work. Parsing, --help,
// the man page, the shells' completions, the reference and the test of every example are made from this one
// description.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

namespace mlops::cli {

/// What every command takes.
struct Common {
  std::string root;  // empty: MLOPS_HOME, .mlops upwards
  bool json = false;
};

/// What stands where an option wants a word; shells complete by it.
enum class Takes { text, run, experiment, metric, file, folder, uri };

struct Option {
  std::string names;  // "-n,--limit"; "--flag"; "run": positional. A positional list takes what is left.
  std::string help;   // one line; the default in [brackets]
  std::variant<bool*, std::string*, std::uint64_t*, std::int64_t*, double*, std::vector<std::string>*> into;
  bool required = false;
  Takes takes = Takes::text;
  std::vector<std::string> choices{};  // the only words allowed; empty: any
};

struct Example {
  std::string line;  // as typed in bash; $RUN stands for a run's id
  std::string says;  // what it does, in a few words
};

/// The caller keeps what `into` points to alive as long as the command; `run` shares it.
struct Command {
  std::string name;
  std::string summary;  // one line
  std::vector<Option> options{};
  std::string about{};  // what else there is to know, exit codes of its own; wrapped by the reader's terminal
  std::string json{};   // the shape that --json prints; empty: there is no --json
  std::vector<Example> examples{};
  std::function<int(const Common&)> run{};  // prints to stdout, complains to stderr, returns the exit code
  std::vector<Command> verbs{};             // `mlops remote add`; with a run of its own `mlops stuck` stands alone, too
  bool has_root = true;
  bool hidden = false;  // for programs: not in --help, the man page and the reference
};

/// All of them, in the order of --help.
std::vector<Command> all_commands();

}  // namespace mlops::cli
