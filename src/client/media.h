// Media: tables and histograms as texts, in the forms that MLflow's readers know.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mlops/artifact.h"

namespace mlops::client {

/// pandas' "split" without an index: {"columns":[…],"data":[[…],…]}. invalid_argument: columns of different lengths,
/// two of one name, text that is not UTF-8.
Result<std::string> table_json(const std::vector<TableColumn>& columns);
/// invalid_argument: edges that do not ascend, another number of counts, a count below 0.
Status check_histogram(const Histogram& histogram);
std::string histogram_json(const Histogram& histogram);
std::string histogram_svg(const Histogram& histogram);

}  // namespace mlops::client
