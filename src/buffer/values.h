// Values: the doubles of one metric in one block as integers that predict well, bit for bit.
//
// Three kinds, chosen by what the values are: constant; decimal (v = i / 10^k exactly, k 0..8); float (the bits in
// numeric order, with the trailing zero bits that all share shifted away: 29 for values that came from a float32, 45
// for a bfloat16). A float costs its noisy bytes; all else goes through ints.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "buffer/bytes.h"
#include "buffer/ints.h"

namespace mlops::buffer {

enum class ValueKind : std::uint8_t { constant = 0, decimal = 1, floating = 2 };

struct ValueShape {
  ValueKind kind = ValueKind::constant;
  unsigned detail = 0;         // decimal: k; floating: the shift
  std::uint64_t constant = 0;  // the bits of a constant
  Shape ints;                  // of the other kinds
};

/// Turns the bits of n doubles into residuals, in place. Rounding must be to nearest (FpScope).
ValueShape make_values(std::uint64_t* bits, std::size_t n);
/// The inverse, in place. `words` are residuals; ignored for a constant.
void undo_values(const ValueShape& shape, std::uint64_t* words, std::size_t n);

void put_value_shape(std::string* out, const ValueShape& shape);
bool get_value_shape(ByteReader* in, ValueShape* shape);

/// Rounds to nearest and traps nothing while it lives: decimals are computed, and the thread's floating-point
/// environment is the host program's.
class FpScope {
 public:
  FpScope();
  ~FpScope();
  FpScope(const FpScope&) = delete;
  FpScope& operator=(const FpScope&) = delete;

 private:
  alignas(16) unsigned char env_[64];
};

}  // namespace mlops::buffer
