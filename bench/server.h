// Server: the real MLflow server of the delivery figures, one for all of a run, started by the first who asks (bench/
// server.py over tests/servers) and stopped with the program, however it ends. Also in a sibling: same server.
#pragma once

#include <string>
#include <vector>

namespace mlops::bench {

struct Server {
  std::string uri;  // http://127.0.0.1:port
  int port = 0;
  std::string python;  // of the environment that holds MLflow
};

/// Throws when it does not come up.
const Server& server();
/// Runs a program to its end; its first line of output. Throws when it fails.
std::string run_for_line(const std::vector<std::string>& command);

}  // namespace mlops::bench
