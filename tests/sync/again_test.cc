// Dead letters that are sent once more, parked runs that go on or are given up: what is on the server, and that
// accepted = delivered + dropped + waiting all the while.
#include <gtest/gtest.h>

#include <mutex>

#include "ledger/requests.h"
#include "rig.h"

namespace mlops::sync::fake {
namespace {

using State = ledger::DeadLetter::State;

const ServerRun& only(const Rig& rig) { return rig.server.runs.begin()->second; }

void do_it(Rig& rig, const ledger::Request& request) {
  auto ledger = rig.disk.open();
  ASSERT_TRUE(ledger.ok());
  ASSERT_TRUE(ledger::apply(request, ledger->get()).ok());
  ASSERT_TRUE((*ledger)->sync().ok());
}

ledger::DeadLetter letter_of(Rig& rig, const std::string& what) {
  for (const ledger::DeadLetter& letter : rig.disk.state().dead) {
    if (letter.what.rfind(what, 0) == 0) return letter;
  }
  ADD_FAILURE() << "no dead letter " << what;
  return {};
}

ledger::Request retry_of(Rig& rig, const std::string& what) {
  ledger::Request request;
  request.run = uid(1);
  request.seq = letter_of(rig, what).seq;
  return request;
}

// 10 points, two of them under a name that the server refuses, and so a param and a tag.
void fill(Rig& rig) {
  auto points = series("a", 0, 10);
  points[3].first = points[7].first = "bad! metric";
  rig.buffer->write(uid(1))
      .start("e", "n")
      .points(points)
      .param("bad! p", "1")
      .tag("bad! t", "2")
      .tag("t", "3")
      .end(RunStatus::finished, 1);
}

void expect_sums(Rig& rig, std::uint64_t delivered, std::uint64_t dropped, std::uint64_t waiting, std::uint64_t dead) {
  EXPECT_EQ(rig.last.delivered, delivered);
  EXPECT_EQ(rig.last.dropped, dropped);
  EXPECT_EQ(rig.last.waiting, waiting);
  EXPECT_EQ(rig.last.dead_letters, dead);
  EXPECT_EQ(rig.last_dead_points, dropped);
}

TEST(Again, ACorrectedRecordIsDeliveredAndCounted) {
  for (Server::Age age : {Server::Age::v2_22, Server::Age::v3_17}) {
    Rig rig(age);
    fill(rig);
    ASSERT_TRUE(rig.deliver().ok());
    expect_sums(rig, 8, 2, 0, 4);
    for (const char* what : {"metric bad! metric step 3", "metric bad! metric step 7", "param", "tag"}) {
      ledger::Request request = retry_of(rig, what);
      request.key = std::string("good ") + std::string(what).substr(0, 3);
      if (std::string(what) != "metric bad! metric step 3" && std::string(what) != "metric bad! metric step 7") {
        request.value = "corrected";
      }
      do_it(rig, request);
    }
    EXPECT_EQ(rig.disk.state().lanes[uid(1)].dead, 0u);
    ASSERT_TRUE(rig.deliver().ok());
    expect_sums(rig, 10, 0, 0, 0);
    EXPECT_EQ(only(rig).points.size(), 10u);
    EXPECT_EQ(only(rig).params.at("good par"), "corrected");
    EXPECT_EQ(only(rig).tags.at("good tag"), "corrected");
    EXPECT_EQ(only(rig).status, "FINISHED");
    ASSERT_EQ(rig.disk.state().dead.size(), 4u);  // kept: the records themselves must not be sent again
    EXPECT_EQ(letter_of(rig, "param").state, State::corrected);
    // A cursor that says nothing (another generation) walks everything again, and the corrected stay corrected.
    const std::string before = rig.server.dump();
    const buffer::Identity now = rig.buffer->identity();
    rig.buffer->set_identity({now.uid, now.generation + 1});
    ASSERT_TRUE(rig.deliver().ok());
    expect_sums(rig, 10, 0, 0, 0);
    EXPECT_EQ(rig.server.dump(), before);
    EXPECT_EQ(rig.disk.state().dead.size(), 4u);
  }
}

TEST(Again, WhatTheServerTakesNowIsForgotten) {
  Rig rig(Server::Age::v3_17);
  fill(rig);
  ASSERT_TRUE(rig.deliver().ok());
  do_it(rig, retry_of(rig, "metric bad! metric step 3"));
  do_it(rig, retry_of(rig, "param"));
  rig.server.poison_prefix = "nothing";
  ASSERT_TRUE(rig.deliver().ok());
  expect_sums(rig, 9, 1, 0, 2);
  EXPECT_EQ(only(rig).params.at("bad! p"), "1");
  EXPECT_EQ(only(rig).points.size(), 9u);
  EXPECT_EQ(rig.disk.state().dead.size(), 2u);
}

TEST(Again, WhatIsRefusedAgainIsADeadLetterAgain) {
  Rig rig(Server::Age::v3_17);
  fill(rig);
  ASSERT_TRUE(rig.deliver().ok());
  do_it(rig, retry_of(rig, "metric bad! metric step 3"));
  ledger::Request param = retry_of(rig, "param");
  param.key = "bad! again";
  do_it(rig, param);
  EXPECT_EQ(rig.disk.state().lanes[uid(1)].dead_points, 1u);
  ASSERT_TRUE(rig.deliver().ok());
  expect_sums(rig, 8, 2, 0, 4);
  EXPECT_EQ(letter_of(rig, "param").state, State::refused);
  EXPECT_EQ(letter_of(rig, "param").key, "bad! again");
}

TEST(Again, ARetryThatCannotBeMadeWaits) {
  Rig rig(Server::Age::v3_17);
  fill(rig);
  ASSERT_TRUE(rig.deliver().ok());
  do_it(rig, retry_of(rig, "metric bad! metric step 3"));
  rig.server.always(Fault::offline);
  EXPECT_EQ(rig.deliver(Millis(300)).code(), StatusCode::deadline_exceeded);
  expect_sums(rig, 8, 1, 1, 3);
}

TEST(Again, AKillAtAnyRequestDeliversOnceAndCountsOnce) {
  const auto prepare = [](Rig& rig) {
    fill(rig);
    ASSERT_TRUE(rig.deliver().ok());
    for (const char* what : {"metric bad! metric step 3", "metric bad! metric step 7", "param", "tag"}) {
      ledger::Request request = retry_of(rig, what);
      request.key = std::string("good ") + what[0];
      do_it(rig, request);
    }
  };
  Rig undisturbed(Server::Age::v3_17);
  prepare(undisturbed);
  const std::uint64_t first = undisturbed.server.requests();
  ASSERT_TRUE(undisturbed.deliver().ok());
  const std::uint64_t requests = undisturbed.server.requests();
  ASSERT_GT(requests, first + 4);
  for (std::uint64_t index = first; index < requests; ++index) {
    for (bool power : {false, true}) {
      Rig rig(Server::Age::v3_17);
      prepare(rig);
      rig.fault_at(index, Fault::kill_after, power);
      ASSERT_TRUE(rig.deliver().ok()) << index;
      EXPECT_EQ(rig.server.dump(), undisturbed.server.dump()) << index;
      expect_sums(rig, 10, 0, 0, 0);
    }
  }
}

TEST(Again, ADroppedRecordStaysDropped) {
  Rig rig(Server::Age::v3_17);
  fill(rig);
  ASSERT_TRUE(rig.deliver().ok());
  ledger::Request request = retry_of(rig, "metric bad! metric step 3");
  request.verb = ledger::Request::Verb::drop;
  do_it(rig, request);
  request.verb = ledger::Request::Verb::retry;  // settled: nothing happens
  do_it(rig, request);
  rig.server.poison_prefix = "nothing";
  ASSERT_TRUE(rig.deliver().ok());
  expect_sums(rig, 8, 2, 0, 4);
  EXPECT_EQ(letter_of(rig, "metric bad! metric step 3").state, State::given_up);
}

TEST(Again, AParkedRunIsGivenUpOrGoesOn) {
  for (const bool drop : {true, false}) {
    Rig rig(Server::Age::v3_17);
    rig.buffer->write(uid(1)).start("e", "n").points(series("a", 0, 10));
    ASSERT_TRUE(rig.deliver().ok());
    rig.server.runs.begin()->second.deleted = true;
    rig.buffer->write(uid(1)).points(series("a", 10, 25)).param("p", "1");
    ASSERT_TRUE(rig.deliver().ok());  // nothing moves any more
    EXPECT_FALSE(rig.disk.state().lanes[uid(1)].parked.empty());
    EXPECT_GT(rig.disk.state().lanes[uid(1)].parked_ms, 0);
    expect_sums(rig, 10, 0, 15, 0);
    ledger::Request request;
    request.run = uid(1);
    request.verb = drop ? ledger::Request::Verb::drop : ledger::Request::Verb::retry;
    request.until = 28;
    request.points = 15;
    do_it(rig, request);
    do_it(rig, request);  // twice is as once
    EXPECT_TRUE(rig.disk.state().lanes[uid(1)].parked.empty());
    if (!drop) rig.server.runs.begin()->second.deleted = false;
    ASSERT_TRUE(rig.deliver().ok());
    if (drop) {
      expect_sums(rig, 10, 15, 0, 1);
    } else {
      expect_sums(rig, 25, 0, 0, 0);
    }
    EXPECT_EQ(only(rig).points.size(), drop ? 10u : 25u);
  }
}

TEST(Again, ADelivererDoesWhatItIsAsked) {
  Rig rig(Server::Age::v3_17);
  fill(rig);
  std::mutex mutex;
  std::vector<ledger::Asked> asked;
  std::unique_ptr<Engine> engine = rig.start(rig.options(), [&](Parts* parts) {
    parts->asked = [&] {
      const std::lock_guard<std::mutex> lock(mutex);
      return asked;
    };
    parts->asked_done = [&](const ledger::Asked& done) {
      const std::lock_guard<std::mutex> lock(mutex);
      std::erase_if(asked, [&done](const ledger::Asked& a) { return a.path == done.path; });
    };
  });
  ASSERT_TRUE(engine->wait_idle(Millis(10'000)).ok());
  EXPECT_EQ(engine->health().dropped, 2u);
  ledger::Request a = retry_of(rig, "metric bad! metric step 3"), b = retry_of(rig, "metric bad! metric step 7");
  a.key = "good";
  b.verb = ledger::Request::Verb::drop;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    asked.push_back({"1", {a, b}});
  }
  const auto done = [&] {
    const std::lock_guard<std::mutex> lock(mutex);
    return asked.empty();
  };
  while (!done()) engine->wait_idle(Millis(1)).ignore();
  ASSERT_TRUE(engine->wait_idle(Millis(10'000)).ok());
  EXPECT_EQ(engine->health().delivered, 9u);
  EXPECT_EQ(engine->health().dropped, 1u);
  EXPECT_EQ(engine->health().waiting, 0u);
  engine->stop(Millis(1'000));
  EXPECT_EQ(only(rig).points.size(), 9u);
}

}  // namespace
}  // namespace mlops::sync::fake
