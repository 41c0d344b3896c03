// Drain on one core: one producer at full speed (it waits while the journal is full), the drain collects, packs and
// writes to RocksDB beside it. Points per second of the drain thread's own CPU time, and bytes per point on disk after
// the close. One line per data set: 20 metrics per step, ten steps per millisecond.
#include "drain/drain.h"

#include <dirent.h>
#include <stdlib.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "base/base.h"
#include "base/file.h"

namespace {

using namespace mlops;

/// CPU seconds of this process's threads named mlops-drain.
double drain_cpu() {
  double sum = 0;
  DIR* dir = ::opendir("/proc/self/task");
  while (const dirent* e = ::readdir(dir)) {
    if (e->d_name[0] == '.') continue;
    const std::string task = std::string("/proc/self/task/") + e->d_name;
    std::string name;
    std::ifstream(task + "/comm") >> name;
    if (name != "mlops-drain") continue;
    double ns = 0;
    std::ifstream(task + "/schedstat") >> ns;
    sum += ns * 1e-9;
  }
  ::closedir(dir);
  return sum;
}

std::atomic<drain::Drain*> g_drain{nullptr};

struct Set {
  const char* name;
  double goal;
  double (*value)(std::mt19937_64&, std::int64_t step, int metric);
};

const Set kSets[] = {
    {"drain_float32", 10e6,
     [](std::mt19937_64& r, std::int64_t step, int m) {
       return static_cast<double>(static_cast<float>(2.0 / (1 + 0.01 * static_cast<double>(step % 10'000)) + 0.1 * m +
                                                     1e-3 * static_cast<double>(r() >> 11) * 0x1p-53));
     }},
    {"drain_float64", 5e6,
     [](std::mt19937_64& r, std::int64_t, int) { return static_cast<double>(r() >> 11) * 0x1p-53; }},
};

void run(const Set& set) {
  constexpr int kMetrics = 20;
  constexpr std::int64_t kPoints = 6'000'000;
  std::string root = "/tmp/mlops-bench-XXXXXX";
  if (::mkdtemp(root.data()) == nullptr) return;
  auto slot = drain::acquire_slot(root, "bench", {});
  if (!slot.ok()) {
    std::fprintf(stderr, "%s\n", slot.status().to_string().c_str());
    return;
  }
  const std::string dir = (*slot)->dir;
  auto* core = reinterpret_cast<detail::Core*>(new std::uint64_t[8]);
  journal::WriterOptions options;
  options.slot_dir = dir;
  options.full_wait = Millis(60'000);
  options.wake = [] {
    if (drain::Drain* drain = g_drain.load()) drain->wake();
  };
  auto made = journal::Writer::create(options, (*slot)->control(), core);
  if (!made.ok()) {
    std::fprintf(stderr, "%s\n", made.status().to_string().c_str());
    return;
  }
  journal::Writer* writer = made->release();
  journal::bind_core(core, writer);
  detail::Gate* gate = journal::open_gate(core);
  const std::uint32_t generation = gate->generation.load();
  model::Op start;
  start.run = base::Uid::random();
  start.kind = model::OpKind::run_start;
  start.number = 1;
  start.key = "bench";
  start.value = "run";
  start.time_ms = base::now_ms();
  writer->append(&start).ignore();
  std::vector<std::uint32_t> keys;
  for (int m = 0; m < kMetrics; ++m) keys.push_back(*writer->key(start.run, "metric/" + std::to_string(m)));
  // Values beforehand: what is timed is the drain, and its producer must not be the slower one.
  std::mt19937_64 random(1);
  std::vector<double> values(kPoints);
  for (std::int64_t i = 0; i < kPoints; ++i) {
    values[static_cast<std::size_t>(i)] = set.value(random, i / kMetrics, static_cast<int>(i % kMetrics));
  }
  drain::DrainOptions d;
  d.root = root;
  auto drain = drain::Drain::start(std::move(*slot), writer, d);
  g_drain.store(drain.get());
  Status s = drain->flush(Level::durable, Millis(60'000));
  const double cpu0 = drain_cpu();
  const auto begin = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < kPoints; ++i) {
    const std::int64_t step = i / kMetrics;
    detail::log_point(gate, generation, keys[static_cast<std::size_t>(i % kMetrics)],
                      values[static_cast<std::size_t>(i)], step, start.time_ms + step / 10);
  }
  if (s.ok()) s = drain->flush(Level::durable, Millis(120'000));
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double cpu = drain_cpu() - cpu0;
  const auto stats = drain->stats();
  g_drain.store(nullptr);
  writer->close();
  if (s.ok()) s = drain->close(Millis(60'000));
  if (!s.ok() || stats.buffered != static_cast<std::uint64_t>(kPoints)) {
    std::fprintf(stderr, "%s: %s, %llu points\n", set.name, s.to_string().c_str(),
                 static_cast<unsigned long long>(stats.buffered));
    std::exit(1);
  }
  const double rate = static_cast<double>(kPoints) / cpu;
  std::printf(
      "%-16s %6.2f M points/s of CPU (%.1f ns/point; %.2f M/s wall, %llu beats)  %.2f B/point  goal %.0f M: %s\n",
      set.name, rate * 1e-6, 1e9 / rate, static_cast<double>(kPoints) / wall * 1e-6,
      static_cast<unsigned long long>(stats.beats),
      static_cast<double>(base::disk_usage(dir + "/db")) / static_cast<double>(kPoints), set.goal * 1e-6,
      rate >= set.goal ? "met" : "MISSED");
  base::remove_tree(root).ignore();
}

}  // namespace

int main() {
  for (const Set& set : kSets) run(set);
}
