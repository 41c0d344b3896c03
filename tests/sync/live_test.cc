// Live: the faults of faults_test against a real MLflow server, named by MLOPS_TEST_SERVER (else skipped): a response
// lost after commit, a request lost before it, at each request index; the server's state equals the undisturbed one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "http/http.h"
#include "rig.h"

namespace mlops::sync::fake {
namespace {

/// Passes calls on, but for the one at `index`.
class Disturbed : public Remote {
 public:
  Disturbed(std::unique_ptr<Remote> real, std::atomic<std::uint64_t>* count, std::uint64_t index, Fault fault)
      : real_(std::move(real)), count_(count), index_(index), fault_(fault) {}
  Answer probe(mlflow::Server* out) override {
    return pass([&] { return real_->probe(out); });
  }
  Answer experiment_by_name(std::string_view name, std::string* id) override {
    return pass([&] { return real_->experiment_by_name(name, id); });
  }
  Answer create_experiment(const model::Op& spec, std::string* id) override {
    return pass([&] { return real_->create_experiment(spec, id); });
  }
  Answer find_run(std::string_view experiment, std::string_view uid, mlflow::RemoteRun* out, bool* found) override {
    return pass([&] { return real_->find_run(experiment, uid, out, found); });
  }
  Answer create_run(std::string_view experiment, const model::Op& start, const Pairs& tags, std::string* id) override {
    return pass([&] { return real_->create_run(experiment, start, tags, id); });
  }
  Answer get_run(std::string_view id, mlflow::RemoteRun* out) override {
    return pass([&] { return real_->get_run(id, out); });
  }
  Answer log_metrics(std::string_view id, const mlflow::MetricPoint* points, std::size_t n, std::string_view key,
                     std::string_view value) override {
    return pass([&] { return real_->log_metrics(id, points, n, key, value); });
  }
  Answer log_params(std::string_view id, const Pairs& params) override {
    return pass([&] { return real_->log_params(id, params); });
  }
  Answer set_tags(std::string_view id, const Pairs& tags) override {
    return pass([&] { return real_->set_tags(id, tags); });
  }
  Answer delete_tag(std::string_view id, std::string_view key) override {
    return pass([&] { return real_->delete_tag(id, key); });
  }
  Answer update_run(std::string_view id, RunStatus status, std::int64_t end_ms, std::string_view name) override {
    return pass([&] { return real_->update_run(id, status, end_ms, name); });
  }
  Answer set_deleted(std::string_view id, bool deleted) override {
    return pass([&] { return real_->set_deleted(id, deleted); });
  }
  Answer metric_history(std::string_view id, std::string_view key, std::vector<model::Point>* out) override {
    return pass([&] { return real_->metric_history(id, key, out); });
  }
  mlflow::Registry& registry() override { return real_->registry(); }
  mlflow::Models& models() override { return real_->models(); }
  void cancel() override { real_->cancel(); }
  std::uint64_t bytes_sent() const override { return real_->bytes_sent(); }

