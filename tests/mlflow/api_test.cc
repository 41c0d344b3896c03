// Api against scripted answers: what is asked, and that no answer of another shape is ever taken for good.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "http/loopback.h"
#include "mlflow/mlflow.h"

namespace mlops::mlflow {
namespace {

using test::Act;
using test::http_answer;
using test::Loopback;
using test::Seen;

class Scripted {
 public:
  explicit Scripted(std::vector<std::string> answers)
      : server_([answers](int index, const Seen&) {
          const auto i = static_cast<std::size_t>(index);
          return Act{Act::answer, i < answers.size() ? answers[i] : http_answer(500, "{}")};
        }),
        api_(*http::Connection::create(server_.uri(), {})) {}
  Api* operator->() { return &api_; }
  Seen seen(std::size_t i) { return server_.seen().at(i); }
  std::string line(std::size_t i) { return seen(i).head.substr(0, seen(i).head.find(" HTTP/")); }

 private:
  Loopback server_;
  Api api_;
};

std::string json(const std::string& body) { return http_answer(200, body); }
std::string html() { return http_answer(200, "<html>log in</html>", "text/html"); }
std::string run_json(const std::string& id, const std::string& uid, const std::string& stage,
                     const std::string& name = "n") {
  return R"({"info":{"run_id":")" + id + R"(","run_name":")" + name +
         R"(","experiment_id":7,"status":"RUNNING","lifecycle_stage":")" + stage +
         R"("},"data":{"params":[{"key":"p","value":"1"}],"tags":[{"key":"mlops.uid","value":")" + uid + R"("}]}})";
}

TEST(Api, HtmlIsNeverAGoodAnswer) {
  Scripted s(std::vector<std::string>(14, html()));
  std::string id;
  RemoteRun run;
  bool found = false;
  std::vector<model::Point> points;
  const MetricPoint point{"k", {1, 2, 3}};
  model::Op op;
  const Answer answers[] = {s->experiment_by_name("e", &id),
                            s->create_experiment(op, &id),
                            s->find_run("1", "u", &run, &found),
                            s->find_run_by_name("1", "n", &run, &found),
                            s->create_run("1", op, {}, &id),
                            s->get_run("r", &run),
                            s->log_metrics("r", &point, 1, "", ""),
                            s->log_params("r", {{"a", "b"}}),
                            s->set_tags("r", {{"a", "b"}}),
                            s->delete_tag("r", "a"),
                            s->update_run("r", RunStatus::finished, 5, ""),
                            s->set_deleted("r", true),
                            s->set_deleted("r", false),
                            s->metric_history("r", "k", &points)};
  for (const Answer& answer : answers) EXPECT_EQ(answer.verdict, Verdict::ambiguous) << answer.status.to_string();
  EXPECT_FALSE(found);
  EXPECT_EQ(s->requests(), 14u);
}

TEST(Api, ObjectsWithoutTheirFieldsAreAmbiguous) {
  Scripted s(std::vector<std::string>(4, json("{}")));
  std::string id;
  RemoteRun run;
  EXPECT_EQ(s->experiment_by_name("e", &id).verdict, Verdict::ambiguous);
  EXPECT_EQ(s->create_experiment({}, &id).verdict, Verdict::ambiguous);
  EXPECT_EQ(s->create_run("1", {}, {}, &id).verdict, Verdict::ambiguous);
  EXPECT_EQ(s->get_run("r", &run).verdict, Verdict::ambiguous);
  EXPECT_EQ(id, "");
}

TEST(Api, FindRunTrustsTagsNotTheFilter) {
  const std::string uid(32, 'a');
  Scripted s({json("{}"), json("{\"runs\":[" + run_json("1", "other", "active") + "]}"),
              json("{\"runs\":[" + run_json("b", uid, "deleted") + "," + run_json("c", uid, "active") + "]}"),
              json("{\"runs\":[" + run_json("d", uid, "active") + "," + run_json("c", uid, "active") + "]}")});
  RemoteRun run;
  bool found = true;
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(s->find_run("7", uid, &run, &found).verdict, Verdict::ok);
    EXPECT_FALSE(found);
  }
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(s->find_run("7", uid, &run, &found).verdict, Verdict::ok);
    EXPECT_TRUE(found);
    EXPECT_EQ(run.run_id, "c");
  }
  EXPECT_EQ(run.experiment_id, "7");
  EXPECT_EQ(run.params, (Pairs{{"p", "1"}}));
  EXPECT_EQ(s.line(0), "POST /api/2.0/mlflow/runs/search");
  EXPECT_NE(
      s.seen(0).body.find(R"("filter":"tags.`mlops.uid` = ')" + uid + R"('","run_view_type":"ALL","max_results":2)"),
      std::string::npos)
      << s.seen(0).body;
}

