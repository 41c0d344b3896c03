// Chosen: the runs that a command's words name: ids, or a filter, or all of a root.
#pragma once

#include <string>
#include <vector>

#include "mlops/mlops.h"

namespace mlops::cli {

/// The runs of `ids` in their order; without any, those of the query. A run named twice is there once.
Result<std::vector<RunSummary>> choose_runs(const Reader& reader, const std::vector<std::string>& ids,
                                            const RunQuery& query);

/// How a run is called beside others: its name, or name and the first characters of its id where names are equal.
std::vector<std::string> labels_of(const std::vector<RunSummary>& runs);

}  // namespace mlops::cli
