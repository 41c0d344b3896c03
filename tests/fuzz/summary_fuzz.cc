// decode_summary takes any bytes: it accepts them or says data_loss, and reads nothing beyond them.
#include <cstdint>

#include "buffer/buffer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mlops::buffer::Identity identity;
  mlops::buffer::SlotCounters counters;
  std::vector<mlops::buffer::SummaryEntry> runs;
  mlops::buffer::decode_summary({reinterpret_cast<const char*>(data), size}, &identity, &counters, &runs).ignore();
  return 0;
}
