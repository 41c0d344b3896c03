#include "cli/commands.h"

namespace mlops::cli {

std::vector<Command> all_commands() {
  return {
      runs_command(),     // what is there
      show_command(),     //
      delete_command(),   // what shall be there
      restore_command(),  //
      gc_command(),       //
      status_command(),   // how it stands
      stuck_command(),    //
      sync_command(),     // to a server
      verify_command(),   //
      remote_command(),   //
      roots_command(),    // where it is
      version_command(),
  };
}

}  // namespace mlops::cli
