#include "cli/commands.h"

namespace mlops::cli {

std::vector<Command> all_commands() {
  return {
      runs_command(),  // what is there
      experiments_command(),
      show_command(),     //
      compare_command(),  //
      plot_command(),     //
      export_command(),   //
      artifacts_command(),
      run_command(),      // from a shell script
      log_command(),      //
      tail_command(),     //
      exec_command(),     //
      delete_command(),   // what shall be there
      restore_command(),  //
      gc_command(),       //
      models_command(),   // the registry
      gate_command(),     //
      status_command(),   // how it stands
      stuck_command(),    //
      sync_command(),     // to a server
      verify_command(),   //
      remote_command(),   //
      roots_command(),    // where it is
      doctor_command(),   //
      config_command(),   // of the command itself
      version_command(),     completions_command(), man_command(),
      reference_command(),  // for programs and the shells
      complete_command(),
  };
}

}  // namespace mlops::cli
