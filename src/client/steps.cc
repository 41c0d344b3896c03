#include "client/steps.h"

#include "view/view.h"

namespace mlops::client {

std::int64_t next_step(const RunState& run, const std::function<bool(std::string_view name)>& counted) {
  std::int64_t next = 0;
  const auto look = [&](const std::vector<buffer::MetricRow>& rows) {
    for (const buffer::MetricRow& row : rows) {
      const model::Summary& s = row.summary;
      if (s.count == 0 || s.last.step < next || !counted(row.name)) continue;
      next = s.last.step == INT64_MAX ? INT64_MAX : s.last.step + 1;
    }
  };
  if (run.core->in_child.load() || run.core->closing.load()) return 0;
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
