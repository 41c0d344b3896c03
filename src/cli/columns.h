// Columns: what `mlops runs` can show of a run, by name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mlops/mlops.h"

namespace mlops::cli {

/// id, name, experiment, status, started, ended, took, points, server_id, parent, user, metrics.<key>, params.<key>,
/// tags.<key>; the three last ones with their short and long spellings.
struct Column {
  std::string name;  // as given
  std::string head() const;
  std::string text(const RunSummary& run) const;
};
/// From "name,metrics.loss"; invalid_argument names what there is.
Result<std::vector<Column>> read_columns(std::string_view list);

/// As few characters of each id as tell them apart, at least 8; all of them in a pipe.
std::size_t shown_of_ids(const std::vector<RunSummary>& runs);

}  // namespace mlops::cli
