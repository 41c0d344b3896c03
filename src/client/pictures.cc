#include "client/pictures.h"

#include <algorithm>
#include <cmath>

namespace mlops::client {
namespace {

constexpr std::uint32_t kSide = 65'535;
constexpr std::uint64_t kValues = std::uint64_t{1} << 28;

std::uint8_t to_byte(float v) {
  if (!(v > 0)) return 0;  // NaN too
  return v >= 1 ? 255 : static_cast<std::uint8_t>(std::lround(v * 255.0F));
}

}  // namespace

Result<Pixels> pixels_of(const Image& image) {
  if ((image.bytes == nullptr) == (image.floats == nullptr))
    return Status(StatusCode::invalid_argument, "an image has one of bytes and floats");
  if (image.channels != 1 && image.channels != 3 && image.channels != 4) {
    return Status(StatusCode::invalid_argument,
                  "an image's channels are 1 (grey), 3 (RGB) or 4 (RGBA), not " + std::to_string(image.channels));
  }
  if (image.width == 0 || image.height == 0 || image.width > kSide || image.height > kSide) {
    return Status(StatusCode::invalid_argument, "an image's width and height are 1 to 65,535, not " +
                                                    std::to_string(image.width) + " and " +
                                                    std::to_string(image.height));
  }
  const std::uint64_t values = std::uint64_t{image.width} * image.height * image.channels;
  if (values > kValues)
    return Status(StatusCode::invalid_argument, "an image of more than 2^28 values: log a file instead");
  Pixels out{image.width, image.height, image.channels, std::vector<std::uint8_t>(values)};
  if (image.bytes != nullptr) {
    std::copy_n(image.bytes, values, out.bytes.begin());
  } else {
    std::transform(image.floats, image.floats + values, out.bytes.begin(), to_byte);
  }
  return out;
}

Pixels shrink(const Pixels& from, std::uint32_t side) {
  const std::uint32_t longest = std::max(from.width, from.height);
  if (longest <= side) return from;
  const auto scaled = [&](std::uint32_t v) {
    return std::max<std::uint32_t>(1, static_cast<std::uint32_t>(std::uint64_t{v} * side / longest));
  };
  Pixels to{scaled(from.width), scaled(from.height), from.channels, {}};
  to.bytes.resize(std::size_t{to.width} * to.height * to.channels);
  std::uint8_t* out = to.bytes.data();
  for (std::uint32_t y = 0; y < to.height; ++y) {
    const std::uint64_t top = std::uint64_t{y} * from.height / to.height;
    const std::uint64_t bottom = std::uint64_t{y + 1} * from.height / to.height;
    for (std::uint32_t x = 0; x < to.width; ++x) {
      const std::uint64_t left = std::uint64_t{x} * from.width / to.width;
      const std::uint64_t right = std::uint64_t{x + 1} * from.width / to.width;
      // At least 1: `to` is no wider and no taller than `from`.
      const std::uint64_t covered = std::max<std::uint64_t>(1, (bottom - top) * (right - left));
      for (std::uint32_t c = 0; c < from.channels; ++c) {
        std::uint64_t sum = covered / 2;
        for (std::uint64_t row = top; row < bottom; ++row) {
          for (std::uint64_t column = left; column < right; ++column) {
            sum += from.bytes[(row * from.width + column) * from.channels + c];
          }
        }
        *out++ = static_cast<std::uint8_t>(sum / covered);
      }
    }
  }
  return to;
}

}  // namespace mlops::client
