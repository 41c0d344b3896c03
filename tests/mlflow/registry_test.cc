// Registry against scripted answers: what is asked, and what each answer means.
#include "mlflow/registry.h"

#include <gtest/gtest.h>

#include "http/loopback.h"

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
  Registry* operator->() { return &api_.registry(); }
  std::string body(std::size_t i) { return server_.seen().at(i).body; }
  std::string line(std::size_t i) {
    const std::string head = server_.seen().at(i).head;
    return head.substr(0, head.find(" HTTP/"));
  }

 private:
  Loopback server_;
  Api api_;
};

std::string error(int status, const char* code, const char* message) {
  return http_answer(status, std::string(R"({"error_code":")") + code + R"(","message":")" + message + R"("})");
}
std::string version(const char* number, const char* uid, const char* name = "m") {
  return std::string(R"({"name":")") + name + R"(","version":")" + number +
         R"(","creation_timestamp":5,"current_stage":"None","source":"s3://b/k","run_id":"r","status":"READY","aliases":["a"],)" +
         R"("tags":[{"key":"mlops.uid","value":")" + uid + R"("}]})";
}

TEST(Registry, WhatIsAsked) {
  const std::string done = http_answer(200, "{}");
  const std::string made = http_answer(200, R"({"model_version":)" + version("3", "u") + "}");
  Scripted s({http_answer(200, R"({"registered_model":{"name":"m"}})"), made, done, done, done, done, done, done, done,
              done, done, done, done, done, done});
  RemoteVersion out;
  EXPECT_EQ(s->create_model("m", "d", {{"k", "v"}}).verdict, Verdict::ok);
  EXPECT_EQ(s.line(0), "POST /api/2.0/mlflow/registered-models/create");
  EXPECT_EQ(s.body(0), R"({"name":"m","tags":[{"key":"k","value":"v"}],"description":"d"})");
  EXPECT_EQ(s->create_version({"m", "s3://b/k", "r", "m-1", "d", {{"k", "v"}}}, &out).verdict, Verdict::ok);
  EXPECT_EQ(s.body(1),
            R"({"name":"m","source":"s3://b/k","run_id":"r","tags":[{"key":"k","value":"v"}],"description":"d",)"
            R"("model_id":"m-1"})");
  EXPECT_EQ(out.version, "3");
  EXPECT_EQ(out.aliases, std::vector<std::string>{"a"});
  EXPECT_EQ(out.created_ms, 5);
  s->delete_model("m");
  EXPECT_EQ(s.line(2), "DELETE /api/2.0/mlflow/registered-models/delete");
  EXPECT_EQ(s.body(2), R"({"name":"m"})");  // the query is not read there
  s->update_model("m", "d");
  EXPECT_EQ(s.line(3), "PATCH /api/2.0/mlflow/registered-models/update");
  s->set_alias("m", "a", "3");
  EXPECT_EQ(s.line(4), "POST /api/2.0/mlflow/registered-models/alias");
  EXPECT_EQ(s.body(4), R"({"name":"m","alias":"a","version":"3"})");
  s->delete_alias("m", "a");
  EXPECT_EQ(s.line(5), "DELETE /api/2.0/mlflow/registered-models/alias");
  s->rename_model("m", "n");
  EXPECT_EQ(s.body(6), R"({"name":"m","new_name":"n"})");
  s->set_model_tag("m", "k", "v");
  EXPECT_EQ(s.line(7), "POST /api/2.0/mlflow/registered-models/set-tag");
  s->delete_model_tag("m", "k");
  EXPECT_EQ(s.line(8), "DELETE /api/2.0/mlflow/registered-models/delete-tag");
  s->set_version_tag("m", "3", "k", "v");
  EXPECT_EQ(s.body(9), R"({"name":"m","version":"3","key":"k","value":"v"})");
  s->delete_version_tag("m", "3", "k");
  EXPECT_EQ(s.line(10), "DELETE /api/2.0/mlflow/model-versions/delete-tag");
  s->set_stage("m", "3", "Staging", true);
  EXPECT_EQ(s.body(11), R"({"name":"m","version":"3","stage":"Staging","archive_existing_versions":true})");
  s->update_version("m", "3", "");
  EXPECT_EQ(s.body(12), R"({"name":"m","version":"3","description":""})");
  s->delete_version("m", "3");
  EXPECT_EQ(s.line(13), "DELETE /api/2.0/mlflow/model-versions/delete");
}

