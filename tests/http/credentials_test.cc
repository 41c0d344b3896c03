// Credentials: precedence of code, environment and ~/.mlflow/credentials; what may travel over plain http.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <map>

#include "base/file.h"
#include "http/http.h"
#include "loopback.h"

namespace mlops::http {
namespace {

using test::Act;
using test::http_answer;
using test::Loopback;
using test::Seen;

Env fake(std::map<std::string, std::string> variables) {
  return [variables](const char* name) {
    const auto it = variables.find(name);
    return it == variables.end() ? nullptr : it->second.c_str();
  };
}

std::string header(const Seen& seen, const std::string& name) {
  const auto at = seen.head.find("\r\n" + name + ": ");
  if (at == std::string::npos) return "";
  const auto from = at + name.size() + 4;
  return seen.head.substr(from, seen.head.find("\r\n", from) - from);
}

class Home {
 public:
  explicit Home(const std::string& ini) {
    path_ = testing::TempDir() + "mlops-home-XXXXXX";
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
    EXPECT_TRUE(base::make_dirs(path_ + "/.mlflow").ok());
    EXPECT_TRUE(base::replace_file(path_ + "/.mlflow/credentials", ini, false).ok());
  }
  ~Home() { base::remove_tree(path_).ignore(); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(Credentials, EnvironmentFillsWhatCodeLeft) {
  const Credentials c = complete_credentials({}, fake({{"MLFLOW_TRACKING_USERNAME", "ann"},
                                                       {"MLFLOW_TRACKING_PASSWORD", "pw"},
                                                       {"MLFLOW_TRACKING_TOKEN", "tok"},
                                                       {"MLFLOW_TRACKING_SERVER_CERT_PATH", "/ca.pem"},
                                                       {"MLFLOW_TRACKING_CLIENT_CERT_PATH", "/me.pem"},
                                                       {"MLFLOW_TRACKING_INSECURE_TLS", "true"}}));
  EXPECT_EQ(c.username, "ann");
  EXPECT_EQ(c.password, "pw");
  EXPECT_EQ(c.token, "tok");
  EXPECT_EQ(c.ca_file, "/ca.pem");
  EXPECT_EQ(c.client_cert, "/me.pem");
  EXPECT_TRUE(c.insecure_tls);
  EXPECT_FALSE(c.aws_sigv4);
  EXPECT_EQ(c.proxy, "");
}

TEST(Credentials, ACaBundleIsFoundUnderOtherToolsNames) {
  Home home("");
  const std::string there = home.path() + "/.mlflow/credentials";
  ASSERT_TRUE(base::replace_file(there, "x", false).ok());
  EXPECT_EQ(complete_credentials({}, fake({{"SSL_CERT_FILE", there}})).ca_file, there);
  EXPECT_EQ(complete_credentials({}, fake({{"SSL_CERT_FILE", "/not/there"}})).ca_file, "");  // as OpenSSL does
  EXPECT_EQ(complete_credentials({}, fake({{"SSL_CERT_FILE", there}, {"CURL_CA_BUNDLE", "/c"}})).ca_file, "/c");
  EXPECT_EQ(complete_credentials({}, fake({{"CURL_CA_BUNDLE", "/c"}, {"REQUESTS_CA_BUNDLE", "/r"}})).ca_file, "/r");
  EXPECT_EQ(complete_credentials({}, fake({{"REQUESTS_CA_BUNDLE", "/r"}, {"MLFLOW_TRACKING_SERVER_CERT_PATH", "/m"}}))
                .ca_file,
            "/m");
  Credentials given;
  given.ca_file = "/mine";
  EXPECT_EQ(complete_credentials(given, fake({{"REQUESTS_CA_BUNDLE", "/r"}})).ca_file, "/mine");
  // No verification asked for: a bundle that is set for others is no contradiction.
  EXPECT_EQ(
      complete_credentials({}, fake({{"REQUESTS_CA_BUNDLE", "/r"}, {"MLFLOW_TRACKING_INSECURE_TLS", "1"}})).ca_file,
      "");
}

TEST(Credentials, CodeWinsAndANamedTokenIsNotOverruledByTheEnvironment) {
  Credentials given;
  given.token = "mine";
  Credentials c =
      complete_credentials(given, fake({{"MLFLOW_TRACKING_USERNAME", "ann"}, {"MLFLOW_TRACKING_PASSWORD", "pw"}}));
  EXPECT_EQ(c.token, "mine");
  EXPECT_EQ(c.username, "");
  given = {};
  given.username = "bob";
  given.password = "x";
  c = complete_credentials(given, fake({{"MLFLOW_TRACKING_USERNAME", "ann"}, {"MLFLOW_TRACKING_TOKEN", "tok"}}));
  EXPECT_EQ(c.username, "bob");
  EXPECT_EQ(c.token, "");
}

TEST(Credentials, IniFile) {
  const Home home(
      "# comment\n[other]\nmlflow_tracking_username = no\n[mlflow]\nMLFLOW_TRACKING_USERNAME = carl\r\n"
      "; x\nmlflow_tracking_password: s p=c \n");
  Credentials c = complete_credentials({}, fake({{"HOME", home.path()}}));
  EXPECT_EQ(c.username, "carl");
  EXPECT_EQ(c.password, "s p=c");
  c = complete_credentials({}, fake({{"HOME", home.path()}, {"MLFLOW_TRACKING_PASSWORD", "env"}}));
  EXPECT_EQ(c.username, "carl");
  EXPECT_EQ(c.password, "env");
  c = complete_credentials({}, fake({{"HOME", home.path() + "/nowhere"}}));
  EXPECT_EQ(c.username, "");
}

TEST(Credentials, AwsVariables) {
  const Credentials c = complete_credentials({}, fake({{"MLFLOW_TRACKING_AWS_SIGV4", "True"},
                                                       {"AWS_ACCESS_KEY_ID", "AKID"},
                                                       {"AWS_SECRET_ACCESS_KEY", "sk"},
                                                       {"AWS_SESSION_TOKEN", "st"},
                                                       {"AWS_DEFAULT_REGION", "eu-west-1"}}));
  EXPECT_TRUE(c.aws_sigv4);
  EXPECT_EQ(c.username, "AKID");
  EXPECT_EQ(c.password, "sk");
  EXPECT_EQ(c.token, "st");
  EXPECT_EQ(c.aws_region, "eu-west-1");
  EXPECT_EQ(c.aws_service, "execute-api");
}

std::string authorization(Credentials credentials, std::string* all = nullptr) {
  Loopback server([](int, const Seen&) { return Act{Act::answer, http_answer(200, "{}")}; });
  auto connection = Connection::create(server.uri(), credentials);
  EXPECT_TRUE(connection.ok());
  Request request;
  request.method = Method::post;
  request.path = "/x?a=1&b=2";
  request.body = "{\"k\":1}";
  const Response response = (*connection)->send(request);
  EXPECT_EQ(response.fate, Fate::answered) << response.error.to_string();
  const auto seen = server.seen();
  if (seen.empty()) return "nothing arrived";
  if (all) *all = seen[0].head;
  return header(seen[0], "Authorization");
}

TEST(Credentials, SchemesAndTheirOrder) {
  Credentials c;
  EXPECT_EQ(authorization(c), "");
  c.token_callback = [] { return std::string("from-callback"); };
  EXPECT_EQ(authorization(c), "Bearer from-callback");
  c.token = " tok\n";
  EXPECT_EQ(authorization(c), "Bearer tok");
  c.username = "ann";
  c.password = "p:w";
  EXPECT_EQ(authorization(c), "Basic YW5uOnA6dw==");
  c.aws_sigv4 = true;
  c.aws_region = "eu-west-1";
  std::string head;
  const std::string signature = authorization(c, &head);
  EXPECT_EQ(signature.find("AWS4-HMAC-SHA256 Credential=ann/"), 0u) << signature;
  EXPECT_NE(signature.find("/eu-west-1/execute-api/aws4_request"), std::string::npos) << signature;
  EXPECT_NE(head.find("X-Amz-Date:"), std::string::npos);
  EXPECT_NE(head.find("X-Amz-Security-Token: "), std::string::npos);
}

TEST(Credentials, CallbackIsAskedAgainOnceAfter401) {
  Loopback server([](int, const Seen& seen) {
    const bool good = header(seen, "Authorization") == "Bearer second";
    return Act{Act::answer, good ? http_answer(200, "{}") : http_answer(401, "no", "text/plain")};
  });
  int asked = 0;
  Credentials c;
  c.token_callback = [&] { return std::string(++asked == 1 ? "first" : "second"); };
  auto connection = Connection::create(server.uri(), c);
  ASSERT_TRUE(connection.ok());
  Request request;
  request.method = Method::post;
  EXPECT_EQ((*connection)->send(request).status, 200);
  EXPECT_EQ(asked, 2);
  EXPECT_EQ((*connection)->send(request).status, 200);
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(server.seen().size(), 3u);
}

TEST(Credentials, CallbackThatThrowsOrKeepsItsTokenDoesNotLoop) {
  Loopback server([](int, const Seen&) { return Act{Act::answer, http_answer(401, "no", "text/plain")}; });
  Credentials c;
  c.token_callback = []() -> std::string { throw 1; };
  auto connection = Connection::create(server.uri(), c);
  ASSERT_TRUE(connection.ok());
  EXPECT_EQ((*connection)->send({}).status, 401);
  c.token_callback = [] { return std::string("same"); };
  connection = Connection::create(server.uri(), c);
  EXPECT_EQ((*connection)->send({}).status, 401);
  EXPECT_EQ(server.seen().size(), 2u);
}

TEST(Credentials, PlainHttpToAnotherHostIsRefusedWithTheMend) {
  Credentials c;
  c.username = "ann";
  c.password = "hunter2hunter2";
  auto connection = Connection::create("http://203.0.113.1:5000", c);
  ASSERT_TRUE(connection.ok());
  const Response response = (*connection)->send({});
  EXPECT_EQ(response.fate, Fate::refused);
  EXPECT_EQ(response.error.code(), StatusCode::failed_precondition);
  EXPECT_NE(response.error.message().find("https"), std::string_view::npos) << response.error.message();
  EXPECT_NE(response.error.message().find("allow_plain_http"), std::string_view::npos);
  EXPECT_EQ(response.error.message().find("hunter2"), std::string_view::npos);
}

TEST(Credentials, BadCombinationsAreRefusedNotSent) {
  Credentials c;
  c.token = "a\r\nX-Evil: 1";
  EXPECT_EQ((*Connection::create("http://127.0.0.1:1", c))->send({}).fate, Fate::refused);
  c = {};
  c.insecure_tls = true;
  c.ca_file = "/x";
  EXPECT_EQ((*Connection::create("https://127.0.0.1:1", c))->send({}).fate, Fate::refused);
  c = {};
  c.aws_sigv4 = true;
  c.username = "k";
  c.password = "s";
  const Response response = (*Connection::create("http://127.0.0.1:1", c))->send({});
  EXPECT_EQ(response.fate, Fate::refused);
  EXPECT_NE(response.error.message().find("AWS_REGION"), std::string_view::npos);
}

TEST(Credentials, ProxyOfTheEnvironment) {
  Loopback proxy([](int, const Seen&) { return Act{Act::answer, http_answer(200, "{}")}; });
  Credentials c = complete_credentials({}, fake({{"http_proxy", proxy.uri()}, {"no_proxy", "other.example"}}));
  EXPECT_EQ((*Connection::create("http://mlflow.example", c))->send({}).status, 200);
  ASSERT_EQ(proxy.seen().size(), 1u);
  EXPECT_EQ(proxy.seen()[0].head.find("GET http://mlflow.example/ HTTP/1.1"), 0u) << proxy.seen()[0].head;
  Request quick;
  quick.connect_timeout = Millis(300);
  EXPECT_NE((*Connection::create("http://other.example", c))->send(quick).status, 200);
  EXPECT_NE((*Connection::create("http://127.0.0.1:1", c))->send(quick).status, 200) << "loopback is reached directly";
  EXPECT_EQ(proxy.seen().size(), 1u);
}

TEST(Credentials, ProxyPasswordStaysOutOfMessages) {
  Credentials c;
  c.proxy = "http://user:s3cretpw@127.0.0.1:1";
  const Response response = (*Connection::create("http://mlflow.example", c))->send({});
  EXPECT_EQ(response.fate, Fate::not_sent);
  EXPECT_EQ(response.error.message().find("s3cretpw"), std::string_view::npos) << response.error.message();
  c.proxy = "nonsense://user:s3cretpw@127.0.0.1:1";
  const Response odd = (*Connection::create("http://mlflow.example", c))->send({});
  EXPECT_NE(odd.fate, Fate::answered);
  EXPECT_EQ(odd.error.message().find("s3cretpw"), std::string_view::npos) << odd.error.message();
}

}  // namespace
}  // namespace mlops::http
