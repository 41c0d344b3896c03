// mlops_bench_trainer: a program that logs at a pace, to be looked at from outside.
//
//   mlops_bench_trainer ROOT [--uri URI] [--rate N] [--points N] [--metrics 20]
//
// Prints "started OPEN_MS START_MS" (Client::open, start_run), logs `rate` points a second, in bursts every 10 ms
// (every ms above 10,000), until `points` are logged or, with 0, its input ends; then prints "logged POINTS" and exits
// as a short program does. Without --rate it logs all it can. With --points 0 --rate 0 it opens nothing: the empty
// program.
#include <fcntl.h>
#include <mlops/mlops.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct Plan {
  mlops::Options options;
  std::uint64_t rate = 0, points = 0, metrics = 20;
};

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "mlops_bench_trainer: %s\n", what.c_str());
  ::_exit(1);
}

double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

bool input_ended() {
  char byte = 0;
  return ::read(STDIN_FILENO, &byte, 1) == 0;
}

/// As uneven as a loss, and float32 in origin as most are.
double value_at(std::uint64_t index) {
  const std::uint64_t h = index * 0x9E3779B97F4A7C15ull;
  return static_cast<double>(static_cast<float>(h >> 40) * 0x1p-24f);
}

std::uint64_t log_points(mlops::Run* run, const Plan& plan) {
  std::vector<mlops::Metric> metrics;
  for (std::uint64_t m = 0; m < plan.metrics; ++m) metrics.push_back(run->metric("train/metric_" + std::to_string(m)));
  const std::uint64_t most = plan.points == 0 ? std::numeric_limits<std::uint64_t>::max() : plan.points;
  const std::uint64_t bursts = plan.rate > 10'000 ? 1'000 : 100;  // a second
  Clock::time_point due = Clock::now();
  std::uint64_t logged = 0, owed = 0;
  for (std::uint64_t burst = 0; logged < most; ++burst) {
    owed = plan.rate == 0 ? most : (burst + 1) * plan.rate / bursts;
    for (; logged < owed && logged < most; ++logged)
      metrics[logged % plan.metrics].log(value_at(logged), static_cast<std::int64_t>(logged / plan.metrics));
    if (plan.rate == 0) continue;
    if (plan.points == 0 && burst % 10 == 0 && input_ended()) break;
    due += std::chrono::nanoseconds(1'000'000'000 / bursts);
    std::this_thread::sleep_until(due);
  }
  return logged;
}

}  // namespace

int main(int argc, char** argv) {
  Plan plan;
  if (argc < 2 || argc % 2 != 0) die("usage: ROOT [--uri URI] [--rate N] [--points N] [--metrics N]");
  plan.options.root = argv[1];
  plan.options.full_wait = mlops::Millis(60'000);
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const std::uint64_t number = std::strtoull(argv[i + 1], nullptr, 10);
    if (name == "--uri")
      plan.options.tracking_uri = argv[i + 1];
    else if (name == "--rate")
      plan.rate = number;
    else if (name == "--points")
      plan.points = number;
    else if (name == "--metrics")
      plan.metrics = number;
    else
      die("unknown option " + std::string(name));
  }
  if (plan.metrics == 0) die("--metrics 0");
  if (plan.rate == 0 && plan.points == 0) {
    std::printf("started 0 0\n");
    std::fflush(stdout);
    while (!input_ended()) {
    }
    return 0;
  }
  const Clock::time_point begin = Clock::now();
  mlops::Result<mlops::Client> client = mlops::Client::open(plan.options);
  if (!client.ok()) die(client.status().to_string());
  const double open_ms = ms_since(begin);
  mlops::Result<mlops::Run> run = client->start_run("scale");
  if (!run.ok()) die(run.status().to_string());
  std::printf("started %.3f %.3f\n", open_ms, ms_since(begin) - open_ms);
  std::fflush(stdout);
  if (plan.points == 0) ::fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
  const std::uint64_t logged = log_points(&*run, plan);
  const mlops::Health health = client->health();
  for (const auto& [reason, count] : health.dropped)
    if (count != 0) die(std::to_string(count) + " points were dropped: " + reason);
  std::printf("logged %llu\n", static_cast<unsigned long long>(logged));
  std::fflush(stdout);
  return 0;
}
