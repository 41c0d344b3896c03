// Classification: the verbatim answers of MLflow 2.22 to 3.17, of proxies and of managed servers, each with its
// verdict.
#include "mlflow/classify.h"

#include <gtest/gtest.h>

#include "mlflow/decode.h"

namespace mlops::mlflow {
namespace {

constexpr char kHtml404[] =
    "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested URL was not "
    "found on the server. If "
    "you entered the URL manually please check your spelling and try again.</p>\n";
constexpr char kHtml500[] =
    "<!doctype html>\n<html lang=en>\n<title>500 Internal Server Error</title>\n<h1>Internal Server Error</h1>\n<p>The "
    "server encountered an "
    "internal error and was unable to complete your request.</p>\n";
constexpr char kAutoflush[] =
    "(raised as a result of Query-invoked autoflush; consider using a session.no_autoflush block if this flush is "
    "occurring "
    "prematurely)\\n";

std::string error(const std::string& code, const std::string& message) {
  return "{\"error_code\": \"" + code + "\", \"message\": \"" + message +
         "\", \"sqlstate\": \"KAM00\", \"error_class\": \"X\"}";
}

struct Case {
  const char* name;
  int status;
  std::string type, body;
  Verdict verdict;
  StatusCode code;
  const char* says;  // in the message: what to do
  Expect expect = Expect::done;
};

Answer judge(const Case& c, std::int64_t retry_after_ms = -1) {
  http::Response response;
  response.fate = http::Fate::answered;
  response.status = c.status;
  response.content_type = c.type;
  response.body = c.body;
  response.retry_after_ms = retry_after_ms;
  const Reply reply = read_reply(response);
  return classify(c.expect, response, reply.form, reply.error_code, reply.message);
}

const std::string kJsonType = "application/json", kHtmlType = "text/html; charset=utf-8",
                  kTextType = "text/plain; charset=utf-8";

TEST(Classify, Answers) {
  const Case cases[] = {
      // Good ones.
      {"{}", 200, kJsonType, "{}", Verdict::ok, StatusCode::ok, ""},
      {"spaces", 200, kJsonType, " {\n} ", Verdict::ok, StatusCode::ok, ""},
      {"empty body of a mutation", 200, "", "", Verdict::ok, StatusCode::ok, ""},
      {"OK as JSON type", 200, kJsonType, "OK", Verdict::ok, StatusCode::ok, ""},
      {"204", 204, "", "", Verdict::ok, StatusCode::ok, ""},
      {"object for a read", 200, kJsonType, "{\"run\":{}}", Verdict::ok, StatusCode::ok, "", Expect::object},
      // 200 that proves nothing.
      {"login page", 200, kHtmlType, "<html>Please log in</html>", Verdict::ambiguous, StatusCode::unavailable,
       "login page"},
      {"HTML with a JSON type", 200, kJsonType, "<html></html>", Verdict::ambiguous, StatusCode::unavailable,
       "login page"},
      {"object with an HTML type", 200, kHtmlType, "{}", Verdict::ambiguous, StatusCode::unavailable, "login page"},
      {"OK as text", 200, kTextType, "OK", Verdict::ambiguous, StatusCode::unavailable, "not MLflow's"},
      {"cut JSON", 200, kJsonType, "{\"run\":", Verdict::ambiguous, StatusCode::unavailable, "not MLflow's"},
      {"list", 200, kJsonType, "[]", Verdict::ambiguous, StatusCode::unavailable, "not MLflow's"},
      {"null", 200, kJsonType, "null", Verdict::ambiguous, StatusCode::unavailable, "not MLflow's"},
      {"empty body of a read", 200, kJsonType, "", Verdict::ambiguous, StatusCode::unavailable, "not MLflow's",
       Expect::object},
      // 3xx.
      {"redirect", 302, kHtmlType, "<html>", Verdict::misconfigured, StatusCode::failed_precondition, "tracking URI"},
      // 400.
      {"bad key", 400, kJsonType,
       error(
           "INVALID_PARAMETER_VALUE",
           "Invalid value \\\"a#b\\\" for parameter 'metrics[1].name' supplied: Names may only contain alphanumerics"),
       Verdict::rejected, StatusCode::invalid_argument, "metrics[1].name"},
      {"101 params", 400, kJsonType,
       error("INVALID_PARAMETER_VALUE", "A batch logging request can contain at most 100 params. Got 101 params."),
       Verdict::rejected, StatusCode::invalid_argument, "at most 100 params"},
      {"param conflict", 400, kJsonType,
       error("INVALID_PARAMETER_VALUE",
             "Changing param values is not allowed. Params were already logged='[{'key': 'b', 'old_value': '', "
             "'new_value': '5'}]' for run ID='16'."),
       Verdict::rejected, StatusCode::already_exists, "written once"},
      {"too long for PostgreSQL", 400, kJsonType,
       error("BAD_REQUEST",
             std::string(kAutoflush) +
                 "(psycopg2.errors.StringDataRightTruncation) value too long for type character varying(8000)"),
       Verdict::rejected, StatusCode::invalid_argument, "value too long"},
      {"SQLite metrics again", 400, kJsonType,
       error("BAD_REQUEST", std::string(kAutoflush) +
                                "(sqlite3.IntegrityError) UNIQUE constraint failed: metrics.key, metrics.timestamp"),
       Verdict::duplicate, StatusCode::already_exists, "compared"},
      {"PostgreSQL metrics again", 400, kJsonType,
       error("BAD_REQUEST",
             std::string(kAutoflush) +
                 "(psycopg2.errors.UniqueViolation) duplicate key value violates unique constraint \\\"metric_pk\\\""),
       Verdict::duplicate, StatusCode::already_exists, "compared"},
      {"PostgreSQL param race", 400, kJsonType,
       error("BAD_REQUEST",
             "(psycopg2.errors.UniqueViolation) duplicate key value violates unique constraint "
             "\\\"param_pk\\\"\\nDETAIL: Key "
             "(key, run_uuid)=(p, 48) already exists."),
       Verdict::duplicate, StatusCode::already_exists, "compared"},
      {"MySQL", 400, kJsonType,
       error("BAD_REQUEST", "(pymysql.err.IntegrityError) (1062, \\\"Duplicate entry 'x' for key 'PRIMARY'\\\")"),
       Verdict::duplicate, StatusCode::already_exists, "compared"},
      {"SQLite experiment race is exists, not duplicate", 400, kJsonType,
       error("RESOURCE_ALREADY_EXISTS",
             "Experiment(name=traps) already exists. Error: (sqlite3.IntegrityError) UNIQUE constraint failed: "
             "experiments.workspace, experiments.name"),
       Verdict::exists, StatusCode::already_exists, "exists"},
      {"409", 409, kJsonType, error("ALREADY_EXISTS", "x"), Verdict::exists, StatusCode::already_exists, "exists"},
      {"409 other", 409, kJsonType, error("ABORTED", "x"), Verdict::ambiguous, StatusCode::unavailable,
       "another writer"},
      {"foreign key", 400, kJsonType,
       error("BAD_REQUEST", std::string(kAutoflush) + "(sqlite3.IntegrityError) FOREIGN KEY constraint failed"),
       Verdict::ambiguous, StatusCode::unavailable, "read back"},
      {"deleted run", 400, kJsonType,
       error("INVALID_PARAMETER_VALUE",
             "The run c7244513add44a68929008817d30efbf must be in the 'active' state. Current state is deleted."),
       Verdict::run_gone, StatusCode::failed_precondition, "Restore it"},
      {"deleted experiment", 400, kJsonType,
       error("INVALID_PARAMETER_VALUE", "The experiment 2 must be in the 'active' state. Current state is deleted."),
       Verdict::run_gone, StatusCode::failed_precondition, "Restore it"},
      {"file store, deleted experiment", 500, kJsonType,
       error("INVALID_STATE", "The experiment 2 must be in the 'active' state."), Verdict::run_gone,
       StatusCode::failed_precondition, "Restore it"},
      {"plain http to an https port", 400, kHtmlType,
       "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>",
       Verdict::misconfigured, StatusCode::failed_precondition, "https port"},
      {"422 of a validator", 422, kJsonType, "{\"detail\":\"field required\"}", Verdict::rejected,
       StatusCode::invalid_argument, "field required"},
      // Credentials.
      {"401", 401, kTextType, "You are not authenticated. Please see https://www.mlflow.org/docs", Verdict::auth,
       StatusCode::permission_denied, "MLFLOW_TRACKING_USERNAME"},
      {"403 permission", 403, kTextType, "Permission denied", Verdict::auth, StatusCode::permission_denied,
       "permission"},
      {"403 JSON", 403, kJsonType, error("PERMISSION_DENIED", "no"), Verdict::auth, StatusCode::permission_denied,
       "permission"},
      {"403 host", 403, kTextType, "Invalid Host header - possible DNS rebinding attack detected",
       Verdict::misconfigured, StatusCode::failed_precondition, "--allowed-hosts"},
      {"403 host, as HTML type", 403, kHtmlType, "Invalid Host header - possible DNS rebinding attack detected",
       Verdict::misconfigured, StatusCode::failed_precondition, "--allowed-hosts"},
      {"words with an HTML type", 200, kHtmlType, "OK", Verdict::ambiguous, StatusCode::unavailable, "not MLflow's"},
      {"403 origin", 403, kTextType, "Cross-origin request blocked", Verdict::misconfigured,
       StatusCode::failed_precondition, "Origin"},
      {"407", 407, kHtmlType, "<html>", Verdict::auth, StatusCode::permission_denied, "proxy"},
      // Missing things.
      {"unknown run", 404, kJsonType,
       error("RESOURCE_DOES_NOT_EXIST", "Run with id=00000000000000000000000000000000 not found"), Verdict::run_gone,
       StatusCode::not_found, "does not know it"},
      {"unknown experiment", 404, kJsonType,
       error("RESOURCE_DOES_NOT_EXIST", "Could not find experiment with name 'nix'"), Verdict::run_gone,
       StatusCode::not_found, "does not know it", Expect::object},
      {"no such path", 404, kHtmlType, kHtml404, Verdict::misconfigured, StatusCode::failed_precondition,
       "path of the tracking URI"},
      {"empty 404", 404, "", "", Verdict::misconfigured, StatusCode::failed_precondition, "path of the tracking URI"},
      {"FastAPI 404", 404, kJsonType, "{\"detail\":\"Not Found\"}", Verdict::misconfigured,
       StatusCode::failed_precondition, "tracking URI"},
      {"405", 405, kHtmlType, "<!doctype html><title>405 Method Not Allowed</title>", Verdict::misconfigured,
       StatusCode::failed_precondition, "tracking URI"},
      {"optional endpoint, 404", 404, kHtmlType, kHtml404, Verdict::unsupported, StatusCode::unimplemented, "endpoint",
       Expect::optional},
      {"optional endpoint, 405", 405, "", "", Verdict::unsupported, StatusCode::unimplemented, "endpoint",
       Expect::optional},
      {"optional endpoint, switched off", 503, kTextType,
       "Endpoint: /api/3.0/mlflow/workspaces disabled because the server is running without workspaces support.",
       Verdict::unsupported, StatusCode::unimplemented, "endpoint", Expect::optional},
      {"optional endpoint, a bad moment", 503, kTextType, "busy", Verdict::ambiguous, StatusCode::unavailable,
       "read back", Expect::optional},
      {"501", 501, kJsonType, error("NOT_IMPLEMENTED", "Multipart upload is not supported"), Verdict::unsupported,
       StatusCode::unimplemented, "cannot do it"},
      // Limits.
      {"nginx 413", 413, "text/html", "<html><head><title>413 Request Entity Too Large</title></head></html>",
       Verdict::too_large, StatusCode::resource_exhausted, "client_max_body_size"},
      {"429 JSON", 429, kJsonType, error("REQUEST_LIMIT_EXCEEDED", "slow down"), Verdict::throttled,
       StatusCode::resource_exhausted, "rate"},
      {"429 text", 429, kTextType, "Too many requests", Verdict::throttled, StatusCode::resource_exhausted, "rate"},
      // 5xx.
      {"500 HTML", 500, kHtmlType, kHtml500, Verdict::ambiguous, StatusCode::unavailable, "read back"},
      {"no database connection left", 400, kJsonType,
       error("BAD_REQUEST",
             "QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00 (Background on this "
             "error at: https://sqlalche.me/e/21/3o7r)"),
       Verdict::ambiguous, StatusCode::unavailable, "too few database connections"},
      {"500 JSON", 500, kJsonType, error("INTERNAL_ERROR", "boom"), Verdict::ambiguous, StatusCode::unavailable,
       "boom"},
      {"feature disabled", 500, kJsonType,
       error("FEATURE_DISABLED", "Workspace APIs are not available: workspaces are not enabled on this server"),
       Verdict::misconfigured, StatusCode::failed_precondition, "switched off"},
      {"NUL on PostgreSQL", 500, kJsonType,
       error("INTERNAL_ERROR", "A string literal cannot contain NUL (0x00) characters."), Verdict::rejected,
       StatusCode::invalid_argument, "NUL"},
      {"file store param conflict", 500, kJsonType,
       error("INTERNAL_ERROR", "Changing param values is not allowed. Param with key='a'"), Verdict::rejected,
       StatusCode::already_exists, "written once"},
      {"502", 502, "text/html", "<html>Bad Gateway</html>", Verdict::ambiguous, StatusCode::unavailable, "read back"},
      {"504", 504, "text/html", "<html>Gateway Time-out</html>", Verdict::ambiguous, StatusCode::unavailable,
       "read back"},
      {"database locked", 503, kJsonType,
       error("TEMPORARILY_UNAVAILABLE", "(sqlite3.OperationalError) database is locked"), Verdict::ambiguous,
       StatusCode::unavailable, "read back"},
      {"endpoint disabled", 503, kTextType,
       "Endpoint: /api/2.0/mlflow/runs/create disabled because the mlflow server is running in `--artifacts-only` "
       "mode.",
       Verdict::misconfigured, StatusCode::failed_precondition, "--artifacts-only"},
      {"503 HTML", 503, "text/html", "<html>Service Unavailable</html>", Verdict::ambiguous, StatusCode::unavailable,
       "read back"},
      {"418", 418, kTextType, "teapot", Verdict::misconfigured, StatusCode::failed_precondition, "tracking URI"},
      {"599", 599, "", "", Verdict::ambiguous, StatusCode::unavailable, "read back"},
  };
  for (const Case& c : cases) {
    const Answer answer = judge(c);
    EXPECT_EQ(static_cast<int>(answer.verdict), static_cast<int>(c.verdict))
        << c.name << ": " << answer.status.to_string();
    EXPECT_EQ(answer.status.code(), c.code) << c.name << ": " << answer.status.to_string();
    EXPECT_NE(answer.status.message().find(c.says), std::string_view::npos)
        << c.name << ": " << answer.status.to_string();
    EXPECT_EQ(answer.http_status, c.status) << c.name;
    if (c.verdict != Verdict::ok) {
      EXPECT_NE(answer.status.message().find("HTTP " + std::to_string(c.status)), std::string_view::npos) << c.name;
    }
  }
}

TEST(Classify, RetryAfterMakesA503AThrottle) {
  const Case busy{"", 503, "text/html", "<html>", Verdict::throttled, StatusCode::resource_exhausted, ""};
  const Answer answer = judge(busy, 30'000);
  EXPECT_EQ(answer.verdict, Verdict::throttled);
  EXPECT_EQ(answer.retry_after_ms, 30'000);
  const Case limited{"", 429, kTextType, "", Verdict::throttled, StatusCode::resource_exhausted, ""};
  EXPECT_EQ(judge(limited, 7'000).retry_after_ms, 7'000);
  EXPECT_EQ(judge(limited).retry_after_ms, -1);
}

TEST(Classify, FatesWithoutAnAnswer) {
  const std::tuple<http::Fate, Verdict, StatusCode> cases[] = {
      {http::Fate::not_sent, Verdict::offline, StatusCode::unavailable},
      {http::Fate::ambiguous, Verdict::ambiguous, StatusCode::unavailable},
      {http::Fate::refused, Verdict::misconfigured, StatusCode::failed_precondition},
  };
  for (const auto& [fate, verdict, code] : cases) {
    http::Response response;
    response.fate = fate;
    response.error = Status(code, "the words of http");
    const Answer answer = classify(Expect::done, response, Form::empty, "", "");
    EXPECT_EQ(answer.verdict, verdict);
    EXPECT_EQ(answer.status.code(), code);
    EXPECT_EQ(answer.status.message(), "the words of http");
    EXPECT_EQ(answer.http_status, 0);
  }
}

TEST(Classify, TheServersWordsAreCutAndOnOneLine) {
  std::string words(1'000, 'x');
  words.replace(10, 1, "\\n\\t");
  words.insert(230, "ééééééééééé");
  const Case c{
      "", 400, kJsonType, error("INVALID_PARAMETER_VALUE", words), Verdict::rejected, StatusCode::invalid_argument, ""};
  const Answer answer = judge(c);
  EXPECT_LT(answer.status.message().size(), 450u);
  for (char ch : answer.status.message()) EXPECT_GE(static_cast<unsigned char>(ch), 0x20);
}

TEST(Decode, AnyBytesAreFine) {
  std::uint64_t state = 42;
  const std::string seed =
      "{\"run\":{\"info\":{\"run_id\":\"a\"},\"data\":{\"tags\":[{\"key\":\"k\"}]}},\"metrics\":[{\"value\":1}]}";
  for (int i = 0; i < 20'000; ++i) {
    std::string body = seed;
    for (int j = 0; j < 3; ++j) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      body[(state >> 33) % body.size()] = static_cast<char>(state >> 25);
    }
    http::Response response;
    response.fate = http::Fate::answered;
    response.status = 200;
    response.body = body.substr(0, (state >> 40) % (body.size() + 1));
    const Reply reply = read_reply(response);
    RemoteRun run;
    std::vector<RemoteRun> runs;
    std::vector<model::Point> points;
    std::string next, id;
    bool deleted = false;
    EXPECT_TRUE(!read_run(reply, &run) || !run.run_id.empty());
    EXPECT_TRUE(!read_experiment(reply, &id, &deleted) || !id.empty());
    read_runs(reply, &runs);
    read_metrics(reply, &points, &next);
    EXPECT_EQ(reply.form == Form::object, reply.json != nullptr);
  }
}

}  // namespace
}  // namespace mlops::mlflow