TEST(Api, NamesWithQuotesAreFound) {
  Scripted s(
      {json("{\"runs\":[" + run_json("1", "u", "active", "it's") + "]}"),
       json("{\"runs\":[" + run_json("1", "u", "active", "x") + "," + run_json("2", "u", "active", "a'\\\"b") + "]}"),
       json("{}")});
  RemoteRun run;
  bool found = false;
  ASSERT_EQ(s->find_run_by_name("7", "it's", &run, &found).verdict, Verdict::ok);
  EXPECT_TRUE(found);
  EXPECT_NE(s.seen(0).body.find(R"(attributes.run_name = \"it's\")"), std::string::npos) << s.seen(0).body;
  ASSERT_EQ(s->find_run_by_name("7", "a'\"b", &run, &found).verdict, Verdict::ok);
  EXPECT_TRUE(found);
  EXPECT_EQ(run.run_id, "2");
  EXPECT_EQ(s.seen(1).body.find("filter"), std::string::npos);
  ASSERT_EQ(s->find_run_by_name("7", "none", &run, &found).verdict, Verdict::ok);
  EXPECT_FALSE(found);
}

TEST(Api, ARunTellsTheLastStepsOfItsMetrics) {
  Scripted s({json(R"({"run":{"info":{"run_id":"r"},"data":{"metrics":[{"key":"a","value":1,"step":"12"},)"
                   R"({"key":"b","value":"NaN","step":7},{"key":"c","value":0}]}}})"),
              json(R"({"run":{"info":{"run_id":"r"}}})")});
  RemoteRun run;
  ASSERT_EQ(s->get_run("r", &run).verdict, Verdict::ok);
  const std::vector<std::pair<std::string, std::int64_t>> wanted{{"a", 12}, {"b", 7}, {"c", 0}};
  EXPECT_EQ(run.last_steps, wanted);
  ASSERT_EQ(s->get_run("r", &run).verdict, Verdict::ok);
  EXPECT_TRUE(run.last_steps.empty());
}

TEST(Api, DeletingAnAbsentTagIsDoneButOfAnAbsentRunIsNot) {
  auto missing = [](const std::string& message) {
    return http_answer(404, R"({"error_code":"RESOURCE_DOES_NOT_EXIST","message":")" + message + "\"}");
  };
  Scripted s({json("{}"), missing("No tag with name: a in run with id cb14"), missing("Run with id=00 not found")});
  EXPECT_EQ(s->delete_tag("r", "a").verdict, Verdict::ok);
  EXPECT_EQ(s->delete_tag("r", "a").verdict, Verdict::ok);
  const Answer gone = s->delete_tag("r", "a");
  EXPECT_EQ(gone.verdict, Verdict::run_gone);
  EXPECT_EQ(gone.status.code(), StatusCode::not_found);
}

TEST(Api, DeletedExperimentIsSaid) {
  Scripted s(
      {json(R"({"experiment":{"experiment_id":"3","lifecycle_stage":"deleted"}})"),
       http_answer(
           404, R"({"error_code":"RESOURCE_DOES_NOT_EXIST","message":"Could not find experiment with name 'nix'"})")});
  std::string id;
  const Answer deleted = s->experiment_by_name("a b/ü", &id);
  EXPECT_EQ(deleted.verdict, Verdict::run_gone);
  EXPECT_EQ(deleted.status.code(), StatusCode::failed_precondition);
  EXPECT_NE(deleted.status.message().find("restore"), std::string_view::npos);
  EXPECT_EQ(s.line(0), "GET /api/2.0/mlflow/experiments/get-by-name?experiment_name=a%20b%2F%C3%BC");
  EXPECT_EQ(s->experiment_by_name("nix", &id).status.code(), StatusCode::not_found);
}

