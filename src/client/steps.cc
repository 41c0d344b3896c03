#include "client/steps.h"

#include "view/view.h"

namespace mlops::client {

std::int64_t next_step(const RunState& run, const std::function<bool(std::string_view name)>& counted) {
  std::int64_t next = 0;
  const auto count = [&](const std::string& name, std::int64_t last) {
    if (last >= next && counted(name)) next = last == INT64_MAX ? INT64_MAX : last + 1;
  };
  const auto look = [&](const std::vector<buffer::MetricRow>& rows) {
    for (const buffer::MetricRow& row : rows) {
      if (row.summary.count != 0) count(row.name, row.summary.last.step);
    }
  };
  for (const auto& [name, last] : run.steps_before) count(name, last);
  if (run.core->in_child.load() || run.core->closing.load()) return next;
  if (run.core->drain->flush(Level::buffered, Millis(5'000)).ok()) {
    Result<std::shared_ptr<buffer::Reader>> reader = run.core->drain->reader(Millis(1'000));
    if (reader.ok()) look((*reader)->metrics(run.uid).value_or({}));
  }
  if (run.role == Role::owner && run.fresh) return next;  // nobody else has been at it
  Result<std::unique_ptr<view::View>> view = view::View::open(run.core->root->path);
  if (!view.ok()) return next;
  Result<std::vector<view::Part>> parts = (*view)->parts(run.id);
  if (!parts.ok()) return next;
  for (const view::Part& part : *parts) look(part.metrics);
  return next;
}

}  // namespace mlops::client
