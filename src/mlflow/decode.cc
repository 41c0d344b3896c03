// Decode: int64 as number or string, doubles as number or string ("NaN", "Infinity"), absent lists as empty lists:
// servers differ in all of them.
#include "mlflow/decode.h"

#include <cctype>
#include <charconv>
#include <limits>

#include "mlflow/json.h"

namespace mlops::mlflow {
namespace {

bool read_int(const json* v, std::int64_t* out) {
  if (!v) return false;
  if (v->is_number_unsigned() &&
      v->get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    return false;
  if (v->is_number_integer()) {
    *out = v->get<std::int64_t>();
    return true;
  }
  if (!v->is_string()) return false;
  const auto& s = v->get_ref<const std::string&>();
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), *out);
  return error == std::errc() && end == s.data() + s.size();
}

bool read_double(const json* v, double* out) {
  if (!v) return false;
  if (v->is_number()) {
    *out = v->get<double>();
    return true;
  }
  if (!v->is_string()) return false;
  const auto& s = v->get_ref<const std::string&>();
  if (s == "NaN" || s == "nan") return *out = std::numeric_limits<double>::quiet_NaN(), true;
  if (s == "Infinity" || s == "inf") return *out = std::numeric_limits<double>::infinity(), true;
  if (s == "-Infinity" || s == "-inf") return *out = -std::numeric_limits<double>::infinity(), true;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), *out);
  return error == std::errc() && end == s.data() + s.size();
}

bool read_last_points(const json& data, RemoteRun* out) {
  const json* list = field(data, "metrics");
  if (!list) return true;
  if (!list->is_array()) return false;
  for (const json& item : *list) {
    if (!item.is_object()) return false;
    std::int64_t step = 0;
    read_int(field(item, "step"), &step);  // 0 may be left out
    out->last_steps.emplace_back(text(item, "key"), step);
    double value = 0;
    if (read_double(field(item, "value"), &value)) out->last_values.emplace_back(text(item, "key"), value);
  }
  return true;
}

bool read_run_object(const json& run, RemoteRun* out) {
  const json* info = field(run, "info");
  if (!info) return false;
  out->run_id = text(*info, "run_id");
  if (out->run_id.empty()) out->run_id = text(*info, "run_uuid");
  out->experiment_id = text(*info, "experiment_id");
  out->name = text(*info, "run_name");
  out->lifecycle_stage = text(*info, "lifecycle_stage");
  out->status = text(*info, "status");
  out->artifact_uri = text(*info, "artifact_uri");
  out->params.clear();
  out->tags.clear();
  out->last_steps.clear();
  out->last_values.clear();
  if (out->run_id.empty()) return false;
  const json* data = field(run, "data");
  return !data || (read_pairs(*data, "params", &out->params) && read_pairs(*data, "tags", &out->tags) &&
                   read_last_points(*data, out));
}

bool contains_nocase(std::string_view text, std::string_view word) {
  for (std::size_t i = 0; i + word.size() <= text.size(); ++i) {
    std::size_t j = 0;
    while (j < word.size() && std::tolower(static_cast<unsigned char>(text[i + j])) == word[j]) ++j;
    if (j == word.size()) return true;
  }
  return false;
}

}  // namespace

Reply read_reply(const http::Response& response) {
  Reply reply;
  if (response.fate != http::Fate::answered) return reply;
  const std::string_view body = response.body;
  const auto first = body.find_first_not_of(" \t\r\n");
  if (first == body.npos) return reply;
  // MLflow sends plain words as text/html too ("Permission denied", a version): a page is what starts like one. But an
  // object of that type is nobody's good answer.
  const bool html_type = contains_nocase(response.content_type, "html");
  if (body[first] == '<' || (html_type && body[first] == '{')) {
    reply.form = Form::html;
    return reply;
  }
  reply.form = Form::text;
  try {
    json parsed = json::parse(body, nullptr, false);
    if (parsed.is_object()) {
      reply.form = Form::object;
      reply.error_code = text(parsed, "error_code");
      reply.message = text(parsed, "message");
      if (reply.message.empty()) reply.message = text(parsed, "detail");
      reply.json = std::make_shared<const json>(std::move(parsed));
      return reply;
    }
    if (!parsed.is_discarded()) reply.form = Form::json;
  } catch (...) {  // out of memory: then it is text to us
    reply.form = Form::text;
  }
  reply.message = body.substr(first, 2000);
  while (!reply.message.empty() && std::isspace(static_cast<unsigned char>(reply.message.back())))
    reply.message.pop_back();
  return reply;
}

bool read_text_field(const Reply& reply, const char* name, std::string* out) {
  if (!reply.json) return false;
  *out = text(*reply.json, name);
  return !out->empty();
}

std::optional<bool> read_flag(const Reply& reply, const char* name) {
  const json* value = reply.json ? field(*reply.json, name) : nullptr;
  return value && value->is_boolean() ? std::optional<bool>(value->get<bool>()) : std::nullopt;
}

bool read_experiment(const Reply& reply, std::string* id, bool* deleted) {
  const json* experiment = reply.json ? field(*reply.json, "experiment") : nullptr;
  if (!experiment) return false;
  *id = text(*experiment, "experiment_id");
  *deleted = text(*experiment, "lifecycle_stage") == "deleted";
  return !id->empty();
}

bool read_run(const Reply& reply, RemoteRun* out) {
  const json* run = reply.json ? field(*reply.json, "run") : nullptr;
  return run && read_run_object(*run, out);
}

bool read_runs(const Reply& reply, std::vector<RemoteRun>* out) {
  out->clear();
  if (!reply.json) return false;
  const json* runs = field(*reply.json, "runs");
  if (!runs) return true;
  if (!runs->is_array()) return false;
  for (const json& run : *runs) {
    out->emplace_back();
    if (!read_run_object(run, &out->back())) return false;
  }
  return true;
}

bool read_metrics(const Reply& reply, std::vector<model::Point>* out, std::string* next) {
  if (!reply.json) return false;
  *next = text(*reply.json, "next_page_token");
  const json* metrics = field(*reply.json, "metrics");
  if (!metrics) return true;
  if (!metrics->is_array()) return false;
  out->reserve(out->size() + metrics->size());
  for (const json& metric : *metrics) {
    model::Point p;
    if (!read_double(field(metric, "value"), &p.value) || !read_int(field(metric, "timestamp"), &p.time_ms))
      return false;
    if (field(metric, "step") && !read_int(field(metric, "step"), &p.step)) return false;
    out->push_back(p);
  }
  return true;
}

}  // namespace mlops::mlflow
