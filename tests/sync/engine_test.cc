// The engine as a whole: who delivers, what is said, what idle runs cost, how it stops.
#include "sync/engine.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/base.h"
#include "base/file.h"
#include "rig.h"
#include "sync/turnstile.h"

namespace mlops::sync::fake {
namespace {

bool until(const std::function<bool()>& done, int ms = 5'000) {
  const std::int64_t end = base::steady_ms() + ms;
  while (base::steady_ms() < end) {
    if (done()) return true;
    std::this_thread::sleep_for(Millis(2));
  }
  return done();
}

TEST(Engine, StandsByAndTakesOverWithinTwoSeconds) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10));
  std::unique_ptr<Engine> first = rig.start();
  ASSERT_TRUE(first->wait_idle(Millis(5'000)).ok());
  std::unique_ptr<Engine> second = rig.start();
  std::this_thread::sleep_for(Millis(50));
  EXPECT_TRUE(first->is_deliverer());
  EXPECT_FALSE(second->is_deliverer());
  EXPECT_FALSE(second->health().deliverer_here);
  ASSERT_TRUE(until([&] { return second->delivered(uid(1), 12); })) << "reads the other one's cursor";
  EXPECT_TRUE(until([&] { return second->wait_idle(Millis(0)).ok(); })) << "`mlops sync` beside a trainer ends";
  EXPECT_EQ(second->health().delivered, 10u);
  EXPECT_EQ(second->server_id(uid(1)).value_or(""), first->server_id(uid(1)).value_or("-"));
  first->stop(Millis(1'000));
  const std::int64_t start = base::steady_ms();
  rig.buffer->write(uid(1)).points(series("a", 10, 20));
  ASSERT_TRUE(until([&] { return second->is_deliverer(); }));
  EXPECT_LT(base::steady_ms() - start, 2'000);
  ASSERT_TRUE(second->wait_idle(Millis(5'000)).ok());
  EXPECT_EQ(rig.server.runs.begin()->second.points.size(), 20u);
  EXPECT_EQ(rig.server.runs.size(), 1u);
}

TEST(Engine, AskedWithNoTimeToWaitItIsNeverIdleTooEarly) {
  for (int i = 0; i < 600; ++i) {
    Rig rig(Server::Age::v3_17);
    rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10));
    std::unique_ptr<Engine> engine = rig.start();
    while (!engine->wait_idle(Millis(0)).ok()) {
    }
    ASSERT_EQ(engine->health().delivered, 10u) << i;
    engine->stop(Millis(1'000));
  }
}

// What a lane has read ahead is not kept while many others are in line, nor read anew for each window.
TEST(Engine, ALongLineTakesTurnsOfSeveralWindows) {
  constexpr int kRuns = 30, kWindows = 25;
  constexpr std::int64_t kPoints = kWindows * 999;
  Rig rig(Server::Age::v3_17);
  const auto block = series("a", 0, kPoints);
  for (int n = 1; n <= kRuns; ++n) rig.buffer->write(uid(n)).start("e", "n").points(block);
  ASSERT_TRUE(rig.deliver(Millis(60'000)).ok());
  ASSERT_EQ(rig.server.runs.size(), static_cast<std::size_t>(kRuns));
  for (const auto& [id, run] : rig.server.runs) EXPECT_EQ(run.points.size(), static_cast<std::size_t>(kPoints));
  EXPECT_GE(rig.buffer->record_scans(), 4u * kRuns) << "given back between turns";
  EXPECT_LE(rig.buffer->record_scans(), 8u * kRuns) << "read once for several windows";
}

TEST(Engine, TheTurnstileLetsSoManyIn) {
  Turnstile turnstile(2);
  std::atomic<int> inside{0}, most{0}, done{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        const Pass pass(&turnstile, {});
        ASSERT_TRUE(pass.given());
        const int now = ++inside;
        for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
        }
        std::this_thread::yield();
        --inside;
        ++done;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(done, 1'200);
  EXPECT_LE(most, 2);
  const Pass first(&turnstile, {}), second(&turnstile, {});
  int asked = 0;
  const Pass third(&turnstile, [&asked] { return ++asked < 3; });
  EXPECT_FALSE(third.given()) << "who may not send any more does not wait";
}

// The engines of many slots share the places: no request is left out, and none waits for ever.
TEST(Engine, EnginesShareATurnstile) {
  const auto turnstile = std::make_shared<Turnstile>(1);
  Rig one(Server::Age::v3_17), two(Server::Age::v3_17);
  std::vector<std::unique_ptr<Engine>> engines;
  for (Rig* rig : {&one, &two}) {
    for (int n = 1; n <= 5; ++n) rig->buffer->write(uid(n)).start("e", "n").points(series("a", 0, 3'000));
    EngineOptions options = rig->options();
    options.turnstile = turnstile;
    engines.push_back(rig->start(std::move(options)));
  }
  for (const auto& engine : engines) ASSERT_TRUE(engine->wait_idle(Millis(20'000)).ok());
  for (Rig* rig : {&one, &two}) {
    for (const auto& [id, run] : rig->server.runs) EXPECT_EQ(run.points.size(), 3'000u);
    EXPECT_EQ(rig->server.runs.size(), 5u);
  }
  for (const auto& engine : engines) engine->stop(Millis(1'000));
}

TEST(Engine, ParksWhenAnotherServerIsBehindTheUri) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10));
  ASSERT_TRUE(rig.deliver().ok());
  const auto runs = rig.server.runs;
  rig.server.runs.clear();
  rig.server.experiments.clear();
  rig.buffer->write(uid(1)).points(series("a", 10, 20));
  rig.buffer->write(uid(2)).start("e", "n").points(series("a", 0, 10));
  std::unique_ptr<Engine> engine = rig.start();
  ASSERT_TRUE(until([&] { return engine->health().state == LaneState::parked; }));
  EXPECT_NE(engine->health().last_error.message().find("another server is behind"), std::string_view::npos);
  EXPECT_FALSE(engine->wait_idle(Millis(50)).ok());
  EXPECT_TRUE(rig.server.runs.empty()) << "nothing is created there";
  EXPECT_EQ(engine->health().waiting, 20u);
  engine->stop(Millis(1'000));
  rig.server.runs = runs;
  rig.server.experiments["e"] = "1";
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_EQ(rig.last.delivered, 30u);
}

TEST(Engine, RunsThatWerePurgedOnTheServerAreNoOtherServer) {
  Rig rig(Server::Age::v3_17);
  constexpr int kPurged = 15;
  for (int n = 1; n <= kPurged; ++n) rig.buffer->write(uid(n)).start("e", "old").end(RunStatus::finished, 1);
  ASSERT_TRUE(rig.deliver().ok());
  rig.buffer->write(uid(100)).start("e", "kept").end(RunStatus::finished, 1);
  ASSERT_TRUE(rig.deliver().ok());
  std::erase_if(rig.server.runs, [](const auto& run) { return run.second.name == "old"; });
  rig.buffer->write(uid(101)).start("e", "n").points(series("a", 0, 10));
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_EQ(rig.last.delivered, 10u);
  // One that goes on is asked first, and that is all.
  const std::size_t before = rig.server.calls().size();
  ASSERT_TRUE(rig.deliver().ok());
  rig.buffer->write(uid(102)).start("e", "n").points(series("a", 0, 10));
  ASSERT_TRUE(rig.deliver().ok());
  const std::vector<std::string> calls = rig.server.calls();
  EXPECT_EQ(std::count(calls.begin() + static_cast<std::ptrdiff_t>(before), calls.end(), "get_run"), 1);
}

TEST(Engine, WaitsForCredentialsAndGoesOn) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10));
  rig.server.always(Fault::unauthorized);
  std::unique_ptr<Engine> engine = rig.start();
  ASSERT_TRUE(until([&] { return engine->health().state == LaneState::auth_blocked; }));
  EXPECT_EQ(engine->health().last_error.code(), StatusCode::permission_denied);
  rig.server.always(Fault::none);
  ASSERT_TRUE(engine->wait_idle(Millis(5'000)).ok());
  EXPECT_EQ(engine->health().delivered, 10u);
  EXPECT_TRUE(engine->health().last_error.ok());
}

// Basic-auth's 403 is the word on one run or experiment.
TEST(Engine, OneForbiddenRunHoldsBackNoOther) {
  for (bool first : {false, true}) {  // nothing was delivered with these credentials before it
    Rig rig(Server::Age::v3_17);
    rig.server.experiments = {{"theirs", "1"}, {"ours", "2"}};
    rig.server.denied = {"1"};
    if (!first) {
      rig.buffer->write(uid(9)).start("ours", "before").points(series("a", 0, 10));
      ASSERT_TRUE(rig.deliver().ok());
    }
    rig.buffer->write(uid(1)).start("theirs", "forbidden").points(series("a", 0, 10));
    for (int n = 2; n <= 6; ++n) rig.buffer->write(uid(n)).start("ours", "n").points(series("a", 0, 10));
    std::unique_ptr<Engine> engine = rig.start();
    ASSERT_TRUE(until([&] { return engine->health().delivered == (first ? 50u : 60u); }));
    ASSERT_TRUE(until([&] { return engine->health().state == LaneState::auth_blocked; }));
    EXPECT_EQ(engine->health().last_error.message(), "run " + uid(1).hex() + ": Permission denied");
    const std::uint64_t requests = rig.server.requests();
    rig.buffer->write(uid(2)).points(series("a", 10, 20));
    ++rig.durable;
    engine->wake();
    ASSERT_TRUE(until([&] { return engine->health().delivered == (first ? 60u : 70u); }));
    EXPECT_LT(rig.server.requests() - requests, 5u) << "no other one is slower for it";
    rig.server.allow();
    engine->retry_now();
    ASSERT_TRUE(engine->wait_idle(Millis(5'000)).ok());
    EXPECT_TRUE(engine->health().last_error.ok());
  }
}

// Elsewhere a 403 is what a bad token gets.
TEST(Engine, WhereEverythingIsForbiddenTheCredentialsAreBad) {
  Rig rig(Server::Age::v3_17);
  for (int n = 1; n <= 6; ++n) rig.buffer->write(uid(n)).start("e", "n").points(series("a", 0, 10));
  std::unique_ptr<Engine> engine = rig.start();
  ASSERT_TRUE(engine->wait_idle(Millis(5'000)).ok());
  rig.server.always(Fault::forbidden);  // it was good until now
  for (int n = 1; n <= 6; ++n) rig.buffer->write(uid(n)).points(series("a", 10, 20));
  ++rig.durable;
  engine->wake();
  ASSERT_TRUE(until([&] { return engine->health().state == LaneState::auth_blocked; }));
  ASSERT_TRUE(until([&] { return engine->health().last_error.message() == "Permission denied"; }))
      << "of them all, not of a run";
  rig.server.always(Fault::none);
  engine->retry_now();
  ASSERT_TRUE(engine->wait_idle(Millis(5'000)).ok());
  EXPECT_EQ(engine->health().delivered, 120u);
  engine->stop(Millis(1'000));
  Rig fresh(Server::Age::v3_17);
  fresh.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10));
  fresh.server.always(Fault::forbidden);
  std::unique_ptr<Engine> second = fresh.start();
  ASSERT_TRUE(until([&] { return second->health().state == LaneState::auth_blocked; }));
  fresh.server.always(Fault::none);
  ASSERT_TRUE(second->wait_idle(Millis(5'000)).ok());
  second->stop(Millis(1'000));
}

TEST(Engine, AForbiddenRunSaysNothingOfTheServerBehindTheUri) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10));
  ASSERT_TRUE(rig.deliver().ok());
  rig.server.denied.insert(rig.server.runs.begin()->first);
  rig.buffer->write(uid(2)).start("e", "n").points(series("a", 0, 10));
  std::unique_ptr<Engine> engine = rig.start();
  ASSERT_TRUE(until([&] { return engine->health().delivered == 20; }));
  engine->stop(Millis(1'000));
}

TEST(Engine, KeepsTryingWhileTheServerIsAway) {
  for (Fault fault : {Fault::offline, Fault::request_lost, Fault::html_200, Fault::http_500}) {
    Rig rig(Server::Age::v2_22);
    rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10)).end(RunStatus::finished, 1);
    rig.server.always(fault);
    std::unique_ptr<Engine> engine = rig.start();
    EXPECT_EQ(engine->wait_idle(Millis(60)).code(), StatusCode::deadline_exceeded);
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (engine->health().retries <= 2 && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    EXPECT_GT(engine->health().retries, 2u);
    EXPECT_FALSE(engine->health().last_error.ok());
    EXPECT_EQ(engine->health().waiting, 10u);
    rig.server.always(Fault::none);
    ASSERT_TRUE(engine->wait_idle(Millis(20'000)).ok());
    EXPECT_EQ(rig.server.runs.size(), 1u);
    EXPECT_EQ(rig.server.runs.begin()->second.points.size(), 10u);
    EXPECT_EQ(rig.server.runs.begin()->second.status, "FINISHED");
  }
}

TEST(Engine, SendsOnlyWhatIsDurable) {
  Rig rig(Server::Age::v3_17);
  rig.durable = 1;
  rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10));
  rig.buffer->set_beat(2);
  rig.buffer->write(uid(1)).points(series("a", 10, 20));
  rig.buffer->write(uid(2)).start("e", "later");
  std::unique_ptr<Engine> engine = rig.start();
  ASSERT_TRUE(engine->wait_idle(Millis(5'000)).ok()) << "what is durable now";
  EXPECT_EQ(engine->health().delivered, 10u);
  EXPECT_EQ(rig.server.runs.size(), 1u);
  rig.durable = 2;
  engine->wake();
  ASSERT_TRUE(engine->wait_idle(Millis(5'000)).ok());
  EXPECT_EQ(engine->health().delivered, 20u);
  EXPECT_EQ(rig.server.runs.size(), 2u);
}

TEST(Engine, ManyRunsShareTheConnections) {
  Rig rig(Server::Age::v3_17);
  constexpr int kRuns = 200;
  for (int i = 1; i <= kRuns; ++i) rig.buffer->write(uid(i)).start("e", "n").points(series("a", 0, 1'200));
  ASSERT_TRUE(rig.deliver(Millis(20'000)).ok());
  EXPECT_EQ(rig.server.runs.size(), static_cast<std::size_t>(kRuns));
  EXPECT_EQ(rig.last.delivered, kRuns * 1'200u);
}

TEST(Engine, IdleRunsCostNothingPerWake) {
  Rig rig(Server::Age::v3_17);
  for (int i = 1; i <= 250; ++i) rig.buffer->write(uid(i)).start("e", "n");
  std::unique_ptr<Engine> engine = rig.start();
  ASSERT_TRUE(engine->wait_idle(Millis(10'000)).ok());
  std::this_thread::sleep_for(Millis(450));  // what was on its way settles
  const std::uint64_t scans = rig.buffer->scans(), requests = rig.server.requests();
  for (int i = 0; i < 200; ++i) {
    engine->wake();
    std::this_thread::sleep_for(Millis(1));
  }
  EXPECT_EQ(rig.server.requests(), requests);
  std::this_thread::sleep_for(Millis(300));
  EXPECT_LE(rig.buffer->scans() - scans, 210u);
  const std::uint64_t still = rig.buffer->scans();
  std::this_thread::sleep_for(Millis(500));
  EXPECT_EQ(rig.buffer->scans(), still) << "no wake, no look";
}

TEST(Engine, AnUnresolvedParentHoldsBackOnlyItsChildren) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "child", {}, uid(9)).points(series("a", 0, 5));
  rig.buffer->write(uid(2)).start("e", "free").points(series("a", 0, 5));
  std::unique_ptr<Engine> engine = rig.start();
  ASSERT_TRUE(until([&] { return engine->delivered(uid(2), 7); }));
  EXPECT_FALSE(engine->delivered(uid(1), 2));
  rig.buffer->write(uid(9)).start("e", "parent");
  ++rig.durable;
  engine->wake();
  ASSERT_TRUE(until([&] { return engine->delivered(uid(1), 7); }));
  std::string parent;
  for (const auto& [id, run] : rig.server.runs) {
    if (run.name == "parent") parent = id;
  }
  for (const auto& [id, run] : rig.server.runs) {
    if (run.name == "child") {
      EXPECT_EQ(run.tags.at("mlflow.parentRunId"), parent);
    }
  }
}

// It is another slot's, which delivers for itself.
TEST(Engine, AParentOfAnotherSlotAndExperimentIsFound) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "child", {}, uid(9)).points(series("a", 0, 5));
  EngineOptions options = rig.options();
  options.experiment_of = [](const base::Uid& run) { return run == uid(9) ? "others" : ""; };
  std::unique_ptr<Engine> engine = rig.start(std::move(options));
  ASSERT_TRUE(until([&] { return !engine->health().last_error.ok(); }));
  EXPECT_EQ(engine->health().last_error.message(),
            "run " + uid(1).hex() + " waits for its parent run " + uid(9).hex() + ", which is not on the server yet");
  ServerRun parent;
  parent.id = "theirs";
  parent.experiment = "77";
  parent.tags["mlops.uid"] = uid(9).hex();
  rig.server.add(parent, "others");
  ASSERT_TRUE(engine->wait_idle(Millis(5'000)).ok());
  EXPECT_TRUE(engine->health().last_error.ok());
  engine->stop(Millis(1'000));
  ASSERT_EQ(rig.server.runs.size(), 2u);
  for (const auto& [id, run] : rig.server.runs) {
    if (run.name == "child") {
      EXPECT_EQ(run.tags.at("mlflow.parentRunId"), "theirs");
    }
  }
}

TEST(Engine, AParentThatOnlyTheServerKnowsIsKept) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "child", {{"mlflow.parentRunId", "theirs"}}).points(series("a", 0, 5));
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_EQ(rig.server.runs.begin()->second.tags.at("mlflow.parentRunId"), "theirs");
}

TEST(Engine, TheLeaseIsAskedBeforeEachRequest) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10));
  std::atomic<bool> lease{false};
  EngineOptions options = rig.options();
  options.lease_ok = [&] { return lease.load(); };
  std::unique_ptr<Engine> engine = rig.start(std::move(options));
  EXPECT_FALSE(engine->wait_idle(Millis(100)).ok());
  EXPECT_TRUE(rig.server.runs.empty());
  lease = true;
  ASSERT_TRUE(engine->wait_idle(Millis(5'000)).ok());
  EXPECT_EQ(rig.server.runs.size(), 1u);
}

TEST(Engine, StopIsBoundedAndRepeatable) {
  Rig rig(Server::Age::v3_17);
  rig.server.always(Fault::offline);
  rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10));
  std::unique_ptr<Engine> engine = rig.start();
  std::this_thread::sleep_for(Millis(20));
  const std::int64_t start = base::steady_ms();
  engine->stop(Millis(1'000));
  engine->stop(Millis(1'000));
  EXPECT_LT(base::steady_ms() - start, 1'000);
  EXPECT_FALSE(engine->wait_idle(Millis(10)).ok());
  EXPECT_TRUE(rig.disk.open().ok()) << "the ledger is free";
}

TEST(Engine, AForkedChildTouchesNothing) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10));
  std::unique_ptr<Engine> engine = rig.start();
  ASSERT_TRUE(engine->wait_idle(Millis(5'000)).ok());
  const pid_t child = fork();
  if (child == 0) {
    engine->after_fork_in_child();
    engine->wake();
    const bool quiet = !engine->delivered(uid(1), 1) && !engine->is_deliverer();
    engine->stop(Millis(100));
    engine.reset();
    _exit(quiet ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  rig.buffer->write(uid(1)).points(series("a", 10, 20));
  ++rig.durable;  // a beat
  engine->wake();
  ASSERT_TRUE(engine->wait_idle(Millis(5'000)).ok());
  EXPECT_EQ(engine->health().delivered, 20u);
}

TEST(Engine, WorksWithTheLedgerOnDisk) {
  std::string dir = testing::TempDir() + "/mlops-sync-XXXXXX";
  ASSERT_NE(mkdtemp(dir.data()), nullptr);
  Rig rig(Server::Age::v3_17);
  const std::uint64_t points = write_scenario(rig.buffer.get());
  for (int round = 0; round < 2; ++round) {
    EngineOptions options = rig.options();
    options.slot_dir = dir;
    Parts parts = real_parts(options);
    parts.make_remote = [&]() -> Result<std::unique_ptr<Remote>> {
      return std::unique_ptr<Remote>(new Client(&rig.server, 1));
    };
    std::unique_ptr<Engine> engine = std::move(start_engine(std::move(options), std::move(parts)).value());
    ASSERT_TRUE(engine->wait_idle(Millis(10'000)).ok());
    EXPECT_EQ(engine->health().delivered, points);
    EXPECT_EQ(engine->progress().total, points);
    EXPECT_EQ(engine->progress().runs_done, 2u);
    engine->stop(Millis(1'000));
  }
  EXPECT_EQ(rig.server.runs.size(), 2u);
  base::remove_tree(dir).ignore();
}

}  // namespace
}  // namespace mlops::sync::fake
