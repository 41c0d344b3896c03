// decode_op takes any bytes; what it accepts encodes to something that decodes the same.
#include <cstdint>
#include <cstdlib>

#include "model/record.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto op = mlops::model::decode_op({reinterpret_cast<const char*>(data), size});
  if (!op.ok()) return 0;
  const std::string bytes = mlops::model::encode_op(*op);
  const auto again = mlops::model::decode_op(bytes);
  if (!again.ok() || mlops::model::encode_op(*again) != bytes) std::abort();
  return 0;
}
