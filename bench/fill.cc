// mlops_bench_fill: fills a root as many processes would, for the figures at scale.
//
//   mlops_bench_fill ROOT --slots 64 --runs 10000 --points 20 --metrics 5 [--leave closed|killed|live]
//                   [--journal-mib 256]
//
// One process per slot, all of them at once; each starts its share of the runs (with 8 params, 4 tags of its own and
// the SDK's) and logs `points` points into each, spread over `metrics` metrics. closed: runs ended, clients closed;
// killed: every process is killed once all is durable; live: they stay until standard input ends. Prints "ready\n".
#include <mlops/mlops.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct Plan {
  std::string root, leave = "closed";
  std::uint64_t slots = 1, runs = 1, points = 20, metrics = 5, journal_mib = 256;
};

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "mlops_bench_fill: %s\n", what.c_str());
  ::_exit(1);
}

void check(const mlops::Status& status) {
  if (!status.ok()) die(status.to_string());
}

/// `go_in` gives a byte when every process holds its slot; `stop_in` ends when the living ones may go.
int work(const Plan& plan, std::uint64_t index, int ready_out, int go_in, int stop_in) {
  mlops::Options options;
  options.root = plan.root;
  options.deliver = false;
  options.journal_mib = static_cast<std::uint32_t>(plan.journal_mib);
  options.full_wait = mlops::Millis(60'000);
  options.exit_deadline = mlops::Millis(600'000);
  mlops::Result<mlops::Client> client = mlops::Client::open(options);
  if (!client.ok()) die(client.status().to_string());
  char byte = 'r';
  if (::write(ready_out, &byte, 1) != 1 || ::read(go_in, &byte, 1) != 1) die("the others are gone");

  std::vector<mlops::Run> kept;
  const std::uint64_t first = plan.runs * index / plan.slots, end = plan.runs * (index + 1) / plan.slots;
  for (std::uint64_t number = first; number < end; ++number) {
    mlops::RunOptions run_options;
    run_options.name = "run-" + std::to_string(number);
    run_options.tags = {{"stage", number % 3 == 0 ? "train" : "sweep"}, {"host.kind", "bench"}};
    mlops::Result<mlops::Run> run = client->start_run("scale-" + std::to_string(number % 10), run_options);
    if (!run.ok()) die(run.status().to_string());
    for (int p = 0; p < 8; ++p)
      check(run->log_param("param_" + std::to_string(p), 0.001 * static_cast<double>(number)));
    std::vector<mlops::Metric> metrics;
    for (std::uint64_t m = 0; m < plan.metrics; ++m) metrics.push_back(run->metric("metric_" + std::to_string(m)));
    const std::uint64_t steps = plan.points / plan.metrics;
    for (std::uint64_t step = 0; step < steps; ++step) {
      for (std::size_t m = 0; m < metrics.size(); ++m) {
        const double x = static_cast<double>(step) / static_cast<double>(steps);
        metrics[m].log(static_cast<float>(std::exp(-3 * x) + 0.05 * std::sin(40 * x + static_cast<double>(number + m))),
                       static_cast<std::int64_t>(step));
      }
    }
    if (plan.leave == "closed") {
      check(run->end());
    } else {
      kept.push_back(std::move(*run));
    }
  }
  check(client->flush(mlops::Level::durable, mlops::Millis(600'000)));
  if (plan.leave == "closed") check(client->close());
  if (::write(ready_out, &byte, 1) != 1) die("the parent is gone");
  if (plan.leave == "killed") ::raise(SIGKILL);
  if (plan.leave == "live" && ::read(stop_in, &byte, 1) < 0) die("lost the parent");
  return 0;
}

void take(int fd, std::uint64_t count) {
  for (char byte = 0; count > 0; --count) {
    if (::read(fd, &byte, 1) != 1) die("a process died");
  }
}

}  // namespace

int main(int argc, char** argv) {
  Plan plan;
  if (argc < 2 || argc % 2 != 0) die("usage: ROOT [--slots N] [--runs N] [--points N] [--metrics N] [--leave HOW]");
  plan.root = argv[1];
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const auto number = [&] { return std::strtoull(argv[i + 1], nullptr, 10); };
    if (name == "--slots")
      plan.slots = number();
    else if (name == "--runs")
      plan.runs = number();
    else if (name == "--points")
      plan.points = number();
    else if (name == "--metrics")
      plan.metrics = number();
    else if (name == "--journal-mib")
      plan.journal_mib = number();
    else if (name == "--leave")
      plan.leave = argv[i + 1];
    else
      die("unknown option " + std::string(name));
  }
  int ready[2], go[2], stop[2];
  if (::pipe(ready) != 0 || ::pipe(go) != 0 || ::pipe(stop) != 0) die("no pipe");
  for (std::uint64_t index = 0; index < plan.slots; ++index) {
    const pid_t child = ::fork();
    if (child < 0) die("no process");
    if (child == 0) {
      for (const int fd : {ready[0], go[1], stop[1]}) ::close(fd);
      return work(plan, index, ready[1], go[0], stop[0]);
    }
  }
  for (const int fd : {ready[1], go[0], stop[0]}) ::close(fd);
  take(ready[0], plan.slots);
  const std::string bytes(plan.slots, 'g');
  if (::write(go[1], bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) die("no pipe");
  take(ready[0], plan.slots);
  if (plan.leave != "live") {
    while (::wait(nullptr) > 0) {
    }
  }
  std::printf("ready\n");
  std::fflush(stdout);
  if (plan.leave == "live") {
    while (std::getchar() != EOF) {
    }
    ::close(stop[1]);
    while (::wait(nullptr) > 0) {
    }
  }
  return 0;
}
