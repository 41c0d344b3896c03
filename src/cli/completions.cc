// mlops completions: the scripts that teach bash, zsh and fish to ask `mlops complete` when Tab is pressed.
#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

constexpr const char* kBash = R"script(# bash completion of mlops, made by `mlops completions bash`
_mlops() {
  local program=${COMP_WORDS[0]/#\~/$HOME} current=${COMP_WORDS[COMP_CWORD]} word says quote=
  local words=("${COMP_WORDS[@]:1:COMP_CWORD}")
  case $current in
    \"* | \'*) quote=1 current=${current:1} ;;
    =) current= ;;
    *) current=${current//\\/} ;;
  esac
  words[COMP_CWORD - 1]=$current
  [[ ${COMP_WORDS[COMP_CWORD]} == = ]] && words[COMP_CWORD - 1]==
  COMPREPLY=()
  while IFS=$'\t' read -r word says; do
    case $word in
      :files | :folders)
        compopt -o filenames 2>/dev/null
        [[ $word == :files ]] && words=-f || words=-d
        while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen "$words" -- "$current")
        return
        ;;
      *)
        [[ $quote ]] || printf -v word %q "$word"
        COMPREPLY+=("$word")
        ;;
    esac
  done < <("$program" complete -- "${words[@]}" 2>/dev/null)
}
complete -F _mlops mlops
)script";

constexpr const char* kZsh = R"script(#compdef mlops
# zsh completion of mlops, made by `mlops completions zsh`
_mlops() {
  local line word
  local -a proposals
  for line in "${(@f)$(${~words[1]} complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
    case $line in
      '') ;;
      :files) _files; return ;;
      :folders) _files -/; return ;;
      *)
        word=${${line%%$'\t'*}//:/\\:}
        [[ $line == *$'\t' ]] || word+=:${line#*$'\t'}
        proposals+=("$word")
        ;;
    esac
  done
  _describe mlops proposals
}
if [[ $funcstack[1] == _mlops ]]; then _mlops "$@"; else compdef _mlops mlops; fi
)script";

constexpr const char* kFish = R"script(# fish completion of mlops, made by `mlops completions fish`
function __mlops_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    for line in ($program complete -- $words "$current" 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path $current
            case :folders
                __fish_complete_directories $current
            case '*'
                echo $line
        end
    end
end
complete -c mlops -f -a '(__mlops_complete)'
)script";

}  // namespace

Command completions_command() {
  auto shell = std::make_shared<std::string>();
  Command command{"completions", "The completion script of a shell"};
  command.options = {{"shell", "Which one", shell.get(), true, Takes::text, {"bash", "zsh", "fish"}}};
  command.about =
      "Words, options, run ids, experiments and metrics are completed. An installed mlops has the scripts in place; "
      "otherwise put `source <(mlops completions bash)` into ~/.bashrc, or the output into a folder of zsh's fpath as "
      "_mlops, or into ~/.config/fish/completions/mlops.fish.";
  command.examples = {{"source <(mlops completions bash) && complete -p mlops", "for this shell"},
                      {"mlops completions fish", "the script itself"}};
  command.run = [shell](const Common&) {
    std::fputs(*shell == "bash" ? kBash : *shell == "zsh" ? kZsh : kFish, stdout);
    return static_cast<int>(kOk);
  };
  command.has_root = false;
  return command;
}

}  // namespace mlops::cli
