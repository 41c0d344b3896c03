#include "cli/chosen.h"

#include <algorithm>

#include "cli/columns.h"

namespace mlops::cli {

Result<std::vector<RunSummary>> choose_runs(const Reader& reader, const std::vector<std::string>& ids,
                                            const RunQuery& query) {
  if (ids.empty()) return reader.runs(query);
  std::vector<RunSummary> out;
  for (const std::string& id : ids) {
    Result<RunSummary> run = reader.run(id);
    if (!run.ok()) return run.status();
    const bool there = std::any_of(out.begin(), out.end(), [&](const RunSummary& r) { return r.id == run->id; });
    if (!there) out.push_back(std::move(*run));
  }
  return out;
}

std::vector<std::string> labels_of(const std::vector<RunSummary>& runs) {
  const std::size_t shown = shown_of_ids(runs);
  std::vector<std::string> out;
  for (const RunSummary& run : runs) {
    const auto same = std::count_if(runs.begin(), runs.end(), [&](const RunSummary& r) { return r.name == run.name; });
    out.push_back(same == 1 ? run.name : run.name + " " + run.id.substr(0, shown));
  }
  return out;
}

}  // namespace mlops::cli
