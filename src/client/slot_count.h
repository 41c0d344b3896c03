// SlotCount: what of a slot its ledger does not show as delivered or dead. Points and registry writes by summary and
// ledger files alone; files by its database, too.
#pragma once

#include <cstdint>
#include <string>

#include "base/uid.h"
#include "mlops/status.h"

namespace mlops::client {

struct Count {
  std::uint64_t runs = 0, runs_done = 0, points = 0, waiting = 0, parked = 0;
  std::uint64_t intents_waiting = 0;
  std::uint64_t files_waiting = 0, file_bytes_waiting = 0;  // by count_files
};
/// All zero for a slot that has no summary that can be read.
Count count_slot(const std::string& dir, const std::string& destination);
/// Opens the slot's database beside whoever writes it. `only`: of this run.
Status count_files(const std::string& dir, const std::string& destination, Count* count,
                   const base::Uid* only = nullptr);

}  // namespace mlops::client
