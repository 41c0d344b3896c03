// At scale: programs that log while they are looked at: their memory, their start, many of them on one root, and
// `mlops sync --follow` beside one.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>

#include "scale.h"
#include "sink.h"

namespace mlops::bench {
namespace {

void sleep_seconds(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

std::vector<std::string> trainer(const std::string& root, std::uint64_t rate, std::uint64_t points,
                                 const std::string& uri = "") {
  std::vector<std::string> command = {beside("mlops_bench_trainer"), root,       "--rate",
                                      std::to_string(rate),          "--points", std::to_string(points)};
  if (!uri.empty()) command.insert(command.end(), {"--uri", uri});
  return command;
}

/// Open and start_run of a trainer that prints "started OPEN_MS START_MS", together.
double start_ms(Child* child) {
  std::istringstream line(child->line());
  std::string word;
  double open = 0, start = 0;
  line >> word >> open >> start;
  if (!line || word != "started") throw std::runtime_error("mlops_bench_trainer failed");
  return open + start;
}

void expect_end(Child* child) {
  if (child->wait() != 0) throw std::runtime_error("mlops_bench_trainer failed");
}

/// A trainer's memory in each third of its life: the most of ten looks a second.
std::vector<Memory> watch(const std::string& root, std::uint64_t rate, double seconds, const std::string& uri) {
  Child child(trainer(root, rate, 0, uri));
  (void)start_ms(&child);
  std::vector<Memory> thirds(3);
  for (Memory& third : thirds) {
    for (int look = 0; look < static_cast<int>(seconds / 3 * 10); ++look) {
      sleep_seconds(0.1);
      const Memory now = child.memory();
      third.own = std::max(third.own, now.own);
      third.rss = std::max(third.rss, now.rss);
    }
  }
  expect_end(&child);
  return thirds;
}

const Group gmemory("scale.memory", [](Report& report) {
  const double seconds = full_scale() ? 60 : 6;
  Memory empty;
  {
    const TempFolder folder;
    Child child(trainer(folder.path() + "/root", 0, 0));
    (void)start_ms(&child);
    empty = child.memory();
    expect_end(&child);
  }
  struct Kind {
    std::uint64_t rate;
    const char* where;
    const char* uri;
    double goal;
  };
  // Port 9 of loopback: nobody listens, so everything waits.
  const Kind kinds[] = {{1'000'000, "local only", "", 40},
                        {1'000'000, "server down", "http://127.0.0.1:9", 40},
                        {10'000, "local only", "", 20},
                        {10'000, "server down", "http://127.0.0.1:9", 20}};
  for (const Kind& kind : kinds) {
    const TempFolder folder;
    const std::vector<Memory> thirds = watch(folder.path() + "/root", kind.rate, seconds, kind.uri);
    const std::string name = "a trainer at " + grouped(kind.rate) + " points/s for " +
                             std::to_string(static_cast<int>(seconds)) + " s, " + kind.where + ": ";
    double own = 0, rss = 0;
    for (const Memory& third : thirds) {
      own = std::max(own, third.own);
      rss = std::max(rss, third.rss);
    }
    report.add({name + "anonymous, shared and dirty memory above an empty program's", own - empty.own, "MB", "", 0,
                Better::less, kind.goal});
    report.add({name + "total RSS", rss, "MB", "empty program", empty.rss});
    report.add(
        {name + "growth, last third over the middle one", thirds[2].own - thirds[1].own, "MB", "", 0, Better::less, 2});
  }
});

/// Wall and CPU, in ms, of a program that logs one point.
std::pair<double, double> short_program(const std::string& root, int times) {
  const std::vector<Life> all = lives(trainer(root, 0, 1), times);
  return {median_of(all, &Life::wall_ms), median_of(all, &Life::cpu_ms)};
}

/// What the device asks for a promise: the median of 100 appends of 4 KiB, each made durable.
double fdatasync_ms(const std::string& folder) {
  const std::string path = folder + "/appended";
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) throw std::runtime_error("cannot write " + path);
  const std::vector<char> block(4096, 'x');
  std::vector<double> all;
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t begin = now_ns();
    if (::write(fd, block.data(), block.size()) != static_cast<ssize_t>(block.size()) || ::fdatasync(fd) != 0)
      throw std::runtime_error("cannot write " + path);
    all.push_back(static_cast<double>(now_ns() - begin) * 1e-6);
  }
  ::close(fd);
  return median(all);
}

const Group gstart("scale.start", [](Report& report) {
  constexpr int kLives = 21;
  const TempFolder folder;
  const std::string root = folder.path() + "/root";
  std::vector<double> starts;
  for (int i = 0; i < kLives; ++i) {
    Child child(trainer(root, 0, 1));
    const double ms = start_ms(&child);
    expect_end(&child);
    if (i > 0) starts.push_back(ms);  // the first one makes the slot
  }
  report.add({"Client::open and start_run, warm, slot free, nothing to take over, median of 20", median(starts), "ms",
              "", 0, Better::less, 10});
  const std::string name = "a whole program with one point, local only, spawn to exit, median of 21: ";
  const auto [wall, cpu] = short_program(root, kLives);
  report.add({name + "wall", wall, "ms", "fdatasync of 4 KiB there", fdatasync_ms(folder.path()), Better::less, 40});
  report.add({name + "CPU", cpu, "ms", "a program that opens nothing",
              median_of(lives(trainer(root, 0, 0), kLives), &Life::cpu_ms)});
  const TempFolder memory("/dev/shm");
  report.add({name + "wall, root on tmpfs", short_program(memory.path() + "/root", kLives).first, "ms"});
});

const Group gcrowd("scale.crowd", [](Report& report) {
  constexpr std::size_t kProcesses = 64;
  const TempFolder folder;
  const std::string root = folder.path() + "/root";
  std::vector<std::unique_ptr<Child>> crowd;
  const std::uint64_t begin = now_ns();
  const auto seconds = [&] { return static_cast<double>(now_ns() - begin) * 1e-9; };
  std::vector<double> first, later;
  for (std::size_t i = 0; i < kProcesses; ++i) {
    crowd.push_back(std::make_unique<Child>(trainer(root, 1'000, 0)));
    sleep_seconds(std::max(0.0, static_cast<double>(i + 1) / kProcesses - seconds()));
  }
  const double spread = seconds();
  for (auto& child : crowd) first.push_back(start_ms(child.get()));
  std::uint64_t x = 1;
  for (int kill = 0; seconds() < spread + 10; ++kill) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    std::unique_ptr<Child>& victim = crowd[(x >> 33) % kProcesses];
    victim->send_signal(SIGKILL);
    (void)victim->wait();
    victim = std::make_unique<Child>(trainer(root, 1'000, 0));
    later.push_back(start_ms(victim.get()));
    sleep_seconds(std::max(0.0, spread + 0.1 * (kill + 1) - seconds()));
  }
  for (auto& child : crowd) child->send_signal(SIGKILL);
  const std::string name = "64 processes on one root, 1,000 points/s each, one killed every 100 ms and replaced: ";
  std::vector<double> all = first;
  all.insert(all.end(), later.begin(), later.end());
  report.add({name + "Client::open and start_run, median of " + grouped(all.size()), median(all), "ms", "", 0,
              Better::less, 50});
  report.add({name + "of the 64 that start within a second", median(first), "ms", "p95", percentile(first, 0.95)});
  report.add(
      {name + "of those that take a killed one's slot over", median(later), "ms", "p95", percentile(later, 0.95)});
});

const Group gfollow("scale.follow", [](Report& report) {
  const double warm = 4, seconds = full_scale() ? 60 : 15;
  const TempFolder folder;
  const std::string root = folder.path() + "/root";
  Child live(trainer(root, 2'000, 0));
  (void)start_ms(&live);
  Sink sink(true);
  Child follow({beside("mlops"), "sync", "--follow", "--root", root, "--to", sink.uri()});
  sleep_seconds(warm);
  (void)sink.lags();
  const double cpu = follow.cpu_seconds();
  const std::uint64_t begin = now_ns();
  sleep_seconds(seconds);
  const double used = follow.cpu_seconds() - cpu, took = static_cast<double>(now_ns() - begin) * 1e-9;
  std::vector<double> lags = sink.lags();
  const Memory memory = follow.memory();
  follow.send_signal(SIGTERM);
  (void)follow.wait();
  expect_end(&live);
  const std::string name = "mlops sync --follow beside a trainer of 2,000 points/s, " +
                           std::to_string(static_cast<int>(seconds)) + " s, server answers at once: ";
  report.add({name + "points/s", static_cast<double>(lags.size()) / took, "points/s"});
  report.add({name + "log() to arrival, p50", percentile(lags, 0.5), "s"});
  report.add({name + "log() to arrival, p95", percentile(lags, 0.95), "s", "", 0, Better::less, 2});
  report.add({name + "CPU, of one core", 100 * used / took, "%", "", 0, Better::less, 2});
  report.add({name + "RSS", memory.rss, "MB"});
});

}  // namespace
}  // namespace mlops::bench
