// The folder name of a destination, and its URI as it may stand on disk: without credentials, query and fragment.
#include "ledger/destination.h"

#include <cctype>
#include <cstdio>

#include "base/base.h"
#include "ledger/ledger.h"

namespace mlops::ledger {

std::string clean_uri(std::string_view uri) {
  std::string out(uri.substr(0, uri.find_first_of("?#")));
  const std::size_t scheme = out.find("://");
  const std::size_t host = scheme == std::string::npos ? 0 : scheme + 3;
  const std::size_t path = out.find('/', host);
  const std::size_t at = out.rfind('@', path == std::string::npos ? out.size() : path);
  if (at != std::string::npos && at >= host && (path == std::string::npos || at < path)) out.erase(host, at + 1 - host);
  while (out.size() > host && out.back() == '/') out.pop_back();
  return out;
}

std::string destination_name(const std::string& uri) {
  const std::string clean = clean_uri(uri);
  std::string_view rest = clean, scheme;
  if (const std::size_t colon = rest.find("://"); colon != std::string_view::npos) {
    scheme = rest.substr(0, colon);
    rest.remove_prefix(colon + 3);
  }
  const std::string_view host = rest.substr(0, rest.find('/'));
  const std::string_view path = rest.substr(host.size());
  bool usual = !host.empty() && host.front() != '.' && (scheme == "http" || scheme == "https") && clean.size() <= 80;
  std::string name;
  const auto take = [&](std::string_view part, char joiner) {
    for (const char c : part) {
      const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-';
      usual = usual && (plain || c == joiner);
      name += plain ? c : '_';
    }
  };
  take(host, ':');
  if (host.find(':') == std::string_view::npos) name += scheme == "https" ? "_443" : "_80";
  take(path, '/');
  if (usual) return name;
  char tail[20];
  std::snprintf(tail, sizeof tail, "-%08x", static_cast<unsigned>(base::hash64(clean)));
  name.resize(name.size() < 60 ? name.size() : 60);
  for (char& c : name) {
    if (c == '.') c = '_';
  }
  return "x" + name + tail;
}

}  // namespace mlops::ledger
