// The promises of client.h and run.h, without a server.
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <thread>

#include "client/support.h"

namespace mlops::test {
namespace {

Client must_open(const Options& options) {
  Result<Client> client = Client::open(options);
  EXPECT_TRUE(client.ok()) << client.status().to_string();
  return std::move(client).value();
}

RunSummary read_run(const std::string& root, const std::string& id) {
  Result<Reader> reader = Reader::open(root);
  EXPECT_TRUE(reader.ok()) << reader.status().to_string();
  Result<RunSummary> run = reader->run(id);
  EXPECT_TRUE(run.ok()) << run.status().to_string();
  return run.value_or({});
}

std::string value_of(const Pairs& pairs, const std::string& key) {
  for (const auto& [k, v] : pairs) {
    if (k == key) return v;
  }
  return "<none>";
}

TEST(Client, WhatIsLoggedIsReadBack) {
  TempDir dir;
  Client client = must_open(offline(dir / "root"));
  std::string id;
  {
    mlops::Run run = client.start_run("digits", {.name = "first", .note = "a note", .tags = {{"team", "a"}}}).value();
    id = run.id();
    EXPECT_EQ(run.name(), "first");
    EXPECT_EQ(id.size(), 32u);
    EXPECT_TRUE(run.log_param("lr", 1e-3).ok());
    EXPECT_TRUE(run.log_params({{"flag", true}, {"n", 3}, {"f", 0.1f}}).ok());
    EXPECT_TRUE(run.set_tag("k", "one").ok());
    EXPECT_TRUE(run.set_tag("k", "two").ok());
    EXPECT_TRUE(run.set_tag("gone", "x").ok());
    EXPECT_TRUE(run.delete_tag("gone").ok());
    Metric loss = run.metric("loss");
    for (int i = 0; i < 1000; ++i) loss.log(1.0 / (i + 1), i);
    EXPECT_TRUE(run.log_metric("acc", 0.5, 7).ok());
    EXPECT_TRUE(run.log_metrics({{"a", 1.0}, {"b", 2.0}}, 3).ok());
    EXPECT_TRUE(run.set_name("second").ok());
    EXPECT_EQ(run.name(), "second");
    EXPECT_FALSE(run.ended());
  }
  ASSERT_TRUE(client.flush(Level::durable).ok());
  EXPECT_TRUE(wait_until([&] { return read_run(dir / "root", id).status == RunStatus::finished; }, 5000));
  const RunSummary run = read_run(dir / "root", id);
  EXPECT_EQ(run.experiment, "digits");
  EXPECT_EQ(run.name, "second");
  EXPECT_EQ(run.points, 1003u);
  EXPECT_EQ(value_of(run.params, "lr"), "0.001");
  EXPECT_EQ(value_of(run.params, "flag"), "True");
  EXPECT_EQ(value_of(run.params, "f"), "0.1");
  EXPECT_EQ(value_of(run.tags, "k"), "two");
  EXPECT_EQ(value_of(run.tags, "gone"), "<none>");
  EXPECT_EQ(value_of(run.tags, "team"), "a");
  EXPECT_EQ(value_of(run.tags, "mlflow.note.content"), "a note");
  EXPECT_NE(value_of(run.tags, "mlflow.user"), "<none>");
  EXPECT_GE(run.end_ms, run.start_ms);
  const Series series = Reader::open(dir / "root")->series(id, "loss").value();
  ASSERT_EQ(series.value.size(), 1000u);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(series.step[i], i);
    EXPECT_EQ(series.value[i], 1.0 / (i + 1));
  }
  EXPECT_EQ(Reader::open(dir / "root")->series(id, "nope").status().code(), StatusCode::not_found);
  const Health health = client.health();
  EXPECT_EQ(health.accepted, 1003u);
  EXPECT_EQ(health.durable, 1003u);
  EXPECT_TRUE(health.buffer.ok());
  EXPECT_TRUE(client.close().ok());
}

TEST(Client, EveryDoubleAndEveryStepIsAValue) {
  TempDir dir;
  Client client = must_open(offline(dir / "root"));
  mlops::Run run = client.start_run().value();
  using D = std::numeric_limits<double>;
  const std::vector<double> values{0.0,      -0.0,       D::quiet_NaN(), D::infinity(), -D::infinity(), D::denorm_min(),
                                   D::max(), D::lowest()};
  const std::vector<std::int64_t> steps{0, INT64_MIN, INT64_MAX, -1, 5, 6, 7, 8};
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_TRUE(run.log_metric("v", values[i], steps[i]).ok());
  ASSERT_TRUE(run.flush(Level::durable).ok());
  const std::string id = run.id();
  ASSERT_TRUE(run.end().ok());
  ASSERT_TRUE(client.close().ok());
  const Series series = Reader::open(dir / "root")->series(id, "v").value();
  ASSERT_EQ(series.value.size(), values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    for (std::size_t j = 0; j < values.size(); ++j) {
      if (series.step[j] != steps[i]) continue;
      EXPECT_EQ(std::isnan(series.value[j]), std::isnan(values[i]));
      if (!std::isnan(values[i])) {
        EXPECT_EQ(series.value[j], values[i]);
      }
      EXPECT_EQ(std::signbit(series.value[j]), std::signbit(values[i]));
    }
  }
}

TEST(Client, BadInputIsNamedAndNothingElseIsLost) {
  TempDir dir;
  Client client = must_open(offline(dir / "root"));
  mlops::Run run = client.start_run("bad").value();
  const std::string nul("a\0b", 3), utf8("\xff\xfe"), long_key(251, 'k');
  for (const std::string& key :
       {std::string(), long_key, nul, utf8, std::string("a//b"), std::string("../x"), std::string("a%b")}) {
    const Status metric = run.log_metric(key, 1);
    EXPECT_EQ(metric.code(), StatusCode::invalid_argument) << key;
    EXPECT_FALSE(metric.message().empty());
    EXPECT_EQ(run.try_metric(key).status().code(), StatusCode::invalid_argument) << key;
    EXPECT_EQ(run.log_param(key, 1).code(), StatusCode::invalid_argument) << key;
    EXPECT_EQ(run.set_tag(key, 1).code(), StatusCode::invalid_argument) << key;
    EXPECT_EQ(run.delete_tag(key).code(), StatusCode::invalid_argument) << key;
  }
  EXPECT_EQ(run.log_param("p", Value(nul)).code(), StatusCode::invalid_argument);
  EXPECT_EQ(run.log_param("p", Value(utf8)).code(), StatusCode::invalid_argument);
  EXPECT_EQ(run.set_tag("t", Value(nul)).code(), StatusCode::invalid_argument);
  EXPECT_EQ(run.set_name("").code(), StatusCode::invalid_argument);
  EXPECT_EQ(run.set_name(std::string(251, 'n')).code(), StatusCode::invalid_argument);
  EXPECT_EQ(run.log_metric("early", 1, 0, std::chrono::system_clock::from_time_t(-5)).code(),
            StatusCode::invalid_argument);
  EXPECT_EQ(client.start_run(std::string(257, 'e')).status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(client.start_run("x", {.resume_id = "a", .resume_name = "b"}).status().code(),
            StatusCode::invalid_argument);
  EXPECT_EQ(client.start_run("x", {.tags = {{"", "v"}}}).status().code(), StatusCode::invalid_argument);
  // Of many, the good ones are taken.
  EXPECT_EQ(run.log_metrics({{"good1", 1}, {"", 2}, {"good2", 3}}).code(), StatusCode::invalid_argument);
  EXPECT_EQ(run.log_params({{"ok1", "1"}, {nul, "2"}, {"ok2", "3"}}).code(), StatusCode::invalid_argument);
  // A handle of a bad name drops and counts.
  Metric bad = run.metric(long_key);
  bad.log(1.0, 1);
  bad.log(2.0, 2);
  run.metric("early").log(1.0, 1, std::chrono::system_clock::from_time_t(-5));
  EXPECT_TRUE(run.log_metric(std::string(250, 'k'), 1).ok());
  const std::string id = run.id();
  ASSERT_TRUE(run.end().ok());
  EXPECT_EQ(client.health().dropped["invalid"], 3u);
  ASSERT_TRUE(client.close().ok());
  const RunSummary summary = read_run(dir / "root", id);
  EXPECT_EQ(summary.points, 3u);  // good1, good2, 250 k
  EXPECT_EQ(summary.params.size(), 2u);
}

TEST(Client, ParamsAreWrittenOnceAndCut) {
  TempDir dir;
  Client client = must_open(offline(dir / "root"));
  mlops::Run run = client.start_run("params").value();
  EXPECT_TRUE(run.log_param("a", "1").ok());
  EXPECT_TRUE(run.log_param("a", 1).ok());
  const Status other = run.log_param("a", 2);
  EXPECT_EQ(other.code(), StatusCode::already_exists);
  EXPECT_NE(std::string(other.message()).find("\"a\""), std::string::npos);
  EXPECT_TRUE(run.log_param("long", std::string(6001, 'x')).ok());
  EXPECT_TRUE(run.log_param("long", std::string(6001, 'x')).ok());
  EXPECT_TRUE(run.set_tag("longtag", std::string(8001, 'y')).ok());
  Pairs many;
  for (int i = 0; i < 5000; ++i) many.emplace_back("p" + std::to_string(i), std::to_string(i));
  EXPECT_TRUE(run.log_params(many).ok());
  const std::string id = run.id();
  ASSERT_TRUE(run.end().ok());
  ASSERT_TRUE(client.close().ok());
  const RunSummary summary = read_run(dir / "root", id);
  EXPECT_EQ(summary.params.size(), 5002u);
  EXPECT_EQ(value_of(summary.params, "a"), "1");
  EXPECT_EQ(value_of(summary.params, "long"), std::string(6000, 'x'));
  EXPECT_EQ(value_of(summary.tags, "longtag"), std::string(8000, 'y'));
  EXPECT_EQ(value_of(summary.tags, "mlops.truncated.long"), "6001");
  EXPECT_EQ(value_of(summary.params, "p4999"), "4999");
}

TEST(Client, ClosedHandlesDropAndCount) {
  TempDir dir;
  Client client = must_open(offline(dir / "root"));
  mlops::Run run = client.start_run("closed").value();
  Metric loss = run.metric("loss");
  loss.log(1.0, 1);
  ASSERT_TRUE(run.end().ok());
  EXPECT_TRUE(run.ended());
  loss.log(2.0, 2);
  EXPECT_EQ(run.log_metric("loss", 3.0, 3).code(), StatusCode::failed_precondition);
  EXPECT_EQ(run.log_param("p", 1).code(), StatusCode::failed_precondition);
  EXPECT_EQ(run.set_tag("t", 1).code(), StatusCode::failed_precondition);
  EXPECT_EQ(run.end().code(), StatusCode::failed_precondition);
  run.metric("new").log(1.0);
  EXPECT_EQ(client.health().dropped["closed"], 3u);
  // Another run may reuse the gate: the old handle stays closed.
  mlops::Run next = client.start_run("closed").value();
  Metric other = next.metric("loss");
  loss.log(4.0, 4);
  other.log(5.0, 5);
  EXPECT_EQ(client.health().dropped["closed"], 4u);
  const std::string id = next.id();
  ASSERT_TRUE(client.close().ok());
  other.log(6.0, 6);
  loss.log(7.0, 7);
  Metric().log(1.0);
  EXPECT_TRUE(next.ended());
  EXPECT_EQ(next.log_metric("loss", 1.0).code(), StatusCode::failed_precondition);
  EXPECT_EQ(client.close().code(), StatusCode::failed_precondition);
  EXPECT_EQ(client.flush().code(), StatusCode::failed_precondition);
  EXPECT_EQ(client.start_run("x").status().code(), StatusCode::failed_precondition);
  EXPECT_EQ(client.experiment("x").start_run().status().code(), StatusCode::failed_precondition);
  EXPECT_EQ(client.health().dropped["closed"], 7u);
  EXPECT_EQ(read_run(dir / "root", id).points, 1u);
}

// The slot's, not the process's: they were kept by the last one alone, and the invalid ones by none.
TEST(Client, WhatWasDroppedStaysCountedWhenTheClientIsClosed) {
  TempDir dir;
  for (int i = 1; i <= 3; ++i) {
    Client client = must_open(offline(dir / "root"));
    mlops::Run run = client.start_run("dropping").value();
    if (i == 2) continue;  // a clean one between them
    Metric loss = run.metric("loss");
    for (int k = 0; k < i; ++k) run.metric("no\nname").log(1.0, k);
    ASSERT_TRUE(run.end().ok());
    loss.log(2.0, 2);
    ASSERT_TRUE(client.close().ok());
    const auto left = Reader::open(dir / "root").value().health().value().dropped;
    EXPECT_EQ(left, (std::map<std::string, std::uint64_t>{{"closed", (i + 1) / 2}, {"invalid", i == 1 ? 1 : 4}})) << i;
  }
  Client client = must_open(offline(dir / "root"));
  EXPECT_TRUE(client.flush().ok());
  EXPECT_EQ(client.health().dropped["invalid"], 4u);
  EXPECT_EQ(client.health().accepted, 0u);
}

TEST(Client, TwoClientsShareOneRootAndTheLastOneClosesIt) {
  TempDir dir;
  Client a = must_open(offline(dir / "root"));
  Client b = must_open(offline(dir.path() + "/./root/"));
  EXPECT_EQ(a.root(), b.root());
  mlops::Run one = a.start_run("e").value();
  mlops::Run two = b.start_run("e").value();
  one.metric("m").log(1.0, 1);
  two.metric("m").log(1.0, 1);
  ASSERT_TRUE(a.close().ok());
  EXPECT_TRUE(one.ended());
  EXPECT_FALSE(two.ended());
  EXPECT_TRUE(two.log_metric("m", 2.0, 2).ok());
  ASSERT_TRUE(b.flush().ok());
  EXPECT_EQ(b.health().durable, 3u);
  ASSERT_TRUE(b.close().ok());
  Client again = must_open(offline(dir / "root"));  // a closed root opens anew
  mlops::Run three = again.start_run("e").value();
  EXPECT_TRUE(three.log_metric("m", 1.0).ok());
  ASSERT_TRUE(again.close().ok());
  EXPECT_EQ(settled_points(dir / "root"), 4u);
}

TEST(Client, TwoRootsWorkSideBySideOnOneThread) {
  TempDir dir;
  Client a = must_open(offline(dir / "a"));
  Client b = must_open(offline(dir / "b"));
  mlops::Run one = a.start_run("e").value();
  mlops::Run two = b.start_run("e").value();
  Metric m1 = one.metric("m"), m2 = two.metric("m");
  for (int i = 0; i < 5000; ++i) {
    m1.log(1.0, i);
    if (i % 2 == 0) m2.log(2.0, i);
    if (i % 100 == 0) {
      EXPECT_TRUE(one.log_metric("named", 1.0, i).ok() && two.log_metric("named", 2.0, i).ok());
    }
  }
  ASSERT_TRUE(a.close().ok());
  m2.log(3.0, 9999);
  ASSERT_TRUE(b.close().ok());
  EXPECT_EQ(settled_points(dir / "a"), 5050u);
  EXPECT_EQ(settled_points(dir / "b"), 2551u);
}

TEST(Client, ResumeByIdAndByName) {
  TempDir dir;
  std::string id;
  {
    Client client = must_open(offline(dir / "root"));
    mlops::Run run = client.start_run("e", {.name = "again"}).value();
    id = run.id();
    EXPECT_TRUE(run.log_param("p", "1").ok());
    run.metric("m").log(1.0, 41);
    ASSERT_TRUE(run.end(RunStatus::failed).ok());
    ASSERT_TRUE(client.close().ok());
  }
  EXPECT_EQ(read_run(dir / "root", id).status, RunStatus::failed);
  Client client = must_open(offline(dir / "root"));
  {
    mlops::Run run = client.start_run("other", {.resume_id = id}).value();
    EXPECT_EQ(run.id(), id);
    EXPECT_EQ(run.name(), "again");
    EXPECT_TRUE(run.log_param("p", "1").ok());
    EXPECT_EQ(run.log_param("p", "2").code(), StatusCode::already_exists);
    mlops::Run::AutoStep steps = run.auto_step("m");
    EXPECT_EQ(steps.next_step(), 42);
    steps.log(2.0);
    steps.log(3.0);
    // The same run a second time in this process: another pair of hands, whose end changes nothing.
    mlops::Run twin = client.start_run("e", {.resume_id = id}).value();
    EXPECT_TRUE(twin.log_metric("m", 4.0, 44).ok());
    ASSERT_TRUE(twin.end(RunStatus::killed).ok());
    EXPECT_TRUE(run.log_metric("m", 5.0, 45).ok());
  }
  mlops::Run by_name = client.start_run("e", {.resume_name = "again"}).value();
  EXPECT_EQ(by_name.id(), id);
  mlops::Run fresh = client.start_run("e", {.resume_name = "never was"}).value();
  EXPECT_NE(fresh.id(), id);
  EXPECT_EQ(fresh.name(), "never was");
  EXPECT_EQ(client.start_run("e", {.resume_id = "00000000000000000000000000000000"}).status().code(),
            StatusCode::not_found);
  EXPECT_EQ(fresh.auto_step("new").next_step(), 0);
  ASSERT_TRUE(client.close().ok());
  const RunSummary run = read_run(dir / "root", id);
  EXPECT_EQ(run.points, 5u);
  EXPECT_EQ(run.status, RunStatus::finished);
  EXPECT_EQ(run.experiment, "e");
}

TEST(Client, NestedRunsKnowTheirParent) {
  TempDir dir;
  Client client = must_open(offline(dir / "root"));
  mlops::Run parent = client.start_run("e").value();
  mlops::Run child = client.start_run("e", {.parent_id = parent.id()}).value();
  mlops::Run orphan = client.start_run("e", {.parent_id = "abcdef0123456789abcdef0123456789"}).value();
  mlops::Run tagged = client.start_run("e", {.tags = {{"mlflow.parentRunId", parent.id()}}}).value();
  const std::string p = parent.id(), c = child.id(), o = orphan.id(), t = tagged.id();
  ASSERT_TRUE(client.close().ok());
  EXPECT_EQ(read_run(dir / "root", c).parent_id, p);
  EXPECT_EQ(read_run(dir / "root", t).parent_id, p);
  EXPECT_EQ(value_of(read_run(dir / "root", t).tags, "mlflow.parentRunId"), "<none>");
  EXPECT_EQ(value_of(read_run(dir / "root", o).tags, "mlflow.parentRunId"), "abcdef0123456789abcdef0123456789");
}

TEST(Client, TheScopeEndsTheRun) {
  TempDir dir;
  Client client = must_open(offline(dir / "root"));
  std::string failed, finished, moved;
  try {
    mlops::Run run = client.start_run("e").value();
    failed = run.id();
    throw std::runtime_error("training went wrong");
  } catch (const std::runtime_error&) {
    mlops::Run run = client.start_run("e").value();  // made while one is handled: not an unwinding of its own
    finished = run.id();
  }
  mlops::Run first = client.start_run("e").value();
  moved = first.id();
  first = client.start_run("e").value();  // ends the one it held
  mlops::Run taken = std::move(first);
  EXPECT_EQ(first.log_metric("m", 1).code(), StatusCode::failed_precondition);  // NOLINT: moved from, on purpose
  EXPECT_TRUE(first.id().empty());
  EXPECT_TRUE(taken.log_metric("m", 1).ok());
  ASSERT_TRUE(client.close().ok());
  EXPECT_EQ(read_run(dir / "root", failed).status, RunStatus::failed);
  EXPECT_EQ(read_run(dir / "root", finished).status, RunStatus::finished);
  EXPECT_EQ(read_run(dir / "root", moved).status, RunStatus::finished);
}

TEST(Client, FlushSaysWhyItCannotDeliver) {
  TempDir dir;
  Client client = must_open(offline(dir / "root"));
  mlops::Run run = client.start_run("e").value();
  run.metric("m").log(1.0);
  EXPECT_TRUE(run.flush(Level::buffered).ok());
  EXPECT_TRUE(client.flush(Level::durable).ok());
  EXPECT_EQ(client.flush(Level::delivered, Millis(100)).code(), StatusCode::failed_precondition);
  EXPECT_EQ(run.server_id().status().code(), StatusCode::failed_precondition);
  ASSERT_TRUE(client.close().ok());
}

TEST(Client, AServerOutOfReachDelaysNothingButFlushDelivered) {
  TempDir dir;
  Options options = offline(dir / "root");
  options.deliver = true;
  options.tracking_uri = "http://127.0.0.1:9";
  options.exit_deadline = Millis(6'000);
  Client client = must_open(options);
  mlops::Run run = client.start_run("e").value();
  run.metric("m").log(1.0, 1);
  const Status late = run.flush(Level::delivered, Millis(500));
  EXPECT_EQ(late.code(), StatusCode::deadline_exceeded) << late.to_string();
  EXPECT_FALSE(run.server_id().ok());
  EXPECT_TRUE(wait_until(
      [&] {
        const Health health = client.health();
        return health.destinations.size() == 1 && !health.destinations[0].last_error.ok();
      },
      10'000));
  EXPECT_EQ(client.health().destinations[0].waiting, 1u);
  const auto start = std::chrono::steady_clock::now();
  client.close().ignore();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST(Client, HealthCallback) {
  TempDir dir;
  Client client = must_open(offline(dir / "root"));
  std::atomic<std::uint64_t> seen{0};
  client.on_health([&](const Health& health) { seen.store(health.buffered); });
  mlops::Run run = client.start_run("e").value();
  for (int i = 0; i < 10; ++i) run.metric("m").log(1.0, i);
  EXPECT_TRUE(wait_until([&] { return seen.load() == 10; }, 10'000));
  ASSERT_TRUE(client.close().ok());
}

TEST(Open, RootsThatCannotBe) {
  TempDir dir;
  std::ofstream(dir / "file") << "x";
  EXPECT_EQ(Client::open(offline(dir / "file")).status().code(), StatusCode::failed_precondition);
  EXPECT_EQ(Client::open(offline(dir / "file/below")).status().code(), StatusCode::failed_precondition);
  EXPECT_EQ(Client::open(offline("/proc/mlops-root")).status().ok(), false);
  EXPECT_EQ(Reader::open(dir / "nothing").status().code(), StatusCode::not_found);
  if (::geteuid() == 0) {
    ::mkdir((dir / "foreign").c_str(), 0755);
    ASSERT_EQ(::chown((dir / "foreign").c_str(), 12345, 12345), 0);
    const Status foreign = Client::open(offline(dir / "foreign")).status();
    EXPECT_EQ(foreign.code(), StatusCode::failed_precondition) << foreign.to_string();
  } else {
    ::mkdir((dir / "locked").c_str(), 0500);
    EXPECT_EQ(Client::open(offline(dir / "locked")).status().code(), StatusCode::permission_denied);
  }
}

TEST(Open, OptionsAreChecked) {
  TempDir dir;
  for (const char* uri : {"not a uri", "ftp://host", "http://", "http://user:secret@host", "sqlite:///x.db"}) {
    Options options = offline(dir / "root");
    options.tracking_uri = uri;
    const Status status = Client::open(options).status();
    EXPECT_EQ(status.code(), StatusCode::invalid_argument) << uri;
    EXPECT_EQ(std::string(status.message()).find("secret"), std::string::npos);
  }
  Options options = offline(dir / "root");
  options.journal_mib = 1;
  EXPECT_EQ(Client::open(options).status().code(), StatusCode::invalid_argument);
  options = offline(dir / "root");
  options.beat = Millis(1);
  EXPECT_EQ(Client::open(options).status().code(), StatusCode::invalid_argument);
  options = offline(dir / "root");
  options.host = "a/b";
  EXPECT_EQ(Client::open(options).status().code(), StatusCode::invalid_argument);
}

TEST(Threads, ManyShortLivedOnesLeakNothingAndLoseNothing) {
  TempDir dir;
  Client client = must_open(offline(dir / "root"));
  mlops::Run run = client.start_run("e").value();
  Metric m = run.metric("m");
  for (int round = 0; round < 100; ++round) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 10; ++t) {
      threads.emplace_back([&, t] {
        m.log(1.0, round * 10 + t);
        EXPECT_TRUE(run.log_metric("named", 1.0, round * 10 + t).ok());
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  ASSERT_TRUE(client.flush().ok());
  EXPECT_EQ(client.health().durable, 2000u);
  EXPECT_LE(client.health().journal_bytes, client.health().journal_cap_bytes);
  ASSERT_TRUE(client.close().ok());
}

}  // namespace
}  // namespace mlops::test
