// What system metrics cost: CPU time of the sampler's own thread per sample, at an interval at which it does nothing
// else but sample, and what that makes of a core at the default interval.
#include <mlops/mlops.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

#include "support.h"

namespace mlops::bench {
namespace {

constexpr double kSamples = 200;
constexpr const char* kThread = "mlops-system";

std::int64_t samples_so_far(const std::string& root, const std::string& id) {
  const Result<Reader> reader = Reader::open(root);
  if (!reader.ok()) return 0;
  const Result<RunSummary> run = reader->run(id);
  if (!run.ok()) return 0;
  for (const MetricSummary& metric : run->metrics) {
    if (metric.name == "system/disk_usage_percentage") return static_cast<std::int64_t>(metric.count);
  }
  return 0;
}

const Group g("system", [](Report& report) {
  const TempFolder folder;
  Options options;
  options.root = folder.path() + "/root";
  options.deliver = false;
  options.system_metrics.enabled = true;
  options.system_metrics.interval = Millis(20);
  Result<Client> client = Client::open(options);
  if (!client.ok()) throw std::runtime_error(client.status().to_string());
  Result<Run> run = client->start_run("bench");
  if (!run.ok()) throw std::runtime_error(run.status().to_string());
  const auto wait_for = [&](double samples) {
    while (static_cast<double>(samples_so_far(options.root, run->id())) < samples) ::usleep(50'000);
  };
  wait_for(20);  // the first ones open files that nobody read before
  const std::uint64_t cpu = threads_cpu_ns(kThread);
  const double before = static_cast<double>(samples_so_far(options.root, run->id()));
  wait_for(before + kSamples);
  const double taken = static_cast<double>(samples_so_far(options.root, run->id())) - before;
  const double us = static_cast<double>(threads_cpu_ns(kThread) - cpu) / 1e3 / taken;
  const double interval_us = static_cast<double>(SystemMetrics().interval.count()) * 1e3;
  report.add({"system metrics: CPU time of one sample, logged", us, "us"});
  report.add({"system metrics at the default interval: our thread, of one core",
              100 * us / interval_us,
              "%",
              {},
              0,
              Better::less,
              0.1});
  run->end().ignore();
  client->close().ignore();
});

}  // namespace
}  // namespace mlops::bench
