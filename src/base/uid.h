// Uid: 16 random bytes, written as 32 lower-case hex digits. Ids of runs, buffers, writers.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace mlops::base {

struct Uid {
  std::array<std::uint8_t, 16> bytes{};
  static Uid random();                                // getrandom(2)
  static bool parse(std::string_view hex, Uid* out);  // exactly 32 hex digits, any case
  std::string hex() const;
  bool zero() const { return *this == Uid{}; }
  std::string_view view() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
  friend bool operator==(const Uid& a, const Uid& b) { return a.bytes == b.bytes; }
  friend bool operator!=(const Uid& a, const Uid& b) { return !(a == b); }
  friend bool operator<(const Uid& a, const Uid& b) { return a.bytes < b.bytes; }
};
struct UidHash {
  std::size_t operator()(const Uid& u) const {
    std::size_t h;
    std::memcpy(&h, u.bytes.data(), sizeof h);
    return h;
  }
};

}  // namespace mlops::base
