// decode_block takes any bytes; what it accepts has columns of one length and encodes again to the same points.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "buffer/buffer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using mlops::buffer::Block;
  Block block;
  if (!mlops::buffer::decode_block({reinterpret_cast<const char*>(data), size}, &block).ok()) return 0;
  const std::size_t n = block.size();
  if (block.step.size() != n || block.time_ms.size() != n || block.value.size() != n) std::abort();
  Block again;
  if (!mlops::buffer::decode_block(mlops::buffer::encode_block(block), &again).ok()) std::abort();
  if (again.metric != block.metric || again.step != block.step || again.time_ms != block.time_ms) std::abort();
  if (n != 0 && std::memcmp(again.value.data(), block.value.data(), n * sizeof(double)) != 0) std::abort();
  return 0;
}
