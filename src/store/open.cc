// Open: from the URI of an artifact root to the kind of store that can reach it from here, or to why none can.
#include <algorithm>
#include <string>
#include <string_view>

#include "store/kinds.h"
#include "store/store.h"

namespace mlops::store {
namespace {

constexpr std::string_view kArtifacts = "/api/2.0/mlflow-artifacts/artifacts";

std::string_view trim_slashes(std::string_view text) {
  while (!text.empty() && text.front() == '/') text.remove_prefix(1);
  while (!text.empty() && text.back() == '/') text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

Status no_way(const std::string& uri, const std::string& why, StatusCode code = StatusCode::unimplemented) {
  return {code, "artifact root '" + http::redact_uri(uri) + "': " + why};
}

/// What can be done through the tracking server, or why nothing can.
Result<std::unique_ptr<Store>> through_server(const Place& place, const std::string& why, bool may_write) {
  const bool known = !place.run_id.empty() || !place.model_id.empty();
  if (!place.tracking_uri.empty() && known && (!place.writing || may_write)) return open_served(place, why);
  return no_way(place.artifact_uri, why);
}

Result<std::unique_ptr<Store>> proxied(const Place& place, std::string_view rest, const http::Env& env) {
  if (place.tracking_uri.empty())
    return no_way(place.artifact_uri, "it is served by an MLflow server, and no tracking URI is known here",
                  StatusCode::failed_precondition);
  std::string base = place.tracking_uri;
  if (rest.substr(0, 2) == "//") {  // another server, spoken to as this one
    const auto end = rest.find('/', 2);
    const std::string authority(rest.substr(2, end == rest.npos ? rest.npos : end - 2));
    const auto host = base.find("://") + 3;
    const auto prefix = base.find('/', host);
    if (!authority.empty()) base = base.substr(0, host) + authority + (prefix == base.npos ? "" : base.substr(prefix));
    rest = end == rest.npos ? std::string_view() : rest.substr(end);
  }
  return open_proxied(place, base, unescape(trim_slashes(rest)), env);
}

Result<std::unique_ptr<Store>> local(const Place& place, const std::string& path) {
  if (path.empty() || path[0] != '/')
    return no_way(place.artifact_uri,
                  "it is a relative path on the server's disk; give the experiment an artifact location "
                  "that can be reached from here (mlflow-artifacts:/, s3://bucket/prefix)");
  if (place.tracking_uri.empty() || http::is_loopback_uri(place.tracking_uri)) {
    for (std::string_view rest = path; !rest.empty();) {
      const auto slash = rest.find('/');
      if (rest.substr(0, slash) == "..")
        return no_way(place.artifact_uri, "it has a part ..", StatusCode::invalid_argument);
      rest = slash == rest.npos ? std::string_view() : rest.substr(slash + 1);
    }
    return open_folder(path);
  }
  return through_server(
      place,
      "it is a folder on the disk of " + http::redact_uri(place.tracking_uri) +
          ", not of this machine. Start that server with --serve-artifacts (the default) and give the "
          "experiment an artifact location mlflow-artifacts:/",
      false);
}

}  // namespace

Result<std::unique_ptr<Store>> open(const Place& place, const http::Env& env) {
  const std::string& uri = place.artifact_uri;
  if (uri.empty()) return no_way(uri, "it is empty", StatusCode::invalid_argument);
  if (std::any_of(uri.begin(), uri.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }))
    return no_way(uri, "it has control characters", StatusCode::invalid_argument);
  const auto colon = uri.find(':');
  const auto slash = uri.find('/');
  if (colon == uri.npos || (slash != uri.npos && slash < colon)) return local(place, uri);
  const std::string scheme = lower(std::string_view(uri).substr(0, colon));
  std::string_view rest = std::string_view(uri).substr(colon + 1);
  if (scheme == "mlflow-artifacts") return proxied(place, rest, env);
  if (scheme == "file") {
    if (rest.substr(0, 2) == "//") {
      rest.remove_prefix(2);
      const auto path = rest.find('/');
      const std::string_view host = rest.substr(0, path);
      if (!host.empty() && host != "localhost")
        return no_way(uri, "it is on the disk of the host " + std::string(host) + "; such roots are not reached");
      rest = path == rest.npos ? std::string_view() : rest.substr(path);
    }
    return local(place, unescape(rest));
  }
  if (scheme == "s3") {
    Result<Aws> aws = read_aws(env);
    if (!aws.ok()) return no_way(uri, std::string(aws.status().message()), StatusCode::invalid_argument);
    const std::string_view name = rest.substr(0, 2) == "//" ? rest.substr(2) : std::string_view();
    const auto end = name.find('/');
    if (aws->has_keys())
      return open_s3(place, std::move(*aws), std::string(name.substr(0, end)),
                     std::string(end == name.npos ? std::string_view() : trim_slashes(name.substr(end))));
    return through_server(
        place,
        "the bucket needs keys, and there are none here. Set AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY (and MLFLOW_S3_ENDPOINT_URL if it is not AWS's), or let the server serve "
        "artifacts (mlflow-artifacts:/)",
        true);
  }
  if (scheme == "http" || scheme == "https") {
    const auto service = uri.find(kArtifacts);
    if (service != uri.npos) {
      return open_proxied(place, uri.substr(0, service),
                          unescape(trim_slashes(std::string_view(uri).substr(service + kArtifacts.size()))), env);
    }
    return through_server(
        place, "only an MLflow server's artifact service is spoken to over " + scheme + ", not any web server", false);
  }
  if (scheme == "runs" || scheme == "models")
    return no_way(uri, "this is a reference, not a place; it must be resolved first", StatusCode::invalid_argument);
  return through_server(place,
                        "artifacts in " + scheme +
                            ": are not written by this SDK. Let the MLflow server serve them: start it with "
                            "--artifacts-destination " +
                            scheme + "://… and give the experiment an artifact location mlflow-artifacts:/",
                        false);
}

}  // namespace mlops::store
