// The short program of the README. Works with no server; with MLFLOW_TRACKING_URI set it is delivered as it runs.
#include <mlops/mlops.h>

#include <cmath>

int main() {
  mlops::Client client = mlops::Client::open().value();  // buffer in ./.mlops, delivered to $MLFLOW_TRACKING_URI if set
  mlops::Run run = client.start_run("embedded").value();  // experiment name; valid offline
  run.log_param("learning_rate", 1e-3).ignore();
  run.set_tag("kind", "example").ignore();

  mlops::Metric loss = run.metric("loss");  // look up once, then nanoseconds
  for (int step = 0; step < 10'000; ++step) loss.log(std::exp(-1e-3 * step), step);
}  // the run ends FINISHED; at most 10 s to deliver what waits (Options::exit_deadline), about 2 without a server