TEST(Api, HistoryReadsEveryPageSortedAndNeverLoops) {
  Scripted s(
      {json(
           R"({"metrics":[{"key":"k","value":2,"timestamp":5,"step":9},{"key":"k","value":"NaN","timestamp":"4","step":"1"}],"next_page_token":"t/1"})"),
       json(
           R"({"metrics":[{"key":"k","value":"-Infinity","timestamp":3},{"key":"k","value":1e-3,"timestamp":3,"step":1}]})"),
       json("{}"), json(R"({"metrics":[],"next_page_token":"t"})"), json(R"({"metrics":[],"next_page_token":"t"})"),
       json(R"({"metrics":[{"key":"k","timestamp":3}]})")});
  std::vector<model::Point> points;
  ASSERT_EQ(s->metric_history("r", "a b", &points).verdict, Verdict::ok);
  ASSERT_EQ(points.size(), 4u);
  EXPECT_EQ(points[0].value, -std::numeric_limits<double>::infinity());
  EXPECT_EQ(points[1].value, 1e-3);
  EXPECT_TRUE(std::isnan(points[2].value));
  EXPECT_EQ(points[3].step, 9);
  EXPECT_EQ(s.line(0), "GET /api/2.0/mlflow/metrics/get-history?run_id=r&metric_key=a%20b&max_results=25000");
  EXPECT_EQ(s.line(1),
            "GET /api/2.0/mlflow/metrics/get-history?run_id=r&metric_key=a%20b&max_results=25000&page_token=t%2F1");
  ASSERT_EQ(s->metric_history("r", "k", &points).verdict, Verdict::ok);
  EXPECT_TRUE(points.empty());
  EXPECT_EQ(s->metric_history("r", "k", &points).verdict, Verdict::ambiguous) << "the token repeats";
  EXPECT_EQ(s->metric_history("r", "k", &points).verdict, Verdict::ambiguous) << "a point without value";
}

TEST(Api, ProbeTellsVersionsApart) {
  const std::string info = json(R"({"store_type":"SqlStore","workspaces_enabled":false})");
  const std::string none = http_answer(404, "<!doctype html>", "text/html");
  auto version = [](const std::string& v) { return http_answer(200, v, "text/html"); };
  auto text = [](const std::string& v) { return http_answer(200, v, "text/plain"); };
  struct {
    std::string info, version, want;
    bool whole, nan;
  } const cases[] = {
      {info, version("3.17.2"), "3.17.2", true, true},  // as MLflow types it
      {info, text("3.17.1"), "3.17.1", true, false},
      {info, text("3.10.1"), "3.10.1", true, false},
      {info, text("3.18.0.dev0"), "3.18.0.dev0", true, true},
      {none, text("3.4.0"), "3.4.0", false, false},
      {none, text("2.22.5"), "2.22.5", false, false},
      {none, none, "", false, false},
      {info, http_answer(401, "no", "text/plain"), "", true, false},
      {json(R"({"store_type":"FileStore"})"), text("3.17.2"), "3.17.2", false, false},
      {html(), html(), "", false, false},
      {none, text("OK"), "", false, false},
      {json("{}"), json("{}"), "", false, false},
  };
  for (const auto& c : cases) {
    Scripted s({c.info, c.version});
    Server server;
    EXPECT_EQ(s->probe(&server).verdict, Verdict::ok);
    EXPECT_EQ(server.version, c.want);
    EXPECT_EQ(server.whole_resend_ok, c.whole) << c.want;
    EXPECT_EQ(server.nan_resend_ok, c.nan) << c.want;
  }
  Api nobody(*http::Connection::create("http://127.0.0.1:1", {}));
  Server server;
  EXPECT_EQ(nobody.probe(&server).verdict, Verdict::offline);
}

TEST(Api, CreatesGoOnAFreshConnectionAndBatchesDoNot) {
  Loopback server(
      [](int, const Seen&) { return Act{Act::answer, json("{\"run\":" + run_json("1", "u", "active") + "}")}; });
  Api api(*http::Connection::create(server.uri(), {}));
  std::string id;
  const MetricPoint point{"k", {1, 2, 3}};
  EXPECT_EQ(api.log_metrics("r", &point, 1, "w", "1").verdict, Verdict::ok);
  EXPECT_EQ(api.log_metrics("r", &point, 1, "w", "1").verdict, Verdict::ok);
  EXPECT_EQ(api.create_run("1", {}, {}, &id).verdict, Verdict::ok);
  EXPECT_EQ(id, "1");
  const auto seen = server.seen();
  EXPECT_EQ(seen[0].connection, seen[1].connection);
  EXPECT_NE(seen[1].connection, seen[2].connection);
  EXPECT_NE(seen[0].head.find("\r\nContent-Type: application/json\r\n"), std::string::npos);
}

}  // namespace
}  // namespace mlops::mlflow
