// A model's life: trained without a server, registered, promoted by a gate, served, rolled back.
//   example_registry train NAME LEARNING_RATE   trains without a network, registers a version of NAME; prints its write
//   example_registry ship NAME PENDING          waits for that version, lets the gate decide, promotes it to champion
//   example_registry serve NAME                 pulls champion, verified by digest, and asks it
//   example_registry back NAME                  rolls champion back
// What `train` left is delivered by `mlops sync --to URI`; the others take MLFLOW_TRACKING_URI.
#include <mlops/mlops.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

namespace {

int fail(const mlops::Status& status) {
  std::fprintf(stderr, "registry: %s\n", status.to_string().c_str());
  return 1;
}

int train(const std::string& name, double rate) {
  mlops::Options options;
  options.deliver = false;  // in a plane, on a ship, in a cellar
  auto client = mlops::Client::open(options);
  if (!client.ok()) return fail(client.status());
  auto run = client->start_run("registry");
  if (!run.ok()) return fail(run.status());
  if (auto s = run->log_param("learning_rate", rate); !s.ok()) return fail(s);
  double weight = 0;
  for (int step = 0; step < 50; ++step) {
    weight -= rate * 2 * (weight - 3);  // finds 3
    if (auto s = run->log_metric("loss", (weight - 3) * (weight - 3), step); !s.ok()) return fail(s);
  }
  std::ofstream("weight.txt") << weight << '\n';
  mlops::ModelInfo info;
  info.params = {{"learning_rate", std::to_string(rate)}};
  auto model = run->log_model("line", {{"weight.txt"}}, info);
  if (!model.ok()) return fail(model.status());
  mlops::RegisterOptions files;
  files.logged_model = model->id();
  auto version = run->register_model("", name, files);  // appears when the files are there
  if (!version.ok()) return fail(version.status());
  if (auto s = client->flush(mlops::Level::durable); !s.ok()) return fail(s);
  std::printf("%s\n", version->id().c_str());
  return 0;
}

int ship(const std::string& name, std::string_view id) {
  auto client = mlops::Client::open();
  if (!client.ok()) return fail(client.status());
  const mlops::Registry registry = client->registry();
  auto pending = registry.pending(id);
  if (!pending.ok()) return fail(pending.status());
  auto version = pending->version();
  if (!version.ok()) return fail(version.status());
  mlops::GateOptions gate;
  gate.allow_first = true;
  auto report = registry.gate({"loss < 0.01", "loss <= champion"}, name, *version, gate);
  if (!report.ok()) return fail(report.status());
  for (const mlops::GateCheck& check : report->checks) {
    std::printf("%s: %s\n", check.rule.c_str(), check.passed ? "passed" : "failed");
  }
  if (!report->passed) return 1;
  mlops::PromoteOptions why;
  why.why = "passed the gate";
  auto promoted = registry.promote(name, *version, "champion", why);
  if (!promoted.ok()) return fail(promoted.status());
  auto settled = promoted->wait();
  if (!settled.ok()) return fail(settled.status());
  if (settled->state != mlops::PendingState::done) return fail(settled->status);
  std::printf("version %s serves\n", settled->version.c_str());
  return 0;
}

int serve(const std::string& name) {
  auto registry = mlops::Registry::open();
  if (!registry.ok()) return fail(registry.status());
  auto pulled = registry->pull("models:/" + name + "@champion", "serving");
  if (!pulled.ok()) return fail(pulled.status());
  double weight = 0;
  if (!(std::ifstream(pulled->path + "/weight.txt") >> weight)) return 1;
  std::printf("version %s, %s: f(2) = %.3f\n", pulled->version.version.c_str(),
              pulled->verified ? "every file as it was logged" : "not verified", 2 * weight);
  return 0;
}

int back(const std::string& name) {
  auto client = mlops::Client::open();
  if (!client.ok()) return fail(client.status());
  auto pending = client->registry().rollback(name, "champion");
  if (!pending.ok()) return fail(pending.status());
  auto settled = pending->wait();
  if (!settled.ok()) return fail(settled.status());
  if (settled->state != mlops::PendingState::done) return fail(settled->status);
  std::printf("version %s serves again\n", settled->version.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (what == "train" && argc == 4) return train(argv[2], std::atof(argv[3]));
  if (what == "ship" && argc == 4) return ship(argv[2], argv[3]);
  if (what == "serve" && argc == 3) return serve(argv[2]);
  if (what == "back" && argc == 3) return back(argv[2]);
  std::fprintf(stderr,
               "usage: example_registry train NAME LEARNING_RATE | ship NAME PENDING | serve NAME | back NAME\n");
  return 2;
}
