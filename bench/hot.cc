// What a logging call costs its thread, through libmlops.so as users link it, while drain and RocksDB run beside it.
//
// The limit is an in-memory ring for one producer and one consumer that stores the same 32 bytes (the same time word,
// no checksum), emptied by a thread of its own; ring and journal take turns burst by burst. A second ring computes our
// checksum, too: what is left between it and the journal are the checks of run, clock and segment, and the next
// segment.
#include <mlops/mlops.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "pacing.h"
#include "support.h"

namespace mlops::bench {
namespace {

constexpr int kRounds = 5;

template <bool kSum>
class Ring {
 public:
  Ring() : cells_(new Cell[kSize]()), consumer_([this] { consume(); }) {}
  ~Ring() {
    stop_.store(true);
    consumer_.join();
  }
  void push(double value, std::int64_t step, std::uint32_t key) {
    if (head_ - seen_tail_ == kSize) {
      while (head_ - (seen_tail_ = tail_.load(std::memory_order_acquire)) == kSize) {
      }
    }
    Cell& c = cells_[head_ & (kSize - 1)];
    const std::int64_t time = time_.load(std::memory_order_relaxed);
    c.step = step;
    c.time_ms = time;
    c.value = value;
    std::uint64_t word = key;
    if constexpr (kSum) {
      word = detail::cell_head(kSeed + reinterpret_cast<std::uintptr_t>(&c), key, step, time, value);
    }
    c.key.store(word, std::memory_order_release);
    ++head_;
  }

 private:
  static constexpr std::uint64_t kSize = 1 << 16;
  static constexpr std::uint64_t kSeed = 0x9E3779B97F4A7C15ull;
  struct Cell {
    std::atomic<std::uint64_t> key;
    std::int64_t step, time_ms;
    double value;
  };
  void consume() {
    double sum = 0;
    while (!stop_.load(std::memory_order_relaxed)) {
      std::uint64_t tail = tail_.load(std::memory_order_relaxed);
      for (;; ++tail) {
        Cell& c = cells_[tail & (kSize - 1)];
        if (c.key.load(std::memory_order_acquire) == 0) break;
        sum += c.value;
        c.key.store(0, std::memory_order_relaxed);
      }
      tail_.store(tail, std::memory_order_release);
      time_.fetch_add(1, std::memory_order_relaxed);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    keep(sum);
  }

  alignas(64) std::uint64_t head_ = 0;
  std::uint64_t seen_tail_ = 0;
  std::unique_ptr<Cell[]> cells_;
  alignas(64) std::atomic<std::uint64_t> tail_{0};
  alignas(64) std::atomic<std::int64_t> time_{1};
  alignas(64) std::atomic<bool> stop_{false};
  std::thread consumer_;
};

/// A client on a folder of its own, with nothing to deliver to.
struct Logger {
  TempFolder folder;
  Client client;
  Run run;
  Metric metric;

