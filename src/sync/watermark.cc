// Watermark: the tag that proves how far a run got on the server.
#include <charconv>
#include <cstdio>

#include "base/base.h"
#include "sync/shared.h"

namespace mlops::sync {

std::string watermark_key(const std::string& slot_dir) {
  std::string_view path = slot_dir;
  while (!path.empty() && path.back() == '/') path.remove_suffix(1);
  std::size_t from = path.rfind('/');
  if (from != std::string_view::npos && from > 0) from = path.rfind('/', from - 1);
  if (from != std::string_view::npos) path.remove_prefix(from + 1);
  char hex[9];
  std::snprintf(hex, sizeof hex, "%08x", static_cast<unsigned>(base::hash64(path) >> 32));
  return std::string("mlops.sync.") + hex;
}

std::string watermark_value(const buffer::Identity& identity, std::uint64_t seq) {
  return identity.uid.hex().substr(0, 8) + "." + std::to_string(identity.generation) + "." + std::to_string(seq);
}

std::uint64_t parse_watermark(std::string_view value, const buffer::Identity& identity) {
  const std::string ours = identity.uid.hex().substr(0, 8) + "." + std::to_string(identity.generation) + ".";
  if (value.substr(0, ours.size()) != ours) return 0;
  value.remove_prefix(ours.size());
  std::uint64_t seq = 0;
  const auto parsed = std::from_chars(value.data(), value.data() + value.size(), seq);
  return parsed.ec == std::errc() && parsed.ptr == value.data() + value.size() ? seq : 0;
}

}  // namespace mlops::sync
