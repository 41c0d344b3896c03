// Points: the blocks of a run's part in one slot, read through a secondary of the slot's database.
#pragma once

#include <cstdint>
#include <functional>

#include "mlops/reader.h"
#include "view/view.h"

namespace mlops::view {

using TakePoints = std::function<bool(PointBatch& batch)>;

/// Calls `take` for the part's blocks in order until it returns false, which sets *stopped. With most_points != 0 and
/// more points there than that, whole blocks are left out, evenly. Damaged blocks are counted in *damage and skipped.
Status scan_part(const Part& part, std::uint64_t most_points, const TakePoints& take, bool* stopped, Damage* damage);

}  // namespace mlops::view
