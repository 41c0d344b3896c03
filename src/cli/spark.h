// Spark: a curve of one line.
#pragma once

#include <cstddef>
#include <string>

#include "mlops/mlops.h"

namespace mlops::cli {

/// The curve's means from its first x to its last in so many columns, from the lowest to the highest; a space where
/// there is no point. Empty for an empty curve.
std::string spark(const Curve& curve, std::size_t columns);

}  // namespace mlops::cli
