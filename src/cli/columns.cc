#include "cli/columns.h"

#include <algorithm>
#include <array>

#include "cli/text.h"

namespace mlops::cli {
namespace {

constexpr std::array<std::string_view, 11> kNames = {"id",   "name",   "experiment", "status", "started", "ended",
                                                     "took", "points", "server_id",  "parent", "user"};

// "metrics.loss" is ('m', "loss"); 0: something else.
char kind_of(std::string_view name, std::string_view* key) {
  for (const std::string_view start : {"metric.", "metrics.", "param.", "params.", "tag.", "tags."}) {
    if (name.substr(0, start.size()) != start || name.size() == start.size()) continue;
    *key = name.substr(start.size());
    return start.front();
  }
  return 0;
}

std::string value_of(const Pairs& pairs, std::string_view key) {
  for (const auto& [name, value] : pairs) {
    if (name == key) return value;
  }
  return {};
}

}  // namespace

std::string Column::head() const {
  std::string_view key;
  const char kind = kind_of(name, &key);
  std::string out(kind == 0 ? name : std::string(key));
  for (char& c : out) {
    if (kind == 0 && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return (kind == 'm' || name == "points" ? ">" : "") + out;
}

std::string Column::text(const RunSummary& run) const {
  std::string_view key;
  switch (kind_of(name, &key)) {
    case 'm':
      for (const MetricSummary& m : run.metrics) {
        if (m.name == key) return number_text(m.last);
      }
      return {};
    case 'p':
      return value_of(run.params, key);
    case 't':
      return value_of(run.tags, key);
    default:
      break;
  }
  if (name == "id") return run.id;
  if (name == "name") return run.name;
  if (name == "experiment") return run.experiment;
  if (name == "status") return status_text(run);
  if (name == "started") return time_text(run.start_ms);
  if (name == "ended") return time_text(run.end_ms);
  if (name == "took") return run.end_ms == 0 ? "-" : duration_text(run.end_ms - run.start_ms);
  if (name == "points") return std::to_string(run.points);
  if (name == "server_id") return run.server_id;
  if (name == "parent") return run.parent_id;
  return value_of(run.tags, "mlflow.user");
}

Result<std::vector<Column>> read_columns(std::string_view list) {
  std::vector<Column> out;
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    const std::string_view name = list.substr(0, comma);
    std::string_view key;
    if (kind_of(name, &key) == 0 && std::find(kNames.begin(), kNames.end(), name) == kNames.end()) {
      std::string words = "there is no column \"" + one_line(name, 60) + "\"; there are";
      for (const std::string_view known : kNames) words += " " + std::string(known) + ",";
      return Status(StatusCode::invalid_argument, words + " metrics.<key>, params.<key> and tags.<key>");
    }
    out.push_back({std::string(name)});
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return out;
}

std::size_t shown_of_ids(const std::vector<RunSummary>& runs) {
  std::vector<std::string_view> ids;
  ids.reserve(runs.size());
  for (const RunSummary& run : runs) ids.push_back(run.id);
  std::sort(ids.begin(), ids.end());
  std::size_t shown = 8;
  for (std::size_t i = 1; i < ids.size(); ++i) {
    const auto [a, b] = std::mismatch(ids[i - 1].begin(), ids[i - 1].end(), ids[i].begin(), ids[i].end());
    shown = std::max(shown, static_cast<std::size_t>(a - ids[i - 1].begin()) + 1);
  }
  return shown;
}

}  // namespace mlops::cli
