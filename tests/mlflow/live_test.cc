// Live: every call against a real MLflow server, named by MLOPS_TEST_SERVER (else skipped).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>

#include "base/base.h"
#include "mlflow/mlflow.h"

namespace mlops::mlflow {
namespace {

constexpr double kMax = std::numeric_limits<double>::max(), kInf = std::numeric_limits<double>::infinity();

class Live : public testing::Test {
 protected:
  void SetUp() override {
    const char* uri = std::getenv("MLOPS_TEST_SERVER");
    if (!uri || !*uri) GTEST_SKIP() << "set MLOPS_TEST_SERVER to the URL of an MLflow server to run this";
    api_ = std::make_unique<Api>(*http::Connection::create(uri, {}));
    good(api_->probe(&server_));
    ASSERT_NE(server_.version, "");
    spec_.key = "live/" + base::Uid::random().hex();
    spec_.pairs = {{"team", "a"}};
    good(api_->create_experiment(spec_, &experiment_));
  }
  static void good(const Answer& answer) { EXPECT_EQ(answer.verdict, Verdict::ok) << answer.status.to_string(); }
  std::string new_run(const std::string& name, base::Uid* uid) {
    model::Op start;
    start.run = *uid = base::Uid::random();
    start.value = name;
    start.time_ms = base::now_ms();
    start.pairs = source_tags();
    std::string id;
    good(api_->create_run(experiment_, start, {{"extra", "1"}}, &id));
    return id;
  }
  static std::string tag(const RemoteRun& run, const std::string& key) {
    for (const auto& [k, v] : run.tags)
      if (k == key) return v;
    return "-";
  }
  std::unique_ptr<Api> api_;
  Server server_;
  model::Op spec_;
  std::string experiment_;
};

TEST_F(Live, ExperimentsAndRuns) {
  std::string again;
  EXPECT_EQ(api_->create_experiment(spec_, &again).verdict, Verdict::exists);
  good(api_->experiment_by_name(spec_.key, &again));
  EXPECT_EQ(again, experiment_);
  const Answer absent = api_->experiment_by_name("no/" + base::Uid::random().hex(), &again);
  EXPECT_EQ(absent.verdict, Verdict::run_gone);
  EXPECT_EQ(absent.status.code(), StatusCode::not_found);

  base::Uid uid;
  const std::string id = new_run("it's \"quoted\" é", &uid);
  RemoteRun run;
  bool found = false;
  good(api_->find_run(experiment_, uid.hex(), &run, &found));
  ASSERT_TRUE(found);
  EXPECT_EQ(run.run_id, id);
  EXPECT_EQ(run.lifecycle_stage, "active");
  good(api_->find_run(experiment_, base::Uid::random().hex(), &run, &found));
  EXPECT_FALSE(found);
  for (const char* name : {"it's \"quoted\" é", "it's", "say \"hi\"", "back\\slash"}) {
    if (std::string(name) != "it's \"quoted\" é") good(api_->update_run(id, RunStatus::running, 0, name));
    good(api_->find_run_by_name(experiment_, name, &run, &found));
    ASSERT_TRUE(found) << name;
    EXPECT_EQ(run.run_id, id);
  }
  good(api_->update_run(id, RunStatus::failed, base::now_ms(), ""));
  for (const bool deleted : {true, true, false, false}) good(api_->set_deleted(id, deleted));
  good(api_->get_run(id, &run));
  EXPECT_EQ(run.status, "FAILED");
  EXPECT_EQ(run.name, "back\\slash");
  EXPECT_EQ(tag(run, "mlflow.source.type"), "LOCAL");
  EXPECT_EQ(tag(run, "extra"), "1");
  good(api_->update_run(id, RunStatus::running, 0, ""));
  good(api_->get_run(id, &run));
  EXPECT_EQ(run.status, "RUNNING");
  const Answer gone = api_->get_run(std::string(32, '0'), &run);
  EXPECT_EQ(gone.verdict, Verdict::run_gone);
  EXPECT_EQ(gone.status.code(), StatusCode::not_found);
}

TEST_F(Live, MetricsRoundTripAndTheWatermark) {
  base::Uid uid;
  const std::string id = new_run("m", &uid);
  const double values[] = {0.1,    -0.0, 5e-324, kMax, -kMax, kInf, -kInf, std::nan(""), 1e22, 1.8446744073709552e19,
                           1.0 / 3};
  std::vector<MetricPoint> points;
  std::int64_t step = 0;
  for (double v : values) points.push_back({"odd/é x", {step++, 1'700'000'000'000, v}});
  points.push_back({"odd/é x", {std::numeric_limits<std::int64_t>::max(), 1, 1}});
  points.push_back({"odd/é x", {std::numeric_limits<std::int64_t>::min(), 2, 2}});
  good(api_->log_metrics(id, points.data(), points.size(), "mlops.sync.00000000", "1.1.14"));
  std::vector<model::Point> got;
  good(api_->metric_history(id, "odd/é x", &got));
  ASSERT_EQ(got.size(), points.size());
  EXPECT_EQ(got.front().step, std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(got.back().step, std::numeric_limits<std::int64_t>::max());
  for (std::size_t i = 0; i < std::size(values); ++i)
    EXPECT_TRUE(model::same_on_server(got[i + 1], points[i].point)) << i;
  good(api_->metric_history(id, "none", &got));
  EXPECT_TRUE(got.empty());
  RemoteRun run;
  good(api_->get_run(id, &run));
  EXPECT_EQ(tag(run, "mlops.sync.00000000"), "1.1.14");

  std::vector<std::string> names;
  for (int i = 0; i < 30; ++i) names.push_back("k" + std::to_string(i));
  points.clear();
  for (int i = 0; i < 999;
       ++i) {  // key after key: no block of 100 has all of them, which old servers cannot take twice
    points.push_back({names[static_cast<std::size_t>(i / 34)], {i, 1'700'000'000'000 + i, i * 0.5}});
  }
  good(api_->log_metrics(id, points.data(), points.size(), "mlops.sync.00000000", "1.1.1013"));
  const Answer repeated = api_->log_metrics(id, points.data(), points.size(), "mlops.sync.00000000", "1.1.1013");
  EXPECT_EQ(repeated.verdict, server_.whole_resend_ok ? Verdict::ok : Verdict::duplicate)
      << repeated.status.to_string();
  for (std::size_t i = 0; i < points.size(); i += 100)  // small requests are a no-op everywhere
    good(api_->log_metrics(id, points.data() + i, std::min<std::size_t>(100, points.size() - i), "", ""));
  good(api_->metric_history(id, "k7", &got));
  EXPECT_EQ(got.size(), 34u);
  const MetricPoint nan{"n", {1, 1'700'000'000'000, std::nan("")}};
  good(api_->log_metrics(id, &nan, 1, "", ""));
  EXPECT_EQ(api_->log_metrics(id, &nan, 1, "", "").verdict, server_.nan_resend_ok ? Verdict::ok : Verdict::duplicate);
}

TEST_F(Live, ParamsTagsAndWhatTheServerRefuses) {
  base::Uid uid;
  const std::string id = new_run("p", &uid);
  good(api_->log_params(id, {{"a", "1"}, {"e", ""}, {"u", "日本🎉\"\\\n"}}));
  good(api_->log_params(id, {{"a", "1"}}));
  const Answer conflict = api_->log_params(id, {{"a", "2"}});
  EXPECT_EQ(conflict.verdict, Verdict::rejected);
  EXPECT_EQ(conflict.status.code(), StatusCode::already_exists);
  const Answer bad = api_->log_params(id, {{"a#b", "2"}});
  EXPECT_EQ(bad.verdict, Verdict::rejected);
  EXPECT_EQ(bad.status.code(), StatusCode::invalid_argument);
  good(api_->set_tags(id, {{"t", "1"}, {"s", "2"}}));
  good(api_->set_tags(id, {{"t", "3"}}));
  good(api_->delete_tag(id, "s"));
  good(api_->delete_tag(id, "s"));
  RemoteRun run;
  good(api_->get_run(id, &run));
  EXPECT_EQ(tag(run, "t"), "3");
  EXPECT_EQ(tag(run, "s"), "-");
  ASSERT_EQ(run.params.size(), 3u);
  for (const auto& [key, value] : run.params) EXPECT_TRUE(key != "u" || value == "日本🎉\"\\\n") << value;
  EXPECT_EQ(api_->set_tags(std::string(32, '0'), {{"a", "b"}}).verdict, Verdict::run_gone);
  EXPECT_EQ(api_->delete_tag(std::string(32, '0'), "a").verdict, Verdict::run_gone);
  Api elsewhere(*http::Connection::create(std::string(std::getenv("MLOPS_TEST_SERVER")) + "/nowhere", {}));
  EXPECT_EQ(elsewhere.set_tags(id, {{"a", "b"}}).verdict, Verdict::misconfigured);
}

TEST_F(Live, SmallRequestsPrintTheirTime) {
  base::Uid uid;
  const std::string id = new_run("ack", &uid);
  double least = 1e9;
  for (int i = 0; i < 20; ++i) {
    const auto began = base::steady_ms();
    good(api_->set_tags(id, {{"t", std::to_string(i)}}));
    least = std::min(least, static_cast<double>(base::steady_ms() - began));
  }
  std::printf("live: a small request takes %.0f ms at best\n", least);
  EXPECT_GT(api_->bytes_sent(), 20u * 100);
}

}  // namespace
}  // namespace mlops::mlflow
