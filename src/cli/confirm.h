// Confirm: what cannot be undone is asked for on a terminal, and wants --yes where nobody can be asked.
#pragma once

#include <string>

namespace mlops::cli {

/// Somebody sits at the terminal.
bool can_ask();

/// True: go on. Else says why not on stderr, and the exit code is kUsage in a pipe, kOther after a "no".
bool confirmed(const std::string& question, bool yes, int* exit_code);

}  // namespace mlops::cli
