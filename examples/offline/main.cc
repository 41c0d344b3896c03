// Logs with no server at all, and delivers later: in this process or in another one, today or next week.
//   example_offline                      logs one run into ./.mlops
//   example_offline --to URI             delivers what is in ./.mlops, and logs nothing
#include <mlops/mlops.h>

#include <cmath>
#include <cstdio>
#include <string_view>

namespace {

int fail(const mlops::Status& status) {
  std::fprintf(stderr, "offline: %s\n", status.to_string().c_str());
  return 1;
}

int log_one_run() {
  mlops::Options options;
  options.deliver = false;  // whatever MLFLOW_TRACKING_URI says
  auto client = mlops::Client::open(options);
  if (!client.ok()) return fail(client.status());
  auto run = client->start_run("offline");
  if (!run.ok()) return fail(run.status());
  if (auto s = run->log_params({{"learning_rate", 0.1}, {"optimizer", "sgd"}}); !s.ok()) return fail(s);
  mlops::Metric loss = run->metric("loss");
  for (int step = 0; step < 1000; ++step) loss.log(1.0 / (1 + 0.01 * step) + 0.01 * std::sin(step), step);
  if (auto s = run->end(); !s.ok()) return fail(s);
  if (auto s = client->flush(mlops::Level::durable); !s.ok()) return fail(s);
  std::printf("run %s (%s) is in %s\ndeliver it with: example_offline --to http://127.0.0.1:5000\n",
              run->name().c_str(), run->id().c_str(), client->root().c_str());
  return 0;
}

int deliver_to(const char* uri) {
  mlops::DeliverOptions options;
  options.to = uri;
  options.on_progress = [](const mlops::DeliverProgress& p) {
    std::fprintf(stderr, "\r%llu of %llu points", static_cast<unsigned long long>(p.delivered),
                 static_cast<unsigned long long>(p.total));
  };
  auto report = mlops::deliver(options);
  std::fprintf(stderr, "\n");
  if (!report.ok()) return fail(report.status());
  std::printf("delivered %llu points of %llu runs in %llu requests\n", static_cast<unsigned long long>(report->points),
              static_cast<unsigned long long>(report->runs), static_cast<unsigned long long>(report->requests));
  return report->status.ok() ? 0 : fail(report->status);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 1) return log_one_run();
  if (argc == 3 && std::string_view(argv[1]) == "--to") return deliver_to(argv[2]);
  std::fprintf(stderr, "usage: example_offline [--to URI]\n");
  return 2;
}
