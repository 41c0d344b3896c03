// Gates and the registry of cores. Lists only grow and are walked without locks, so that fork and exit find them whole.
#pragma once

#include <cstdint>

#include "journal/journal.h"

namespace mlops::journal {

/// Sum of Gate::closed_drops over a core's gates.
std::uint64_t closed_drops(const detail::Core* core);
/// The writer is about to go (tests only; a process leaks its writers): its core has none.
void unbind_writer(const Writer* writer);

}  // namespace mlops::journal
