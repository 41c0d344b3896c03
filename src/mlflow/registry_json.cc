// Registry bodies and answers: numbers as numbers or strings, absent lists as empty ones, as decode.cc reads the rest.
#include "mlflow/registry_json.h"

#include <charconv>
#include <nlohmann/json.hpp>

namespace mlops::mlflow {
namespace {

using nlohmann::json;
using Ordered = nlohmann::ordered_json;

std::string dump(const Ordered& value) { return value.dump(-1, ' ', false, Ordered::error_handler_t::replace); }

const json* field(const json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(name);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

std::string text(const json& object, const char* name) {
  const json* v = field(object, name);
  if (v == nullptr) return {};
  if (v->is_string()) return v->get_ref<const std::string&>();
  if (v->is_number_integer()) return std::to_string(v->get<std::int64_t>());
  return {};
}

std::int64_t number(const json& object, const char* name) {
  const std::string digits = text(object, name);
  std::int64_t out = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), out);
  return out;
}

bool pairs(const json& object, const char* name, const char* key, const char* value, Pairs* out) {
  out->clear();
  const json* list = field(object, name);
  if (list == nullptr) return true;
  if (!list->is_array()) return false;
  for (const json& item : *list) {
    if (!item.is_object()) return false;
    out->emplace_back(text(item, key), text(item, value));
  }
  return true;
}

bool model_of(const json& object, RemoteModel* out) {
  out->name = text(object, "name");
  out->description = text(object, "description");
  out->created_ms = number(object, "creation_timestamp");
  out->updated_ms = number(object, "last_updated_timestamp");
  return !out->name.empty() && pairs(object, "tags", "key", "value", &out->tags) &&
         pairs(object, "aliases", "alias", "version", &out->aliases);
}

bool version_of(const json& object, RemoteVersion* out) {
  out->name = text(object, "name");
  out->version = text(object, "version");
  out->description = text(object, "description");
  out->source = text(object, "source");
  out->run_id = text(object, "run_id");
  out->model_id = text(object, "model_id");
  out->status = text(object, "status");
  out->stage = text(object, "current_stage");
  out->user = text(object, "user_id");
  out->created_ms = number(object, "creation_timestamp");
  out->updated_ms = number(object, "last_updated_timestamp");
  out->aliases.clear();
  if (const json* list = field(object, "aliases"); list != nullptr && list->is_array()) {
    for (const json& alias : *list) {  // names; objects on some servers
      if (alias.is_string()) out->aliases.push_back(alias.get<std::string>());
      if (alias.is_object()) out->aliases.push_back(text(alias, "alias"));
    }
  }
  return !out->version.empty() && pairs(object, "tags", "key", "value", &out->tags);
}

template <typename T, typename Read>
bool list_of(const Reply& reply, const char* name, std::vector<T>* out, std::string* next, Read&& read) {
  if (!reply.json) return false;
  if (next != nullptr) *next = text(*reply.json, "next_page_token");
  const json* list = field(*reply.json, name);
  if (list == nullptr) return true;
  if (!list->is_array()) return false;
  for (const json& item : *list) {
    out->emplace_back();
    if (!read(item, &out->back())) return false;
  }
  return true;
}

Ordered tags_json(const Pairs& tags) {
  Ordered list = Ordered::array();
  for (const auto& [key, value] : tags) list.push_back({{"key", key}, {"value", value}});
  return list;
}

}  // namespace

std::string encode_fields(const std::vector<std::pair<const char*, std::string_view>>& fields) {
  Ordered out;
  for (const auto& [name, value] : fields) out[name] = value;
  return dump(out);
}

std::string encode_new_model(std::string_view name, std::string_view description, const Pairs& tags) {
  Ordered out;
  out["name"] = name;
  if (!tags.empty()) out["tags"] = tags_json(tags);
  if (!description.empty()) out["description"] = description;
  return dump(out);
}

std::string encode_new_version(const NewVersion& version) {
  Ordered out;
  out["name"] = version.name;
  out["source"] = version.source;
  if (!version.run_id.empty()) out["run_id"] = version.run_id;
  if (!version.tags.empty()) out["tags"] = tags_json(version.tags);
  if (!version.description.empty()) out["description"] = version.description;
  if (!version.model_id.empty()) out["model_id"] = version.model_id;
  return dump(out);
}

std::string encode_stage(std::string_view name, std::string_view version, std::string_view stage, bool archive) {
  Ordered out;
  out["name"] = name;
  out["version"] = version;
  out["stage"] = stage;
  out["archive_existing_versions"] = archive;
  return dump(out);
}

bool read_model(const Reply& reply, RemoteModel* out) {
  const json* model = reply.json ? field(*reply.json, "registered_model") : nullptr;
  return model != nullptr && model_of(*model, out);
}

bool read_models(const Reply& reply, std::vector<RemoteModel>* out, std::string* next) {
  return list_of(reply, "registered_models", out, next, model_of);
}

bool read_version(const Reply& reply, RemoteVersion* out) {
  const json* version = reply.json ? field(*reply.json, "model_version") : nullptr;
  return version != nullptr && version_of(*version, out);
}

bool read_versions(const Reply& reply, std::vector<RemoteVersion>* out, std::string* next) {
  return list_of(reply, "model_versions", out, next, version_of);
}

std::string encode_promotion(const Promotion& promotion) {
  Ordered out;
  out["verb"] = promotion.verb;
  out["alias"] = promotion.alias;
  out["from"] = promotion.from;
  out["to"] = promotion.to;
  out["who"] = promotion.who;
  out["why"] = promotion.why;
  out["time_ms"] = promotion.time_ms;
  return dump(out);
}

bool decode_promotion(std::string_view bytes, Promotion* out) {
  try {
    const json object = json::parse(bytes, nullptr, false);
    if (!object.is_object()) return false;
    out->verb = text(object, "verb");
    out->alias = text(object, "alias");
    out->from = text(object, "from");
    out->to = text(object, "to");
    out->who = text(object, "who");
    out->why = text(object, "why");
    out->time_ms = number(object, "time_ms");
    return !out->alias.empty() && !out->to.empty();
  } catch (...) {  // out of memory
    return false;
  }
}

bool decode_manifest(std::string_view bytes, std::vector<ManifestFile>* out) {
  out->clear();
  try {
    const json object = json::parse(bytes, nullptr, false);
    const json* files = field(object, "files");
    if (files == nullptr || !files->is_array()) return false;
    for (const json& item : *files) {
      if (!item.is_object()) return false;
      ManifestFile file;
      file.path = text(item, "path");
      file.sha256 = text(item, "sha256");
      const std::int64_t size = number(item, "size");
      if (file.path.empty() || file.sha256.size() != 64 || size < 0) return false;
      file.size = static_cast<std::uint64_t>(size);
      out->push_back(std::move(file));
    }
    return true;
  } catch (...) {  // out of memory
    return false;
  }
}

}  // namespace mlops::mlflow
