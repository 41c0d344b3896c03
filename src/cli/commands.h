// Commands: one function per subcommand, each in the file of its name.
#pragma once

#include "cli/command.h"

namespace mlops::cli {

Command artifacts_command();
Command artifacts_put_command();  // a verb of it
Command delete_command();
Command gate_command();
Command gc_command();
Command models_command();
Command remote_command();
Command restore_command();
Command roots_command();
Command runs_command();
Command experiments_command();
Command show_command();
Command compare_command();
Command plot_command();
Command export_command();
Command run_command();
Command log_command();
Command tail_command();
Command exec_command();
Command status_command();
Command stuck_command();
Command sync_command();
Command verify_command();
Command doctor_command();
Command config_command();
Command version_command();
Command completions_command();
Command man_command();
Command reference_command();  // for programs
Command complete_command();   // for the shells

}  // namespace mlops::cli
