// WebP by libwebp, lossy: for previews.
#include <webp/encode.h>

#include "client/pictures.h"

namespace mlops::client {

Result<std::string> encode_webp(const Pixels& pixels) {
  constexpr float kQuality = 80;  // as the Python client's
  const auto width = static_cast<int>(pixels.width), height = static_cast<int>(pixels.height);
  std::vector<std::uint8_t> colours;
  const std::uint8_t* rows = pixels.bytes.data();
  if (pixels.channels == 1) {
    colours.reserve(pixels.bytes.size() * 3);
    for (const std::uint8_t grey : pixels.bytes) colours.insert(colours.end(), 3, grey);
    rows = colours.data();
  }
  std::uint8_t* bytes = nullptr;
  const std::size_t size = pixels.channels == 4 ? WebPEncodeRGBA(rows, width, height, width * 4, kQuality, &bytes)
                                                : WebPEncodeRGB(rows, width, height, width * 3, kQuality, &bytes);
  if (size == 0) return Status(StatusCode::internal, "libwebp cannot encode this picture");
  std::string out(reinterpret_cast<const char*>(bytes), size);
  WebPFree(bytes);
  return out;
}

}  // namespace mlops::client
