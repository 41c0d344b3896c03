// mlops complete: what may stand at the end of a command line, for the shells' completions. Quiet: whatever goes wrong,
// it proposes nothing and exits with 0.
//
// One proposal in a line, with a tab and a description where there is one; already chosen by what is typed. Instead of
// proposals a line ":files" or ":folders" asks the shell for its own.
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/text.h"
#include "cli/words.h"
#include "mlops/mlops.h"

namespace mlops::cli {
namespace {

constexpr std::uint64_t kMostRuns = 200;

class Completer {
 public:
  /// `words` as typed behind `mlops`; the last one, which may be empty, is to be completed.
  explicit Completer(std::vector<std::string> words) : words_(std::move(words)) {
    if (words_.empty()) words_.emplace_back();
    typed_ = words_.back();
    words_.pop_back();
  }

  void propose() {
    const std::vector<Command> commands = all_commands();
    const std::vector<Command>* level = &commands;
    const Option* wants = nullptr;  // the option whose word comes next
    std::size_t positionals = 0;
    bool dashes = false;
    for (std::size_t i = 0; i < words_.size(); ++i) {
      const std::string& word = words_[i];
      if (dashes) continue;
      if (wants != nullptr) {
        if (word == "=") continue;  // bash makes three words of --option=value
        if (spelling(*wants).full == "--root") root_ = word;
        wants = nullptr;
      } else if (word == "--") {
        dashes = true;
      } else if (word.size() > 1 && word.front() == '-') {
        const std::size_t equals = word.find('=');
        const Option* option = find_option(word.substr(0, equals));
        if (equals == std::string::npos) {
          wants = option != nullptr && !is_flag(*option) ? option : nullptr;
        } else if (word.rfind("--root=", 0) == 0) {
          root_ = word.substr(equals + 1);
        }
      } else if (level != nullptr && !level->empty()) {
        enter(*level, word);
        if (command_ == nullptr) return;
        level = &command_->verbs;
      } else {
        given_.push_back(word);
        ++positionals;
      }
    }
    if (dashes) {
      std::printf(":files\n");
      return;
    }
    if (wants != nullptr) {
      if (typed_ == "=") typed_.clear();
      propose_value(*wants, "");
      return;
    }
    if (!typed_.empty() && typed_.front() == '-') {
      const std::size_t equals = typed_.find('=');
      if (equals == std::string::npos) return propose_options();
      const Option* option = find_option(typed_.substr(0, equals));
      if (option == nullptr || is_flag(*option)) return;
      const std::string before = typed_.substr(0, equals + 1);
      typed_.erase(0, equals + 1);
      return propose_value(*option, before);
    }
    if (level != nullptr && !level->empty()) {
      for (const Command& command : *level) {
        if (!command.hidden) put(command.name, command.summary);
      }
      return;
    }
    if (command_ != nullptr) propose_positional(positionals);
  }

 private:
  void enter(const std::vector<Command>& level, const std::string& word) {
    command_ = nullptr;
    for (const Command& command : level) {
      if (command.name == word) command_ = &command;
    }
    options_.clear();
    if (command_ == nullptr) return;
    options_ = command_->options;
    for (const Option& option : options_of_all(*command_)) options_.push_back(option);
  }

  const Option* find_option(const std::string& name) const {
    for (const Option& option : options_) {
      const Spelling names = spelling(option);
      if (name == names.full || name == names.brief) return &option;
    }
    return nullptr;
  }

  void put(const std::string& word, const std::string& says) const {
    if (word.compare(0, typed_.size(), typed_) != 0) return;
    if (word.find_first_of("\n\t") != std::string::npos) return;
    std::printf("%s\t%s\n", word.c_str(), one_line(says, 60).c_str());
  }

  void propose_options() const {
    for (const Option& option : options_) {
      const Spelling names = spelling(option);
      if (!names.full.empty() && names.full != "--help") put(names.full, option.help);
    }
    put("--help", "");
    if (command_ == nullptr) put("--version", "");
  }

  void propose_positional(std::size_t number) {
    for (const Option& option : command_->options) {
      if (spelling(option).positional.empty()) continue;
      if (number == 0 || is_list(option)) return propose_value(option, "");
      --number;
    }
  }

  // `before`: what the shell takes to be part of the same word.
  void propose_value(const Option& option, const std::string& before) {
    if (!option.choices.empty()) {
      for (const std::string& choice : option.choices) propose_word(before, choice, "");
      return;
    }
    switch (option.takes) {
      case Takes::text:
      case Takes::uri:
        return;
      case Takes::file:
        std::printf(":files\n");
        return;
      case Takes::folder:
        std::printf(":folders\n");
        return;
      case Takes::run:
      case Takes::experiment:
      case Takes::metric:
        propose_from_root(option.takes, before);
    }
  }

  void propose_word(const std::string& before, const std::string& word, const std::string& says) const {
    if (word.compare(0, typed_.size(), typed_) != 0 || word.find_first_of("\n\t") != std::string::npos) return;
    std::printf("%s%s\t%s\n", before.c_str(), word.c_str(), one_line(says, 60).c_str());
  }

  void propose_from_root(Takes what, const std::string& before) const {
    const Result<Reader> reader = Reader::open(root_);
    if (!reader.ok()) return;
    if (what == Takes::metric) {
      std::set<std::string> names;
      for (const std::string& word : given_) {
        const Result<RunSummary> run = reader->run(word);
        if (!run.ok()) continue;
        for (const MetricSummary& metric : run->metrics) names.insert(metric.name);
      }
      for (const std::string& name : names) propose_word(before, name, "");
      return;
    }
    RunQuery query;
    if (what == Takes::run) query.limit = typed_.empty() ? kMostRuns : 0;
    const Result<std::vector<RunSummary>> runs = reader->runs(query);
    if (!runs.ok()) return;
    std::set<std::string> experiments;
    for (const RunSummary& run : *runs) {
      if (what == Takes::run) {
        propose_word(before, run.id, run.experiment + " / " + run.name);
      } else if (experiments.insert(run.experiment).second) {
        propose_word(before, run.experiment, "");
      }
    }
  }

  std::vector<std::string> words_;  // before the one to complete
  std::string typed_;
  std::string root_;
  const Command* command_ = nullptr;
  std::vector<Option> options_;     // of command_, with those of all
  std::vector<std::string> given_;  // positional words
};

}  // namespace

Command complete_command() {
  auto words = std::make_shared<std::vector<std::string>>();
  Command command{"complete", "What may stand at the end of a command line"};
  command.options = {{"words", "As typed behind `mlops`, behind --", words.get()}};
  command.run = [words](const Common&) {
    Completer(*words).propose();
    return static_cast<int>(kOk);
  };
  command.has_root = false;
  command.hidden = true;
  return command;
}

}  // namespace mlops::cli
