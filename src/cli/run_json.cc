#include "cli/run_json.h"

namespace mlops::cli {
namespace {

void put_pairs(std::string_view name, const Pairs& pairs, JsonOut* out) {
  out->key(name).begin_object();
  for (const auto& [key, value] : pairs) out->field(key, value);
  out->end_object();
}

}  // namespace

void put_run(const RunSummary& run, JsonOut* out, const std::function<void(JsonOut*)>& more) {
  out->begin_object();
  out->field("id", run.id).field("server_id", run.server_id).field("experiment", run.experiment);
  out->field("name", run.name).field("parent_id", run.parent_id).field("status", run_status_name(run.status));
  out->field("live", run.live)
      .field("left_open", run.left_open)
      .field("deleted", run.deleted)
      .field("start_ms", run.start_ms)
      .field("end_ms", run.end_ms);
  out->field("points", run.points);
  put_pairs("params", run.params, out);
  put_pairs("tags", run.tags, out);
  out->key("metrics").begin_array();
  for (const MetricSummary& m : run.metrics) {
    out->begin_object().field("name", m.name).field("count", m.count).field("last", m.last);
    out->field("last_step", m.last_step).field("last_time_ms", m.last_time_ms);
    out->field("min", m.min).field("max", m.max).field("min_step", m.min_step).field("max_step", m.max_step);
    out->end_object();
  }
  out->end_array();
  if (more) more(out);
  out->end_object();
}

}  // namespace mlops::cli
