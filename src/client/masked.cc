#include "client/masked.h"

#include <algorithm>
#include <string_view>

namespace mlops::client {

std::string masked_uri(const std::string& uri) {
  std::string out = uri;
  const std::size_t scheme = out.find("://");
  const std::size_t begin = scheme == std::string::npos ? 0 : scheme + 3;
  if (const std::size_t query = out.find_first_of("?#", begin); query != std::string::npos) out.resize(query + 1);
  // A password may hold a slash that nobody escaped: the last @ counts.
  const std::size_t at = out.rfind('@');
  if (at != std::string::npos && at >= begin) out.replace(begin, at - begin, "***");
  if (!out.empty() && (out.back() == '?' || out.back() == '#')) out += "***";
  std::replace_if(
      out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  return out;
}

std::string masked_proxy(const std::string& proxy) {
  constexpr std::string_view kMark = "environment:\n";
  if (proxy.compare(0, kMark.size(), kMark) != 0) return masked_uri(proxy);
  std::string parts[3];
  std::size_t at = kMark.size();
  for (std::string& part : parts) {
    const std::size_t end = std::min(proxy.find('\n', at), proxy.size());
    part = at <= proxy.size() ? proxy.substr(at, end - at) : "";
    at = end + 1;
  }
  std::string out;
  const auto add = [&out](const char* what, const std::string& value) {
    if (!value.empty()) out += (out.empty() ? "" : ", ") + (what + value);
  };
  add("https: ", masked_uri(parts[0]));
  add("http: ", masked_uri(parts[1]));
  add("none for ", parts[2]);
  return out;
}

}  // namespace mlops::client
