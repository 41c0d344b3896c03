// Proxied: MLflow's own artifact service (mlflow-artifacts:). Bytes go through the server, or past it by presigned URLs
// where it stands before S3: parts of large files up, whole files down.
#include <algorithm>
#include <utility>

#include "base/base.h"
#include "store/answer.h"
#include "store/json.h"
#include "store/kinds.h"
#include "store/through.h"

namespace mlops::store {
namespace {

constexpr const char* kService = "/api/2.0/mlflow-artifacts";
constexpr std::uint64_t kMultipart = 64u << 20;

std::pair<std::string, std::string> split(std::string_view path) {
  const auto slash = path.rfind('/');
  if (slash == path.npos) return {{}, std::string(path)};
  return {std::string(path.substr(0, slash)), std::string(path.substr(slash + 1))};
}

/// Whether a list with commas has its host, or host and port.
bool names(std::string_view list, const http::Origin& origin) {
  while (!list.empty()) {
    const std::string_view one = list.substr(0, list.find(','));
    if (!one.empty() && (one == origin.host || one == origin.host + ":" + origin.port)) return true;
    list.remove_prefix(std::min(list.size(), one.size() + 1));
  }
  return false;
}

class Proxied final : public Through {
 public:
  Proxied(std::unique_ptr<http::Connection> connection, std::string root, const Abilities& abilities,
          std::string ca_file, std::string stranger)
      : Through(std::move(connection), std::move(stranger)),
        root_(std::move(root)),
        abilities_(abilities),
        ca_file_(std::move(ca_file)) {
    const bool old = abilities_.major > 0 && std::pair(abilities_.major, abilities_.minor) < std::pair(3, 11);
    if (old) abilities_.presigned_download = false;
  }

  Answer put(std::string_view path, const Body& body, const Progress& progress) override {
    if (Answer bad = check(path); !bad.ok()) return bad;
    http::Request request;
    request.method = http::Method::put;
    request.path = at("artifacts", path);
    request.headers = {{"Content-Type", "application/octet-stream"}};
    const http::Response response = wire_.upload(std::move(request), body, progress);
    Answer answer = understand(response, path);
    if (!answer.ok() && response.status == 500) {
      if (Answer why = in_the_way(path); !why.ok()) return why;
    }
    return answer;
  }

  bool can_multipart(std::uint64_t size) const override {
    return size >= kMultipart && abilities_.multipart_upload.value_or(true);
  }

  Answer begin(std::string_view path, std::uint64_t size, Upload* out) override {
    if (Answer bad = check(path); !bad.ok()) return bad;
    Upload upload;
    upload.parts = plan_parts(size);
    if (upload.parts.empty())
      return refuse({StatusCode::invalid_argument, std::string(path) + ": no upload in parts has this size"});
    upload.part_size = upload.parts[0].size;
    const auto [dir, name] = split(path);
    const http::Response response = post("mpu/create", dir, write_create(name, upload.parts.size()));
    Answer answer = understand(response, path);
    if (answer.verdict == Verdict::unsupported) abilities_.multipart_upload = false;
    if (!answer.ok()) return answer;
    if (!read_upload(response.body, &upload) || upload.urls.size() != upload.parts.size())
      return make(Verdict::unsupported, StatusCode::unimplemented,
                  std::string(path) + ": the server's answer to mpu/create has no URL for each part", response);
    *out = std::move(upload);
    return answer;
  }

  Answer put_part(std::string_view path, const Upload& upload, Part* part, const Body& body,
                  const Progress& progress) override {
    const auto url = std::find_if(upload.urls.begin(), upload.urls.end(),
                                  [&](const PartUrl& u) { return u.number == part->number; });
    if (url == upload.urls.end())
      return make(Verdict::expired, StatusCode::failed_precondition,
                  std::string(path) + ": part " + std::to_string(part->number) + " has no URL; begin again");
    http::Request request;
    request.method = http::Method::put;
    request.elsewhere = elsewhere(url->url);
    request.headers = url->headers;
    const http::Response response = wire_.upload_presigned(request, body, progress);
    Answer answer = of_presigned(response, path);
    if (answer.ok()) part->etag = response.etag.empty() ? "-" : response.etag;  // Azure: blocks go by their URL
    return answer;
  }

  // MLflow does not catch what S3 says here: an upload that is gone, or a part, is an HTML page of status 500.
  Answer finish(std::string_view path, const Upload& upload) override {
    const auto [dir, name] = split(path);
    const http::Response response = post("mpu/complete", dir, write_complete(name, upload));
    Answer answer = understand(response, path);
    if (answer.verdict == Verdict::ambiguous && response.status == 500 && response.fate == http::Fate::answered)
      return make(Verdict::expired, StatusCode::failed_precondition,
                  std::string(path) +
                      ": HTTP 500: the server could not put the parts together; the upload is finished or "
                      "gone, or its store fails",
                  response);
    return answer;
  }

