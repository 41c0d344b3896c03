// Encode: small bodies as JSON documents; the metric batch by hand around keys that the JSON library escaped, once per
// distinct key. Numbers by std::to_chars: integers as integers, doubles in the shortest form that reads back the same.
// A non-finite value is a quoted string: a bare NaN would make the server drop the rest of the batch and answer 200.
#include "mlflow/encode.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include "mlflow/json.h"

namespace mlops::mlflow {
namespace {

/// The escaped and quoted forms of the keys of one batch, found by where the key stands in memory.
class Keys {
 public:
  explicit Keys(std::string* arena) : arena_(arena) { slots_.fill({}); }
  std::string_view escaped(std::string_view key) {
    const auto hash = (reinterpret_cast<std::uintptr_t>(key.data()) * 0x9E3779B97F4A7C15ull) >> 54;
    Slot& slot = slots_[hash];
    if (slot.data != key.data() || slot.size != key.size() || !slot.data) {
      const std::string text = Json(key).dump(-1, ' ', false, Json::error_handler_t::replace);
      slot = {key.data(), key.size(), arena_->size(), text.size()};
      arena_->append(text);
    }
    return std::string_view(*arena_).substr(slot.begin, slot.length);
  }

 private:
  struct Slot {
    const char* data = nullptr;
    std::size_t size = 0, begin = 0, length = 0;
  };
  std::string* arena_;
  std::array<Slot, 1024> slots_;
};

template <std::size_t N>
char* put(char* at, const char (&text)[N]) {
  std::memcpy(at, text, N - 1);
  return at + N - 1;
}

char* put_double(char* at, double v) {
  if (std::isnan(v)) return put(at, "\"NaN\"");
  if (std::isinf(v)) return v > 0 ? put(at, "\"Infinity\"") : put(at, "\"-Infinity\"");
  return std::to_chars(at, at + 32, v).ptr;
}

constexpr std::size_t kPointRest = 128;  // punctuation, names and the longest numbers of one point: 45 + 24 + 20 + 20

}  // namespace

std::size_t encoded_size(const MetricPoint& p) {
  std::size_t size = p.key.size() + 110;
  for (char c : p.key)
    if (static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\') size += 5;
  return size;
}

void encode_log_batch(std::string_view run_id, const MetricPoint* points, std::size_t count, std::string_view tag_key,
                      std::string_view tag_value, std::string* out) {
  out->append("{\"run_id\":").append(Json(run_id).dump(-1, ' ', false, Json::error_handler_t::replace));
  if (count > 0) {
    std::string arena;
    Keys keys(&arena);
    out->append(",\"metrics\":[");
    std::size_t used = out->size();
    for (std::size_t i = 0; i < count; ++i) {
      const MetricPoint& p = points[i];
      const std::string_view key = keys.escaped(p.key);
      if (out->size() < used + key.size() + kPointRest)
        out->resize(std::max(used + (key.size() + kPointRest) * (count - i) * 3 / 4, used + key.size() + kPointRest));
      char* at = out->data() + used;
      if (i > 0) *at++ = ',';
      at = put(at, "{\"key\":");
      std::memcpy(at, key.data(), key.size());
      at = put(at + key.size(), ",\"value\":");
      at = put_double(at, p.point.value);
      at = put(at, ",\"timestamp\":");
      at = std::to_chars(at, at + 24, p.point.time_ms).ptr;
      at = put(at, ",\"step\":");
      at = std::to_chars(at, at + 24, p.point.step).ptr;
      *at++ = '}';
      used = static_cast<std::size_t>(at - out->data());
    }
    out->resize(used);
    out->push_back(']');
  }
  if (!tag_key.empty()) {
    Json tag;
    tag["key"] = tag_key;
    tag["value"] = tag_value;
    out->append(",\"tags\":[").append(dump(tag)).append("]");
  }
  out->push_back('}');
}

std::string encode_create_experiment(const model::Op& spec) {
  Json body;
  body["name"] = spec.key;
  if (!spec.value.empty()) body["artifact_location"] = spec.value;
  if (!spec.pairs.empty()) body["tags"] = pairs_json(spec.pairs);
  return dump(body);
}

std::string encode_create_run(std::string_view experiment_id, const model::Op& start, const Pairs& tags) {
  Pairs all;
  auto set = [&](const std::string& key, const std::string& value) {
    if (key == "mlflow.runName" && !start.value.empty()) return;  // the server refuses one that differs from run_name
    for (auto& [k, v] : all)
      if (k == key) {
        v = value;
        return;
      }
    all.emplace_back(key, value);
  };
  for (const auto& [key, value] : start.pairs) set(key, value);
  for (const auto& [key, value] : tags) set(key, value);
  set("mlops.uid", start.run.hex());
  Json body;
  body["experiment_id"] = experiment_id;
  body["start_time"] = start.time_ms;
  if (!start.value.empty()) body["run_name"] = start.value;
  for (const auto& [key, value] : all)
    if (key == "mlflow.user") body["user_id"] = value;
  body["tags"] = pairs_json(all);
  return dump(body);
}

std::string encode_search_runs(std::string_view experiment_id, std::string_view filter, bool deleted_too,
                               int max_results) {
  Json body;
  body["experiment_ids"] = Json::array({experiment_id});
  if (!filter.empty()) body["filter"] = filter;
  body["run_view_type"] = deleted_too ? "ALL" : "ACTIVE_ONLY";
  body["max_results"] = max_results;
  body["order_by"] = Json::array({"attributes.start_time DESC"});
  return dump(body);
}

std::string encode_pairs(std::string_view run_id, const char* field, const Pairs& pairs) {
  Json body;
  body["run_id"] = run_id;
  body[field] = pairs_json(pairs);
  return dump(body);
}

std::string encode_delete_tag(std::string_view run_id, std::string_view key) {
  Json body;
  body["run_id"] = run_id;
  body["key"] = key;
  return dump(body);
}

std::string encode_run_id(std::string_view run_id) {
  Json body;
  body["run_id"] = run_id;
  return dump(body);
}

std::string encode_update_run(std::string_view run_id, const char* status, std::int64_t end_ms, std::string_view name) {
  Json body;
  body["run_id"] = run_id;
  if (status) body["status"] = status;
  if (end_ms > 0) body["end_time"] = end_ms;
  if (!name.empty()) body["run_name"] = name;
  return dump(body);
}

}  // namespace mlops::mlflow
