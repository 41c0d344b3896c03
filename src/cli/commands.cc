#include "cli/commands.h"

namespace mlops::cli {

std::vector<Command> all_commands() {
  return {
      runs_command(),  // what is there
      show_command(),  //
      delete_command(), restore_command(),
      status_command(),  // how it stands
      sync_command(),    // to a server
      verify_command(),  //
      remote_command(), stuck_command(),   version_command(),
  };
}

}  // namespace mlops::cli
