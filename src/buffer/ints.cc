// Ints: see ints.h.
#include "buffer/ints.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "buffer/zstd.h"

namespace mlops::buffer {
namespace {

enum PlaneKind : std::uint8_t { kRaw = 0, kConstant = 1, kZstd = 2 };

constexpr std::size_t kStretch = 24, kStretches = 4;

// A difference must save a bit per word on the sample: of noise it costs half a bit more than it seems to.
constexpr double kOrderGain = 1.0;

double bits_of(std::uint64_t v) { return static_cast<double>(std::bit_width(v)); }

// Uniform bytes by their collision count (expected n + n²/256): zstd could only lose time on them.
bool looks_like_noise(const std::uint8_t* bytes, std::size_t n) {
  if (n < 512) return false;
  std::uint32_t counts[2][256] = {};
  const std::size_t looked = std::min<std::size_t>(n, 8192);
  for (std::size_t i = 0; i + 1 < looked; i += 2) {
    ++counts[0][bytes[i]];
    ++counts[1][bytes[i + 1]];
  }
  double squares = 0;
  for (int i = 0; i < 256; ++i) {
    const double c = static_cast<double>(counts[0][i]) + counts[1][i];
    squares += c * c;
  }
  const double m = static_cast<double>(looked & ~std::size_t{1});
  return squares < m + 1.05 * m * m / 256;
}

void put_plane(std::string* out, const std::uint8_t* bytes, std::size_t n) {
  if (std::all_of(bytes, bytes + n, [first = bytes[0]](std::uint8_t b) { return b == first; })) {
    out->push_back(kConstant);
    out->push_back(static_cast<char>(bytes[0]));
    return;
  }
  const std::string_view raw(reinterpret_cast<const char*>(bytes), n);
  if (!looks_like_noise(bytes, n)) {
    std::string frame;
    const std::size_t size = zstd_append(&frame, raw);
    if (size != 0 && size + 4 < n) {
      out->push_back(kZstd);
      put_text(out, frame);
      return;
    }
  }
  out->push_back(kRaw);
  out->append(raw);
}

}  // namespace

OrderGuess guess_order(const std::uint64_t* words, std::size_t n) {
  if (n < 3) return {0, 64};
  const std::size_t stretches = n <= kStretch * kStretches ? 1 : kStretches;
  const std::size_t length = stretches == 1 ? n : kStretch;
  std::uint64_t least = words[0];
  for (std::size_t s = 0; s < stretches; ++s) {
    const std::size_t at = stretches == 1 ? 0 : s * (n - length) / (stretches - 1);
    for (std::size_t i = at; i < at + length; ++i) least = std::min(least, words[i]);
  }
  double cost[3] = {0, 0, 0};
  double looked = 0;
  for (std::size_t s = 0; s < stretches; ++s) {
    const std::size_t at = stretches == 1 ? 0 : s * (n - length) / (stretches - 1);
    for (std::size_t i = at + 2; i < at + length; ++i) {
      const std::uint64_t d1 = words[i] - words[i - 1], d0 = words[i - 1] - words[i - 2];
      cost[0] += bits_of(words[i] - least);
      cost[1] += bits_of(zigzag(d1));
      cost[2] += bits_of(zigzag(d1 - d0));
      ++looked;
    }
  }
  OrderGuess best{0, cost[0] / looked};
  for (unsigned order = 1; order <= 2; ++order) {
    const double bits = cost[order] / looked;
    if (bits + kOrderGain < best.bits || (bits == 0 && best.bits > 0)) best = {order, bits};
  }
  return best;
}

Shape make_residuals(const std::uint64_t* words, std::size_t n, unsigned order, std::uint64_t* residuals) {
  Shape shape;
  shape.order = n < 3 ? 0 : order;
  if (n == 0) return shape;
  std::uint64_t all = 0;
  if (shape.order == 0) {
    std::uint64_t least = words[0];
    for (std::size_t i = 1; i < n; ++i) least = std::min(least, words[i]);
    shape.base = least;
    for (std::size_t i = 0; i < n; ++i) all |= residuals[i] = words[i] - least;
    // A base with zero low bytes is shorter to store and leaves exponents where they are, when it costs no plane.
    const int planes = static_cast<int>(std::bit_width(all) + 7) / 8;
    if (planes >= 2) {
      const std::uint64_t low = least & ((std::uint64_t{1} << (8 * (planes - 1))) - 1);
      std::uint64_t moved = 0;
      bool fits = true;
      for (std::size_t i = 0; i < n; ++i) {
        const std::uint64_t r = residuals[i] + low;
        fits &= r >= low;
        moved |= r;
      }
      if (fits && static_cast<int>(std::bit_width(moved) + 7) / 8 == planes) {
        for (std::size_t i = 0; i < n; ++i) residuals[i] += low;
        shape.base -= low;
        all = moved;
      }
    }
  } else {
    shape.base = words[0];
    if (shape.order == 2) shape.slope = words[1] - words[0];
    std::uint64_t before = words[0], difference = shape.slope;
    residuals[0] = 0;
    for (std::size_t i = 1; i < n; ++i) {
      const std::uint64_t word = words[i];
      const std::uint64_t d = word - before;
      all |= residuals[i] = zigzag(shape.order == 2 ? d - difference : d);
      difference = d;
      before = word;
    }
  }
  shape.width = static_cast<unsigned>((std::bit_width(all) + 7) / 8);
  return shape;
}

void undo_residuals(const Shape& shape, std::uint64_t* words, std::size_t n) {
  if (shape.order == 0) {
    for (std::size_t i = 0; i < n; ++i) words[i] += shape.base;
    return;
  }
  std::uint64_t word = shape.base, difference = shape.slope;
  if (n > 0) words[0] = word;
  for (std::size_t i = 1; i < n; ++i) {
    const std::uint64_t r = unzigzag(words[i]);
    difference = shape.order == 2 ? difference + r : r;
    words[i] = word += difference;
  }
}

void put_planes(std::string* out, const std::uint64_t* residuals, std::size_t n, unsigned width) {
  if (n == 0) return;
  std::vector<std::uint8_t> plane(n);
  for (unsigned p = 0; p < width; ++p) {
    const unsigned shift = 8 * p;
    for (std::size_t i = 0; i < n; ++i) plane[i] = static_cast<std::uint8_t>(residuals[i] >> shift);
    put_plane(out, plane.data(), n);
  }
}

bool get_planes(ByteReader* in, std::uint64_t* residuals, std::size_t n, unsigned width) {
  std::fill(residuals, residuals + n, 0);
  if (n == 0) return in->good();
  std::vector<char> expanded;
  for (unsigned p = 0; p < width; ++p) {
    const unsigned shift = 8 * p;
    const std::uint8_t kind = in->u8();
    const char* bytes = nullptr;
    if (kind == kConstant) {
      const std::uint64_t word = static_cast<std::uint64_t>(in->u8()) << shift;
      for (std::size_t i = 0; i < n; ++i) residuals[i] |= word;
      continue;
    }
    if (kind == kRaw) {
      bytes = in->take(n).data();
    } else if (kind == kZstd) {
      const std::string_view frame = in->text();
      expanded.resize(n);
      if (!in->good() || !zstd_expand(frame, expanded.data(), n)) return in->fail(), false;
      bytes = expanded.data();
    } else {
      in->fail();
    }
    if (!in->good()) return false;
    for (std::size_t i = 0; i < n; ++i)
      residuals[i] |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(bytes[i])) << shift;
  }
  return in->good();
}

void put_base(std::string* out, const Shape& shape) {
  put_word(out, shape.base);
  if (shape.order == 2) put_varint(out, zigzag(shape.slope));
}

void get_base(ByteReader* in, Shape* shape) {
  shape->base = in->word();
  shape->slope = shape->order == 2 ? unzigzag(in->varint()) : 0;
}

void put_ints(std::string* out, const std::uint64_t* words, std::size_t n) {
  std::vector<std::uint64_t> residuals(n);
  const Shape shape = make_residuals(words, n, guess_order(words, n).order, residuals.data());
  out->push_back(static_cast<char>(shape.order | shape.width << 4));
  put_base(out, shape);
  put_planes(out, residuals.data(), n, shape.width);
}

bool get_ints(ByteReader* in, std::uint64_t* words, std::size_t n) {
  const std::uint8_t tag = in->u8();
  Shape shape;
  shape.order = tag & 3;
  shape.width = tag >> 4;
  if (shape.order > 2 || (tag & 0x0C) != 0 || shape.width > 8) return in->fail(), false;
  get_base(in, &shape);
  if (!get_planes(in, words, n, shape.width)) return false;
  undo_residuals(shape, words, n);
  return true;
}

}  // namespace mlops::buffer
