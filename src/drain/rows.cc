// What an op does to its run's row: starts are counted, params are first-wins, tags last-wins, an end counts only when
// no later start has been seen, a run that was left open stays RUNNING until then, a process that is attached has no
// say in the status.
#include <algorithm>
#include <charconv>

#include "base/base.h"
#include "drain/runs.h"

namespace mlops::drain {
namespace {

using model::Op;
using model::OpKind;

void set_text(Pairs* pairs, absl::flat_hash_map<std::string, std::size_t>* index, const std::string& key,
              const std::string& value, bool overwrite) {
  const auto [it, fresh] = index->emplace(key, pairs->size());
  if (fresh) {
    pairs->emplace_back(key, value);
  } else if (overwrite) {
    (*pairs)[it->second].second = value;
  }
}

void delete_text(Pairs* pairs, absl::flat_hash_map<std::string, std::size_t>* index, const std::string& key) {
  const auto it = index->find(key);
  if (it == index->end()) return;
  const std::size_t at = it->second;
  index->erase(it);
  if (at + 1 != pairs->size()) {
    (*pairs)[at] = std::move(pairs->back());
    (*index)[(*pairs)[at].first] = at;
  }
  pairs->pop_back();
}

/// Which start an end belongs to; 0 when it does not say.
std::uint32_t start_of(const Op& op) {
  std::uint32_t number = 0;
  std::from_chars(op.key.data(), op.key.data() + op.key.size(), number);
  return number;
}

void start(RunState* run, const Op& op) {
  model::RunRow& row = run->row;
  const bool first = row.starts == 0 || run->recovered;
  row.starts =
      std::max<std::uint32_t>({row.starts, 1, static_cast<std::uint32_t>(std::max<std::int64_t>(0, op.number))});
  if (first) {
    row.start_ms = op.time_ms;
    row.parent = op.parent;
  }
  if (first || row.experiment.empty()) row.experiment = op.key;
  if (!op.value.empty()) row.name = op.value;
  row.status = RunStatus::running;
  row.end_ms = 0;
  row.attached = false;
  row.left_open = false;
  run->recovered = false;
}

void attach(RunState* run, const Op& op) {
  model::RunRow& row = run->row;
  if (row.starts > 0 && !row.attached && !run->recovered) return;  // this slot owns the run
  if (row.starts == 0 || run->recovered) {
    row.start_ms = op.time_ms;
    row.experiment = op.key;
    row.name = op.value;
  }
  row.attached = true;
  row.starts = std::max<std::uint32_t>(row.starts, 1);
  row.status = RunStatus::running;
  row.end_ms = 0;
  run->recovered = false;
}

void detach(RunState* run, const Op& op) {
  if (!run->row.attached) return;  // a forked child's, or a second handle's: the owner ends the run
  run->row.status = RunStatus::finished;
  run->row.end_ms = op.time_ms;
}

void end(RunState* run, const Op& op) {
  if (run->row.attached) return detach(run, op);
  const std::uint32_t number = start_of(op);
  if (number != 0 && number != run->row.starts) return;  // of an older start, or its start is lost
  run->row.status = static_cast<RunStatus>(op.number);
  run->row.end_ms = op.time_ms;
  run->row.left_open = false;
}

void leave(RunState* run, const Op& op) {
  if (run->row.attached) return detach(run, op);
  if (run->row.status == RunStatus::running && start_of(op) == run->row.starts) run->row.left_open = true;
}

}  // namespace

void index_texts(RunState* run) {
  run->params.clear();
  run->tags.clear();
  for (std::size_t i = 0; i < run->row.params.size(); ++i) run->params.emplace(run->row.params[i].first, i);
  for (std::size_t i = 0; i < run->row.tags.size(); ++i) run->tags.emplace(run->row.tags[i].first, i);
}

model::RunRow row_without_texts(const model::RunRow& row) {
  model::RunRow out;
  out.uid = row.uid;
  out.parent = row.parent;
  out.experiment = row.experiment;
  out.name = row.name;
  out.status = row.status;
  out.attached = row.attached;
  out.left_open = row.left_open;
  out.start_ms = row.start_ms;
  out.end_ms = row.end_ms;
  out.last_ms = row.last_ms;
  out.starts = row.starts;
  out.next_seq = row.next_seq;
  out.points = row.points;
  out.merged = row.merged;
  out.dropped = row.dropped;
  out.evicted_before = row.evicted_before;
  out.evicted_points = row.evicted_points;
  out.deleted = row.deleted;
  out.lifecycle_ms = row.lifecycle_ms;
  return out;
}

RunState* Runs::recover(const Uid& uid, std::int64_t time_ms) {
  RunState* run = make(uid);
  run->recovered = true;
  run->row.experiment = "Default";
  run->row.name = "recovered-" + uid.hex().substr(0, 8);
  run->row.start_ms = time_ms;
  run->row.last_ms = time_ms;
  run->row.starts = 1;
  base::log(base::LogLevel::warn,
            "run " + uid.hex() + " has records but no start (lost with the power?); kept as " + run->row.name);
  return run;
}

void Runs::add_op(const model::Op& op, const Uid& writer) {
  if (op.kind == OpKind::experiment) {
    experiments_.push_back(op);
    return;
  }
  const bool starts = op.kind == OpKind::run_start || op.kind == OpKind::run_attach;
  RunState* run = find(op.run);
  if (op.run == model::kRegistry) {  // no run: nothing to start, to end or to list
    if (run == nullptr) run = make(op.run);
    run->row.status = RunStatus::finished;
    run->row.last_ms = std::max(run->row.last_ms, op.time_ms);
    touch(run);
    run->ops.push_back(op);
    return;
  }
  if (run == nullptr) run = starts ? make(op.run) : recover(op.run, op.time_ms);
  touch(run);
  Pairs& params = run->row.params;
  Pairs& tags = run->row.tags;
  switch (op.kind) {
    case OpKind::run_start:
    case OpKind::run_attach:
      if (op.kind == OpKind::run_start) {
        start(run, op);
      } else {
        attach(run, op);
      }
      run->owner = writer;
      for (const auto& [key, value] : op.pairs) set_text(&tags, &run->tags, key, value, true);
      run->texts_changed = run->texts_changed || !op.pairs.empty();
      break;
    case OpKind::param:
      set_text(&params, &run->params, op.key, op.value, false);
      run->texts_changed = true;
      break;
    case OpKind::set_tag:
      set_text(&tags, &run->tags, op.key, op.value, true);
      run->texts_changed = true;
      break;
    case OpKind::delete_tag:
      delete_text(&tags, &run->tags, op.key);
      run->texts_changed = true;
      break;
    case OpKind::run_name:
      run->row.name = op.value;
      break;
    case OpKind::run_end:
      end(run, op);
      break;
    case OpKind::run_detach:
      detach(run, op);
      break;
    case OpKind::run_leave:
      leave(run, op);
      break;
    case OpKind::lifecycle:
      run->row.deleted = op.number != 0;
      run->row.lifecycle_ms = op.time_ms;
      break;
    case OpKind::experiment:
    case OpKind::artifact:
    case OpKind::input:
    case OpKind::model:
    case OpKind::model_end:
    case OpKind::registry:
    case OpKind::model_metric:
    case OpKind::model_change:
    case OpKind::output:
      break;
  }
  // A run that its dead process left open ends at its last record, not when somebody deleted it.
  if (op.kind != OpKind::lifecycle) run->row.last_ms = std::max(run->row.last_ms, op.time_ms);
  if (starts && run->ops.empty()) {
    run->head.push_back(op);
  } else {
    run->ops.push_back(op);
  }
}

}  // namespace mlops::drain
