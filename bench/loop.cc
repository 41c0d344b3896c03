// What tracking costs the training loop of examples/digits: the real network on the real data, the loss of every
// mini-batch logged and delivered to a real MLflow server beside it. By clocks of the threads themselves: each call of
// log() where it stands in the loop, and the CPU time of the threads that are ours (RocksDB's among them).
#include <mlops/mlops.h>

#include <algorithm>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "../examples/digits/network.h"
#include "pacing.h"
#include "server.h"
#include "support.h"

namespace mlops::bench {
namespace {

constexpr std::size_t kBatch = 32;
constexpr double kPerSecond = 2'000, kSeconds = 5;

std::uint64_t own_threads_ns() { return threads_cpu_ns("mlops-") + threads_cpu_ns("rocksdb"); }

struct Cost {
  double call_ns = 0, share = 0, own_share = 0, per_second = 0;
};

/// `paced`: one mini-batch every 1/2,000 s; else as fast as it trains.
Cost train(const digits::Dataset& data, Metric loss, bool paced) {
  digits::Network network(7);
  std::mt19937_64 random(7);
  std::vector<const digits::Sample*> order;
  for (const digits::Sample& sample : data.train) order.push_back(&sample);
  const std::uint64_t own = own_threads_ns(), begin = now_ns(),
                      end = begin + static_cast<std::uint64_t>(kSeconds * 1e9);
  std::uint64_t spent = 0;
  std::int64_t step = 0;
  while (now_ns() < end) {
    std::shuffle(order.begin(), order.end(), random);
    for (std::size_t at = 0; at < order.size() && now_ns() < end; at += kBatch) {
      const float value = network.train(&order[at], std::min(kBatch, order.size() - at), 0.01f, 0.9f);
      const std::uint64_t from = ticks();
      loss.log(value, step);
      spent += ticks() - from;
      ++step;
      if (paced) wait_until(begin + static_cast<std::uint64_t>(static_cast<double>(step) * 1e9 / kPerSecond), true);
    }
  }
  const double wall = static_cast<double>(now_ns() - begin), calls = static_cast<double>(step);
  Cost cost;
  cost.call_ns = std::max(0.0, static_cast<double>(spent) / calls - timer_cost()) * ns_per_tick();
  cost.share = 100 * cost.call_ns * calls / wall;
  cost.own_share = 100 * static_cast<double>(own_threads_ns() - own) / wall;
  cost.per_second = calls * 1e9 / wall;
  return cost;
}

const Group g("loop", [](Report& report) {
  digits::Dataset data;
  std::string error;
  if (!digits::load(std::string(MLOPS_BENCH_SOURCE_DIR) + "/examples/digits/digits.csv", &data, &error))
    throw std::runtime_error(error);
  const TempFolder folder;
  Options options;
  options.root = folder.path() + "/root";
  options.tracking_uri = server().uri;
  Result<Client> client = Client::open(options);
  if (!client.ok()) throw std::runtime_error(client.status().to_string());
  std::vector<double> call, share, own, paced_call;
  double rate = 0, paced_rate = 0;
  for (int round = 0; round < 3; ++round) {
    Result<Run> run = client->start_run("bench");
    if (!run.ok()) throw std::runtime_error(run.status().to_string());
    const Cost paced = train(data, run->metric("loss"), true);
    const Cost free = train(data, run->metric("loss unpaced"), false);
    own.push_back(paced.own_share);
    paced_call.push_back(paced.call_ns);
    call.push_back(free.call_ns);
    share.push_back(free.share);
    rate = free.per_second;
    paced_rate = paced.per_second;
  }
  const auto at = [](double per_second) { return std::to_string(static_cast<int>(per_second)) + " mini-batches/s"; };
  report.add({"training loop of examples/digits, " + at(rate) + ": log() in the loop, mean", median(call), "ns/call"});
  report.add({"training loop of examples/digits, " + at(rate) + ": log()'s share of the wall time",
              median(share),
              "%",
              {},
              0,
              Better::less,
              0.1});
  report.add({"training loop of examples/digits, " + at(paced_rate) + ": log() in the loop, mean", median(paced_call),
              "ns/call"});
  report.add({"training loop of examples/digits, " + at(paced_rate) + ", delivered beside it: our threads, of one core",
              median(own),
              "%",
              {},
              0,
              Better::less,
              1});
});

}  // namespace
}  // namespace mlops::bench
