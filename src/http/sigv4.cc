// AWS Signature Version 4, as "Create a signed AWS API request" of the IAM user guide has it.
#include "http/sigv4.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>
#include <map>

#include "base/base.h"
#include "base/hex.h"

namespace mlops::http {
namespace {

std::string utc(std::int64_t now_ms) {  // 20261127T013914Z
  const auto seconds = static_cast<std::time_t>(now_ms / 1000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y%m%dT%H%M%SZ", &parts)};
}

std::string canonical_path(std::string_view path) {
  std::string out;
  while (!path.empty()) {
    const auto end = std::min(path.find('/'), path.size());
    out += escape(path.substr(0, end));
    if (end < path.size()) out += '/';
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return out.empty() ? "/" : out;
}

std::string canonical_query(std::string_view query) {
  std::vector<std::pair<std::string_view, std::string_view>> pairs;  // sorted by name, not by "name=value"
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const std::string_view part = query.substr(0, end);
    const auto mark = std::min(part.find('='), part.size());
    if (!part.empty()) pairs.emplace_back(part.substr(0, mark), part.substr(std::min(mark + 1, part.size())));
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  std::sort(pairs.begin(), pairs.end());
  std::string out;
  for (const auto& [name, value] : pairs) {
    if (!out.empty()) out += '&';
    out.append(name).append("=").append(value);
  }
  return out;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> sign_v4(
    const AwsKeys& keys, std::string_view method, std::string_view host, std::string_view path, std::string_view query,
    const std::vector<std::pair<std::string, std::string>>& headers, std::string_view body, std::int64_t now_ms) {
  const std::string when = utc(now_ms);
  std::vector<std::pair<std::string, std::string>> out{{"X-Amz-Date", when}};
  if (!keys.token.empty()) out.emplace_back("X-Amz-Security-Token", keys.token);

  std::map<std::string, std::string> names{{"host", std::string(host)}};
  const auto sign = [&names](const std::pair<std::string, std::string>& header) {
    if (std::string name = lower(header.first); name.rfind("x-amz-", 0) == 0) names[std::move(name)] = header.second;
  };
  std::for_each(headers.begin(), headers.end(), sign);
  std::for_each(out.begin(), out.end(), sign);
  const auto given = names.find("x-amz-content-sha256");
  const std::string hash = given == names.end() ? base::sha256_hex(body) : given->second;
  std::string lines, listed;
  for (const auto& [name, value] : names) {
    lines += name + ":" + value + "\n";
    listed += (listed.empty() ? "" : ";") + name;
  }
  std::string canonical(method);
  canonical += "\n" + (keys.service == "s3" ? std::string(path.empty() ? "/" : path) : canonical_path(path)) + "\n" +
               canonical_query(query) + "\n" + lines + "\n" + listed + "\n" + hash;
  const std::string day = when.substr(0, 8);
  const std::string scope = day + "/" + keys.region + "/" + keys.service + "/aws4_request";
  const std::string text = "AWS4-HMAC-SHA256\n" + when + "\n" + scope + "\n" + base::sha256_hex(canonical);
  std::string key = "AWS4" + keys.secret;
  for (const std::string_view part :
       {std::string_view(day), std::string_view(keys.region), std::string_view(keys.service),
        std::string_view("aws4_request"), std::string_view(text)}) {
    key = base::hmac_sha256(key, part);
  }
  out.emplace_back("Authorization",
                   "AWS4-HMAC-SHA256 Credential=" + keys.key_id + "/" + scope + ", SignedHeaders=" + listed +
                       ", Signature=" + base::to_hex(reinterpret_cast<const unsigned char*>(key.data()), key.size()));
  return out;
}

}  // namespace mlops::http
