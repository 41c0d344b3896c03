// Artifacts on their way out and back, through a real MLflow server (one worker) on loopback: `mlops sync` of files
// that lie hashed in the spool against curl, a raw uploader on as many connections and MLflow's own client; past the
// server where its artifacts are on S3; `mlops models pull` of what the cache has.
//
// Programs are measured whole, from outside. What a sync takes that brings one byte (its start, the run's beginning and
// end) is measured beside and taken off; curl's start is taken off nothing.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "child.h"
#include "mlops/mlops.h"
#include "server.h"
#include "support.h"

namespace mlops::bench {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMiB = std::size_t{1} << 20, kGiB = std::size_t{1} << 30;
constexpr int kConnections = 4;  // as many as the SDK takes at most

void must(const Status& s) {
  if (!s.ok()) throw std::runtime_error(s.to_string());
}

/// Random: no two blocks are alike.
void make_file(const std::string& path, std::size_t bytes) {
  std::ofstream out(path, std::ios::binary);
  std::mt19937_64 random(7);
  std::string block(std::min(bytes, kMiB), '\0');
  for (std::size_t done = 0; done < bytes; done += block.size()) {
    for (std::size_t i = 0; i + 8 <= block.size(); i += 8) {
      const std::uint64_t word = random();
      for (std::size_t b = 0; b < 8; ++b) block[i + b] = static_cast<char>(word >> (8 * b));
    }
    out << block;
  }
}

/// A run with what is at `path`, ended, hashed and named: a sync has only to send it.
void log_offline(const std::string& root, const std::string& path, const std::string& experiment = "bench") {
  Options options;
  options.root = root;
  options.deliver = false;
  Client client = Client::open(options).value();
  Run run = client.start_run(experiment).value();
  must(fs::is_directory(path) ? run.log_artifacts(path, "files") : run.log_artifact(path));
  must(client.flush(Level::durable, Millis(600'000)));
  must(run.end());
  must(client.close());
}

Life run(const std::vector<std::string>& command) { return lives(command, 1).front(); }
Life sync(const std::string& root, const std::string& uri) {
  return run({beside("mlops"), "sync", "--root", root, "--to", uri});
}
Life curl(std::vector<std::string> words) {
  words.insert(words.begin(), {"/usr/bin/curl", "--silent", "--show-error", "--fail", "--noproxy", "*"});
  return run(words);
}
std::string place(const std::string& uri, const std::string& path) {
  return uri + "/api/2.0/mlflow-artifacts/artifacts/bench/" + path;
}

/// A sync that brings next to nothing. Fills the server's first-request caches, too.
Life tiny_sync(const std::string& folder, const std::string& uri) {
  make_file(folder + "/tiny", 8);
  std::vector<double> wall, peak;
  Life middle;
  for (int i = 0; i < 4; ++i) {
    const std::string root = folder + "/tiny-root" + std::to_string(i);
    log_offline(root, folder + "/tiny");
    const Life life = sync(root, uri);
    if (i == 0) continue;
    wall.push_back(life.wall_ms);
    peak.push_back(life.peak_mb);
  }
  middle.wall_ms = median(wall);
  middle.peak_mb = median(peak);
  return middle;
}

void big(Report& report) {
  const TempFolder folder;
  const std::string file = folder.path() + "/file", uri = server().uri;
  make_file(file, kGiB);
  const Life tiny = tiny_sync(folder.path(), uri);
  std::vector<double> ours, theirs, ratios, peaks;
  for (int i = 0; i < 5; ++i) {
    const std::string root = folder.path() + "/root";
    log_offline(root, file);
    const auto peer = [&] { theirs.push_back(curl({"-T", file, place(uri, std::to_string(i))}).wall_ms * 1e-3); };
    if (i % 2 != 0) peer();
    const Life life = sync(root, uri);
    if (i % 2 == 0) peer();
    ours.push_back((life.wall_ms - tiny.wall_ms) * 1e-3);
    ratios.push_back(ours.back() / theirs.back());
    peaks.push_back(life.peak_mb);
    fs::remove_all(root);
  }
  const std::string name = "upload of one file of 1 GiB through MLflow's proxy, 5 rounds";
  report.add(
      {name, median(ours), "s", "curl -T, in pairs", median(ours) / median(ratios), Better::less, 1.05, Goal::ratio});
  report.add({name + ": beyond it, the sync's start, the run's beginning and end", tiny.wall_ms * 1e-3, "s"});
  report.add(
      {name + ": peak RSS above a sync of one byte", median(peaks) - tiny.peak_mb, "MB", "", 0, Better::less, 20});
}

void small(Report& report) {
  const char* full = std::getenv("MLOPS_BENCH_FULL");
  const int files = full != nullptr ? 10'000 : 2'000;
  const int rounds = 3;
  const TempFolder folder;
  const std::string in = folder.path() + "/in", uri = server().uri;
  fs::create_directory(in);
  for (int i = 0; i < files; ++i) {
    std::ofstream(in + "/" + std::to_string(i)) << i << std::string(1024 - std::to_string(i).size(), 'x');
  }
  const Life tiny = tiny_sync(folder.path(), uri);
  std::vector<double> ours, raw, ratios, official, peaks, cpu;
  for (int i = 0; i < rounds; ++i) {
    const std::string root = folder.path() + "/root", list = folder.path() + "/list";
    log_offline(root, in);
    {
      std::ofstream out(list);
      for (int f = 0; f < files; ++f) {
        out << (f == 0 ? "" : "next\n") << "silent\nfail\nupload-file = \"" << in << "/" << f << "\"\nurl = \""
            << place(uri, "small" + std::to_string(i) + "/" + std::to_string(f)) << "\"\n";
      }
    }
    const auto peer = [&] {
      const Life life =
          curl({"--no-progress-meter", "--parallel", "--parallel-max", std::to_string(kConnections), "-K", list});
      raw.push_back(files / life.wall_ms * 1e3);
    };
    if (i % 2 != 0) peer();
    const Life life = sync(root, uri);
    if (i % 2 == 0) peer();
    ours.push_back(files / (life.wall_ms - tiny.wall_ms) * 1e3);
    ratios.push_back(ours.back() / raw.back());
    peaks.push_back(life.peak_mb);
    cpu.push_back(life.cpu_ms * 1e3 / files);
    const std::string script = std::string(MLOPS_BENCH_SOURCE_DIR) + "/bench/official_files.py";
    official.push_back(files / std::stod(run_for_line({server().python, script, uri, in})));
    fs::remove_all(root);
  }
  const std::string name = std::to_string(files) + " files of 1 KiB through MLflow's proxy, " +
                           std::to_string(kConnections) + " connections, " + std::to_string(rounds) + " rounds";
  report.add({name, median(ours), "files/s", "curl --parallel, in pairs", median(ours) / median(ratios), Better::more,
              0.9, Goal::ratio});
  report.add({name, median(ours), "files/s", "MLflow's client, log_artifacts", median(official), Better::more, 2,
              Goal::ratio});
  report.add({name + ": own CPU per file", median(cpu), "us"});
  report.add(
      {name + ": peak RSS above a sync of one byte", median(peaks) - tiny.peak_mb, "MB", "", 0, Better::less, 20});
}

/// What the host of a virtual machine has taken back costs whoever touches it first: a tenth of a second to four for a
/// GiB, seen as time that a store takes to write. Touched here, it is there for whoever is measured next.
void warm_memory() {
  ::sync();
  const std::size_t bytes = 4 * kGiB;
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return;
  for (std::size_t i = 0; i < bytes; i += 4'096) static_cast<volatile char*>(at)[i] = 1;
  ::munmap(at, bytes);
}

void s3(Report& report) {
  const TempFolder folder;
  const std::string file = folder.path() + "/file";
  make_file(file, kGiB);
  Child child({"python3", std::string(MLOPS_BENCH_SOURCE_DIR) + "/bench/server.py", "s3"});
  const std::string line = child.line();
  const std::string uri = line.substr(0, line.find(' '));
  if (uri.compare(0, 7, "http://") != 0) throw std::runtime_error("bench/server.py s3 did not bring up servers");
  const auto ask = [&](const std::string& words) {
    child.say(words);
    return child.line();
  };
  // Runs of this experiment have their artifacts in the bucket itself, for who has its keys.
  std::vector<std::string> direct = {"/usr/bin/env"};
  std::istringstream variables(ask("direct"));
  for (std::string variable; variables >> variable;) direct.push_back(variable);
  const Life tiny = tiny_sync(folder.path(), uri);
  const std::string root = folder.path() + "/root";
  std::vector<double> presigned, straight, proxied, boto, cpu, proxied_cpu, peaks, straight_peaks;
  std::vector<double> to_proxied, to_boto, straight_to_proxied, straight_to_boto;
  constexpr int kRounds = 5;
  for (int i = 0; i < kRounds; ++i) {
    warm_memory();
    boto.push_back(std::stod(ask("put " + file)));
    ask("clear");
    const auto ours = [&](const std::string& experiment, std::vector<std::string> command, std::vector<double>* wall,
                          std::vector<double>* peak) {
      log_offline(root, file, experiment);
      command.insert(command.end(), {beside("mlops"), "sync", "--root", root, "--to", uri});
      warm_memory();
      const double before = std::stod(ask("cpu"));
      const Life life = run(command);
      if (wall == &presigned) cpu.push_back(std::stod(ask("cpu")) - before);
      wall->push_back((life.wall_ms - tiny.wall_ms) * 1e-3);
      peak->push_back(life.peak_mb - tiny.peak_mb);
      fs::remove_all(root);
      ask("clear");
    };
    if (i % 2 == 0) ours("bench", {}, &presigned, &peaks);
    ours("direct", direct, &straight, &straight_peaks);
    if (i % 2 != 0) ours("bench", {}, &presigned, &peaks);
    warm_memory();
    const double before = std::stod(ask("cpu"));
    proxied.push_back(curl({"-T", file, place(uri, "whole")}).wall_ms * 1e-3);
    proxied_cpu.push_back(std::stod(ask("cpu")) - before);
    ask("clear");
    to_proxied.push_back(proxied.back() / presigned.back());
    to_boto.push_back(boto.back() / presigned.back());
    straight_to_proxied.push_back(proxied.back() / straight.back());
    straight_to_boto.push_back(boto.back() / straight.back());
  }
  const std::string rounds = ", " + std::to_string(kRounds) + " rounds";
  const char *through = "curl -T through the proxy", *past = "boto3 straight to S3";
  const auto row = [&](const std::string& name, double seconds, const char* peer, double ratio, bool goal) {
    const double rate = kGiB * 1e-6 / seconds;
    if (goal) report.add({name, rate, "MB/s", peer, rate / ratio, Better::more, 2, Goal::ratio});
    if (!goal) report.add({name, rate, "MB/s", peer, rate / ratio, Better::more});
  };
  std::string name = "1 GiB to S3 (versitygw) in presigned parts, MLflow's server asked for them" + rounds;
  row(name, median(presigned), through, median(to_proxied), true);
  row(name, median(presigned), past, median(to_boto), false);
  report.add({name + ": CPU of MLflow's server", median(cpu), "s", through, median(proxied_cpu), Better::less, 0.1,
              Goal::ratio});
  report.add({name + ": peak RSS above a sync of one byte", median(peaks), "MB", "", 0, Better::less, 20});
  name = "1 GiB to S3 (versitygw) in parts, with its keys" + rounds;
  row(name, median(straight), through, median(straight_to_proxied), true);
  row(name, median(straight), past, median(straight_to_boto), false);
  report.add({name + ": peak RSS above a sync of one byte", median(straight_peaks), "MB", "", 0, Better::less, 20});
}

void pull(Report& report) {
  const TempFolder folder;
  const std::string uri = server().uri, name = "bench-pull-" + std::to_string(now_ns());
  make_file(folder.path() + "/weights.bin", 16 * kMiB);
  {
    Options options;
    options.root = folder.path() + "/root";
    options.tracking_uri = uri;
    Client client = Client::open(options).value();
    Run run = client.start_run("bench").value();
    const LoggedModel model = run.log_model("model", {{folder.path() + "/weights.bin", "weights.bin"}}).value();
    RegisterOptions of;
    of.logged_model = model.id();
    Pending version = run.register_model("", name, of).value();
    Pending alias = client.registry().set_alias(name, "champion", version).value();
    must(run.end());
    const PendingStatus settled = alias.wait(Millis(60'000)).value();
    if (settled.state != PendingState::done) throw std::runtime_error(settled.status.to_string());
    must(client.close());
  }
  const std::vector<std::string> ours = {
      beside("mlops"),          "models", "pull", "models:/" + name + "@champion", folder.path() + "/live", "--cache",
      folder.path() + "/cache", "--to",   uri};
  const std::string url = uri + "/api/2.0/mlflow/registered-models/alias?name=" + name + "&alias=champion";
  run(ours);
  std::vector<double> mine, theirs;
  for (int i = 0; i < 40; ++i) {
    mine.push_back(run(ours).wall_ms);
    theirs.push_back(curl({url}).wall_ms);
  }
  report.add({"mlops models pull of a cached model that has not moved, the whole program, 40 pairs", median(mine), "ms",
              "curl of that request", median(theirs), Better::less, 2, Goal::ratio});
}

const Group gbig("uploads.big", big);
const Group gsmall("uploads.small", small);
const Group gs3("uploads.s3", s3);
const Group gpull("uploads.pull", pull);

}  // namespace
}  // namespace mlops::bench
