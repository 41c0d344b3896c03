// Delivery to a real MLflow server (one worker, SQLite) on loopback: deliver() against a raw generator that sends the
// same requests over as many connections, in alternation, and against MLflow's own client.
//
// Rates, shares and CPU are of cycles, from one response's last byte to the next one's: the first batch of a round,
// with the start and the connection before it, is nobody's. A round is a new root and new runs; what is logged is
// buffered before the clock starts.
#include <mlops/mlops.h>

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "model/limits.h"
#include "pacing.h"
#include "raw.h"
#include "server.h"
#include "support.h"
#include "wire.h"

namespace mlops::bench {
namespace {

constexpr int kMetrics = 20;
constexpr std::size_t kBigRequest = 20'000;  // bytes: a log-batch with points, not a run's beginning or end

struct Measured {
  double rate = 0;        // points/s
  double whole_rate = 0;  // of the SDK: from the first call to the return of deliver(), runs begun and ended
  double share = 0;       // of the client, in the request's time, over all cycles (one connection)
  double gap_ms = 0;      // response's last byte to next request's last byte, median (one connection)
  double cpu_us = 0;      // per point
  std::size_t requests = 0, sockets = 0;
};

double value_of(std::int64_t step, int metric) { return static_cast<double>(static_cast<float>(noise(step) + metric)); }

std::string metric_name(int metric) { return "train/metric_" + std::to_string(metric); }

Measured measure(const std::vector<Exchange>& exchanges) {
  std::vector<Exchange> batches;
  for (const Exchange& e : exchanges) {
    if (e.bytes_out >= kBigRequest) batches.push_back(e);
  }
  if (batches.size() < 3) throw std::runtime_error("too few batches were seen on the wire");
  Measured m;
  m.requests = batches.size();
  std::set<int> sockets;
  for (const Exchange& e : batches) sockets.insert(e.socket);
  m.sockets = sockets.size();
  const double points = static_cast<double>((batches.size() - 1) * model::kBatchPoints);
  m.rate = points * 1e9 / static_cast<double>(batches.back().last_in - batches.front().last_in);
  m.cpu_us = static_cast<double>(batches.back().cpu - batches.front().cpu) * 1e-3 / points;
  double gaps = 0, requests = 0;
  std::vector<double> each;
  for (std::size_t i = 1; i < batches.size(); ++i) {
    each.push_back(static_cast<double>(batches[i].last_out - batches[i - 1].last_in) * 1e-6);
    gaps += each.back();
    requests += static_cast<double>(batches[i].last_in - batches[i].last_out) * 1e-6;
  }
  m.share = gaps / requests;
  m.gap_ms = median(each);
  return m;
}

void check(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.to_string());
}

/// `batches` full windows for each of `runs` runs, delivered by deliver().
Measured sdk_round(int runs, int batches, std::vector<Exchange>* kept = nullptr) {
  const TempFolder folder;
  const std::string root = folder.path() + "/root";
  const std::int64_t points = static_cast<std::int64_t>(model::kBatchPoints) * batches;
  const std::uint64_t begin = now_ns();
  {
    Options options;
    options.root = root;
    options.deliver = false;
    Result<Client> client = Client::open(options);
    check(client.status());
    for (int r = 0; r < runs; ++r) {
      Result<Run> run = client->start_run("bench");
      check(run.status());
      std::vector<Metric> metrics;
      for (int m = 0; m < kMetrics; ++m) metrics.push_back(run->metric(metric_name(m)));
      for (std::int64_t i = 0; i < points; ++i)
        metrics[static_cast<std::size_t>(i % kMetrics)].log(value_of(i / kMetrics, static_cast<int>(i % kMetrics)),
                                                            i / kMetrics);
      check(run->end());
    }
    check(client->close());
  }
  DeliverOptions options;
  options.root = root;
  options.to = server().uri;
  options.deadline = Millis(120'000);
  Wire wire(kept != nullptr);
  Result<DeliverReport> report = deliver(options);
  check(report.status());
  check(report->status);
  if (report->points != static_cast<std::uint64_t>(points) * static_cast<std::uint64_t>(runs))
    throw std::runtime_error(std::to_string(report->points) + " points delivered");
  const double seconds = static_cast<double>(now_ns() - begin) * 1e-9;
  std::vector<Exchange> exchanges = wire.take();
  Measured m = measure(exchanges);
  if (kept != nullptr) *kept = std::move(exchanges);
  m.whole_rate = static_cast<double>(points * runs) / seconds;
  if (m.requests != static_cast<std::size_t>(runs) * static_cast<std::size_t>(batches))
    throw std::runtime_error("the batches are not the raw generator's: " + std::to_string(m.requests));
  return m;
}

/// The SDK's own requests for `runs` runs, by run: what the raw generator sends again, for runs of its own.
std::vector<std::vector<std::string>> record(int runs, int batches) {
  std::vector<Exchange> exchanges;
  sdk_round(runs, batches, &exchanges);
  std::map<std::string, std::vector<std::string>> by_run;
  const std::string mark = "\"run_id\":\"";
  for (Exchange& e : exchanges) {
    const std::size_t at = e.request.find(mark);
    if (e.bytes_out < kBigRequest || at == std::string::npos) continue;
    const std::string id = e.request.substr(at + mark.size(), 32);
    e.request.replace(at + mark.size(), 32, std::string(32, '?'));
    by_run[id].push_back(std::move(e.request));
  }
  std::vector<std::vector<std::string>> all;
  for (auto& [id, requests] : by_run) {
    if (requests.size() != static_cast<std::size_t>(batches))
      throw std::runtime_error("a run's batches were not all seen");
    all.push_back(std::move(requests));
  }
  if (all.size() != static_cast<std::size_t>(runs)) throw std::runtime_error("the requests name no run");
  return all;
}

/// The same requests byte for byte, but for the run's id; one run and one connection each.
Measured raw_round(std::vector<std::vector<std::string>> requests) {
  const std::vector<std::string> ids = raw_runs(server().port, static_cast<int>(requests.size()));
  for (std::size_t r = 0; r < ids.size(); ++r) {
    for (std::string& request : requests[r]) request.replace(request.find(std::string(32, '?')), 32, ids[r]);
  }
  std::vector<std::string> failures(ids.size());
  Wire wire;
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < ids.size(); ++r) {
    threads.emplace_back([&, r] {
      try {
        RawConnection connection(server().port);
        for (const std::string& request : requests[r]) connection.exchange(request);
      } catch (const std::exception& error) {
        failures[r] = error.what();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (const std::string& failure : failures) {
    if (!failure.empty()) throw std::runtime_error(failure);
  }
  return measure(wire.take());
}

struct Rounds {
  std::vector<Measured> sdk, raw;
};

Rounds alternate(int rounds, int runs, int batches) {
  Rounds all;
  const std::vector<std::vector<std::string>> requests = record(runs, batches);
  raw_round(requests);  // the server's first requests import what they need
  for (int i = 0; i < rounds; ++i) {
    for (const bool ours : {i % 2 == 0, i % 2 != 0}) {
      ours ? all.sdk.push_back(sdk_round(runs, batches)) : all.raw.push_back(raw_round(requests));
    }
  }
  return all;
}

double middle(const std::vector<Measured>& rounds, double Measured::* field) {
  std::vector<double> values;
  for (const Measured& m : rounds) values.push_back(m.*field);
  return median(values);
}

void add_rate(Report& report, const std::string& name, const Rounds& all) {
  const double ours = middle(all.sdk, &Measured::rate);
  std::vector<double> ratios;
  for (std::size_t i = 0; i < all.sdk.size(); ++i) ratios.push_back(all.sdk[i].rate / all.raw[i].rate);
  // The ratio is the median of the rounds' ratios; the peer's value is the one that gives it.
  report.add({"delivery, " + name, ours, "points/s", "raw generator, in pairs", ours / median(ratios), Better::more,
              0.95, Goal::ratio});
  const std::pair<const char*, double> spread[] = {
      {"lowest", 0}, {"lower quartile", 0.25}, {"upper quartile", 0.75}, {"highest", 1}};
  for (const auto& [what, p] : spread)
    report.add({"delivery, " + name + ": the rounds' " + what, percentile(ratios, p), "ratio"});
}

std::string words(const char* connections, int rounds) {
  return std::string(connections) + ", batches of " + std::to_string(model::kBatchPoints) + ", " +
         std::to_string(rounds) + " rounds";
}

const Group gone("delivery.one", [](Report& report) {
  const Rounds all = alternate(12, 1, 8);
  for (const Measured& m : all.sdk) {
    if (m.sockets != 1) throw std::runtime_error("one run was delivered over several connections");
  }
  const std::string where = words("1 connection", 12);
  add_rate(report, where, all);
  report.add({"client's share of the request's time, " + where, 100 * middle(all.sdk, &Measured::share), "%",
              "raw generator", 100 * middle(all.raw, &Measured::share), Better::less, 3});
  report.add({"response's last byte to next request's last byte, " + where, middle(all.sdk, &Measured::gap_ms), "ms",
              "raw generator", middle(all.raw, &Measured::gap_ms)});
  report.add({"own CPU per delivered point, " + where, middle(all.sdk, &Measured::cpu_us), "us/point", "raw generator",
              middle(all.raw, &Measured::cpu_us), Better::less, 1});
});

const Group gfour("delivery.four", [](Report& report) {
  const Rounds all = alternate(10, 4, 6);
  const std::string where = words("4 runs on up to 4 connections", 10);
  add_rate(report, where, all);
  report.add({"own CPU per delivered point, " + where, middle(all.sdk, &Measured::cpu_us), "us/point", "raw generator",
              middle(all.raw, &Measured::cpu_us), Better::less, 1});
});

const Group gofficial("delivery.official", [](Report& report) {
  const std::string script = std::string(MLOPS_BENCH_SOURCE_DIR) + "/bench/official.py";
  std::vector<double> ours, sync, async;
  for (int i = 0; i < 3; ++i) {
    sync.push_back(std::stod(run_for_line({server().python, script, server().uri, "sync", "150"})));
    ours.push_back(sdk_round(1, 8).whole_rate);
    async.push_back(std::stod(run_for_line({server().python, script, server().uri, "async", "400"})));
  }
  const std::string name = "first log() to the last point on the server, 7,992 points, run begun and ended";
  report.add({name, median(ours), "points/s", "MLflow's client, sync", median(sync), Better::more, 20, Goal::ratio});
  report.add({name, median(ours), "points/s", "MLflow's client, async", median(async), Better::more, 20, Goal::ratio});
});

}  // namespace
}  // namespace mlops::bench
