#include "mlflow/models_json.h"

#include <cmath>

#include "mlflow/json.h"

namespace mlops::mlflow {
namespace {

bool logged_model_of(const json& object, RemoteLoggedModel* out) {
  const json* info = field(object, "info");
  if (info == nullptr) return false;
  out->model_id = text(*info, "model_id");
  out->name = text(*info, "name");
  out->artifact_uri = text(*info, "artifact_uri");
  out->status = text(*info, "status");
  out->params.clear();
  const json* data = field(object, "data");
  return !out->model_id.empty() && (data == nullptr || read_pairs(*data, "params", &out->params));
}

Json number_json(double v) {
  if (std::isnan(v)) return "NaN";
  if (std::isinf(v)) return v > 0 ? "Infinity" : "-Infinity";
  return v;
}

}  // namespace

std::string encode_log_dataset(std::string_view run_id, const DatasetInput& input) {
  Json dataset;
  dataset["name"] = input.name;
  dataset["digest"] = input.digest;
  dataset["source_type"] = input.source_type;
  dataset["source"] = input.source;
  if (!input.schema.empty()) dataset["schema"] = input.schema;
  if (!input.profile.empty()) dataset["profile"] = input.profile;
  Json body;
  body["run_id"] = run_id;
  Json one;
  one["tags"] = pairs_json(input.tags);
  one["dataset"] = std::move(dataset);
  body["datasets"] = Json::array({std::move(one)});
  return dump(body);
}

std::string encode_log_model_input(std::string_view run_id, std::string_view model_id) {
  Json body;
  body["run_id"] = run_id;
  body["models"] = Json::array();
  body["models"].push_back({{"model_id", model_id}});
  return dump(body);
}

std::string encode_log_model_output(std::string_view run_id, std::string_view model_id, std::int64_t step) {
  Json body;
  body["run_id"] = run_id;
  body["models"] = Json::array();
  body["models"].push_back({{"model_id", model_id}, {"step", step}});
  return dump(body);
}

std::string encode_new_logged_model(const NewLoggedModel& model) {
  Json body;
  body["experiment_id"] = model.experiment_id;
  body["name"] = model.name;
  if (!model.type.empty()) body["model_type"] = model.type;
  body["source_run_id"] = model.run_id;
  body["params"] = pairs_json(model.params);
  body["tags"] = pairs_json(model.tags);
  return dump(body);
}

std::string encode_find_logged_model(std::string_view experiment_id, std::string_view filter) {
  Json body;
  body["experiment_ids"] = Json::array({experiment_id});
  body["filter"] = filter;
  body["max_results"] = 10;
  return dump(body);
}

std::string encode_finalize(std::string_view model_id, const char* status) {
  Json body;
  body["model_id"] = model_id;
  body["status"] = status;
  return dump(body);
}

std::string encode_model_pairs(std::string_view model_id, const char* what, const Pairs& pairs) {
  Json body;
  body["model_id"] = model_id;
  body[what] = pairs_json(pairs);
  return dump(body);
}

std::string encode_model_metrics(std::string_view run_id, const std::vector<ModelPoint>& points) {
  Json body;
  body["run_id"] = run_id;
  body["metrics"] = Json::array();
  for (const ModelPoint& p : points) {
    Json metric;
    metric["key"] = p.key;
    metric["value"] = number_json(p.point.value);
    metric["timestamp"] = p.point.time_ms;
    metric["step"] = p.point.step;
    metric["model_id"] = p.model_id;
    if (!p.dataset_name.empty()) {
      metric["dataset_name"] = p.dataset_name;
      metric["dataset_digest"] = p.dataset_digest;
    }
    body["metrics"].push_back(std::move(metric));
  }
  return dump(body);
}

std::string encode_record_model(std::string_view run_id, std::string_view artifact_path, std::string_view entry) {
  Json model = Json::parse(entry, nullptr, false);
  if (!model.is_object()) model = Json::object();
  model["artifact_path"] = artifact_path;
  model["run_id"] = run_id;
  Json body;
  body["run_id"] = run_id;
  body["model_json"] = dump(model);
  return dump(body);
}

bool read_links(const Reply& reply, RunLinks* out) {
  *out = {};
  const json* run = reply.json ? field(*reply.json, "run") : nullptr;
  if (run == nullptr || field(*run, "info") == nullptr) return false;
  out->artifact_uri = text(*field(*run, "info"), "artifact_uri");
  const json* data = field(*run, "data");
  const json* inputs = field(*run, "inputs");
  const json* outputs = field(*run, "outputs");
  bool whole = each(inputs, "dataset_inputs", [&](const json& item) {
    if (const json* d = field(item, "dataset")) out->datasets.emplace_back(text(*d, "name"), text(*d, "digest"));
  });
  whole =
      whole && each(inputs, "model_inputs", [&](const json& item) { out->inputs.push_back(text(item, "model_id")); });
  whole = whole && each(outputs, "model_outputs", [&](const json& item) {
            out->outputs.emplace_back(text(item, "model_id"), number(item, "step"));
          });
  whole = whole && each(data, "tags", [&](const json& item) {
            if (text(item, "key") != "mlflow.log-model.history") return;
            const json history = json::parse(text(item, "value"), nullptr, false);
            if (!history.is_array()) return;
            for (const json& entry : history) out->recorded.push_back(text(entry, "model_uuid"));
          });
  return whole;
}

bool read_logged_model(const Reply& reply, RemoteLoggedModel* out) {
  const json* model = reply.json ? field(*reply.json, "model") : nullptr;
  return model != nullptr && logged_model_of(*model, out);
}

bool read_logged_models(const Reply& reply, std::vector<RemoteLoggedModel>* out) {
  out->clear();
  if (!reply.json) return false;
  bool whole = true;
  const bool list = each(reply.json.get(), "models",
                         [&](const json& item) { whole = logged_model_of(item, &out->emplace_back()) && whole; });
  return list && whole;
}

}  // namespace mlops::mlflow
