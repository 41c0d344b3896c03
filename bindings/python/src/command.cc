#include "command.h"

#include <pybind11/stl.h>

#include <csignal>
#include <cstdio>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "gil.h"

#ifdef MLOPS_PYTHON_COMMAND
int mlops_command(int argc, char** argv);  // main() of src/cli, renamed by CMake
#endif

namespace mlops_python {
namespace {

namespace py = pybind11;

// The exit code. Nothing where the module was built without the command.
std::optional<int> command([[maybe_unused]] std::vector<std::string> words) {
#ifdef MLOPS_PYTHON_COMMAND
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const Unlocked released;
  // As in a program of its own: Python ignores the one and catches the other.
  std::signal(SIGPIPE, SIG_DFL);
  std::signal(SIGINT, SIG_DFL);
  const int code = mlops_command(static_cast<int>(words.size()), argv.data());
  std::cout.flush();
  std::fflush(nullptr);
  return code;
#else
  return std::nullopt;
#endif
}

}  // namespace

void add_command(py::module_& module) { module.def("command", &command, py::arg("words")); }

}  // namespace mlops_python