 private:
  template <typename Do>
  Answer pass(Do&& call) {
    const bool hit = count_->fetch_add(1) == index_;
    const Answer lost = answer(Verdict::ambiguous, StatusCode::unavailable, 0, "connection reset");
    if (hit && fault_ == Fault::request_lost) return lost;
    const Answer real = call();
    return hit ? lost : real;
  }
  std::unique_ptr<Remote> real_;
  std::atomic<std::uint64_t>* count_;
  std::uint64_t index_;
  Fault fault_;
};

std::string read_back(const std::string& uri, const std::string& experiment) {
  mlflow::Api api(std::move(http::Connection::create(uri, {}).value()));
  std::string id, text;
  EXPECT_EQ(api.experiment_by_name(experiment, &id).verdict, Verdict::ok);
  std::string parent;
  for (int n : {1, 2}) {
    mlflow::RemoteRun run;
    bool found = false;
    EXPECT_EQ(api.find_run(id, uid(n).hex(), &run, &found).verdict, Verdict::ok);
    EXPECT_TRUE(found);
    EXPECT_EQ(api.get_run(run.run_id, &run).verdict, Verdict::ok);
    if (n == 1) parent = run.run_id;
    text += "run " + run.name + " " + run.status + "\n";
    std::sort(run.tags.begin(), run.tags.end());
    for (auto& [key, value] : run.tags) {
      if (key.rfind("mlops.sync.", 0) == 0) continue;
      text += "tag " + key + "=" + (value == parent ? "the parent" : value) + "\n";
    }
    std::sort(run.params.begin(), run.params.end());
    for (auto& [key, value] : run.params) text += "param " + key + "=" + value + "\n";
    for (const char* key : {"loss", "acc"}) {
      std::vector<model::Point> points;
      EXPECT_EQ(api.metric_history(run.run_id, key, &points).verdict, Verdict::ok);
      std::multiset<Stored> sorted;
      for (const model::Point& p : points) sorted.insert(stored(key, p));
      for (const auto& [k, ms, step, value, nan] : sorted) {
        text += k + " " + std::to_string(ms) + " " + std::to_string(step) + " " +
                (nan ? "nan" : model::format_double(value)) + "\n";
      }
    }
  }
  return text;
}

TEST(LiveSync, AFaultAtEachRequestChangesNothing) {
  const char* uri = std::getenv("MLOPS_TEST_SERVER");
  if (uri == nullptr || *uri == 0) GTEST_SKIP() << "set MLOPS_TEST_SERVER to the URL of an MLflow server to run this";
  auto deliver = [&](std::uint64_t index, Fault fault, std::uint64_t* requests) {
    Rig rig(Server::Age::v3_17);
    const std::uint64_t points = write_scenario(rig.buffer.get());
    const std::string experiment = "sync/" + base::Uid::random().hex();
    for (int n : {1, 2}) {
      rig.buffer->edit(uid(n), [&](Buffer::Run& run) {
        run.row.experiment = experiment;
        for (buffer::Record& record : run.records) {
          if (record.op.kind == model::OpKind::run_start) record.op.key = experiment;
        }
      });
    }
    std::atomic<std::uint64_t> count{0};
    EngineOptions options = rig.options();
    options.backoff_first = Millis(20);
    Parts parts = real_parts(options);
    parts.open_ledger = [&] { return rig.disk.open(); };
    parts.read_ledger = [&] { return rig.disk.read(); };
    parts.make_remote = [&, make = remote_to(uri, {})]() -> Result<std::unique_ptr<Remote>> {
      auto real = make();
      if (!real.ok()) return real.status();
      return std::unique_ptr<Remote>(new Disturbed(std::move(*real), &count, index, fault));
    };
    std::unique_ptr<Engine> engine = std::move(start_engine(std::move(options), std::move(parts)).value());
    Status status = engine->wait_idle(Millis(120'000));
    EXPECT_TRUE(status.ok()) << status.to_string();
    EXPECT_EQ(engine->health().delivered, points);
    EXPECT_EQ(engine->health().dead_letters, 0u);
    engine->stop(Millis(5'000));
    *requests = count.load();
    return read_back(uri, experiment);
  };
  std::uint64_t requests = 0, ignored = 0;
  const std::string expected = deliver(~0ull, Fault::none, &requests);
  EXPECT_NE(expected.find("run parent renamed FINISHED"), std::string::npos) << expected.substr(0, 2'000);
  for (Fault fault : {Fault::response_lost, Fault::request_lost}) {
    for (std::uint64_t index = 0; index < requests; ++index) {
      ASSERT_EQ(deliver(index, fault, &ignored), expected) << "fault " << static_cast<int>(fault) << " at " << index;
    }
  }
  std::printf("live: %llu requests, each lost twice\n", static_cast<unsigned long long>(requests));
}

}  // namespace
}  // namespace mlops::sync::fake
