// Models: the logged models of a root, put together from the records that each slot has of them.
#pragma once

#include <string>
#include <vector>

#include "mlops/reader.h"

namespace mlops::view {

/// Newest first. A model is known by the record that it begins; what others say of it may lie in other slots.
Result<std::vector<ModelSummary>> models_of(const std::string& root);

}  // namespace mlops::view
