// Search: MLflow's search language over runs (mlops/reader.h says which part of it), with the meaning that its SQL
// store gives it: a metric is its last value, a run without the key matches nothing, NaN matches only !=.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mlops/reader.h"

namespace mlops::view {

/// What a name in a filter or an order stands for.
struct Field {
  enum class Kind { metric, param, tag, attribute };
  Kind kind = Kind::attribute;
  std::string key;  // of attributes: MLflow's name, aliases translated
  bool numeric() const {
    return kind == Kind::metric || (kind == Kind::attribute && (key == "start_time" || key == "end_time"));
  }
};

/// Parsed once, asked for each run.
class Search {
 public:
  /// invalid_argument: what is wrong, where, and what is allowed.
  static Result<Search> parse(const RunQuery& query);
  bool matches(const RunSummary& run) const;
  /// Whether `a` comes before `b`: by order_by, runs without a value last (NaN before them), then newest start, then
  /// id.
  bool before(const RunSummary& a, const RunSummary& b) const;

 private:
  enum class Is { equal, not_equal, less, less_equal, greater, greater_equal, like, ilike, in, not_in, null, not_null };
  struct Clause {
    Field field;
    Is is = Is::equal;
    double number = 0;
    std::string text;
    std::vector<std::string> list;
  };
  struct Order {
    Field field;
    bool descending = false;
  };
  class Parser;
  static bool holds(const Clause& clause, const RunSummary& run);

  std::string experiment_;
  RunQuery::Shown shown_ = RunQuery::Shown::active;
  std::vector<Clause> clauses_;
  std::vector<Order> orders_;
};

}  // namespace mlops::view
