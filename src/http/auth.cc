#include "http/auth.h"

#include <algorithm>

#include "base/base.h"
#include "http/head.h"

namespace mlops::http {

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

Auth choose_auth(const Credentials& c, const Uri& uri) {
  using Kind = Auth::Kind;
  Auth auth;
  if (c.aws_sigv4) {
    auth.kind = Kind::sigv4;
  } else if (!c.username.empty() && !c.password.empty()) {
    auth.kind = Kind::basic;
  } else if (!c.token.empty()) {
    auth.kind = Kind::bearer;
  } else if (c.token_callback) {
    auth.kind = Kind::callback;
  }
  const bool sigv4 = auth.kind == Kind::sigv4;
  if (auth.kind == Kind::bearer || sigv4) auth.token = std::string(strip(c.token));
  auto unusable = [&](const std::string& why) {
    auth.unusable = Status(StatusCode::failed_precondition, uri.text() + ": " + why);
    return auth;
  };
  if (auth.kind != Kind::none && uri.scheme == "http" && !c.allow_plain_http && !is_loopback(uri.host))
    return unusable(
        "credentials would travel in clear text over http. Use an https URI, or set "
        "Credentials::allow_plain_http if that network is trusted");
  if (has_control(auth.token)) return unusable("the token has control characters (a line break inside?); set it again");
  if (sigv4 && (c.username.empty() || c.password.empty()))
    return unusable("AWS SigV4 needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
  if (sigv4 && c.aws_region.empty()) return unusable("AWS SigV4 needs a region: set AWS_REGION");
  if (sigv4 && (has_control(c.aws_region) || has_control(c.aws_service)))
    return unusable("the AWS region or service has control characters; set it again");
  if (c.insecure_tls && !c.ca_file.empty())
    return unusable("insecure TLS and a CA file exclude each other; remove MLFLOW_TRACKING_INSECURE_TLS");
  return auth;
}

std::string ask_token(const Credentials& credentials) {
  std::string token;
  try {
    token = credentials.token_callback();
  } catch (...) {
    base::log(base::LogLevel::warn, "the token callback threw; the request goes without a token");
  }
  token = std::string(strip(token));
  if (has_control(token)) {
    base::log(base::LogLevel::warn, "the token callback returned control characters; the request goes without a token");
    token.clear();
  }
  return token;
}

std::string scrub(std::string text, const Credentials& credentials, const std::string& token, const Request& request) {
  auto hide = [&](const std::string& secret) {
    if (secret.size() < 4) return;
    for (auto at = text.find(secret); at != text.npos; at = text.find(secret, at + 3))
      text.replace(at, secret.size(), "***");
  };
  hide(credentials.password);
  hide(credentials.token);
  hide(token);
  if (request.elsewhere && request.elsewhere->sign) {
    hide(request.elsewhere->sign->secret);
    hide(request.elsewhere->sign->token);
  }
  if (request.elsewhere) {
    const auto query = request.elsewhere->url.find('?');
    if (query != std::string::npos) hide(request.elsewhere->url.substr(query + 1));
  }
  if (credentials.proxy.find('@') != std::string::npos) {  // a proxy URL may carry a password
    for (auto at = text.find('@'); at != text.npos; at = text.find('@', at + 1)) {
      const auto begin = text.find_last_of("/' ", at);
      const auto from = begin == text.npos ? 0 : begin + 1;
      text.replace(from, at - from, "***");
      at = from + 3;
    }
  }
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  return text;
}

}  // namespace mlops::http
