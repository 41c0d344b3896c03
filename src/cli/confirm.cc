#include "cli/confirm.h"

#include <cstdio>
#include <iostream>

#include "cli/text.h"

namespace mlops::cli {

bool can_ask() { return is_terminal(0) && is_terminal(2); }

bool confirmed(const std::string& question, bool yes, int* exit_code) {
  if (yes) return true;
  if (!can_ask()) {
    std::fprintf(stderr, "mlops: %s Nobody can be asked here: give --yes\n", question.c_str());
    *exit_code = kUsage;
    return false;
  }
  std::fprintf(stderr, "%s [y/N] ", question.c_str());
  std::fflush(stderr);
  std::string answer;
  std::getline(std::cin, answer);
  if (answer == "y" || answer == "Y" || answer == "yes") return true;
  std::fprintf(stderr, "mlops: nothing was changed\n");
  *exit_code = kOther;
  return false;
}

}  // namespace mlops::cli