  Answer abort(std::string_view path, const Upload& upload) override {
    const auto [dir, name] = split(path);
    const http::Response response = post("mpu/abort", dir, write_abort(name, upload));
    Answer answer = understand(response, path);
    const bool gone = response.fate == http::Fate::answered && response.status == 500;
    return gone || answer.verdict == Verdict::expired || answer.verdict == Verdict::not_found ? Answer{} : answer;
  }

  Answer get(std::string_view path, std::uint64_t offset, Version* version, const Sink& sink,
             const Progress& progress) override {
    if (Answer bad = check(path); !bad.ok()) return bad;
    Version mine;
    if (!version) version = &mine;
    if (abilities_.presigned_download.value_or(true)) {
      Answer answer;
      if (get_presigned(path, offset, version, sink, progress, &answer)) return answer;
    }
    return Through::get(path, offset, version, sink, progress);
  }

 private:
  /// False: ask the server itself.
  bool get_presigned(std::string_view path, std::uint64_t offset, Version* version, const Sink& sink,
                     const Progress& progress, Answer* answer) {
    http::Request request;
    request.path = at("presigned", path);
    const http::Response response = wire_.send(request);
    *answer = understand(response, path);
    PartUrl url;
    std::int64_t size = -1;
    if (answer->verdict == Verdict::unsupported || (answer->ok() && !read_presigned(response.body, &url, &size))) {
      abilities_.presigned_download = false;
      return false;
    }
    if (!answer->ok()) return response.fate != http::Fate::answered || answer->verdict != Verdict::ambiguous;
    http::Request read;
    read.elsewhere = elsewhere(url.url);
    read.headers = url.headers;
    ask_range(offset, version, "If-Match", &read);
    std::uint64_t end = 0;
    http::Response bytes = wire_.download(read, version, sink, progress, &end);
    if (bytes.fate == http::Fate::answered && (bytes.status == 412 || bytes.status == 416)) {
      read.headers = url.headers;
      bytes = wire_.download(std::move(read), version, sink, progress, &end);
    }
    *answer = of_presigned(bytes, path);
    if (end == 0 && (bytes.fate == http::Fate::not_sent || bytes.fate == http::Fate::refused)) {
      abilities_.presigned_download = false;  // an address that only the server can reach
      return false;
    }
    if (!version->size && size >= 0) version->size = static_cast<std::uint64_t>(size);
    *answer = check_whole(bytes, *answer, end, *version, path);
    return true;
  }

  static Answer check(std::string_view path) {
    Status s = check_mlflow_path(path);
    return s.ok() ? Answer{} : refuse(s);
  }

  std::string list_request(std::string_view dir) const override {
    return std::string(kService) + "/artifacts?path=" + http::escape(below(dir));
  }
  bool lists_names() const override { return true; }
  std::string file_request(std::string_view path) const override { return at("artifacts", path); }
  std::string below(std::string_view path) const {
    if (path.empty() || root_.empty()) return root_ + std::string(path);
    return root_ + "/" + std::string(path);
  }
  std::string at(const char* verb, std::string_view path) const {
    return std::string(kService) + "/" + verb + "/" + http::escape_path(below(path));
  }

  http::Response post(const char* verb, std::string_view dir, std::string body) {
    http::Request request;
    request.method = http::Method::post;
    request.path = at(verb, dir);
    request.body = std::move(body);
    request.headers = {{"Content-Type", "application/json"}};
    request.timeout = Millis(300'000);  // S3 puts thousands of parts together
    return wire_.send(request);
  }

  http::Elsewhere elsewhere(const std::string& url) const { return {url, {}, ca_file_, false}; }

  const std::string root_;
  Abilities abilities_;
  const std::string ca_file_;  // of the object store
};

}  // namespace

Result<std::unique_ptr<Store>> open_proxied(const Place& place, const std::string& base, std::string root,
                                            const http::Env& env) {
  const http::Origin server = http::origin_of(base), tracking = http::origin_of(place.tracking_uri);
  const bool downgraded = tracking.scheme == "https" && server.scheme != "https";
  const char* trusted = env("MLOPS_ARTIFACT_HOSTS");
  const bool same = server.host == tracking.host && server.port == tracking.port;
  const bool known = same || names(trusted == nullptr ? "" : trusted, server);
  const bool strange = !known || downgraded;
  Credentials credentials = place.credentials;
  if (strange) {  // whoever writes an experiment or a version names this host
    credentials = Credentials();
    credentials.ca_file = place.credentials.ca_file;
    credentials.ca_fallback = place.credentials.ca_fallback;
    credentials.proxy = place.credentials.proxy;
  }
  auto connection = http::Connection::create(base, credentials);
  if (!connection.ok()) return connection.status();
  return std::unique_ptr<Store>(std::make_unique<Proxied>(std::move(*connection), std::move(root), place.abilities,
                                                          ca_bundle(env),
                                                          strange ? server.host + ":" + server.port : ""));
}

}  // namespace mlops::store
