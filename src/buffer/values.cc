// Values: see values.h.
#include "buffer/values.h"

#include <algorithm>
#include <bit>
#include <cfenv>
#include <cmath>
#include <new>
#include <vector>

namespace mlops::buffer {
namespace {

static_assert(sizeof(std::fenv_t) <= 64);

constexpr unsigned kMostDecimals = 8;
constexpr double kPowers[kMostDecimals + 1] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8};
constexpr double kDecimalLimit = 0x1p51;
constexpr double kToInteger = 0x1.8p52;

double to_double(std::uint64_t bits) { return std::bit_cast<double>(bits); }
std::uint64_t to_bits(double v) { return std::bit_cast<std::uint64_t>(v); }

// True when v = i / 10^k, exactly as the decoder divides. NaN, infinities and -0 are no decimals.
bool as_decimal(std::uint64_t bits, unsigned k, std::int64_t* i) {
  const double scaled = to_double(bits) * kPowers[k];
  if (!(std::fabs(scaled) < kDecimalLimit)) return false;
  const double rounded = (scaled + kToInteger) - kToInteger;
  *i = static_cast<std::int64_t>(rounded);
  return to_bits(static_cast<double>(*i) / kPowers[k]) == bits;
}

// Decimal integers of all values, or nothing when some value is no decimal. k only ever grows: what is exact with k
// digits is exact with more. The first values decide nearly always.
bool make_decimals(const std::uint64_t* bits, std::size_t n, unsigned* k, std::vector<std::uint64_t>* words) {
  *k = 0;
  std::int64_t i = 0;
  for (std::size_t at = 0; at < n; ++at) {
    while (!as_decimal(bits[at], *k, &i))
      if (++*k > kMostDecimals) return false;
  }
  words->resize(n);
  for (std::size_t at = 0; at < n; ++at) {
    if (!as_decimal(bits[at], *k, &i)) return false;
    (*words)[at] = static_cast<std::uint64_t>(i) ^ (std::uint64_t{1} << 63);  // order of the unsigned words
  }
  return true;
}

std::uint64_t to_ordered(std::uint64_t bits, unsigned shift) {
  const std::uint64_t top = std::uint64_t{1} << (63 - shift), mask = ~std::uint64_t{0} >> shift;
  const std::uint64_t y = bits >> shift;
  return (y & top) != 0 ? ~y & mask : y | top;
}

std::uint64_t from_ordered(std::uint64_t word, unsigned shift) {
  const std::uint64_t top = std::uint64_t{1} << (63 - shift), mask = ~std::uint64_t{0} >> shift;
  const std::uint64_t y = (word & top) != 0 ? word & ~top & mask : ~word & mask;
  return y << shift;
}

}  // namespace

FpScope::FpScope() {
  std::feholdexcept(new (env_) std::fenv_t);
  std::fesetround(FE_TONEAREST);
}
FpScope::~FpScope() { std::fesetenv(reinterpret_cast<const std::fenv_t*>(env_)); }

ValueShape make_values(std::uint64_t* bits, std::size_t n) {
  ValueShape shape;
  if (n == 0) return shape;
  std::uint64_t any = 0, differ = 0;
  for (std::size_t i = 0; i < n; ++i) {
    any |= bits[i];
    differ |= bits[i] ^ bits[0];
  }
  if (differ == 0) {
    shape.constant = bits[0];
    return shape;
  }
  std::vector<std::uint64_t> decimals;
  unsigned k = 0;
  const bool decimal = make_decimals(bits, n, &k, &decimals);
  const OrderGuess decimal_order = decimal ? guess_order(decimals.data(), n) : OrderGuess{};
  const auto shift = any == 0 ? 0u : static_cast<unsigned>(std::countr_zero(any));
  for (std::size_t i = 0; i < n; ++i) bits[i] = to_ordered(bits[i], shift);
  const OrderGuess float_order = guess_order(bits, n);
  if (decimal && decimal_order.bits <= float_order.bits) {
    shape.kind = ValueKind::decimal;
    shape.detail = k;
    shape.ints = make_residuals(decimals.data(), n, decimal_order.order, bits);
  } else {
    shape.kind = ValueKind::floating;
    shape.detail = shift;
    shape.ints = make_residuals(bits, n, float_order.order, bits);
  }
  return shape;
}

void undo_values(const ValueShape& shape, std::uint64_t* words, std::size_t n) {
  if (shape.kind == ValueKind::constant) {
    std::fill(words, words + n, shape.constant);
    return;
  }
  undo_residuals(shape.ints, words, n);
  if (shape.kind == ValueKind::decimal) {
    const double power = kPowers[shape.detail];
    for (std::size_t i = 0; i < n; ++i) {
      const auto integer = static_cast<std::int64_t>(words[i] ^ (std::uint64_t{1} << 63));
      words[i] = to_bits(static_cast<double>(integer) / power);
    }
  } else {
    for (std::size_t i = 0; i < n; ++i) words[i] = from_ordered(words[i], shape.detail);
  }
}

// tag = kind | order << 2 | width << 4. Words of float bits are written from the top byte down, so that trailing zero
// bytes are left out.
void put_value_shape(std::string* out, const ValueShape& shape) {
  if (shape.kind == ValueKind::constant) {
    out->push_back(0);
    put_word(out, __builtin_bswap64(shape.constant));
    return;
  }
  out->push_back(static_cast<char>(static_cast<unsigned>(shape.kind) | shape.ints.order << 2 | shape.ints.width << 4));
  out->push_back(static_cast<char>(shape.detail));
  Shape ints = shape.ints;
  if (shape.kind == ValueKind::decimal) {
    ints.base = zigzag(ints.base ^ (std::uint64_t{1} << 63));
  } else {
    ints.base = __builtin_bswap64(ints.base << shape.detail);
  }
  put_base(out, ints);
}

bool get_value_shape(ByteReader* in, ValueShape* shape) {
  const std::uint8_t tag = in->u8();
  const unsigned kind = tag & 3;
  if (kind == 0) {
    if (tag != 0) in->fail();
    *shape = ValueShape{};
    shape->constant = __builtin_bswap64(in->word());
    return in->good();
  }
  shape->kind = static_cast<ValueKind>(kind);
  shape->detail = in->u8();
  shape->ints.order = (tag >> 2) & 3;
  shape->ints.width = tag >> 4;
  const unsigned most = shape->kind == ValueKind::decimal ? kMostDecimals : 63;
  if (kind > 2 || shape->ints.order > 2 || shape->ints.width > 8 || shape->detail > most) in->fail();
  get_base(in, &shape->ints);
  if (shape->kind == ValueKind::decimal) {
    shape->ints.base = unzigzag(shape->ints.base) ^ (std::uint64_t{1} << 63);
  } else if (in->good()) {
    shape->ints.base = __builtin_bswap64(shape->ints.base) >> shape->detail;
  }
  return in->good();
}

}  // namespace mlops::buffer
