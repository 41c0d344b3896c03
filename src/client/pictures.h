// Pictures: pixels as bytes of a file. Each library is known to one file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mlops/artifact.h"

namespace mlops::client {

/// Rows of `channels` bytes a pixel, as the libraries take them.
struct Pixels {
  std::uint32_t width = 0, height = 0, channels = 0;
  std::vector<std::uint8_t> bytes;
};

/// invalid_argument: no pixels, both or neither kind, a size or a number of channels that is not allowed.
Result<Pixels> pixels_of(const Image& image);
/// Scaled down so that no side is longer than `side`: each pixel is the mean of those it covers.
Pixels shrink(const Pixels& pixels, std::uint32_t side);

Result<std::string> encode_png(const Pixels& pixels);
Result<std::string> encode_webp(const Pixels& pixels);

}  // namespace mlops::client
