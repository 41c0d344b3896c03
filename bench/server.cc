#include "server.h"

#include <cstdlib>
#include <stdexcept>

#include "child.h"

namespace mlops::bench {
namespace {

constexpr const char* kInherited = "MLOPS_BENCH_SERVER";  // "URI PYTHON", for siblings

Server parse(const std::string& line) {
  const std::size_t space = line.find(' '), colon = line.rfind(':', space);
  if (space == std::string::npos || colon == std::string::npos)
    throw std::runtime_error("bench/server.py did not bring up a server");
  return {line.substr(0, space), std::atoi(line.c_str() + colon + 1), line.substr(space + 1)};
}

}  // namespace

const Server& server() {
  static const Server found = [] {
    if (const char* inherited = std::getenv(kInherited)) return parse(inherited);
    static Child child({"python3", std::string(MLOPS_BENCH_SOURCE_DIR) + "/bench/server.py"});
    const std::string line = child.line();
    Server made = parse(line);
    ::setenv(kInherited, line.c_str(), 1);
    return made;
  }();
  return found;
}

std::string run_for_line(const std::vector<std::string>& command) {
  Child child(command);
  std::string line = child.line();
  if (child.wait() != 0) throw std::runtime_error(command.front() + " " + command[1] + " failed");
  return line;
}

}  // namespace mlops::bench
