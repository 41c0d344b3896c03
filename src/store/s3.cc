// S3: a bucket asked directly, signed by libcurl (SigV4). Over http each payload is signed with its SHA-256; over https
// TLS guards it, and a hash that is known is signed all the same, so that the store compares.
#include <algorithm>
#include <utility>

#include "base/base.h"
#include "store/answer.h"
#include "store/kinds.h"
#include "store/wire.h"
#include "store/xml.h"

namespace mlops::store {
namespace {

constexpr std::uint64_t kMultipart = 64u << 20, kLargestPut = std::uint64_t{5} << 30;
constexpr const char* kEmptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

class S3 final : public Store {
 public:
  S3(std::unique_ptr<http::Connection> connection, Aws aws, std::string url, std::string prefix)
      : wire_(std::move(connection)), aws_(std::move(aws)), url_(std::move(url)), prefix_(std::move(prefix)) {}

  Answer put(std::string_view path, const Body& body, const Progress& progress) override {
    if (Status s = check_path(path); !s.ok()) return refuse(s);
    if (body.size > kLargestPut)
      return refuse({StatusCode::invalid_argument, std::string(path) + ": S3 takes more than 5 GiB only in parts"});
    http::Request request = make_request(http::Method::put, url_of(path), payload_hash(body));
    request.headers.emplace_back("Content-Type", "application/octet-stream");
    return of_s3(wire_.upload(std::move(request), body, progress), path);
  }

  bool can_multipart(std::uint64_t size) const override { return size >= kMultipart; }

  Answer begin(std::string_view path, std::uint64_t size, Upload* out) override {
    if (Status s = check_path(path); !s.ok()) return refuse(s);
    Upload upload;
    upload.parts = plan_parts(size);
    if (upload.parts.empty())
      return refuse({StatusCode::invalid_argument, std::string(path) + ": no upload in parts has this size"});
    upload.part_size = upload.parts[0].size;
    const http::Response response = post(url_of(path) + "?uploads=", {});
    Answer answer = of_s3(response, path);
    if (!answer.ok()) return answer;
    upload.id = xml_text(response.body, "UploadId");
    if (upload.id.empty())
      return make(Verdict::ambiguous, StatusCode::unavailable, std::string(path) + ": the store gave no upload id",
                  response);
    *out = std::move(upload);
    return answer;
  }

  Answer put_part(std::string_view path, const Upload& upload, Part* part, const Body& body,
                  const Progress& progress) override {
    http::Request request = make_request(
        http::Method::put,
        url_of(path) + "?partNumber=" + std::to_string(part->number) + "&uploadId=" + http::escape(upload.id),
        payload_hash(body));
    const http::Response response = wire_.upload(std::move(request), body, progress);
    Answer answer = of_s3(response, path);
    if (answer.ok() && response.etag.empty())
      return make(Verdict::ambiguous, StatusCode::unavailable,
                  std::string(path) + ": a part was answered without an ETag", response);
    if (answer.ok()) part->etag = response.etag;
    return answer;
  }

  Answer finish(std::string_view path, const Upload& upload) override {
    std::string body = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
    for (const Part& part : upload.parts)
      body += "<Part><PartNumber>" + std::to_string(part.number) + "</PartNumber><ETag>" + xml_escape(part.etag) +
              "</ETag></Part>";
    body += "</CompleteMultipartUpload>";
    const http::Response response = post(url_of(path) + "?uploadId=" + http::escape(upload.id), std::move(body));
    Answer answer = of_s3(response, path);
    if (answer.ok() && response.body.find("CompleteMultipartUploadResult") == std::string::npos)
      return make(Verdict::ambiguous, StatusCode::unavailable,
                  std::string(path) + ": the store did not say that the upload is complete", response);
    return answer;
  }

  Answer abort(std::string_view path, const Upload& upload) override {
    const http::Response response =
        wire_.send(make_request(http::Method::del, url_of(path) + "?uploadId=" + http::escape(upload.id), kEmptyHash));
    Answer answer = of_s3(response, path);
    return answer.verdict == Verdict::expired || answer.verdict == Verdict::not_found ? Answer{} : answer;
  }

  Answer stat(std::string_view path, std::uint64_t* size) override {
    if (Status s = check_path(path); !s.ok()) return refuse(s);
    const http::Response response = wire_.send(make_request(http::Method::head, url_of(path), kEmptyHash));
    Answer answer = of_s3(response, path);
    if (!answer.ok()) return answer;
    if (response.content_length < 0)
      return make(Verdict::ambiguous, StatusCode::unavailable, std::string(path) + ": the store did not say its size",
                  response);
    *size = static_cast<std::uint64_t>(response.content_length);
    return answer;
  }

