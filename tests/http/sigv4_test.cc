// Signatures that botocore 1.44.8 (SigV4Auth, execute-api) made for the same requests, keys and time.
#include "http/sigv4.h"

#include <gtest/gtest.h>

namespace mlops::http {
namespace {

constexpr std::int64_t kWhen = 1795743554'000;  // 2026-11-27T01:39:14Z

std::string authorization(std::string_view method, std::string_view host, std::string_view path, std::string_view query,
                          std::string_view body, const std::string& session_token = {}) {
  const AwsKeys keys{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", session_token, "eu-central-1",
                     "execute-api"};
  const auto headers = sign_v4(keys, method, host, path, query, {{"Content-Type", "application/json"}}, body, kWhen);
  EXPECT_EQ(headers.front(), (std::pair<std::string, std::string>("X-Amz-Date", "20261127T013914Z")));
  EXPECT_EQ(headers.back().first, "Authorization");
  EXPECT_EQ(headers.size(), session_token.empty() ? 2u : 3u);
  return headers.back().second;
}

const std::string kHead = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261127/eu-central-1/execute-api/aws4_request, ";

TEST(SigV4, BodyIsSigned) {
  EXPECT_EQ(authorization("POST", "abc.execute-api.eu-central-1.amazonaws.com", "/prod/api/2.0/mlflow/runs/log-batch",
                          "", R"({"run_id":"1"})"),
            kHead +
                "SignedHeaders=host;x-amz-date, "
                "Signature=1d424983a794f79f466e7d07cd957802aa6b7333126bf217a2dc47607b1baf65");
}

TEST(SigV4, QueryIsSortedAndTheSessionTokenSigned) {
  EXPECT_EQ(authorization("GET", "abc.example.org:8443", "/api/2.0/mlflow/metrics/get-history",
                          "run_id=7&metric_key=val%2Facc%20x&max_results=25000", "", "tok/en=="),
            kHead +
                "SignedHeaders=host;x-amz-date;x-amz-security-token, "
                "Signature=522480590bff0f0112e48dd928f8393b793706f78f837d8e7af36f5e36d649f8");
}

TEST(SigV4, PathIsEncodedOnceMore) {
  EXPECT_EQ(authorization("GET", "abc.example.org", "/a%20b/c", "", ""),
            kHead +
                "SignedHeaders=host;x-amz-date, "
                "Signature=b19b31459bd0223428d559479d9e154e961fb529e1758641096309bcf9ff7ab3");
}

TEST(SigV4, EachPartCounts) {
  const std::string one = authorization("GET", "h", "/a", "b=1", "x");
  EXPECT_NE(one, authorization("PUT", "h", "/a", "b=1", "x"));
  EXPECT_NE(one, authorization("GET", "i", "/a", "b=1", "x"));
  EXPECT_NE(one, authorization("GET", "h", "/b", "b=1", "x"));
  EXPECT_NE(one, authorization("GET", "h", "/a", "b=2", "x"));
  EXPECT_NE(one, authorization("GET", "h", "/a", "b=1", "y"));
}

}  // namespace
}  // namespace mlops::http