TEST(Registry, AMissingAliasIsNoFailure) {
  Scripted s({error(400, "INVALID_PARAMETER_VALUE", "Registered model alias nix not found."),
              error(404, "RESOURCE_DOES_NOT_EXIST", "Registered Model with name=m not found"),
              http_answer(200, R"({"model_version":)" + version("7", "u") + "}"),
              error(400, "INVALID_PARAMETER_VALUE", "Invalid alias name: 'A B'."),
              error(400, "INVALID_PARAMETER_VALUE", "Registered model alias nix not found.")});
  RemoteVersion out;
  bool found = true;
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(s->version_by_alias("m", "nix", &out, &found).verdict, Verdict::ok);
    EXPECT_FALSE(found);
  }
  EXPECT_EQ(s.line(0), "GET /api/2.0/mlflow/registered-models/alias?name=m&alias=nix");
  EXPECT_EQ(s->version_by_alias("m", "a", &out, &found).verdict, Verdict::ok);
  EXPECT_TRUE(found);
  EXPECT_EQ(out.version, "7");
  EXPECT_EQ(s->version_by_alias("m", "A B", &out, &found).verdict, Verdict::rejected);
  EXPECT_EQ(s->delete_alias("m", "nix").verdict, Verdict::ok);
}

TEST(Registry, FindVersionTrustsTagsNotTheFilterAndReadsAllPages) {
  Scripted s({http_answer(200, R"({"model_versions":[)" + version("9", "other") + "," + version("8", "u", "another") +
                                   R"(],"next_page_token":"t"})"),
              http_answer(200, R"({"model_versions":[)" + version("12", "u") + "," + version("4", "u") + "]}"),
              http_answer(200, R"({"model_versions":[],"next_page_token":"t"})"),
              http_answer(200, R"({"model_versions":[],"next_page_token":"t"})")});
  RemoteVersion out;
  bool found = false;
  EXPECT_EQ(s->find_version("m", "u", &out, &found).verdict, Verdict::ok);
  EXPECT_TRUE(found);
  EXPECT_EQ(out.version, "4");
  EXPECT_NE(s.line(0).find("filter=name%20%3D%20%27m%27%20AND%20tags.%60mlops.uid%60%20%3D%20%27u%27"),
            std::string::npos)
      << s.line(0);
  EXPECT_NE(s.line(1).find("page_token=t"), std::string::npos);
  EXPECT_EQ(s->find_version("m", "u", &out, &found).verdict, Verdict::ambiguous);  // a token that repeats
}

TEST(Registry, AnotherShapeIsNeverAGoodAnswer) {
  Scripted s(std::vector<std::string>(12, http_answer(200, "{}")));
  RemoteVersion v;
  RemoteModel m;
  std::string uri;
  bool found = false;
  EXPECT_EQ(s->get_model("m", &m).verdict, Verdict::ambiguous);
  EXPECT_EQ(s->create_model("m", "", {}).verdict, Verdict::ambiguous);
  EXPECT_EQ(s->version_by_alias("m", "a", &v, &found).verdict, Verdict::ambiguous);
  EXPECT_EQ(s->get_version("m", "1", &v).verdict, Verdict::ambiguous);
  EXPECT_EQ(s->create_version({}, &v).verdict, Verdict::ambiguous);
  EXPECT_EQ(s->download_uri("m", "1", &uri).verdict, Verdict::ambiguous);
  EXPECT_FALSE(found);
}

TEST(Promotion, ComesBackFromItsTag) {
  const Promotion in{"promote", "champion", "7", "8", "ann", "\"quoted\"\nwhy", 1'790'000'000'000};
  Promotion out;
  ASSERT_TRUE(decode_promotion(encode_promotion(in), &out));
  EXPECT_EQ(out.verb, in.verb);
  EXPECT_EQ(out.alias, in.alias);
  EXPECT_EQ(out.from, in.from);
  EXPECT_EQ(out.to, in.to);
  EXPECT_EQ(out.who, in.who);
  EXPECT_EQ(out.why, in.why);
  EXPECT_EQ(out.time_ms, in.time_ms);
  for (const char* bad : {"", "{}", "[]", "{", "null", R"({"alias":"a"})", R"({"alias":3,"to":[]})"}) {
    EXPECT_FALSE(decode_promotion(bad, &out)) << bad;
  }
}

TEST(Manifest, IsReadWithoutTrust) {
  std::vector<ManifestFile> files;
  const std::string sum(64, 'a');
  ASSERT_TRUE(decode_manifest(R"({"files":[{"path":"a/b","size":3,"sha256":")" + sum + R"("}]})", &files));
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0].path, "a/b");
  EXPECT_EQ(files[0].size, 3u);
  for (const std::string& bad : {std::string("{}"), std::string("["), std::string(R"({"files":{}})"),
                                 std::string(R"({"files":[{"path":"a","size":3,"sha256":"short"}]})"),
                                 R"({"files":[{"path":"","size":3,"sha256":")" + sum + R"("}]})",
                                 R"({"files":[{"path":"a","size":-3,"sha256":")" + sum + R"("}]})"}) {
    EXPECT_FALSE(decode_manifest(bad, &files)) << bad;
  }
}

}  // namespace
}  // namespace mlops::mlflow
