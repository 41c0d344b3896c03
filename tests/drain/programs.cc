// Programs the crash tests run in processes of their own (test::spawn). Disabled as tests: they wait for their words
// in the environment.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

#include "base/base.h"
#include "buffer/outbox.h"
#include "drain/rig.h"
#include "ledger/ledger.h"

namespace mlops::drain::test {
namespace {

std::uint64_t number(const char* name) { return std::strtoull(env(name).c_str(), nullptr, 10); }

/// As a deliverer does that reads what is published: its ledger goes on to where it has read.
void pass_on(const std::string& slot, const base::Uid& run, const std::atomic<bool>& stop) {
  auto ledger = ledger::Ledger::open(slot, {"d", "http://127.0.0.1:1"});
  std::unique_ptr<buffer::OutboxReader> reader;
  while (ledger.ok() && !stop) {
    ::usleep(110'000);
    if (reader == nullptr) {
      // Over holes: for a ledger of this node, whose deliverer reads the database, nothing is published again.
      auto opened = buffer::open_outbox(slot, true);
      if (opened.ok()) reader = std::move(*opened);
      continue;
    }
    if (!reader->refresh().ok()) continue;
    ledger::Lane lane = (*ledger)->lane(run);
    lane.buffer_uid = reader->identity().uid;
    lane.buffer_generation = reader->identity().generation;
    std::uint64_t at = std::max<std::uint64_t>(lane.cursor, 1);
    const auto take = [&](const buffer::Record& record) { return at = record.seq + record.count, true; };
    if (!reader->scan(run, at, take, {}).ok()) continue;
    lane.cursor = at;
    EXPECT_TRUE((*ledger)->put(lane).ok());
  }
}

/// Logs on two threads until killed, or for T_MS and then closes. Words of T_WORDS: 0 starts of the run; for thread t
/// 1+2t the steps begun, 2+2t the newest step whose call returned, plus one.
TEST(Program, DISABLED_Trainer) {
  auto* words = shared_words(env("T_WORDS"), 16);
  RigOptions options;
  options.beat = Millis(10);
  const std::string node = env("T_NODE");  // the root is on a network file system, and this is what is not
  if (!node.empty()) options.placing = {true, node};
  if (!env("T_DISK").empty()) options.placing = {false, env("T_DISK")};
  auto rig = Rig::open(env("T_ROOT"), options);
  ASSERT_NE(rig, nullptr);
  base::Uid run;
  ASSERT_TRUE(base::Uid::parse(env("T_RUN"), &run));
  rig->start_run("trainer", run, static_cast<std::int64_t>(words[0].fetch_add(1) + 1));
  const std::uint64_t ms = number("T_MS");
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      const std::uint32_t key = rig->key(run, "m" + std::to_string(t));
      while (!stop.load(std::memory_order_relaxed)) {
        const std::uint64_t step = words[1 + 2 * t].fetch_add(1);
        rig->log(key, 0.5 * static_cast<double>(step), static_cast<std::int64_t>(step));
        words[2 + 2 * t].store(step + 1, std::memory_order_release);
        if (step % 64 == 0) ::usleep(200);
      }
    });
  }
  if (!node.empty()) threads.emplace_back([&] { pass_on(rig->dir, run, stop); });
  words[15].store(1);
  if (ms == 0) {
    for (;;) ::pause();
  }
  for (std::uint64_t i = 0; i < ms / 10; ++i) {
    rig->op(model::OpKind::set_tag, run, "tick", std::to_string(i));
    ::usleep(10'000);
  }
  stop = true;
  for (auto& t : threads) t.join();
  ASSERT_TRUE(rig->close().ok());
}

/// Takes a slot, says so, and keeps it until killed.
TEST(Program, DISABLED_Owner) {
  auto* words = shared_words(env("T_WORDS"), 16);
  auto slot = acquire_slot(env("T_ROOT"), "host", {});
  if (!slot.ok()) ::_exit(1);
  words[0].fetch_add(1);
  for (;;) ::pause();
}

/// A parent that forks a child and waits to be killed; the child logs T_POINTS after word 1 is raised and exits.
TEST(Program, DISABLED_Forks) {
  auto* words = shared_words(env("T_WORDS"), 16);
  auto rig = Rig::open(env("T_ROOT"));
  ASSERT_NE(rig, nullptr);
  base::Uid run;
  ASSERT_TRUE(base::Uid::parse(env("T_RUN"), &run));
  rig->start_run("forks", run);
  rig->log(rig->key(run, "parent"), 1, 1);
  ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(10'000)).ok());
  rig->drain->before_fork();
  const pid_t child = ::fork();
  if (child == 0) {
    rig->in_child();
    words[2].store(static_cast<std::uint64_t>(::getpid()));
    while (words[1].load() == 0) ::usleep(1'000);
    const std::uint32_t key = rig->key(run, "child");
    const std::uint64_t points = number("T_POINTS");
    for (std::uint64_t i = 0; i < points; ++i) rig->log(key, 2, static_cast<std::int64_t>(i));
    words[3].store(1);
    ::_exit(0);
  }
  rig->drain->after_fork_in_parent();
  words[0].store(1);
  for (;;) ::pause();
}

}  // namespace
}  // namespace mlops::drain::test
