// Uri: a tracking URI taken apart by hand, so that what curl and what we understand cannot differ unnoticed: anything
// unusual is refused. Messages never repeat what stands before an '@'.
#include "http/uri.h"

#include <algorithm>

#include "http/http.h"

namespace mlops::http {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alnum(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string_view trim(std::string_view s) {
  constexpr std::string_view blank = " \t\r\n\f\v";
  const auto first = s.find_first_not_of(blank);
  if (first == s.npos) return {};
  return s.substr(first, s.find_last_not_of(blank) - first + 1);
}

Status wrong(std::string_view uri, std::string_view why) {
  return {StatusCode::invalid_argument, "tracking URI '" + redact_uri(uri) + "': " + std::string(why)};
}

bool valid_host(std::string_view host) {
  if (host.size() > 2 && host.front() == '[') {
    if (host.back() != ']') return false;
    host = host.substr(1, host.size() - 2);
    return host.find(':') != host.npos &&
           std::all_of(host.begin(), host.end(), [](char c) { return is_hex(c) || c == ':' || c == '.'; });
  }
  return !host.empty() && host.size() <= 253 && std::all_of(host.begin(), host.end(), [](char c) {
    return is_alnum(c) || c == '-' || c == '.' || c == '_' || static_cast<unsigned char>(c) >= 0x80;
  });
}

}  // namespace

std::string Uri::authority() const { return port.empty() ? host : host + ":" + port; }
std::string Uri::text() const { return scheme + "://" + authority() + path; }

std::string redact_uri(std::string_view uri) {
  std::string_view rest = uri;
  std::string out;
  if (const auto scheme = uri.find("://"); scheme != uri.npos) {
    out = uri.substr(0, scheme + 3);
    rest = uri.substr(scheme + 3);
  }
  if (const auto query = rest.find_first_of("?#"); query != rest.npos) rest = rest.substr(0, query);
  if (const auto at = rest.rfind('@'); at != rest.npos) rest = rest.substr(at + 1);
  out += rest;
  if (out.size() > 200) out.resize(200);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return out;
}

bool is_loopback(std::string_view host) {
  if (host == "localhost" || host == "[::1]") return true;
  if (host.substr(0, 4) != "127.") return false;
  return std::count(host.begin(), host.end(), '.') == 3 &&
         std::all_of(host.begin(), host.end(), [](char c) { return is_digit(c) || c == '.'; });
}

Result<Uri> parse_uri(const std::string& given) {
  const std::string_view text = trim(given);
  if (text.empty()) return wrong(text, "it is empty; give one like http://host:5000");
  const auto colon = text.find("://");
  if (colon == text.npos) {
    if (text == "databricks" || text.substr(0, 11) == "databricks:")
      return wrong(text, "give the workspace's https URL instead, with MLFLOW_TRACKING_TOKEN");
    return wrong(text, "no scheme; give one like http://host:5000 (leave it out to log locally only)");
  }
  Uri uri;
  for (char c : text.substr(0, colon)) uri.scheme += lower(c);
  if (uri.scheme != "http" && uri.scheme != "https")
    return wrong(text, "scheme '" + redact_uri(uri.scheme) +
                           "' is not served; only http and https are (local data needs no tracking URI)");
  std::string_view rest = text.substr(colon + 3);
  if (rest.find_first_of("?#") != rest.npos) return wrong(text, "remove the query or fragment (? or #)");
  const auto slash = rest.find('/');
  std::string_view authority = rest.substr(0, slash);
  std::string_view path = slash == rest.npos ? std::string_view() : rest.substr(slash);
  if (authority.find('@') != authority.npos)
    return wrong(text,
                 "remove user and password from it; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD "
                 "or Options::credentials");
  std::string_view host = authority, port;
  const auto bracket = authority.rfind(']');
  if (!authority.empty() && authority[0] == '[' && bracket == authority.npos)
    return wrong(text, "the host's '[' is not closed");
  const auto port_colon = authority.find(':', bracket == authority.npos ? 0 : bracket);
  if (port_colon != authority.npos) {
    host = authority.substr(0, port_colon);
    port = authority.substr(port_colon + 1);
    int number = 0;
    for (char c : port) number = is_digit(c) && number < 70000 ? number * 10 + (c - '0') : 70000;
    if (port.empty() || number < 1 || number > 65535) return wrong(text, "the port must be 1..65535");
  }
  for (char c : host) uri.host += lower(c);
  if (uri.host.empty()) return wrong(text, "no host; give one like http://host:5000");
  if (!valid_host(uri.host)) return wrong(text, "the host has characters that no host name has");
  uri.port = port;
  while (!path.empty() && path.back() == '/') path.remove_suffix(1);
  for (char c : path)
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || c == '\\')
      return wrong(text, "the path has a space, a backslash or a control character; percent-encode it");
  uri.path = path;
  return uri;
}

Origin origin_of(const std::string& uri) {
  auto parsed = parse_uri(uri);
  if (!parsed.ok()) return {};
  if (parsed->port.empty()) parsed->port = parsed->scheme == "https" ? "443" : "80";
  return {parsed->scheme, parsed->host, parsed->port};
}

Result<std::string> check_uri(const std::string& uri) {
  auto parsed = parse_uri(uri);
  if (!parsed.ok()) return parsed.status();
  for (const char* api : {"/api/2.0/mlflow", "/ajax-api/2.0/mlflow"}) {
    const auto at = parsed->path.find(api);
    if (at == std::string::npos) continue;
    Uri shorter = *parsed;
    shorter.path.resize(at);
    return wrong(uri, "give it without " + parsed->path.substr(at) + ": " + shorter.text());
  }
  return parsed->text();
}

std::string escape(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size() + 8);
  for (char c : text) {
    if (is_alnum(c) || c == '-' || c == '_' || c == '.' || c == '~') {
      out += c;
    } else {
      out += '%';
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[static_cast<unsigned char>(c) & 15];
    }
  }
  return out;
}

std::string escape_path(std::string_view path) {
  std::string out;
  for (;;) {
    const auto slash = path.find('/');
    out += escape(path.substr(0, slash));
    if (slash == path.npos) return out;
    out += '/';
    path.remove_prefix(slash + 1);
  }
}

bool is_loopback_uri(const std::string& uri) {
  const Result<Uri> parsed = parse_uri(uri);
  return parsed.ok() && is_loopback(parsed->host);
}

}  // namespace mlops::http
