#include "view/models.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <tuple>

#include "model/dataset.h"
#include "model/logged_model.h"
#include "view/slots.h"

namespace mlops::view {
namespace {

using model::OpKind;

struct Model {
  ModelSummary summary;
  std::map<std::string, std::string> params, tags;
  bool open = false, ended = false;
};
using Models = std::map<base::Uid, Model>;

bool cut_prefix(std::string_view prefix, const std::string& text, std::string* rest) {
  if (text.compare(0, prefix.size(), prefix) != 0) return false;
  *rest = text.substr(prefix.size());
  return true;
}

void take_pairs(const Pairs& pairs, Model* model) {
  std::string key;
  for (const auto& [name, value] : pairs) {
    if (cut_prefix(model::kParamPrefix, name, &key)) model->params.emplace(key, value);  // the first one counts
    if (cut_prefix(model::kModelTagPrefix, name, &key)) model->tags[key] = value;
    if (cut_prefix(model::kUntagPrefix, name, &key)) model->tags.erase(key);
    if (name == model::kOpen) model->open = true;
  }
}

void take_metric(const model::Op& op, Model* model) {
  ModelMetric& metric = model->summary.metrics.emplace_back();
  metric.name = op.key;
  metric.value = std::nan("");
  std::from_chars(op.value.data(), op.value.data() + op.value.size(), metric.value);
  metric.step = op.number;
  metric.time_ms = op.time_ms;
  metric.run_id = op.run.hex();
  for (const auto& [key, value] : op.pairs) {
    if (key == model::kDatasetName) metric.dataset = value;
    if (key == model::kDatasetDigest) metric.digest = value;
  }
}

void take(const model::Op& op, Model* model) {
  ModelSummary& summary = model->summary;
  if (op.kind == OpKind::model_metric) return take_metric(op, model);  // its time is the point's
  summary.updated_ms = std::max(summary.updated_ms, op.time_ms);
  if (op.kind == OpKind::model_change) {
    take_pairs(op.pairs, model);
    summary.deleted = summary.deleted || op.number == 1;
  } else if (op.kind == OpKind::model_end && !model->ended) {
    model->ended = true;
    summary.status = op.number == 1 ? "READY" : "FAILED";
  }
}

void begin(const model::Op& op, Models* models) {
  Model& model = (*models)[op.parent];
  ModelSummary& summary = model.summary;
  summary.id = op.parent.hex();
  summary.name = op.key;
  summary.type = op.value;
  summary.run_id = op.run.hex();
  summary.status = "PENDING";
  summary.created_ms = summary.updated_ms = op.time_ms;
  take_pairs(op.pairs, &model);
}

/// What the server made of it.
void take_state(const ledger::ModelState& state, ModelSummary* summary) {
  if (summary->server_id.empty()) summary->server_id = state.server_id;
  if (state.state == ledger::ModelState::State::failed) summary->status = "FAILED";
}

struct Run {
  std::string experiment;
  bool over = true;
};

}  // namespace

Result<std::vector<ModelSummary>> models_of(const std::string& root) {
  std::vector<model::Op> ops;
  std::map<base::Uid, Run> runs;
  std::vector<ledger::ModelState> states;
  Status failed;
  Status s = each_slot(root, [&](const SlotState& slot) {
    for (const Part& part : slot.parts) {
      Run& run = runs[part.row.uid];
      if (run.experiment.empty() || !part.row.attached) run.experiment = part.row.experiment;
      if (!part.row.attached && part.row.status == RunStatus::running) run.over = false;
    }
    for (const auto& snapshot : slot.ledgers) {
      for (const auto& [uid, state] : snapshot.models) states.push_back(state);
    }
    if (slot.parts.empty() || !failed.ok()) return;
    Result<std::unique_ptr<buffer::Reader>> reader = open_beside(slot.dir);
    Result<std::vector<buffer::Record>> records =
        reader.ok() ? (*reader)->models() : Result<std::vector<buffer::Record>>(reader.status());
    if (!records.ok()) {
      failed = records.status();
      return;
    }
    for (buffer::Record& record : *records) ops.push_back(std::move(record.op));
  });
  if (!s.ok()) return s;
  if (!failed.ok()) return failed;

  // A slot's tickets tell the order; between slots, whose tickets say nothing of each other, time does.
  std::sort(ops.begin(), ops.end(), [](const model::Op& a, const model::Op& b) {
    return std::tie(a.time_ms, a.ticket) < std::tie(b.time_ms, b.ticket);
  });
  Models models;
  for (const model::Op& op : ops) {
    if (op.kind == OpKind::model) begin(op, &models);
  }
  for (const model::Op& op : ops) {
    const auto model = models.find(op.parent);
    if (op.kind != OpKind::model && model != models.end()) take(op, &model->second);
  }
  for (const ledger::ModelState& state : states) {
    if (const auto model = models.find(state.uid); model != models.end()) take_state(state, &model->second.summary);
  }
  std::vector<ModelSummary> out;
  for (auto& [uid, model] : models) {
    ModelSummary& summary = model.summary;
    base::Uid run_id;
    const bool parsed = base::Uid::parse(summary.run_id, &run_id);
    const auto run = parsed ? runs.find(run_id) : runs.end();
    if (run != runs.end()) summary.experiment = run->second.experiment;
    if (!model.ended && !model.open && (run == runs.end() || run->second.over)) summary.status = "FAILED";
    summary.params.assign(model.params.begin(), model.params.end());
    summary.tags.assign(model.tags.begin(), model.tags.end());
    out.push_back(std::move(summary));
  }
  std::sort(out.begin(), out.end(), [](const ModelSummary& a, const ModelSummary& b) {
    return a.created_ms != b.created_ms ? a.created_ms > b.created_ms : a.id < b.id;
  });
  return out;
}

}  // namespace mlops::view
