// Drain on one core: one producer at full speed (it waits while the journal is full), the drain collects, packs and
// writes to RocksDB beside it. Points per second of the drain thread's own CPU time, and bytes per point on disk after
// the close. Two data sets: 20 metrics per step, ten steps per millisecond.
#include "drain/drain.h"

#include <atomic>
#include <chrono>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/base.h"
#include "base/file.h"
#include "support.h"

namespace mlops::bench {
namespace {

std::atomic<drain::Drain*> g_drain{nullptr};

struct Set {
  const char* name;
  double goal;
  double (*value)(std::mt19937_64&, std::int64_t step, int metric);
};

const Set kSets[] = {
    {"float32-origin", 10e6,
     [](std::mt19937_64& r, std::int64_t step, int m) {
       return static_cast<double>(static_cast<float>(2.0 / (1 + 0.01 * static_cast<double>(step % 10'000)) + 0.1 * m +
                                                     1e-3 * static_cast<double>(r() >> 11) * 0x1p-53));
     }},
    {"float64 noise", 5e6,
     [](std::mt19937_64& r, std::int64_t, int) { return static_cast<double>(r() >> 11) * 0x1p-53; }},
};

void check(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.to_string());
}

void measure(Report& report, const Set& set) {
  constexpr int kMetrics = 20;
  constexpr std::int64_t kPoints = 6'000'000;
  const TempFolder folder;
  const std::string& root = folder.path();
  auto slot = drain::acquire_slot(root, "bench", {});
  check(slot.status());
  const std::string dir = (*slot)->dir;
  auto* core = reinterpret_cast<detail::Core*>(new std::uint64_t[8]);
  journal::WriterOptions options;
  options.slot_dir = dir;
  options.full_wait = Millis(60'000);
  options.wake = [] {
    if (drain::Drain* drain = g_drain.load()) drain->wake();
  };
  auto made = journal::Writer::create(options, (*slot)->control(), core);
  check(made.status());
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
  const std::uint64_t cpu0 = threads_cpu_ns("mlops-drain");
  const auto begin = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < kPoints; ++i) {
    const std::int64_t step = i / kMetrics;
    detail::log_point({gate, generation, keys[static_cast<std::size_t>(i % kMetrics)]},
                      values[static_cast<std::size_t>(i)], step, start.time_ms + step / 10);
  }
  if (s.ok()) s = drain->flush(Level::durable, Millis(120'000));
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double cpu = static_cast<double>(threads_cpu_ns("mlops-drain") - cpu0) * 1e-9;
  const auto stats = drain->stats();
  g_drain.store(nullptr);
  writer->close();
  if (s.ok()) s = drain->close(Millis(60'000));
  check(s);
  if (stats.buffered != static_cast<std::uint64_t>(kPoints))
    throw std::runtime_error(std::to_string(stats.buffered) + " points buffered");
  const std::string name = std::string("drain, 20 metrics, ") + set.name;
  const double n = static_cast<double>(kPoints);
  report.add({name + ", per second of one core", n / cpu, "points/s", "", 0, Better::more, set.goal});
  report.add({name + ", per second of wall, producer beside it", n / wall, "points/s"});
  report.add({name + ", closed database", static_cast<double>(base::disk_usage(dir + "/db")) / n, "B/point"});
}

const Group g32("drain.float32", [](Report& report) { measure(report, kSets[0]); });
const Group g64("drain.float64", [](Report& report) { measure(report, kSets[1]); });

}  // namespace
}  // namespace mlops::bench
