// MLflow's search language over runs. That it means what a real server means is tests/servers/test_read.py.
#include "view/search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace mlops::view {
namespace {

RunSummary run(std::string id, std::int64_t start) {
  RunSummary r;
  r.id = std::move(id);
  r.server_id = "server-" + r.id;
  r.name = "name of " + r.id;
  r.experiment = "e";
  r.status = RunStatus::finished;
  r.start_ms = start;
  r.end_ms = start + 10;
  r.params = {{"lr", "0.1"}, {"model", "ResNet"}};
  r.tags = {{"stage", "train"}, {"a.b", "x"}, {"mlflow.user", "ada"}};
  MetricSummary acc, nan;
  acc.name = "acc";
  acc.last = 0.9;
  nan.name = "nan";
  nan.last = NAN;
  r.metrics = {acc, nan};
  return r;
}

bool matches(const std::string& filter) {
  RunQuery query;
  query.filter = filter;
  Result<Search> search = Search::parse(query);
  EXPECT_TRUE(search.ok()) << search.status().message();
  return search.ok() && search->matches(run("r", 1000));
}

TEST(Search, MatchesAsMLflowDoes) {
  for (const char* filter : {"",
                             "  ",
                             "metrics.acc > 0.8",
                             "metric.acc>=0.9",
                             "metrics.`acc` = 0.9",
                             "metrics.\"acc\" != 1",
                             "metrics.acc < 1e3",
                             "params.lr = '0.1'",
                             "parameters.lr=\"0.1\"",
                             "params.lr = '0.1' and metrics.acc > 0.5 AND tags.stage = 'train'",
                             "tags.`a.b` = 'x'",
                             "tags.a.b = 'x'",
                             "params.model LIKE 'Res%'",
                             "params.model ilike 'r_s%'",
                             "params.model LIKE '%%Net'",
                             "status = 'FINISHED'",
                             "attributes.status != 'FAILED'",
                             "run_name LIKE 'name%'",
                             "attr.user_id = 'ada'",
                             "start_time > 999",
                             "created <= 1000",
                             "end_time = 1010",
                             "run_id IN ('x', 'r')",
                             "attributes.run_id = 'server-r'",
                             "run_id NOT IN ('x')",
                             "params.none IS NULL",
                             "tags.stage IS NOT NULL",
                             "metrics.nan != 3",
                             "tags.mlflow.runName = 'name of r'",
                             "`run name` = 'name of r'"}) {
    EXPECT_TRUE(matches(filter)) << filter;
  }
  for (const char* filter : {"metrics.acc > 0.9", "metrics.none != 1", "params.lr = '0.10'", "params.none != 'x'",
                             "params.model LIKE 'res%'", "metrics.nan < 3", "metrics.nan > -3", "metrics.nan = 0",
                             "tags.stage IS NULL", "run_id NOT IN ('r')", "run_id = 'q'", "status = 'finished'",
                             "params.model LIKE 'Res'", "start_time < 1000", "metrics.acc > 0.5 AND params.lr = '1'"}) {
    EXPECT_FALSE(matches(filter)) << filter;
  }
}

TEST(Search, TheParentIsFoundByMlflowsTag) {
  RunSummary top = run("p", 1000), child = run("c", 1001), told = run("t", 1002);
  child.parent_id = "p";
  told.parent_id = "p";
  told.tags.emplace_back("mlflow.parentRunId", "elsewhere");  // said by somebody: what get_run shows
  const auto found = [&](const std::string& filter) {
    RunQuery query;
    query.filter = filter;
    Result<Search> search = Search::parse(query);
    EXPECT_TRUE(search.ok()) << search.status().message();
    std::string ids;
    for (const RunSummary* one : {&top, &child, &told}) {
      if (search.ok() && search->matches(*one)) ids += one->id;
    }
    return ids;
  };
  EXPECT_EQ(found("tags.mlflow.parentRunId = 'p'"), "c");
  EXPECT_EQ(found("tags.mlflow.parentRunId = 'elsewhere'"), "t");
  EXPECT_EQ(found("tags.mlflow.parentRunId IS NULL"), "p");
  EXPECT_EQ(found("tags.mlflow.parentRunId IS NOT NULL"), "ct");
}

TEST(Search, SaysWhatIsWrongAndWhere) {
  const std::pair<const char*, const char*> wrong[] = {
      {"metrics.acc > 0.8 OR params.lr = '1'", "OR is not part"},
      {"metrics.acc > 'a'", "expected a number"},
      {"metrics.acc > ", "expected a number, at its end"},
      {"metrics.acc LIKE '1'", "for texts"},
      {"params.lr > '0.1'", "also those that look like numbers"},
      {"params.lr = 0.1", "'quotes'"},
      {"params.lr = '0.1", "closing ' is missing"},
      {"accuracy > 1", "the attributes are status"},
      {"models.x = '1'", "begins with metrics."},
      {"datasets.name = 'x'", "not in this buffer"},
      {"metrics. > 1", "key after the point"},
      {"metrics.acc", "expected = !="},
      {"metrics.acc > 1 2", "expected AND"},
      {"run_id IN 'x'", "expected a list"},
      {"run_id IN ('x'", "expected , or )"},
      {"metrics.acc IS NULL", "for params and tags"},
      {"= 3", "expected metrics.<key>"},
      {"metrics.acc > nan", "expected a number"},
  };
  for (const auto& [filter, words] : wrong) {
    RunQuery query;
    query.filter = filter;
    const Status s = Search::parse(query).status();
    EXPECT_EQ(s.code(), StatusCode::invalid_argument) << filter;
    EXPECT_NE(std::string(s.message()).find(words), std::string::npos) << s.message();
  }
}

TEST(Search, OrdersWithMissingValuesLast) {
  RunSummary a = run("a", 1), b = run("b", 2), c = run("c", 3), d = run("d", 3);
  a.metrics[0].last = 0.5;
  c.metrics[0].last = NAN;
  d.metrics.clear();
  const auto sorted = [&](std::vector<std::string> order) {
    RunQuery query;
    query.order_by = std::move(order);
    Result<Search> search = Search::parse(query);
    EXPECT_TRUE(search.ok()) << search.status().message();
    std::vector<RunSummary> runs = {a, b, c, d};
    std::sort(runs.begin(), runs.end(), [&](const auto& x, const auto& y) { return search->before(x, y); });
    std::string ids;
    for (const RunSummary& r : runs) ids += r.id;
    return ids;
  };
  EXPECT_EQ(sorted({}), "cdba");  // newest start, then id
  EXPECT_EQ(sorted({"metrics.acc"}), "abcd");
  EXPECT_EQ(sorted({"metrics.acc DESC"}), "bacd");
  EXPECT_EQ(sorted({"status", "start_time asc"}), "abcd");
  EXPECT_EQ(sorted({"attributes.run_id desc"}), "dcba");
  RunQuery query;
  query.order_by = {"metrics.acc DOWN"};
  EXPECT_EQ(Search::parse(query).status().code(), StatusCode::invalid_argument);
}

}  // namespace
}  // namespace mlops::view
