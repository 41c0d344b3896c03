// At scale: roots as they are after months. Listing, one long run, a backlog before a server that costs nothing, and
// how well the time to deliver is estimated before one that does.
#include "scale.h"

#include <mlops/mlops.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "server.h"
#include "sink.h"

namespace mlops::bench {

bool full_scale() {
  const char* set = std::getenv("MLOPS_BENCH_FULL");
  return set != nullptr && *set != '\0' && *set != '0';
}

Life fill(const std::string& root, const std::vector<std::string>& options) {
  std::vector<std::string> command = {beside("mlops_bench_fill"), root};
  command.insert(command.end(), options.begin(), options.end());
  return lives(command, 1).front();
}

std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

double median_of(const std::vector<Life>& all, double Life::* field) {
  std::vector<double> values;
  for (const Life& life : all) values.push_back(life.*field);
  return median(values);
}

namespace {

double most(const std::vector<Life>& all, double Life::* field) {
  double value = 0;
  for (const Life& life : all) value = std::max(value, life.*field);
  return value;
}

/// Rows of a command that a person waits for.
void add_command(Report& report, const std::string& name, const std::vector<std::string>& words) {
  constexpr int kLives = 9;
  std::vector<std::string> command = {beside("mlops")};
  command.insert(command.end(), words.begin(), words.end());
  (void)lives(command, 2);  // the page cache is warm
  const std::vector<Life> all = lives(command, kLives);
  report.add({name + ", median of " + std::to_string(kLives) + ": wall", median_of(all, &Life::wall_ms), "ms", "", 0,
              Better::less, 100});
  report.add({name + ": CPU", median_of(all, &Life::cpu_ms), "ms"});
  report.add({name + ": peak RSS", most(all, &Life::peak_mb), "MB", "", 0, Better::less, 50});
}

const Group glisting("scale.listing", [](Report& report) {
  for (const std::string leave : {"closed", "killed", "live"}) {
    const TempFolder folder;
    const std::string root = folder.path() + "/root";
    Child filler({beside("mlops_bench_fill"), root, "--slots", "64", "--runs", "10000", "--leave", leave});
    if (filler.line() != "ready") throw std::runtime_error("mlops_bench_fill failed");
    add_command(report, "mlops runs, 10,000 runs in 64 slots, all " + leave, {"runs", "--root", root});
  }
});

const Group gshow("scale.show", [](Report& report) {
  const TempFolder folder;
  const std::string root = folder.path() + "/root";
  fill(root, {"--runs", "1", "--points", "10000000", "--metrics", "20"});
  const std::string json = run_for_line({beside("mlops"), "runs", "--root", root, "--json"});
  const std::string mark = "\"id\":\"";
  const std::size_t at = json.find(mark);
  if (at == json.npos) throw std::runtime_error("no run in " + json.substr(0, 200));
  add_command(report, "mlops show, a run with 10 M points in 20 metrics",
              {"show", json.substr(at + mark.size(), 32), "--root", root});
});

struct Backlog {
  double points = 0;
  Life stored, listed, walked;
};

/// Runs of 100,000 points each in one slot, listed, then delivered by `mlops sync` to a server that costs nothing.
Backlog backlog(std::uint64_t runs) {
  constexpr std::uint64_t kPointsEach = 100'000;
  const TempFolder folder;
  const std::string root = folder.path() + "/root";
  Backlog b;
  b.points = static_cast<double>(runs * kPointsEach);
  b.stored = fill(root, {"--runs", std::to_string(runs), "--points", std::to_string(kPointsEach), "--metrics", "20",
                         "--journal-mib", "64"});
  b.listed = lives({beside("mlops"), "runs", "--root", root}, 1).front();
  const Sink sink;
  b.walked = lives({beside("mlops"), "sync", "--root", root, "--to", sink.uri()}, 1).front();
  if (static_cast<double>(sink.batches()) * 999 < b.points)
    throw std::runtime_error("only " + std::to_string(sink.batches()) + " batches came");
  return b;
}

const Group gbacklog("scale.backlog", [](Report& report) {
  const std::uint64_t runs = full_scale() ? 1'000 : 100;
  const Backlog small = backlog(10), large = backlog(runs);
  const std::string name = "backlog of " + grouped(runs / 10) + " M points (" + grouped(runs) + " runs): ";
  const std::string than = "1 M points (10 runs)";
  report.add({name + "stored, CPU per point, logging included", 1e3 * large.stored.cpu_ms / large.points, "us/point",
              than, 1e3 * small.stored.cpu_ms / small.points});
  report.add({name + "stored, peak RSS, journal cap 64 MiB", large.stored.peak_mb, "MB", than, small.stored.peak_mb});
  report.add({name + "listed, wall", large.listed.wall_ms, "ms", than, small.listed.wall_ms, Better::less, 100});
  report.add({name + "listed, peak RSS", large.listed.peak_mb, "MB", than, small.listed.peak_mb, Better::less, 50});
  const std::string sync = name + "mlops sync to a sink that answers at once, ";
  report.add({sync + "CPU per point", 1e3 * large.walked.cpu_ms / large.points, "us/point", than,
              1e3 * small.walked.cpu_ms / small.points, Better::less, 1.05, Goal::ratio});
  report.add({sync + "wall per point", 1e3 * large.walked.wall_ms / large.points, "us/point", than,
              1e3 * small.walked.wall_ms / small.points, Better::less, 1.05, Goal::ratio});
  report.add({sync + "peak RSS", large.walked.peak_mb, "MB", than, small.walked.peak_mb, Better::less, 60});
});

const Group gestimate("scale.estimate", [](Report& report) {
  const TempFolder folder;
  const std::string root = folder.path() + "/root";
  const std::uint64_t runs = full_scale() ? 24 : 8;
  fill(root, {"--runs", std::to_string(runs), "--points", "20000", "--metrics", "20"});
  struct Look {
    double at = 0, left = -1, share = 0;
  };
  std::vector<Look> looks;
  DeliverOptions options;
  options.root = root;
  options.to = server().uri;
  options.deadline = Millis(300'000);
  const std::uint64_t begin = now_ns();
  const auto seconds = [&] { return static_cast<double>(now_ns() - begin) * 1e-9; };
  options.on_progress = [&](const DeliverProgress& p) {
    if (p.total != 0)
      looks.push_back({seconds(), p.seconds_left, static_cast<double>(p.delivered) / static_cast<double>(p.total)});
  };
  Result<DeliverReport> done = deliver(options);
  if (!done.ok()) throw std::runtime_error(done.status().to_string());
  if (!done->status.ok()) throw std::runtime_error(done->status.to_string());
  const double end = seconds();
  for (const double share : {0.1, 0.25, 0.5}) {
    const auto look = std::find_if(looks.begin(), looks.end(), [&](const Look& l) { return l.share >= share; });
    if (look == looks.end()) throw std::runtime_error("no progress was told");
    const double truth = end - look->at;
    const std::string name = "time to deliver " + grouped(runs * 20'000) + " points to MLflow, estimated after " +
                             std::to_string(static_cast<int>(100 * share)) + " %";
    report.add({name, look->left, "s", "what it took from there", truth});
    report.add({name + ": off by", 100 * std::fabs(look->left - truth) / truth, "%", "", 0, Better::less, 20});
  }
});

}  // namespace
}  // namespace mlops::bench
