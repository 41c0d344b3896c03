// Credentials: what the code left empty, from the environment (through the given reader) and ~/.mlflow/credentials, in
// MLflow's order. Nothing read here is ever logged.
#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>

#include "base/file.h"
#include "http/http.h"

namespace mlops::http {
namespace {

std::string get(const Env& env, const char* name) {
  const char* value = env ? env(name) : nullptr;
  return value ? value : "";
}

void fill(std::string* field, const Env& env, const char* name) {
  if (field->empty()) *field = get(env, name);
}

bool is_true(std::string text) {  // as MLflow reads booleans
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text == "true" || text == "1";
}

std::string_view trim(std::string_view s) {
  const auto first = s.find_first_not_of(" \t\r");
  if (first == s.npos) return {};
  return s.substr(first, s.find_last_not_of(" \t\r") - first + 1);
}

/// Section [mlflow] of an INI file as Python's configparser reads it: keys in any case, '=' or ':', # and ; comments.
void read_ini(std::string_view text, Credentials* out) {
  std::string username, password;
  bool inside = false;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const std::string_view line = trim(text.substr(0, end));
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line[0] == '[') {
      inside = line == "[mlflow]";
      continue;
    }
    const auto mark = line.find_first_of("=:");
    if (!inside || mark == line.npos) continue;
    std::string key(trim(line.substr(0, mark)));
    for (char& c : key) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (key == "mlflow_tracking_username") username = trim(line.substr(mark + 1));
    if (key == "mlflow_tracking_password") password = trim(line.substr(mark + 1));
  }
  if (out->username.empty()) out->username = username;
  if (out->password.empty()) out->password = password;
}

}  // namespace

Credentials complete_credentials(Credentials c, const Env& env) {
  const bool code_named_nobody = c.username.empty() && c.password.empty() && c.token.empty() && !c.token_callback;
  if (!c.aws_sigv4 && code_named_nobody) c.aws_sigv4 = is_true(get(env, "MLFLOW_TRACKING_AWS_SIGV4"));
  if (c.aws_sigv4) {
    fill(&c.aws_region, env, "AWS_REGION");
    fill(&c.aws_region, env, "AWS_DEFAULT_REGION");
    if (c.aws_service.empty()) c.aws_service = "execute-api";
    if (c.username.empty() && c.password.empty()) {
      fill(&c.username, env, "AWS_ACCESS_KEY_ID");
      fill(&c.password, env, "AWS_SECRET_ACCESS_KEY");
      fill(&c.token, env, "AWS_SESSION_TOKEN");
    }
  } else if (c.token.empty() && !c.token_callback) {  // who names a token or a callback in code means it
    fill(&c.username, env, "MLFLOW_TRACKING_USERNAME");
    fill(&c.password, env, "MLFLOW_TRACKING_PASSWORD");
    const std::string home = get(env, "HOME");
    if ((c.username.empty() || c.password.empty()) && !home.empty()) {
      if (auto file = base::read_file(home + "/.mlflow/credentials", 64 * 1024); file.ok()) read_ini(*file, &c);
    }
    if (code_named_nobody) fill(&c.token, env, "MLFLOW_TRACKING_TOKEN");
  }
  fill(&c.ca_file, env, "MLFLOW_TRACKING_SERVER_CERT_PATH");
  fill(&c.client_cert, env, "MLFLOW_TRACKING_CLIENT_CERT_PATH");
  if (!c.insecure_tls) c.insecure_tls = is_true(get(env, "MLFLOW_TRACKING_INSECURE_TLS"));
  if (!c.insecure_tls) {  // as requests reads them, then as OpenSSL does, which passes over what is not there
    fill(&c.ca_file, env, "REQUESTS_CA_BUNDLE");
    fill(&c.ca_file, env, "CURL_CA_BUNDLE");
    const std::string file = get(env, "SSL_CERT_FILE");
    if (c.ca_file.empty() && base::exists(file)) c.ca_file = file;
  }
  if (c.proxy.empty()) {
    auto either = [&](const char* first, const char* second) {
      std::string value = get(env, first);
      if (value.empty()) value = get(env, second);
      value.erase(std::remove(value.begin(), value.end(), '\n'), value.end());
      return value;
    };
    const std::string all = either("all_proxy", "ALL_PROXY");
    std::string https = either("https_proxy", "HTTPS_PROXY");
    std::string http = get(env, "http_proxy");  // HTTP_PROXY is not read: a CGI client sets it with a `Proxy:` header
    http.erase(std::remove(http.begin(), http.end(), '\n'), http.end());
    if (https.empty()) https = all;
    if (http.empty()) http = all;
    if (!https.empty() || !http.empty())
      c.proxy = "environment:\n" + https + "\n" + http + "\n" + either("no_proxy", "NO_PROXY");
  }
  return c;
}

}  // namespace mlops::http
