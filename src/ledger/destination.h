// A destination's URI as it may be kept: what a person typed, less everything that could be a secret.
#pragma once

#include <string>
#include <string_view>

namespace mlops::ledger {

/// Without `user:password@`, query, fragment and trailing slashes.
std::string clean_uri(std::string_view uri);

}  // namespace mlops::ledger
