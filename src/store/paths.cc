// Paths and parts: what a store may be asked for.
#include <algorithm>

#include "store/kinds.h"
#include "store/store.h"

namespace mlops::store {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;
constexpr std::uint64_t kMostParts = 10'000, kLargestPart = 5'120 * kMiB;

/// As Unicode 3.9 D92 has it: no overlong form, no surrogate, nothing above U+10FFFF.
bool valid_utf8(std::string_view s) {
  for (std::size_t i = 0; i < s.size();) {
    const auto c = static_cast<unsigned char>(s[i]);
    const std::size_t more = c < 0x80 ? 0 : c < 0xC2 ? 9 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : c < 0xF5 ? 3 : 9;
    if (more == 9 || i + more >= s.size()) return false;
    for (std::size_t k = 1; k <= more; ++k)
      if ((static_cast<unsigned char>(s[i + k]) & 0xC0) != 0x80) return false;
    const auto next = more > 0 ? static_cast<unsigned char>(s[i + 1]) : 0;
    if ((c == 0xE0 && next < 0xA0) || (c == 0xED && next > 0x9F) || (c == 0xF0 && next < 0x90) ||
        (c == 0xF4 && next > 0x8F))
      return false;
    i += more + 1;
  }
  return true;
}

Status bad(std::string_view path, const char* why) {
  return {StatusCode::invalid_argument, "artifact path '" + std::string(path.substr(0, 200)) + "': " + why};
}

}  // namespace

Status check_path(std::string_view path) {
  if (path.empty()) return bad(path, "it is empty; name a file");
  if (path.size() > 1'000) return bad(path, "it is longer than 1,000 bytes; shorten it");
  if (path[0] == '/') return bad(path, "it is absolute; give it relative to the run's artifacts");
  if (!valid_utf8(path)) return bad("(not UTF-8)", "it is not valid UTF-8");
  if (std::any_of(path.begin(), path.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }))
    return bad("(control characters)", "it has a control character");
  if (path.find('\\') != path.npos) return bad(path, "it has a backslash; folders are separated by /");
  if (path.size() > 2 && path[1] == ':' && path[2] == '/')
    return bad(path, "it begins like a Windows drive; give a relative path");
  for (std::string_view rest = path;;) {
    const auto slash = rest.find('/');
    const std::string_view segment = rest.substr(0, slash);
    if (segment.empty()) return bad(path, "it has an empty part (// or a / at the end)");
    if (segment == "." || segment == "..") return bad(path, "it has a part . or ..; write it without");
    if (slash == rest.npos) return {};
    rest.remove_prefix(slash + 1);
  }
}

Status check_mlflow_path(std::string_view path) {
  if (Status s = check_path(path); !s.ok()) return s;
  if (path.find('#') != path.npos) return bad(path, "MLflow's servers refuse a # in it; rename it");
  auto hex = [](char c) { return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'f'); };
  for (std::size_t i = 0; i + 2 < path.size(); ++i)
    if (path[i] == '%' && hex(path[i + 1]) && hex(path[i + 2]))
      return bad(path, "MLflow's servers would read a % with two hex digits as another character; rename it");
  return {};
}

std::string unescape(std::string_view text) {
  auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<Part> plan_parts(std::uint64_t size) {
  auto whole_mib = [](std::uint64_t bytes) { return (bytes + kMiB - 1) / kMiB * kMiB; };
  std::uint64_t part = std::clamp(whole_mib(size / 64), 16 * kMiB, 64 * kMiB);
  part = std::max(part, whole_mib(size / kMostParts + (size % kMostParts != 0)));
  std::vector<Part> parts;
  if (part > kLargestPart) return parts;
  parts.reserve(static_cast<std::size_t>(size / part + 1));
  for (std::uint64_t at = 0; at < size; at += part)
    parts.push_back({static_cast<std::uint32_t>(parts.size() + 1), at, std::min(part, size - at), {}});
  return parts;
}

}  // namespace mlops::store