  Logger() : client(open(folder.path())), run(start(client)), metric(run.metric("train/loss")) {}
  ~Logger() {
    run.end().ignore();
    client.close().ignore();
  }
  static Client open(const std::string& root) {
    Options options;
    options.root = root + "/root";
    options.deliver = false;
    return client_or_throw(Client::open(options));
  }
  static Run start(const Client& client) {
    Result<Run> run = client.start_run("bench");
    if (!run.ok()) throw std::runtime_error(run.status().to_string());
    return std::move(run).value();
  }
  static Client client_or_throw(Result<Client> c) {
    if (!c.ok()) throw std::runtime_error(c.status().to_string());
    return std::move(c).value();
  }
  void settle() { run.flush(Level::durable, Millis(60'000)).ignore(); }
  std::uint64_t dropped() const {
    std::uint64_t sum = 0;
    for (const auto& [reason, count] : client.health().dropped) sum += count;
    return sum;
  }
};

/// Logs at the pacing until the drain has decided about the clock.
void warm_up(Logger& logger, const Pacing& p) {
  Pacing w = p;
  w.bursts = static_cast<int>(2'500'000'000 / p.every_ns);
  pace(w, 1, {}, [&](std::int64_t i) { logger.metric.log(noise(i), i - 1'000'000'000); });
}

void measure_handle(Report& report, const Pacing& p, double goal) {
  Logger logger;
  Ring<false> ring;
  Ring<true> summed;
  warm_up(logger, p);
  const auto got = pace(
      p, kRounds, [&] { logger.settle(); }, [](std::int64_t i) { keep(noise(i)); },
      [&](std::int64_t i) { ring.push(noise(i), i, 7); }, [&](std::int64_t i) { summed.push(noise(i), i, 7); },
      [&](std::int64_t i) { logger.metric.log(noise(i), i); });
  const std::string name = "Metric::log, " + p.words;
  const Paced &loop = got[0], &limit = got[1], &sum = got[2], &log = got[3];
  report.add({name + ", p50", log.at50(), "ns/call", "", 0, Better::less, goal});
  report.add(
      {name + ", p50", log.at50(), "ns/call", "ring in memory, p50", limit.at50(), Better::less, 2, Goal::ratio});
  report.add({name + ", p99", log.at99(), "ns/call", "ring in memory, p99", limit.at99()});
  report.add(
      {name + ", p99.9", log.at999(), "ns/call", "ring in memory, p99.9", limit.at999(), Better::less, 2, Goal::ratio});
  const char* ring_with_sum = "ring in memory with our checksum, ";
  report.add({name + ", p50", log.at50(), "ns/call", std::string(ring_with_sum) + "p50", sum.at50()});
  report.add({name + ", p99.9", log.at999(), "ns/call", std::string(ring_with_sum) + "p99.9", sum.at999()});
  report.add({"the empty loop, " + p.words + ", p50", loop.at50(), "ns/call"});
  if (logger.dropped() != 0) throw std::runtime_error("points were dropped: " + std::to_string(logger.dropped()));
}

const Group g20("hot.handle.20", [](Report& r) { measure_handle(r, kBursts20, 5); });
const Group g1000("hot.handle.1000", [](Report& r) { measure_handle(r, kBursts1000, 6.5); });
const Group gcold("hot.handle.cold", [](Report& r) { measure_handle(r, kCold, 15); });

const Group gname("hot.by_name", [](Report& report) {
  Logger logger;
  warm_up(logger, kBursts20);
  const auto got = pace(
      kBursts20, kRounds, [&] { logger.settle(); }, [&](std::int64_t i) { logger.metric.log(noise(i), i); },
      [&](std::int64_t i) { logger.run.log_metric("train/loss", noise(i), i + (1ll << 40)).ignore(); });
  const double more = got[1].at50() - got[0].at50();
  report.add({"run.log_metric(name, value, step), " + kBursts20.words + ", p50", got[1].at50(), "ns/call",
              "Metric::log", got[0].at50()});
  report.add(
      {"run.log_metric above Metric::log, " + kBursts20.words + ", p50", more, "ns/call", "", 0, Better::less, 20});
});

const Group groots("hot.two_roots", [](Report& report) {
  Logger a, b;
  warm_up(a, kBursts20);
  Metric one = a.metric, two = b.metric;
  const auto got = pace(
      kBursts20, kRounds,
      [&] {
        a.settle();
        b.settle();
      },
      [&](std::int64_t i) { one.log(noise(i), i); },
      [&](std::int64_t i) { ((i & 1) != 0 ? one : two).log(noise(i), i + (1ll << 40)); });
  report.add({"Metric::log, two roots alternating on one thread, " + kBursts20.words + ", p50", got[1].at50(),
              "ns/call", "one root", got[0].at50(), Better::less, 2, Goal::ratio});
});

using Peer = bool (*)(const Pacing&, int, Paced*, std::string*);

// The peer's pacing leaves it the time it needs; the handle is measured at the same one.
void against(Report& report, const char* name, Pacing p, Peer peer) {
  Paced theirs;
  std::string why;
  if (!peer(p, 3, &theirs, &why)) {
    report.note(std::string(name) + ": " + why);
    return;
  }
  Logger logger;
  const auto ours = pace(p, 3, [&] { logger.settle(); }, [&](std::int64_t i) { logger.metric.log(noise(i), i); });
  report.add(
      {"Metric::log, " + p.words + ", p50", ours[0].at50(), "ns/call", std::string(name) + ", p50", theirs.at50()});
  report.add(
      {"Metric::log, " + p.words + ", p99", ours[0].at99(), "ns/call", std::string(name) + ", p99", theirs.at99()});
}

const Pacing kPeers{"bursts of 20 every 60 us", 20, 60'000, 10'000, false};
const Pacing kDatabases{"bursts of 20 every ms", 20, 1'000'000, 500, false};

const Group gspdlog("hot.peer.spdlog", [](Report& r) { against(r, "spdlog async, file", kPeers, pace_spdlog); });
const Group gquill("hot.peer.quill", [](Report& r) { against(r, "Quill, file", kPeers, pace_quill); });
const Group grocks("hot.peer.rocksdb", [](Report& r) { against(r, "RocksDB Put, WAL", kDatabases, pace_rocksdb); });
const Group gsqlite("hot.peer.sqlite", [](Report& r) {
  against(r, "SQLite insert, WAL", {"bursts of 20 every 2 ms", 20, 2'000'000, 250, false}, pace_sqlite);
});

}  // namespace
}  // namespace mlops::bench
