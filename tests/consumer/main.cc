// A consumer outside the tree: C++17, only the installed headers and libmlops. Logs without a server and reads it back.
// argv[1]: an empty folder for the buffer. Exit status 0 when what was logged is there.
#include <cstdio>
#include <string>

#include "mlops/mlops.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  mlops::Options options;
  options.root = argv[1];
  options.deliver = false;
  std::string id;
  {
    mlops::Client client = mlops::Client::open(options).value();
    mlops::Run run = client.start_run("consumer").value();
    id = run.id();
    if (!run.log_param("learning_rate", 1e-3).ok()) return 1;
    mlops::Metric loss = run.metric("loss");
    for (int step = 0; step < 1000; ++step) loss.log(1.0 / (1 + step), step);
    if (!run.end().ok() || !client.flush().ok() || !client.close().ok()) return 1;
  }
  mlops::Reader reader = mlops::Reader::open(options.root).value();
  mlops::RunSummary summary = reader.run(id).value();
  mlops::Series loss = reader.series(id, "loss").value();
  const bool right = summary.status == mlops::RunStatus::finished && loss.step.size() == 1000 && loss.value[3] == 0.25;
  std::printf("consumer: mlops %s, %zu points, %s\n", MLOPS_VERSION_STRING, loss.step.size(),
              right ? "right" : "WRONG");
  return right ? 0 : 1;
}
