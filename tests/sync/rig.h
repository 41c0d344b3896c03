// One slot, one server, and engines that come and go.
#pragma once

#include <atomic>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "fake_disk.h"
#include "fake_server.h"
#include "sync/core.h"

namespace mlops::sync::fake {

struct Rig {
  explicit Rig(Server::Age age) : server(age) {}

  Server server;
  std::shared_ptr<Buffer> buffer = std::make_shared<Buffer>();
  Disk disk;
  std::atomic<std::uint64_t> durable{1'000};
  std::atomic<std::uint64_t> epoch{0};

  EngineOptions options() {
    EngineOptions o;
    o.slot_dir = "/root/host/slot-1";
    o.destination = {"fake", "http://fake"};
    o.reader = buffer;
    o.durable_beat = [this] { return durable.load(); };
    o.backoff_first = Millis(1);
    o.backoff_most = Millis(3);
    return o;
  }
  std::unique_ptr<Engine> start() { return start(options()); }
  std::unique_ptr<Engine> start(EngineOptions o, const std::function<void(Parts*)>& change = {}) {
    const std::uint64_t mine = ++epoch;
    Parts parts;
    parts.make_remote = [this, mine]() -> Result<std::unique_ptr<Remote>> {
      return std::unique_ptr<Remote>(new Client(&server, mine));
    };
    parts.open_ledger = [this] { return disk.open(); };
    parts.read_ledger = [this] { return disk.read(); };
    if (change) change(&parts);
    return std::move(start_engine(std::move(o), std::move(parts)).value());
  }
  /// An engine delivers all there is.
  Status deliver(Millis deadline = Millis(10'000)) {
    std::unique_ptr<Engine> engine = start();
    Status status = engine->wait_idle(deadline);
    last = engine->health();
    last_dead_points = engine->dead_points();
    engine->stop(Millis(1'000));
    return status;
  }
  /// A fault at that request; where it kills, an engine that comes to it and dies.
  void fault_at(std::uint64_t index, Fault fault, bool power = false) {
    server.fault_at(index, fault);
    if (fault != Fault::kill_before && fault != Fault::kill_after) return;
    std::atomic<bool> killed{false};
    server.on_kill = [&] {
      disk.kill(power);
      killed = true;
    };
    std::unique_ptr<Engine> engine = start();
    while (!killed) engine->wait_idle(Millis(2)).ignore();
    engine->stop(Millis(1'000));
    server.on_kill = nullptr;
  }
  DestinationHealth last;
  std::uint64_t last_dead_points = 0;
};

inline base::Uid uid(int n) {
  base::Uid u;
  u.bytes.fill(static_cast<std::uint8_t>(n));
  return u;
}

inline std::vector<std::pair<std::string, model::Point>> series(const std::string& name, std::int64_t from,
                                                                std::int64_t to) {
  std::vector<std::pair<std::string, model::Point>> points;
  for (std::int64_t step = from; step < to; ++step) {
    points.push_back({name, model::Point{step, 1'000 + step, 0.5 * static_cast<double>(step)}});
  }
  return points;
}

/// What a short program does, all kinds of records in it. Returns its number of points.
inline std::uint64_t write_scenario(Buffer* buffer) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  auto parent = buffer->write(uid(1));
  parent.start("digits", "parent", {{"mlflow.source.name", "trainer"}})
      .param("lr", "0.1")
      .param("layers", "3")
      .tag("phase", "warm")
      .points(series("loss", 0, 150))
      .points(
          {{"loss", {200, 1200, nan}}, {"loss", {201, 1201, inf}}, {"loss", {202, 1202, -inf}}, {"acc", {1, 7, 0.5}}})
      .tag("phase", "hot")
      .tag("scratch", "x")
      .op(model::OpKind::delete_tag, "scratch")
      .op(model::OpKind::run_name, "", "parent renamed")
      .end(RunStatus::failed, 1)
      .start("digits", "parent", {{"resumed", "yes"}})
      .points(series("acc", 10, 1'200))
      .points({{"acc", {5, 5, nan}}})
      .param("late", "1")
      .end(RunStatus::finished, 2);
  buffer->write(uid(2))
      .start("digits", "child", {}, uid(1))
      .points(series("loss", 0, 20))
      .tag("a", "b")
      .end(RunStatus::finished, 1);
  return 150 + 4 + 1'190 + 1 + 20;
}

}  // namespace mlops::sync::fake
