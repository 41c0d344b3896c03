// Aws: the shared files are INI: [default] or [profile x] in config, [x] in credentials.
#include "store/aws.h"

#include <algorithm>
#include <string_view>

#include "base/file.h"

namespace mlops::store {
namespace {

std::string get(const http::Env& env, const char* name) {
  const char* value = env ? env(name) : nullptr;
  return value ? value : "";
}

std::string first_of(const http::Env& env, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (std::string value = get(env, name); !value.empty()) return value;
  return {};
}

std::string_view trim(std::string_view s) {
  const auto first = s.find_first_not_of(" \t\r");
  return first == s.npos ? std::string_view() : s.substr(first, s.find_last_not_of(" \t\r") - first + 1);
}

std::string ini_value(std::string_view text, std::string_view section, std::string_view key) {
  bool inside = false;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const std::string_view line = trim(text.substr(0, end));
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line[0] == '[') {
      inside = line.size() > 2 && trim(line.substr(1, line.find(']') - 1)) == section;
      continue;
    }
    const auto mark = line.find('=');
    if (inside && mark != line.npos && trim(line.substr(0, mark)) == key)
      return std::string(trim(line.substr(mark + 1)));
  }
  return {};
}

std::string shared_file(const http::Env& env, const char* variable, const char* name) {
  std::string path = get(env, variable);
  const std::string home = get(env, "HOME");
  if (path.empty() && !home.empty()) path = home + "/.aws/" + name;
  if (path.empty()) return {};
  return base::read_file(path, 1u << 20).value_or({});
}

bool is_true(std::string_view text) { return text == "true" || text == "True" || text == "TRUE" || text == "1"; }

/// A name that may stand in front of amazonaws.com under AWS's certificate.
bool fits_host(std::string_view bucket) {
  return bucket.size() >= 3 && bucket.size() <= 63 && std::all_of(bucket.begin(), bucket.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

}  // namespace

Result<Aws> read_aws(const http::Env& env) {
  Aws aws;
  aws.keys.service = "s3";
  aws.keys.key_id = get(env, "AWS_ACCESS_KEY_ID");
  aws.keys.secret = get(env, "AWS_SECRET_ACCESS_KEY");
  std::string profile = first_of(env, {"AWS_PROFILE", "AWS_DEFAULT_PROFILE"});
  if (profile.empty()) profile = "default";
  if (aws.keys.key_id.empty() != aws.keys.secret.empty())
    return Status(StatusCode::invalid_argument,
                  "one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set and the other is not; set both");
  if (aws.has_keys()) {
    aws.keys.token = get(env, "AWS_SESSION_TOKEN");
  } else {
    const std::string file = shared_file(env, "AWS_SHARED_CREDENTIALS_FILE", "credentials");
    aws.keys.key_id = ini_value(file, profile, "aws_access_key_id");
    aws.keys.secret = ini_value(file, profile, "aws_secret_access_key");
    aws.keys.token = ini_value(file, profile, "aws_session_token");
    if (aws.keys.secret.empty()) aws.keys.key_id.clear();
  }
  aws.keys.region = first_of(env, {"AWS_REGION", "AWS_DEFAULT_REGION"});
  if (aws.keys.region.empty())
    aws.keys.region = ini_value(shared_file(env, "AWS_CONFIG_FILE", "config"),
                                profile == "default" ? profile : "profile " + profile, "region");
  if (aws.keys.region.empty()) aws.keys.region = "us-east-1";
  for (const std::string* text : {&aws.keys.key_id, &aws.keys.secret, &aws.keys.token, &aws.keys.region})
    if (std::any_of(text->begin(), text->end(),
                    [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; }))
      return Status(StatusCode::invalid_argument,
                    "AWS keys, token or region have a blank or a line break inside; set them again");
  aws.endpoint = first_of(env, {"MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"});
  if (!aws.endpoint.empty()) {
    const Result<std::string> checked = http::check_uri(aws.endpoint);
    if (!checked.ok())
      return Status(StatusCode::invalid_argument, "MLFLOW_S3_ENDPOINT_URL (or AWS_ENDPOINT_URL) is not usable: " +
                                                      std::string(checked.status().message()));
    aws.endpoint = *checked;
  }
  const std::string style = get(env, "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE");
  aws.virtual_host = style == "virtual" || (style != "path" && aws.endpoint.empty());
  aws.ca_file = ca_bundle(env);
  aws.insecure_tls = is_true(get(env, "MLFLOW_S3_IGNORE_TLS"));
  return aws;
}

std::string ca_bundle(const http::Env& env) { return first_of(env, {"AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"}); }

std::string bucket_url(const Aws& aws, const std::string& bucket) {
  std::string endpoint = aws.endpoint;
  if (endpoint.empty())
    endpoint = "https://s3." + aws.keys.region +
               (aws.keys.region.compare(0, 3, "cn-") == 0 ? ".amazonaws.com.cn" : ".amazonaws.com");
  if (aws.virtual_host && fits_host(bucket)) {
    const auto host = endpoint.find("://") + 3;
    return endpoint.substr(0, host) + bucket + "." + endpoint.substr(host);
  }
  return endpoint + "/" + http::escape(bucket);
}

}  // namespace mlops::store
