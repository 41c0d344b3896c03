// PNG by libpng's simplified interface, which reports failures without jumps.
#include <png.h>

#include "client/pictures.h"

namespace mlops::client {

Result<std::string> encode_png(const Pixels& pixels) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = pixels.width;
  image.height = pixels.height;
  image.format = pixels.channels == 1 ? PNG_FORMAT_GRAY : pixels.channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_RGBA;
  std::string out(PNG_IMAGE_PNG_SIZE_MAX(image), '\0');
  png_alloc_size_t size = out.size();
  const int good = png_image_write_to_memory(&image, out.data(), &size, 0, pixels.bytes.data(), 0, nullptr);
  const std::string words = image.message;
  png_image_free(&image);
  if (good == 0) return Status(StatusCode::internal, "libpng cannot write this picture: " + words);
  out.resize(size);
  return out;
}

}  // namespace mlops::client
