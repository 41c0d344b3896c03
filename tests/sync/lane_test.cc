// What a run's delivery does with refusals, conflicts, other owners, other servers and other buffers.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <thread>

#include "rig.h"

namespace mlops::sync::fake {
namespace {

const ServerRun& only(const Rig& rig, int n = 1) {
  for (const auto& [id, run] : rig.server.runs) {
    if (run.tags.at("mlops.uid") == uid(n).hex()) return run;
  }
  std::abort();
}

TEST(Lane, PoisonIsBuriedAndTheOthersGoOn) {
  for (Server::Age age : {Server::Age::v2_22, Server::Age::v3_17}) {
    Rig rig(age);
    auto points = series("a", 0, 1'500);
    points[3].first = points[700].first = points[1'499].first = "bad! metric";
    rig.buffer->write(uid(1))
        .start("e", "n")
        .points(points)
        .param("good", "1")
        .param("bad! param", "1")
        .tag("bad! tag", "1")
        .tag("fine", "1")
        .end(RunStatus::finished, 1);
    ASSERT_TRUE(rig.deliver().ok());
    EXPECT_EQ(only(rig).points.size(), 1'497u);
    EXPECT_EQ(only(rig).params.size(), 1u);
    EXPECT_EQ(only(rig).tags.count("fine"), 1u);
    EXPECT_EQ(only(rig).status, "FINISHED");
    EXPECT_EQ(rig.last.delivered, 1'497u);
    EXPECT_EQ(rig.last.dead_letters, 5u);
    EXPECT_EQ(rig.last_dead_points, 3u);
    EXPECT_EQ(rig.last.waiting, 0u);
    EXPECT_EQ(rig.disk.state().dead.size(), 5u);
    EXPECT_EQ(rig.disk.state().dead[0].what, "metric bad! metric step 3 value 1.5");
    EXPECT_EQ(rig.disk.state().dead[0].reason, "bad key");
  }
}

TEST(Lane, DeadLettersAreNotCountedTwiceAfterAKill) {
  Rig undisturbed(Server::Age::v3_17);
  auto fill = [](Rig& rig) {
    auto points = series("a", 0, 40);
    points[7].first = points[20].first = "bad! metric";
    rig.buffer->write(uid(1)).start("e", "n").points(points).param("bad! p", "1").end(RunStatus::finished, 1);
  };
  fill(undisturbed);
  ASSERT_TRUE(undisturbed.deliver().ok());
  const std::uint64_t requests = undisturbed.server.requests();
  for (std::uint64_t index = 0; index < requests; ++index) {
    for (bool power : {false, true}) {
      Rig rig(Server::Age::v3_17);
      fill(rig);
      rig.fault_at(index, Fault::kill_after, power);
      ASSERT_TRUE(rig.deliver().ok()) << index;
      EXPECT_EQ(rig.last.delivered, 38u) << index;
      EXPECT_EQ(rig.last_dead_points, 2u) << index;
      EXPECT_EQ(rig.last.dead_letters, 3u) << index;
      EXPECT_EQ(rig.disk.state().dead.size(), 3u) << index;
      EXPECT_EQ(rig.server.dump(), undisturbed.server.dump()) << index;
    }
  }
}

TEST(Lane, ManyFaultsAtRandomChangeNothing) {
  std::random_device device;
  const unsigned seed = device();
  RecordProperty("seed", static_cast<int>(seed));
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 60; ++round) {
    const auto age = static_cast<Server::Age>(random() % 3);
    Rig undisturbed(age);
    const std::uint64_t points = write_scenario(undisturbed.buffer.get());
    ASSERT_TRUE(undisturbed.deliver().ok());
    Rig rig(age);
    write_scenario(rig.buffer.get());
    for (std::uint64_t index = 0; index < 80; ++index) {
      if (random() % 3 == 0) rig.server.fault_at(index, static_cast<Fault>(random() % 11));
    }
    std::atomic<bool> killed{false};
    rig.server.on_kill = [&] {
      rig.disk.kill(random() % 2 == 0);
      killed = true;
    };
    Status status;
    do {  // one process after the other
      killed = false;
      std::unique_ptr<Engine> engine = rig.start();
      for (int i = 0; i < 2'000 && !killed; ++i) {
        status = engine->wait_idle(Millis(5));
        if (status.ok()) break;
      }
      engine->stop(Millis(1'000));
    } while (killed);
    ASSERT_TRUE(status.ok()) << "round " << round << ": " << status.to_string();
    ASSERT_TRUE(rig.deliver().ok());
    ASSERT_EQ(rig.server.dump(), undisturbed.server.dump()) << "round " << round;
    ASSERT_EQ(rig.last.delivered, points) << "round " << round;
  }
}

TEST(Lane, AConflictingParamIsBuriedAlone) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "n").param("first", "1");
  ASSERT_TRUE(rig.deliver().ok());
  for (auto& [id, run] : rig.server.runs) run.params["lr"] = "0.2";  // another client
  rig.buffer->write(uid(1)).param("a", "1").param("lr", "0.1").param("first", "1").param("b", "2");
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_EQ(only(rig).params.at("lr"), "0.2");
  EXPECT_EQ(only(rig).params.at("a"), "1");
  EXPECT_EQ(only(rig).params.at("b"), "2");
  ASSERT_EQ(rig.disk.state().dead.size(), 1u);
  EXPECT_EQ(rig.disk.state().dead[0].what, "param lr = 0.1");
  EXPECT_NE(rig.disk.state().dead[0].reason.find("0.2"), std::string::npos);
}

TEST(Lane, ATooLargeBodyIsHalvedAndRemembered) {
  Rig rig(Server::Age::v2_22);
  rig.server.body_limit = 9'000;
  rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 3'000)).end(RunStatus::finished, 1);
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_EQ(only(rig).points.size(), 3'000u);
  EXPECT_EQ(rig.last.delivered, 3'000u);
  EXPECT_EQ(rig.last.dead_letters, 0u);
  EXPECT_LT(rig.server.requests(), 3'000u / 40);  // not point by point
}

TEST(Lane, ADeletedRunIsParkedAndRetriedWhenAsked) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "n").tag("a", "b");
  rig.buffer->write(uid(2)).start("e", "other").points(series("a", 0, 5));
  ASSERT_TRUE(rig.deliver().ok());
  for (auto& [id, run] : rig.server.runs) run.deleted = run.tags["mlops.uid"] == uid(1).hex();
  rig.buffer->write(uid(1)).points(series("a", 0, 5));
  rig.buffer->write(uid(2)).points(series("a", 5, 10));
  std::unique_ptr<Engine> engine = rig.start();
  ASSERT_TRUE(engine->wait_idle(Millis(5'000)).ok());
  EXPECT_EQ(engine->parked(), 1u);
  EXPECT_EQ(engine->health().delivered, 10u);
  EXPECT_EQ(engine->health().waiting, 5u);
  EXPECT_FALSE(engine->delivered(uid(1), 8));
  EXPECT_TRUE(engine->delivered(uid(2), 11));
  EXPECT_FALSE(rig.disk.state().lanes.at(uid(1)).parked.empty());
  for (auto& [id, run] : rig.server.runs) run.deleted = false;
  engine->retry_now();
  for (int i = 0; i < 200 && !engine->delivered(uid(1), 8); ++i) engine->wait_idle(Millis(10)).ignore();
  EXPECT_EQ(engine->parked(), 0u);
  EXPECT_EQ(engine->health().delivered, 15u);
}

TEST(Lane, AnAttachedRunWaitsForItsOwnerAndSendsNoStatus) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).attach("e").points(series("rank1", 0, 10)).end(RunStatus::failed, 1);
  std::unique_ptr<Engine> engine = rig.start();
  EXPECT_EQ(engine->wait_idle(Millis(100)).code(), StatusCode::deadline_exceeded);
  EXPECT_TRUE(rig.server.runs.empty());
  EXPECT_TRUE(rig.server.experiments.empty());
  Rig owner(Server::Age::v3_17);  // the owner's slot
  Client client(&rig.server, 99);
  std::string experiment, id;
  model::Op spec;
  spec.key = "e";
  ASSERT_EQ(client.create_experiment(spec, &experiment).verdict, Verdict::ok);
  ASSERT_EQ(client.create_run(experiment, model::Op{}, {{"mlops.uid", uid(1).hex()}}, &id).verdict, Verdict::ok);
  ASSERT_TRUE(engine->wait_idle(Millis(5'000)).ok());
  EXPECT_EQ(only(rig).points.size(), 10u);
  EXPECT_EQ(only(rig).status, "RUNNING");
  EXPECT_EQ(rig.server.runs.size(), 1u);
}

TEST(Lane, AnAttachedRunThatGuessedItsExperimentLearnsItFromTheOwnersSlot) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).attach("Default").points(series("rank1", 0, 10));
  Client client(&rig.server, 99);
  std::string experiment, id;
  model::Op spec;
  spec.key = "e";
  ASSERT_EQ(client.create_experiment(spec, &experiment).verdict, Verdict::ok);
  ASSERT_EQ(client.create_run(experiment, model::Op{}, {{"mlops.uid", uid(1).hex()}}, &id).verdict, Verdict::ok);
  std::atomic<bool> said{false};
  EngineOptions options = rig.options();
  options.experiment_of = [&](const base::Uid& run) {
    return said && run == uid(1) ? std::string("e") : std::string();
  };
  std::unique_ptr<Engine> engine = rig.start(options);
  EXPECT_EQ(engine->wait_idle(Millis(100)).code(), StatusCode::deadline_exceeded);
  said = true;  // the owner's first beat
  ASSERT_TRUE(engine->wait_idle(Millis(5'000)).ok());
  EXPECT_EQ(only(rig).points.size(), 10u);
}

TEST(Lane, AResumedRunIsReopenedAndEndsOnce) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "n").end(RunStatus::failed, 1);
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_EQ(only(rig).status, "FAILED");
  rig.buffer->write(uid(1)).start("e", "n", {{"again", "yes"}});
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_EQ(only(rig).status, "RUNNING");
  EXPECT_EQ(only(rig).tags.at("again"), "yes");
  rig.buffer->write(uid(1)).end(RunStatus::finished, 2);
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_EQ(only(rig).status, "FINISHED");
  EXPECT_EQ(only(rig).end_ms, 5'002);
  EXPECT_TRUE(rig.disk.state().lanes.at(uid(1)).ended);
}

TEST(Lane, ALateRequestOfAnEarlierDelivererDoesNotReopenTheRun) {
  Rig rig(Server::Age::v3_17);
  auto writer = rig.buffer->write(uid(1));
  writer.start("e", "n").points(series("a", 0, 10));
  ASSERT_TRUE(rig.deliver().ok());
  writer.end(RunStatus::killed, 1);
  EngineOptions options = rig.options();
  options.backoff_first = Millis(400);
  std::unique_ptr<Engine> next = rig.start(options);
  std::this_thread::sleep_for(Millis(50));
  Client late(&rig.server, 1);
  ASSERT_TRUE(late.update_run(only(rig).id, RunStatus::running, 0, "").status.ok());
  ASSERT_TRUE(next->wait_idle(Millis(10'000)).ok());
  next->stop(Millis(1'000));
  EXPECT_EQ(only(rig).status, "KILLED");
}

TEST(Lane, AnotherGenerationIsProvedAgainAndNothingIsDoubled) {
  for (Server::Age age : {Server::Age::v2_22, Server::Age::v3_10, Server::Age::v3_17}) {
    for (bool other_buffer : {false, true}) {
      Rig rig(age);
      auto old = series("a", 0, 300);
      old[5].second.value = std::nan("");
      rig.buffer->write(uid(1)).start("e", "n").points(old).points(series("a", 300, 600));
      ASSERT_TRUE(rig.deliver().ok());
      // The second block is lost here; the journal gives its points again, behind the old cursor, and more.
      buffer::Identity identity = rig.buffer->identity();
      identity.generation += 1;
      if (other_buffer) identity.uid = base::Uid::random();
      rig.buffer->set_identity(identity);
      rig.buffer->edit(uid(1), [&](Buffer::Run& run) {
        run.records.pop_back();
        run.row.points -= 300;
        run.row.next_seq = 700;
      });
      rig.buffer->write(uid(1)).points(series("a", 300, 650)).end(RunStatus::finished, 1);
      ASSERT_TRUE(rig.deliver().ok());
      EXPECT_EQ(only(rig).points.size(), 650u);
      EXPECT_EQ(only(rig).status, "FINISHED");
      EXPECT_EQ(rig.last.delivered, 650u);
      EXPECT_EQ(rig.last.waiting, 0u);
      EXPECT_EQ(rig.last.dead_letters, 0u);
    }
  }
}

TEST(Lane, ALostLedgerFindsItsRunsAgain) {
  for (Server::Age age : {Server::Age::v2_22, Server::Age::v3_17}) {
    Rig rig(age);
    const std::uint64_t points = write_scenario(rig.buffer.get());
    ASSERT_TRUE(rig.deliver().ok());
    const std::string before = rig.server.dump();
    rig.disk.edit([](Disk::State& state) { state = Disk::State(); });
    ASSERT_TRUE(rig.deliver().ok());
    EXPECT_EQ(rig.server.dump(), before);
    EXPECT_EQ(rig.server.runs.size(), 2u);
    EXPECT_EQ(rig.last.delivered, points);
  }
}

TEST(Lane, ADamagedBlockIsCountedAndPassed) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10)).points(series("a", 10, 15));
  rig.buffer->edit(uid(1), [](Buffer::Run& run) { run.damaged[2] = 10; });
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_EQ(only(rig).points.size(), 5u);
  EXPECT_EQ(rig.last.delivered, 5u);
  EXPECT_EQ(rig.last_dead_points, 10u);
  EXPECT_EQ(rig.last.waiting, 0u);
}

// gc --deleted: records leave the buffer that this destination had only the first half of.
TEST(Lane, WhatLeftTheBufferUndeliveredIsCountedAndPassed) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10));
  ASSERT_TRUE(rig.deliver().ok());
  rig.buffer->write(uid(1)).points(series("a", 10, 25));
  rig.buffer->edit(uid(1), [](Buffer::Run& run) {
    run.records.clear();
    run.row.evicted_before = run.row.next_seq;
    run.row.evicted_points = 25;
  });
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_EQ(only(rig).points.size(), 10u);
  EXPECT_EQ(rig.last.delivered, 10u);
  EXPECT_EQ(rig.last.dropped, 15u);
  EXPECT_EQ(rig.last.waiting, 0u);
}

TEST(Lane, ANewDestinationIsToldWhatRetentionRemoved) {
  Rig rig(Server::Age::v3_17);
  rig.buffer->write(uid(1)).start("e", "n", {{"t", "v"}}).points(series("a", 0, 10)).points(series("a", 10, 15));
  rig.buffer->edit(uid(1), [](Buffer::Run& run) {
    run.records.erase(run.records.begin(), run.records.begin() + 2);
    run.row.evicted_before = 12;
    run.row.evicted_points = 10;
    run.row.tags = {{"t", "v"}};
  });
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_EQ(only(rig).points.size(), 5u);
  EXPECT_EQ(only(rig).name, "n");
  EXPECT_EQ(only(rig).tags.at("t"), "v");
  EXPECT_EQ(rig.last.delivered, 5u);
  EXPECT_EQ(rig.last.dead_letters, 1u);
  EXPECT_EQ(rig.last.waiting, 0u);
}

TEST(Lane, WhatTheWatermarkProvesIsNotSentAgain) {
  for (Server::Age age : {Server::Age::v2_22, Server::Age::v3_17}) {
    for (Fault fault : {Fault::response_lost, Fault::kill_after}) {
      Rig rig(age);
      rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 500));
      // probe, experiment twice, lookup, create: then the points.
      rig.fault_at(5, fault);
      ASSERT_TRUE(rig.deliver().ok());
      std::size_t sent = 0;
      for (const std::string& call : rig.server.calls()) sent += call == "log_metrics" ? 1 : 0;
      EXPECT_EQ(sent, 1u);
      EXPECT_EQ(only(rig).points.size(), 500u);
      EXPECT_EQ(rig.last.delivered, 500u);
    }
  }
}

TEST(Lane, AnOldServerGetsSmallRequestsOnlyWhenItMustTakeThemTwice) {
  Rig rig(Server::Age::v2_22);
  rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 2'000));
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_EQ(rig.server.largest_batch, 999u);
  rig.server.largest_batch = 0;
  rig.disk.edit([](Disk::State& state) { state = Disk::State(); });
  for (auto& [id, run] : rig.server.runs) std::erase_if(run.tags, [](const auto& t) { return t.first[6] == 's'; });
  ASSERT_TRUE(rig.deliver().ok());
  EXPECT_EQ(rig.server.largest_batch, 100u);
  EXPECT_EQ(only(rig).points.size(), 2'000u);
}

}  // namespace
}  // namespace mlops::sync::fake
