// Bytes: little-endian and varint writing and reading for the formats of this room. A reader never passes its end:
// after the first short or malformed read it is bad, stays bad, and every later read answers zero or empty.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace mlops::buffer {

inline std::uint64_t zigzag(std::uint64_t v) { return (v << 1) ^ (0 - (v >> 63)); }
inline std::uint64_t unzigzag(std::uint64_t v) { return (v >> 1) ^ (0 - (v & 1)); }

inline void put_u64(std::string* out, std::uint64_t v) {
  for (int i = 0; i < 8; ++i) out->push_back(static_cast<char>(v >> (8 * i)));
}
inline void put_varint(std::string* out, std::uint64_t v) {
  for (; v >= 0x80; v >>= 7) out->push_back(static_cast<char>(v | 0x80));
  out->push_back(static_cast<char>(v));
}
/// A length byte (0..8) and that many little-endian bytes: shorter than a varint for large words.
inline void put_word(std::string* out, std::uint64_t v) {
  const std::size_t at = out->size();
  out->push_back(0);
  for (; v != 0; v >>= 8) out->push_back(static_cast<char>(v));
  (*out)[at] = static_cast<char>(out->size() - at - 1);
}
inline void put_text(std::string* out, std::string_view text) {
  put_varint(out, text.size());
  out->append(text);
}

class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}
  bool good() const { return good_; }
  bool at_end() const { return rest_.empty(); }
  std::size_t left() const { return rest_.size(); }
  std::string_view rest() const { return rest_; }

  std::string_view take(std::uint64_t n) {
    if (!good_ || n > rest_.size()) return fail(), std::string_view();
    std::string_view taken = rest_.substr(0, static_cast<std::size_t>(n));
    rest_.remove_prefix(static_cast<std::size_t>(n));
    return taken;
  }
  std::uint8_t u8() {
    std::string_view b = take(1);
    return b.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(b[0]);
  }
  std::uint64_t u64() { return little_endian(take(8)); }
  std::uint64_t varint() {
    std::uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const std::uint8_t b = u8();
      if (!good_) return 0;
      if (shift == 63 && b > 1) break;
      v |= static_cast<std::uint64_t>(b & 0x7F) << shift;
      if (b < 0x80) return v;
    }
    fail();
    return 0;
  }
  std::uint64_t word() {
    const std::uint8_t n = u8();
    if (n > 8) return fail(), 0;
    return little_endian(take(n));
  }
  std::string_view text() { return take(varint()); }
  void fail() {
    good_ = false;
    rest_ = {};
  }

 private:
  static std::uint64_t little_endian(std::string_view b) {
    std::uint64_t v = 0;
    for (std::size_t i = 0; i < b.size(); ++i)
      v |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(b[i])) << (8 * i);
    return v;
  }
  std::string_view rest_;
  bool good_ = true;
};

}  // namespace mlops::buffer
