// SlotCount: points of a slot that its ledger does not show as delivered or dead, by summary and ledger files alone.
#pragma once

#include <cstdint>
#include <string>

namespace mlops::client {

struct Count {
  std::uint64_t runs = 0, runs_done = 0, points = 0, waiting = 0, parked = 0;
};
/// All zero for a slot that has no summary that can be read.
Count count_slot(const std::string& dir, const std::string& destination);

}  // namespace mlops::client
