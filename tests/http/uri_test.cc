// URIs: what is a tracking URI, what is refused, and that no password leaves in a message.
#include "http/uri.h"

#include <gtest/gtest.h>

#include "http/http.h"

namespace mlops::http {
namespace {

TEST(Uri, GoodOnesAreNormalised) {
  const std::pair<const char*, const char*> cases[] = {
      {"http://localhost:5000", "http://localhost:5000"},
      {"  HTTP://LocalHost:5000/ \n", "http://localhost:5000"},
      {"https://example.org/team/mlflow///", "https://example.org/team/mlflow"},
      {"https://gitlab.example/api/v4/projects/a%2Fb/ml/mlflow",
       "https://gitlab.example/api/v4/projects/a%2Fb/ml/mlflow"},
      {"http://[::1]:5000/x", "http://[::1]:5000/x"},
      {"http://10.0.0.7", "http://10.0.0.7"},
  };
  for (const auto& [given, want] : cases) {
    const auto got = check_uri(given);
    ASSERT_TRUE(got.ok()) << given << " " << got.status().to_string();
    EXPECT_EQ(*got, want);
  }
}

TEST(Uri, BadOnesSayWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "empty"},
      {"   ", "empty"},
      {"localhost:5000", "no scheme"},
      {"mlruns", "no scheme"},
      {"databricks", "https URL"},
      {"databricks://profile", "not served"},
      {"sqlite:///a.db", "not served"},
      {"file:///tmp/x", "not served"},
      {"http://", "no host"},
      {"http:///path", "no host"},
      {"http://:5000", "no host"},
      {"http://host:0", "port"},
      {"http://host:65536", "port"},
      {"http://host:", "port"},
      {"http://host:50a", "port"},
      {"http://host:99999999999999999999", "port"},
      {"http://ho st", "host"},
      {"http://[::1", "host"},
      {"http://host/a b", "space"},
      {"http://host/a?x=1", "query"},
      {"http://host/#f", "query"},
      {"http://host:5000/api/2.0/mlflow", "without /api/2.0/mlflow: http://host:5000"},
      {"http://host/a/api/2.0/mlflow/runs/search/", "without /api/2.0/mlflow/runs/search: http://host/a"},
      {"http://user:s3cret@host:5000", "MLFLOW_TRACKING_USERNAME"},
  };
  for (const auto& [given, want] : cases) {
    const auto got = check_uri(given);
    ASSERT_FALSE(got.ok()) << given;
    EXPECT_EQ(got.status().code(), StatusCode::invalid_argument);
    EXPECT_NE(got.status().message().find(want), std::string_view::npos) << given << ": " << got.status().message();
  }
}

TEST(Uri, NoMessageRepeatsAPassword) {
  for (const char* given : {"http://user:s3cret@host:5000", "ftp://user:s3cret@host", "http://user:s3cret@host:0/x?y",
                            "user:s3cret@host", "http://host/?token=s3cret", "http://a@user:s3cret@host"}) {
    const auto got = check_uri(given);
    ASSERT_FALSE(got.ok()) << given;
    EXPECT_EQ(got.status().message().find("s3cret"), std::string_view::npos) << got.status().message();
  }
  EXPECT_EQ(redact_uri("https://u:p@h/x?token=1#f"), "https://h/x");
}

TEST(Uri, Loopback) {
  for (const char* host : {"localhost", "127.0.0.1", "127.9.8.7", "[::1]"}) EXPECT_TRUE(is_loopback(host)) << host;
  for (const char* host : {"127.0.0.1.example.org", "128.0.0.1", "localhost.example.org", "127.evil", "10.0.0.1"})
    EXPECT_FALSE(is_loopback(host)) << host;
}

TEST(Uri, Escape) {
  EXPECT_EQ(escape("aZ09-_.~"), "aZ09-_.~");
  EXPECT_EQ(escape("a b/c&d=é%"), "a%20b%2Fc%26d%3D%C3%A9%25");
  EXPECT_EQ(escape(std::string_view("\0\xff", 2)), "%00%FF");
}

}  // namespace
}  // namespace mlops::http
