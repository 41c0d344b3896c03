// Stores: paths, plans, what each answer means, and what goes over the wire, against a server that answers a script.
// Real servers: tests/servers/test_store.py.
#include "store/store.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <string>

#include "base/base.h"
#include "http/loopback.h"
#include "store/answer.h"
#include "store/aws.h"
#include "store/xml.h"

namespace mlops::store {
namespace {

using test::Act;
using test::http_answer;
using test::Loopback;
using test::Seen;

constexpr std::uint64_t kMiB = 1u << 20;

std::map<std::string, std::string> variables;
const char* env(const char* name) {
  const auto found = variables.find(name);
  return found == variables.end() ? nullptr : found->second.c_str();
}

class File {
 public:
  explicit File(const std::string& bytes) : fd_(::memfd_create("store", MFD_CLOEXEC)), size_(bytes.size()) {
    EXPECT_EQ(::pwrite(fd_, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }
  ~File() { ::close(fd_); }
  Body body() const { return {fd_, 0, size_, {}}; }

 private:
  int fd_;
  std::uint64_t size_;
};

std::unique_ptr<Store> open_at(const std::string& root, const std::string& tracking) {
  Place place;
  place.artifact_uri = root;
  place.tracking_uri = tracking;
  place.run_id = "r1";
  auto opened = open(place, env);
  EXPECT_TRUE(opened.ok()) << opened.status().to_string();
  return opened.ok() ? std::move(*opened) : nullptr;
}

Sink into(std::string* text) {
  return [text](std::uint64_t where, std::string_view bytes) {
    text->resize(where);
    text->append(bytes);
    return true;
  };
}

TEST(Paths, WhatAStoreTakes) {
  for (const char* good : {"a", "a/b", "a b/c#d%e+f", "日本/é", "...", "a..b", ".hidden", "a:b"})
    EXPECT_TRUE(check_path(good).ok()) << good;
  EXPECT_TRUE(check_path(std::string(300, 'n')).ok());
  EXPECT_TRUE(check_path("a/b:c").ok());
  for (const char* bad : {"", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a\\b", "a\nb", "C:/x", "\xff",
                          "\xc0\xaf", "\xed\xa0\x80"})
    EXPECT_EQ(check_path(bad).code(), StatusCode::invalid_argument) << bad;
  EXPECT_FALSE(check_path(std::string(1'001, 'n')).ok());
  EXPECT_FALSE(check_path(std::string("a\0b", 3)).ok());
}

TEST(Parts, PlansFitS3) {
  EXPECT_TRUE(plan_parts(0).empty());
  EXPECT_TRUE(plan_parts(std::uint64_t{60} << 40).empty());
  for (const std::uint64_t size :
       {std::uint64_t{1}, 16 * kMiB, 16 * kMiB + 1, 64 * kMiB, 1024 * kMiB, 97'700 * kMiB, 640'000 * kMiB,
        640'000 * kMiB + 1, std::uint64_t{5} << 40, std::uint64_t{48} << 40}) {
    const auto parts = plan_parts(size);
    ASSERT_FALSE(parts.empty()) << size;
    EXPECT_LE(parts.size(), 10'000u) << size;
    std::uint64_t at = 0;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      ASSERT_EQ(parts[i].number, i + 1);
      ASSERT_EQ(parts[i].offset, at);
      at += parts[i].size;
      if (i + 1 < parts.size()) {
        ASSERT_EQ(parts[i].size, parts[0].size);
        ASSERT_GE(parts[i].size, 16 * kMiB);
      }
      ASSERT_LE(parts[i].size, 5'120 * kMiB);
    }
    EXPECT_EQ(at, size);
  }
  EXPECT_EQ(plan_parts(1024 * kMiB).size(), 64u);
  EXPECT_EQ(plan_parts(640'000 * kMiB).size(), 10'000u);
}

TEST(Xml, WhatS3Says) {
  const std::string xml =
      "<?xml version=\"1.0\"?><R xmlns=\"x\"><Name>a&amp;b &lt;&#34;&#xe9;&quot;</Name><C><Key>1</Key></C><Empty/>"
      "<C a='b'><Key>2</Key></C><KeyCount>7</KeyCount></R>";
  EXPECT_EQ(xml_text(xml, "Name"), "a&b <\"é\"");
  EXPECT_EQ(xml_text(xml, "Empty"), "");
  EXPECT_EQ(xml_text(xml, "Nix"), "");
  EXPECT_EQ(xml_text(xml, "Key"), "1");
  std::string keys;
  xml_each(xml, "C", [&](std::string_view inside) { keys += xml_text(inside, "Key"); });
  EXPECT_EQ(keys, "12");
  EXPECT_EQ(xml_text("<Key>cut", "Key"), "");
  EXPECT_EQ(xml_text("<Key", "Key"), "");
  EXPECT_EQ(xml_text("<K>&amp &#0; &#xFFFFFFFF; &unknown;</K>", "K").find('\0'), std::string::npos);
  EXPECT_EQ(xml_escape("<\"&>"), "&lt;&quot;&amp;&gt;");
}

TEST(Open, SaysWhyAPlaceCannotBeReached) {
  variables.clear();
  auto why = [](const std::string& root, const std::string& tracking, bool writing = true) {
    Place place;
    place.artifact_uri = root;
    place.tracking_uri = tracking;
    place.run_id = "r";
    place.writing = writing;
    auto opened = open(place, env);
    return opened.ok() ? std::string("opened") : std::string(opened.status().message());
  };
  const std::string far = "http://10.1.2.3:5000";
  EXPECT_EQ(why("mlflow-artifacts:/1/r/artifacts", far), "opened");
  EXPECT_EQ(why("mlflow-artifacts://other:5001/1/r/artifacts", far), "opened");
  EXPECT_NE(why("mlflow-artifacts:/1", "").find("no tracking URI"), std::string::npos);
  EXPECT_EQ(why("file:///srv/x", "http://127.0.0.1:5000"), "opened");
  EXPECT_EQ(why("/srv/x", ""), "opened");
  EXPECT_NE(why("/srv/x", far).find("not of this machine"), std::string::npos);
  EXPECT_EQ(why("/srv/x", far, false), "opened");  // read through the server
  EXPECT_NE(why("./mlruns/1", "").find("relative"), std::string::npos);
  EXPECT_NE(why("/srv/../etc", "").find(".."), std::string::npos);
  EXPECT_NE(why("file://nas/x", "").find("host nas"), std::string::npos);
  for (const char* scheme : {"gs", "wasbs", "abfss", "dbfs", "hdfs"}) {
    EXPECT_NE(why(std::string(scheme) + "://x/y", far).find("--artifacts-destination"), std::string::npos) << scheme;
    EXPECT_EQ(why(std::string(scheme) + "://x/y", far, false), "opened");
  }
  EXPECT_NE(why("models:/x/1", far).find("resolved first"), std::string::npos);
  EXPECT_EQ(why("s3://bucket/x", far), "opened");  // by presigned URLs
  EXPECT_NE(why("s3://bucket/x", "").find("AWS_ACCESS_KEY_ID"), std::string::npos);
  variables = {{"AWS_ACCESS_KEY_ID", "k"}};
  EXPECT_NE(why("s3://bucket/x", "").find("set both"), std::string::npos);
  variables["AWS_SECRET_ACCESS_KEY"] = "s";
  EXPECT_EQ(why("s3://bucket/x", ""), "opened");
  EXPECT_NE(why("s3:///x", "").find("no bucket"), std::string::npos);
  variables["MLFLOW_S3_ENDPOINT_URL"] = "ftp://x";
  EXPECT_NE(why("s3://bucket/x", "").find("MLFLOW_S3_ENDPOINT_URL"), std::string::npos);
  variables.clear();
}

TEST(Aws, KeysRegionAndEndpoint) {
  variables = {{"AWS_ACCESS_KEY_ID", "k"},
               {"AWS_SECRET_ACCESS_KEY", "s"},
               {"AWS_SESSION_TOKEN", "t"},
               {"AWS_DEFAULT_REGION", "eu-west-1"}};
  auto aws = read_aws(env);
  ASSERT_TRUE(aws.ok());
  EXPECT_EQ(aws->keys.token, "t");
  EXPECT_EQ(bucket_url(*aws, "my-bucket"), "https://my-bucket.s3.eu-west-1.amazonaws.com");
  EXPECT_EQ(bucket_url(*aws, "my.bucket"), "https://s3.eu-west-1.amazonaws.com/my.bucket");
  variables["MLFLOW_S3_ENDPOINT_URL"] = "http://minio:9000/";
  EXPECT_EQ(bucket_url(*read_aws(env), "my-bucket"), "http://minio:9000/my-bucket");
  variables["MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE"] = "virtual";
  EXPECT_EQ(bucket_url(*read_aws(env), "my-bucket"), "http://my-bucket.minio:9000");
  std::string folder = "/tmp/mlops-aws-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string credentials = folder + "/credentials", config = folder + "/config";
  FILE* f = std::fopen(credentials.c_str(), "w");
  std::fputs(
      "# c\n[default]\naws_access_key_id = "
      "dk\naws_secret_access_key=ds\n\n[team]\naws_access_key_id=tk\naws_secret_access_key = ts\naws_session_token = "
      "tt\n",
      f);
  std::fclose(f);
  f = std::fopen(config.c_str(), "w");
  std::fputs("[default]\nregion = us-west-2\n[profile team]\nregion = ap-south-1\n", f);
  std::fclose(f);
  variables = {{"AWS_SHARED_CREDENTIALS_FILE", credentials}, {"AWS_CONFIG_FILE", config}};
  aws = read_aws(env);
  EXPECT_EQ(aws->keys.key_id + aws->keys.secret + aws->keys.token + aws->keys.region, "dkdsus-west-2");
  variables["AWS_PROFILE"] = "team";
  aws = read_aws(env);
  EXPECT_EQ(aws->keys.key_id + aws->keys.secret + aws->keys.token + aws->keys.region, "tktsttap-south-1");
  ::unlink(credentials.c_str());
  ::unlink(config.c_str());
  ::rmdir(folder.c_str());
  variables.clear();
  EXPECT_FALSE(read_aws(env)->has_keys());
}

http::Response answered(int status, const std::string& body, const std::string& type = "application/json") {
  http::Response response;
  response.fate = http::Fate::answered;
  response.status = status;
  response.body = body;
  response.content_type = type;
  return response;
}

TEST(Answers, OfMlflow) {
  struct Row {
    int status;
    const char* body;
    const char* type;
    Verdict verdict;
  };
  for (const Row& row : std::initializer_list<Row>{
           {200, "{}", "application/json", Verdict::ok},
           {200, "", "", Verdict::ok},
           {400, R"({"error_code":"INVALID_PARAMETER_VALUE","message":"Invalid path"})", "application/json",
            Verdict::rejected},
           {401, "no", "text/plain", Verdict::auth},
           {403, "Permission denied", "text/plain", Verdict::auth},
           {404, R"({"error_code":"RESOURCE_DOES_NOT_EXIST","message":"No such artifact"})", "application/json",
            Verdict::not_found},
           {404, "<!doctype html><html>", "text/html", Verdict::unsupported},
           {405, "", "", Verdict::unsupported},
           {413, "<html>", "text/html", Verdict::rejected},
           {429, "", "", Verdict::throttled},
           {500, R"({"error_code":"INTERNAL_ERROR","message":"x"})", "application/json", Verdict::ambiguous},
           {500, R"({"error_code":"INTERNAL_ERROR","message":"An error occurred (NoSuchBucket) when calling"})",
            "application/json", Verdict::rejected},
           {500, R"({"error_code":"INTERNAL_ERROR","message":"An error occurred (NoSuchUpload) when calling"})",
            "application/json", Verdict::expired},
           {500, R"({"error_code":"INTERNAL_ERROR","message":"an error (InvalidAccessKeyId) occurred"})",
            "application/json", Verdict::auth},
           {501, R"({"error_code":"NOT_IMPLEMENTED","message":"Multipart"})", "application/json", Verdict::unsupported},
           {503, "Endpoint: x disabled due to the mlflow server running with `--no-serve-artifacts`", "text/plain",
            Verdict::unsupported},
           {503, "", "", Verdict::throttled},
           {502, "<html>", "text/html", Verdict::ambiguous},
           {301, "", "", Verdict::auth},
       }) {
    const Answer answer = of_mlflow(answered(row.status, row.body, row.type), "a.bin");
    EXPECT_EQ(answer.verdict, row.verdict) << row.status << " " << row.body << " " << answer.status.to_string();
    EXPECT_EQ(answer.status.ok(), row.verdict == Verdict::ok);
    if (!answer.ok()) {
      EXPECT_EQ(answer.status.message().find("a.bin"), 0u) << answer.status.message();
    }
  }
}

TEST(Answers, OfS3AndOfPresignedUrls) {
  auto error = [](int status, const std::string& code) {
    return answered(status, "<Error><Code>" + code + "</Code><Message>words</Message></Error>", "application/xml");
  };
  EXPECT_EQ(of_s3(error(404, "NoSuchKey"), "k").verdict, Verdict::not_found);
  EXPECT_EQ(of_s3(error(404, "NoSuchBucket"), "k").verdict, Verdict::rejected);
  EXPECT_EQ(of_s3(error(404, "NoSuchUpload"), "k").verdict, Verdict::expired);
  EXPECT_EQ(of_s3(error(403, "ExpiredToken"), "k").verdict, Verdict::auth);
  EXPECT_NE(of_s3(error(400, "ExpiredToken"), "k").status.message().find("AWS_SESSION_TOKEN"), std::string_view::npos);
  EXPECT_EQ(of_s3(error(503, "SlowDown"), "k").verdict, Verdict::throttled);
  EXPECT_EQ(of_s3(error(400, "BadDigest"), "k").verdict, Verdict::ambiguous);
  EXPECT_EQ(of_s3(error(400, "KeyTooLongError"), "k").verdict, Verdict::rejected);
  EXPECT_EQ(of_s3(answered(403, ""), "k").verdict, Verdict::auth);
  EXPECT_EQ(of_s3(answered(500, ""), "k").verdict, Verdict::ambiguous);
  EXPECT_EQ(of_s3(error(200, "InternalError"), "k").verdict, Verdict::ambiguous);  // a finish that failed late
  EXPECT_EQ(of_s3(error(200, "NoSuchUpload"), "k").verdict, Verdict::expired);
  EXPECT_EQ(of_s3(answered(200, "<CompleteMultipartUploadResult/>"), "k").verdict, Verdict::ok);
  EXPECT_EQ(of_presigned(error(403, "AccessDenied"), "k").verdict, Verdict::expired);
  EXPECT_EQ(of_presigned(error(403, "SignatureDoesNotMatch"), "k").verdict, Verdict::expired);
  EXPECT_EQ(of_presigned(error(404, "NoSuchBucket"), "k").verdict, Verdict::rejected);
  EXPECT_EQ(of_presigned(answered(200, ""), "k").verdict, Verdict::ok);
}

TEST(Proxied, PathsAreEncodedAndRefusedBeforeTheyAreSent) {
  Loopback server([](int, const Seen&) { return Act{Act::answer, http_answer(200, "{}")}; });
  auto to = open_at("mlflow-artifacts:/1/r/artifacts", server.uri() + "/prefix");
  const File file("hello");
  ASSERT_TRUE(to->put("a b/c%d+e?é.txt", file.body(), {}).ok());
  EXPECT_EQ(
      server.seen()[0].head.find(
          "PUT /prefix/api/2.0/mlflow-artifacts/artifacts/1/r/artifacts/a%20b/c%25d%2Be%3F%C3%A9.txt HTTP/1.1\r\n"),
      0u)
      << server.seen()[0].head;
  EXPECT_EQ(server.seen()[0].body, "hello");
  for (const char* bad : {"", "../x", "/x", "a#b", "a//b", "100%25", "d/%2e%2e/x"})
    EXPECT_EQ(to->put(bad, file.body(), {}).verdict, Verdict::rejected) << bad;
  EXPECT_EQ(server.seen().size(), 1u);
}

// An experiment's artifact root is what somebody wrote there.
TEST(Proxied, CredentialsGoToTheTrackingServerOnly) {
  const auto says = [](int, const Seen&) { return Act{Act::answer, http_answer(200, R"({"files":[]})")}; };
  Loopback tracking(says), other(says);
  const std::string service = "/api/2.0/mlflow-artifacts/artifacts/a", authority = other.uri().substr(7),
                    port = other.uri().substr(other.uri().rfind(':'));
  for (const bool bearer : {false, true}) {
    Place place;
    place.tracking_uri = tracking.uri();
    int asked = 0;
    if (bearer) {
      place.credentials.token_callback = [&asked] {
        ++asked;
        return "sekrit";
      };
    } else {
      place.credentials.username = "ann";
      place.credentials.password = "sekrit";
    }
    const auto list = [&](const std::string& root) {
      place.artifact_uri = root;
      auto opened = open(place, env);
      EXPECT_TRUE(opened.ok()) << opened.status().to_string();
      std::vector<Entry> entries;
      EXPECT_TRUE((*opened)->list("", &entries).ok()) << root;
    };
    for (const std::string& mine :
         {std::string("mlflow-artifacts:/a"), "mlflow-artifacts://" + tracking.uri().substr(7) + "/a",
          tracking.uri() + service}) {
      list(mine);
      EXPECT_NE(tracking.seen().back().head.find("Authorization: "), std::string::npos) << mine;
    }
    const int before = asked;
    for (const std::string& theirs : {"mlflow-artifacts://" + authority + "/a", other.uri() + service,
                                      "mlflow-artifacts://localhost" + port + "/a"}) {
      list(theirs);
      EXPECT_EQ(other.seen().back().head.find("uthorization"), std::string::npos) << theirs;
    }
    EXPECT_EQ(asked, before);
    place.tracking_uri = "https" + other.uri().substr(4);  // the same host and port, in clear
    list(other.uri() + service);
    EXPECT_EQ(other.seen().back().head.find("uthorization"), std::string::npos);
  }
}

TEST(Proxied, AStrangerWhoAsksForCredentialsIsNamed) {
  Loopback tracking([](int, const Seen&) { return Act{Act::answer, http_answer(200, "{}")}; });
  Loopback other(
      [](int, const Seen&) { return Act{Act::answer, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"}; });
  auto to = open_at("mlflow-artifacts://" + other.uri().substr(7) + "/a", tracking.uri());
  const File file("hello");
  const Answer answer = to->put("x", file.body(), {});
  EXPECT_EQ(answer.verdict, Verdict::auth);
  EXPECT_EQ(
      answer.status.message(),
      "x: HTTP 401: " + other.uri().substr(7) +
          " asks for credentials, and these are only sent to the tracking server. Give the experiment an artifact "
          "root that is served there (mlflow-artifacts:/), or name the host in MLOPS_ARTIFACT_HOSTS");
}

TEST(Proxied, AHostThatIsNamedGetsTheCredentials) {
  Loopback tracking([](int, const Seen&) { return Act{Act::answer, http_answer(200, "{}")}; });
  Loopback other([](int, const Seen&) { return Act{Act::answer, http_answer(200, R"({"files":[]})")}; });
  const std::string authority = other.uri().substr(7), host = authority.substr(0, authority.find(':'));
  Place place;
  place.tracking_uri = tracking.uri();
  place.credentials.token = "sekrit";
  place.artifact_uri = "mlflow-artifacts://" + authority + "/a";
  const auto sent = [&](const std::string& hosts) {
    auto opened = open(place, [&hosts](const char* name) {
      return std::string_view(name) == "MLOPS_ARTIFACT_HOSTS" ? hosts.c_str() : nullptr;
    });
    EXPECT_TRUE(opened.ok()) << opened.status().to_string();
    std::vector<Entry> entries;
    EXPECT_TRUE((*opened)->list("", &entries).ok());
    return other.seen().back().head.find("uthorization") != std::string::npos;
  };
  EXPECT_TRUE(sent(authority));
  EXPECT_TRUE(sent("files.example," + host));
  EXPECT_FALSE(sent(""));
  EXPECT_FALSE(sent("files.example:80," + host + ":1," + host + "x,"));
}

std::string md5_etag(const std::string& bytes) {
  base::Digest digest(base::Digest::Kind::md5);
  digest.update(bytes);
  return '"' + digest.finish_hex() + '"';
}

/// Answers mpu/create with an URL for each of five parts.
Act hand_out(const Seen& seen, const std::string& bucket) {
  if (seen.head.find("/mpu/create/1/r/artifacts/d HTTP") == std::string::npos)
    return Act{Act::answer, http_answer(200, "{}")};
  std::string body = R"({"upload_id":"up","credentials":[)";
  for (int part = 1; part <= 5; ++part)
    body += std::string(part > 1 ? "," : "") + R"({"url":")" + bucket + "/k?partNumber=" + std::to_string(part) +
            R"(&X-Amz-Signature=s","part_number":)" + std::to_string(part) + R"(,"headers":{"x-h":"v"}})";
  return Act{Act::answer, http_answer(200, body + "]}")};
}

TEST(Proxied, MultipartPastTheServer) {
  Loopback bucket([](int, const Seen& seen) {
    return Act{Act::answer, http_answer(200, "", "", "ETag: " + md5_etag(seen.body) + "\r\n")};
  });
  Loopback server([&](int, const Seen& seen) { return hand_out(seen, bucket.uri()); });
  auto to = open_at("mlflow-artifacts:/1/r/artifacts", server.uri());
  EXPECT_FALSE(to->can_multipart(1'000));
  EXPECT_TRUE(to->can_multipart(80 * kMiB));
  Upload upload;
  ASSERT_TRUE(to->begin("d/f.bin", 80 * kMiB, &upload).ok());
  EXPECT_EQ(upload.id, "up");
  ASSERT_EQ(upload.parts.size(), 5u);
  EXPECT_NE(server.seen()[0].body.find("\"path\":\"f.bin\""), std::string::npos);
  EXPECT_NE(server.seen()[0].body.find("\"num_parts\":5"), std::string::npos);
  const File file("part");
  ASSERT_TRUE(to->put_part("d/f.bin", upload, &upload.parts[1], file.body(), {}).ok());
  EXPECT_EQ(upload.parts[1].etag, md5_etag("part"));
  ASSERT_EQ(bucket.seen().size(), 1u);
  const Seen sent = bucket.seen().at(0);
  EXPECT_EQ(sent.head.find("PUT /k?partNumber=2&X-Amz-Signature=s HTTP"), 0u) << sent.head;
  EXPECT_NE(sent.head.find("x-h: v"), std::string::npos);
  EXPECT_EQ(sent.head.find("Content-MD5"), std::string::npos);
  EXPECT_EQ(sent.head.find("Authorization"), std::string::npos);
  ASSERT_TRUE(to->finish("d/f.bin", upload).ok());
  EXPECT_NE(server.seen()[1].head.find("/mpu/complete/1/r/artifacts/d"), std::string::npos);
  const std::string etag = md5_etag("part");
  EXPECT_NE(server.seen()[1].body.find(R"("etag":"\")" + etag.substr(1, 32) + R"(\"")"), std::string::npos)
      << server.seen()[1].body;
  upload.urls.clear();
  EXPECT_EQ(to->put_part("d/f.bin", upload, &upload.parts[0], file.body(), {}).verdict, Verdict::expired);
}

/// Bytes that were altered on their way, and stores whose ETags are no MD5s: such a part goes with one that the store
/// compares.
TEST(Proxied, APartWithAnotherEtagGoesOnceMoreWithItsMd5) {
  bool own_etags = false, refuses = false;
  Loopback bucket([&](int index, const Seen& seen) {
    const bool compares = seen.head.find("Content-MD5: ") != std::string::npos;
    if (compares && refuses) return Act{Act::answer, http_answer(400, "<Error><Code>BadDigest</Code></Error>")};
    const bool its_md5 = compares && !own_etags;
    const std::string etag = its_md5 ? md5_etag(seen.body) : "\"e" + std::to_string(index) + "\"";
    return Act{Act::answer, http_answer(200, "", "", "ETag: " + etag + "\r\n")};
  });
  Loopback server([&](int, const Seen& seen) { return hand_out(seen, bucket.uri()); });
  auto to = open_at("mlflow-artifacts:/1/r/artifacts", server.uri());
  Upload upload;
  ASSERT_TRUE(to->begin("d/f.bin", 80 * kMiB, &upload).ok());
  const File file("part");
  const auto put = [&](std::size_t index) {
    return to->put_part("d/f.bin", upload, &upload.parts[index], file.body(), {}).verdict;
  };
  EXPECT_EQ(put(0), Verdict::ok);  // altered once
  EXPECT_EQ(upload.parts[0].etag, md5_etag("part"));
  ASSERT_EQ(bucket.seen().size(), 2u);
  EXPECT_EQ(bucket.seen()[0].head.find("Content-MD5"), std::string::npos);
  EXPECT_NE(bucket.seen()[1].head.find("Content-MD5: 9Mk4XxkC9zNLALm07NFk3g==\r\n"), std::string::npos)
      << bucket.seen()[1].head;
  refuses = true;
  EXPECT_EQ(put(1), Verdict::ambiguous);
  EXPECT_EQ(upload.parts[1].etag, "");
  EXPECT_EQ(bucket.seen().size(), 4u);
  refuses = false;
  own_etags = true;
  EXPECT_EQ(put(2), Verdict::ok);
  EXPECT_EQ(put(3), Verdict::ok);
  EXPECT_EQ(bucket.seen().size(), 6u);  // at once with its MD5
  EXPECT_EQ(upload.parts[2].etag, "\"e4\"");
  EXPECT_EQ(upload.parts[3].etag, "\"e5\"");
}

TEST(Proxied, NoMultipartIsRemembered) {
  Loopback server([](int, const Seen&) {
    return Act{Act::answer,
               http_answer(501, R"({"error_code":"NOT_IMPLEMENTED","message":"Multipart upload is not supported"})")};
  });
  auto to = open_at("mlflow-artifacts:/1/r/artifacts", server.uri());
  Upload upload;
  EXPECT_EQ(to->begin("f", 80 * kMiB, &upload).verdict, Verdict::unsupported);
  EXPECT_FALSE(to->can_multipart(80 * kMiB));
}

TEST(Proxied, APresignedUrlThatOnlyTheServerCanReachIsLeftAside) {
  Loopback server([](int, const Seen& seen) {
    if (seen.head.find("/presigned/") != std::string::npos)
      return Act{Act::answer,
                 http_answer(200, R"({"url":"http://127.0.0.1:1/k?X-Amz-Signature=s","headers":{},"file_size":5})")};
    return Act{Act::answer, http_answer(200, "hello", "x/y")};
  });
  auto to = open_at("mlflow-artifacts:/1/r/artifacts", server.uri());
  std::string got;
  ASSERT_TRUE(to->get("f", 0, nullptr, into(&got), {}).ok());
  EXPECT_EQ(got, "hello");
  ASSERT_TRUE(to->get("f", 0, nullptr, into(&got), {}).ok());
  EXPECT_EQ(server.seen().size(), 3u);
}

TEST(Proxied, AMissingFileOfAnOldServer) {
  Loopback server([](int, const Seen& seen) {
    if (seen.head.find("?path=") != std::string::npos)
      return Act{Act::answer, http_answer(200, R"({"files":[{"path":"other","is_dir":false,"file_size":1}]})")};
    if (seen.head.find("/presigned/") != std::string::npos)
      return Act{Act::answer, http_answer(404, "<html>", "text/html")};
    return Act{Act::answer,
               http_answer(500, R"({"error_code":"INTERNAL_ERROR","message":"The following failures occurred"})")};
  });
  auto to = open_at("mlflow-artifacts:/1/r/artifacts", server.uri());
  std::string got;
  EXPECT_EQ(to->get("d/f", 0, nullptr, into(&got), {}).verdict, Verdict::not_found);
  EXPECT_EQ(to->get("other", 0, nullptr, into(&got), {}).verdict, Verdict::ambiguous);
}

TEST(Proxied, AFileInTheWayIsToldFromAServerInTrouble) {
  Loopback server([](int, const Seen& seen) {
    if (seen.head.find("artifacts HTTP/") != std::string::npos)
      return Act{Act::answer, http_answer(200, R"({"files":[{"path":"a","is_dir":false,"file_size":1},
                                                            {"path":"d","is_dir":true}]})")};
    if (seen.head.find("?path=") != std::string::npos)
      return Act{Act::answer, http_answer(200, R"({"files":[{"path":"f","is_dir":false,"file_size":1}]})")};
    return Act{Act::answer, http_answer(500, R"({"error_code":"INTERNAL_ERROR","message":"x"})")};
  });
  auto to = open_at("mlflow-artifacts:/1/r/artifacts", server.uri());
  const File file("bytes");
  const auto put = [&](const char* path) { return to->put(path, file.body(), {}); };
  EXPECT_EQ(put("a/b/c").verdict, Verdict::rejected);
  EXPECT_NE(put("a/b/c").status.message().find("'a' is a file: nothing can be below it"), std::string::npos);
  EXPECT_EQ(put("d").verdict, Verdict::rejected);
  EXPECT_EQ(put("d/f/g").verdict, Verdict::rejected);
  for (const char* path : {"a", "new", "d/f", "d/new", "new/f"})
    EXPECT_EQ(put(path).verdict, Verdict::ambiguous) << path;
}

TEST(Proxied, BodiesThatEndTooEarlyAreAmbiguous) {
  int how = 0;
  const std::string whole = http_answer(200, "0123456789", "x/y");
  Loopback server([&](int, const Seen& seen) {
    if (seen.head.find("/presigned/") != std::string::npos) return Act{Act::answer, http_answer(501, "{}")};
    if (how == 0) return Act{Act::answer, whole.substr(0, whole.size() - 3), true};
    if (how == 1)
      return Act{Act::answer, "HTTP/1.1 200 OK\r\nContent-Type: x/y\r\n\r\n01234", true};  // no length at all
    return Act{Act::answer, "HTTP/1.1 206 OK\r\nContent-Length: 3\r\n\r\nabc"};            // of nowhere
  });
  auto to = open_at("mlflow-artifacts:/1/r/artifacts", server.uri());
  for (; how < 3; ++how) {
    std::string got;
    const Answer answer = to->get("f", 0, nullptr, into(&got), {});
    EXPECT_EQ(answer.verdict, Verdict::ambiguous) << how;
    EXPECT_FALSE(answer.status.ok());
  }
}

TEST(S3, APathIsSignedAsItIsSent) {
  variables = {{"AWS_ACCESS_KEY_ID", "AKID"}, {"AWS_SECRET_ACCESS_KEY", "sekrit"}, {"AWS_SESSION_TOKEN", "tok"}};
  Loopback server([](int, const Seen&) { return Act{Act::answer, http_answer(200, "")}; });
  variables["MLFLOW_S3_ENDPOINT_URL"] = server.uri();
  auto to = open_at("s3://bucket/pre fix/", "");
  const File file("hello");
  ASSERT_TRUE(to->put("a#b/c", file.body(), {}).ok());
  const std::string head = server.seen()[0].head;
  EXPECT_EQ(head.find("PUT /bucket/pre%20fix/a%23b/c HTTP/1.1\r\n"), 0u) << head;
  EXPECT_NE(head.find("x-amz-content-sha256: " + base::sha256_hex("hello")), std::string::npos) << head;
  EXPECT_NE(head.find("Authorization: AWS4-HMAC-SHA256 Credential=AKID/"), std::string::npos) << head;
  EXPECT_NE(head.find("X-Amz-Security-Token: tok"), std::string::npos) << head;
  EXPECT_EQ(head.find("sekrit"), std::string::npos);
  variables.clear();
}

TEST(S3, AListOfManyPages) {
  variables = {{"AWS_ACCESS_KEY_ID", "k"}, {"AWS_SECRET_ACCESS_KEY", "s"}};
  Loopback server([](int index, const Seen& seen) {
    std::string xml = "<ListBucketResult><EncodingType>url</EncodingType><Prefix>p/</Prefix>";
    if (index == 0) {
      xml +=
          "<IsTruncated>true</IsTruncated><NextContinuationToken>t/1+=</NextContinuationToken>"
          "<Contents><Key>p/z%2B%20y</Key><Size>12</Size></Contents><Contents><Key>p/</Key><Size>0</Size></Contents>";
    } else {
      EXPECT_NE(seen.head.find("?continuation-token=t%2F1%2B%3D&delimiter=%2F"), std::string::npos) << seen.head;
      xml +=
          "<IsTruncated>false</IsTruncated><CommonPrefixes><Prefix>p/dir/</Prefix></CommonPrefixes>"
          "<Contents><Key>p/a</Key><Size>5000000000</Size></Contents>";
    }
    return Act{Act::answer, http_answer(200, xml + "</ListBucketResult>", "application/xml")};
  });
  variables["MLFLOW_S3_ENDPOINT_URL"] = server.uri();
  auto to = open_at("s3://bucket/p", "");
  std::vector<Entry> entries;
  ASSERT_TRUE(to->list("", &entries).ok());
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].path, "a");
  EXPECT_EQ(entries[0].size, 5'000'000'000u);
  EXPECT_EQ(entries[1].path, "dir");
  EXPECT_TRUE(entries[1].is_dir);
  EXPECT_EQ(entries[2].path, "z+ y");
  variables.clear();
}

TEST(Folder, WholeFilesUnderTheirNamesAndNothingThroughLinks) {
  std::string folder = "/tmp/mlops-folder-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  auto to = open_at("file://" + folder + "/root", "");
  const File file("hello");
  std::uint64_t said = 0;
  ASSERT_TRUE(to->put("a b/c%20#.txt", file.body(), [&](std::uint64_t n) { said = n; }).ok());
  EXPECT_EQ(said, 5u);
  std::uint64_t size = 0;
  ASSERT_TRUE(to->stat("a b/c%20#.txt", &size).ok());
  EXPECT_EQ(size, 5u);
  EXPECT_EQ(to->stat("a b", &size).verdict, Verdict::not_found);
  EXPECT_EQ(to->stat("nix", &size).verdict, Verdict::not_found);
  std::vector<Entry> entries;
  ASSERT_TRUE(to->list("", &entries).ok());
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_TRUE(entries[0].is_dir);
  entries.clear();
  ASSERT_TRUE(to->list("nix", &entries).ok());
  EXPECT_TRUE(entries.empty());
  std::string got;
  Version version;
  ASSERT_TRUE(to->get("a b/c%20#.txt", 0, &version, into(&got), {}).ok());
  EXPECT_EQ(got, "hello");
  std::uint64_t first = 9;
  ASSERT_TRUE(to->get("a b/c%20#.txt", 3, &version,
                      [&](std::uint64_t at, std::string_view) {
                        first = at;
                        return true;
                      },
                      {})
                  .ok());
  EXPECT_EQ(first, 3u);
  version.etag = "other";
  ASSERT_TRUE(to->get("a b/c%20#.txt", 3, &version,
                      [&](std::uint64_t at, std::string_view) {
                        first = at;
                        return true;
                      },
                      {})
                  .ok());
  EXPECT_EQ(first, 0u);
  EXPECT_EQ(to->put("a b", file.body(), {}).verdict, Verdict::rejected);  // a folder is in its place
  Body longer = file.body();
  longer.size = 10;
  EXPECT_EQ(to->put("cut", longer, {}).verdict, Verdict::rejected);
  EXPECT_EQ(to->stat("cut", &size).verdict, Verdict::not_found);
  ASSERT_EQ(::symlink("/tmp", (folder + "/root/link").c_str()), 0);
  EXPECT_EQ(to->put("link/x", file.body(), {}).verdict, Verdict::rejected);
  EXPECT_FALSE(to->can_multipart(1u << 30));
  EXPECT_EQ(to->begin("x", 1u << 30, nullptr).verdict, Verdict::unsupported);
  to->cancel();
  EXPECT_EQ(to->get("a b/c%20#.txt", 0, &version, into(&got), {}).verdict, Verdict::ambiguous);
  EXPECT_TRUE(to->get("a b/c%20#.txt", 0, &version, into(&got), {}).ok());
  (void)!std::system(("rm -rf " + folder).c_str());
}

TEST(Served, ReadsThroughTheServerAndPutsWhereItHandsOutUrls) {
  variables.clear();
  Loopback bucket([](int, const Seen&) { return Act{Act::answer, http_answer(200, "")}; });
  Loopback server([&](int, const Seen& seen) {
    if (seen.head.find("presigned-upload-url") != std::string::npos)
      return Act{Act::answer,
                 http_answer(200, R"({"presigned_url":")" + bucket.uri() +
                                      R"(/b/k?X-Amz-Signature=s","headers":{"Content-Type":"text/plain"}})")};
    if (seen.head.find("artifacts/list?run_id=r1") != std::string::npos)
      return Act{Act::answer,
                 http_answer(200, R"({"root_uri":"s3://b/x","files":[{"path":"d/f","is_dir":false,"file_size":5}]})")};
    return Act{Act::answer, http_answer(200, "hello", "x/y")};
  });
  auto to = open_at("s3://b/x", server.uri());
  const File file("hello");
  ASSERT_TRUE(to->put("d/f", file.body(), {}).ok());
  EXPECT_EQ(server.seen()[0].body, R"({"expiration":3600,"path":"d/f","run_id":"r1"})");
  const std::string head = bucket.seen().at(0).head;
  EXPECT_NE(head.find("Content-Type: text/plain"), std::string::npos);
  EXPECT_EQ(bucket.seen().at(0).body, "hello");
  std::uint64_t size = 0;
  ASSERT_TRUE(to->stat("d/f", &size).ok());
  EXPECT_EQ(size, 5u);
  std::string got;
  ASSERT_TRUE(to->get("d/f", 0, nullptr, into(&got), {}).ok());
  EXPECT_EQ(got, "hello");
  EXPECT_EQ(server.seen().back().head.find("GET /get-artifact?run_id=r1&path=d%2Ff HTTP"), 0u)
      << server.seen().back().head;
}

}  // namespace
}  // namespace mlops::store
