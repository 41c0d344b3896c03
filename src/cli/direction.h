// Direction: whether less or more is better of a metric. Told, or known by its name; never guessed.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "mlops/mlops.h"

namespace mlops::cli {

enum class Direction { unknown, lower, higher };

/// By words in the name, whatever stands between them: "val/loss", "top5_accuracy", "rmse", "epochTime".
Direction direction_of(std::string_view metric);

/// What --lower and --higher say of some metrics, by name; the name itself decides of the others.
struct Told {
  std::vector<std::string> lower, higher;
  Direction of(const std::string& metric) const;
};
/// --lower and --higher.
std::vector<Option> direction_options(Told* into);
/// The least or greatest value, and its step; none where the direction is not known.
struct Best {
  double value = 0;
  std::int64_t step = 0;
};
std::optional<Best> best_of(const MetricSummary& metric, Direction direction);

/// Which names are understood, for --help.
extern const char* const kDirectionWords;

}  // namespace mlops::cli
