#include "cli/commands.h"

namespace mlops::cli {

std::vector<Command> all_commands() {
  return {
      runs_command(),    // what is there
      show_command(),    //
      run_command(),     // from a shell script
      log_command(),     //
      tail_command(),    //
      exec_command(),    //
      status_command(),  // how it stands
      sync_command(),    // to a server
      verify_command(),  //
      doctor_command(),
      config_command(),  // of the command itself
      version_command(),   completions_command(), man_command(),
      reference_command(),  // for programs and the shells
      complete_command(),
  };
}

}  // namespace mlops::cli