  Answer list(std::string_view dir, std::vector<Entry>* out) override {
    if (!dir.empty())
      if (Status s = check_path(dir); !s.ok()) return refuse(s);
    std::string below = prefix_.empty() ? std::string() : prefix_ + "/";
    const std::size_t root = below.size();
    if (!dir.empty()) below += std::string(dir) + "/";
    std::vector<Entry> entries;
    std::string token;
    for (;;) {
      std::string query = "?";  // in the order of the alphabet: so it is signed
      if (!token.empty()) query += "continuation-token=" + http::escape(token) + "&";
      query += "delimiter=%2F&encoding-type=url&list-type=2&prefix=" + http::escape(below);
      const http::Response response = wire_.send(make_request(http::Method::get, url_ + query, kEmptyHash));
      Answer answer = of_s3(response, dir.empty() ? "artifacts" : dir);
      if (answer.verdict == Verdict::not_found) answer.verdict = Verdict::rejected;  // the bucket itself
      if (!answer.ok()) return answer;
      const std::string& xml = response.body;
      if (xml.find("<ListBucketResult") == std::string::npos)
        return make(Verdict::ambiguous, StatusCode::unavailable,
                    "the list of the bucket cannot be read: not S3's answer", response);
      const bool encoded = xml_text(xml, "EncodingType") == "url";
      auto name = [&](std::string_view inside, const char* element) {
        std::string key = xml_text(inside, element);
        if (encoded) std::replace(key.begin(), key.end(), '+', ' ');
        return encoded ? unescape(key) : key;
      };
      xml_each(xml, "Contents", [&](std::string_view inside) {
        const std::string key = name(inside, "Key");
        if (key.size() <= below.size() || key.compare(0, below.size(), below) != 0 || key.back() == '/') return;
        std::uint64_t size = 0;
        for (const char c : xml_text(inside, "Size"))
          size = c >= '0' && c <= '9' ? size * 10 + static_cast<unsigned>(c - '0') : size;
        entries.push_back({key.substr(root), false, size});
      });
      xml_each(xml, "CommonPrefixes", [&](std::string_view inside) {
        std::string key = name(inside, "Prefix");
        if (key.size() <= below.size() + 1 || key.compare(0, below.size(), below) != 0) return;
        key.pop_back();
        entries.push_back({key.substr(root), true, 0});
      });
      if (xml_text(xml, "IsTruncated") != "true") break;
      const std::string next = xml_text(xml, "NextContinuationToken");
      if (next.empty() || next == token)
        return make(Verdict::ambiguous, StatusCode::unavailable, "the list of the bucket does not go on", response);
      token = next;
    }
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.path < b.path; });
    out->insert(out->end(), std::make_move_iterator(entries.begin()), std::make_move_iterator(entries.end()));
    return {};
  }

  Answer get(std::string_view path, std::uint64_t offset, Version* version, const Sink& sink,
             const Progress& progress) override {
    if (Status s = check_path(path); !s.ok()) return refuse(s);
    Version mine;
    if (!version) version = &mine;
    http::Request request = make_request(http::Method::get, url_of(path), kEmptyHash);
    const std::size_t plain = request.headers.size();
    ask_range(offset, version, "If-Match", &request);
    std::uint64_t end = 0;
    http::Response response = wire_.download(request, version, sink, progress, &end);
    if (response.fate == http::Fate::answered && (response.status == 412 || response.status == 416)) {
      request.headers.resize(plain);
      response = wire_.download(std::move(request), version, sink, progress, &end);
    }
    return check_whole(response, of_s3(response, path), end, *version, path);
  }

  void cancel() override { wire_.cancel(); }

 private:
  std::string url_of(std::string_view path) const {
    return url_ + "/" + (prefix_.empty() ? "" : http::escape_path(prefix_) + "/") + http::escape_path(path);
  }

  std::string payload_hash(const Body& body) const {
    if (!body.sha256.empty()) return body.sha256;
    if (url_.compare(0, 6, "https:") == 0) return "UNSIGNED-PAYLOAD";
    std::string hash = sha256_of(body);
    return hash.empty() ? kEmptyHash : hash;  // unreadable: the transfer says so
  }

  http::Request make_request(http::Method method, std::string url, std::string hash) const {
    http::Request request;
    request.method = method;
    request.elsewhere = http::Elsewhere{std::move(url), aws_.keys, aws_.ca_file, aws_.insecure_tls};
    request.headers = {{"x-amz-content-sha256", std::move(hash)}};
    return request;
  }

  http::Response post(std::string url, std::string body) {
    http::Request request = make_request(http::Method::post, std::move(url), base::sha256_hex(body));
    request.headers.emplace_back("Content-Type", "application/xml");
    request.body = std::move(body);
    request.timeout = Millis(300'000);  // thousands of parts are put together
    return wire_.send(request);
  }

  Wire wire_;
  const Aws aws_;
  const std::string url_;  // of the bucket
  const std::string prefix_;
};

}  // namespace

Result<std::unique_ptr<Store>> open_s3(const Place& place, Aws aws, const std::string& bucket, std::string prefix) {
  if (bucket.empty())
    return Status(StatusCode::invalid_argument,
                  "artifact root '" + http::redact_uri(place.artifact_uri) + "' names no bucket");
  std::string url = bucket_url(aws, bucket);
  Credentials proxy_only;  // the keys go with each request
  proxy_only.proxy = place.credentials.proxy;
  auto connection = http::Connection::create(url.substr(0, url.find('/', url.find("://") + 3)), proxy_only);
  if (!connection.ok()) return connection.status();
  return std::unique_ptr<Store>(
      std::make_unique<S3>(std::move(*connection), std::move(aws), std::move(url), std::move(prefix)));
}

}  // namespace mlops::store
