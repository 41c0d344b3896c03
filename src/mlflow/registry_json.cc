// Registry bodies and answers: numbers as numbers or strings, absent lists as empty ones, as decode.cc reads the rest.
#include "mlflow/registry_json.h"

#include "mlflow/json.h"

namespace mlops::mlflow {
namespace {

bool model_of(const json& object, RemoteModel* out) {
  out->name = text(object, "name");
  out->description = text(object, "description");
  out->created_ms = number(object, "creation_timestamp");
  out->updated_ms = number(object, "last_updated_timestamp");
  return !out->name.empty() && read_pairs(object, "tags", &out->tags) &&
         read_pairs(object, "aliases", &out->aliases, "alias", "version");
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
  return !out->version.empty() && read_pairs(object, "tags", &out->tags);
}

/// Appends.
template <typename T, typename Read>
bool list_of(const Reply& reply, const char* name, std::vector<T>* out, std::string* next, Read&& read) {
  if (!reply.json) return false;
  if (next != nullptr) *next = text(*reply.json, "next_page_token");
  bool whole = true;
  const bool list =
      each(reply.json.get(), name, [&](const json& item) { whole = read(item, &out->emplace_back()) && whole; });
  return list && whole;
}

}  // namespace

std::string encode_fields(const std::vector<std::pair<const char*, std::string_view>>& fields) {
  Json out;
  for (const auto& [name, value] : fields) out[name] = value;
  return dump(out);
}

std::string encode_new_model(std::string_view name, std::string_view description, const Pairs& tags) {
  Json out;
  out["name"] = name;
  if (!tags.empty()) out["tags"] = pairs_json(tags);
  if (!description.empty()) out["description"] = description;
  return dump(out);
}

std::string encode_new_version(const NewVersion& version) {
  Json out;
  out["name"] = version.name;
  out["source"] = version.source;
  if (!version.run_id.empty()) out["run_id"] = version.run_id;
  if (!version.tags.empty()) out["tags"] = pairs_json(version.tags);
  if (!version.description.empty()) out["description"] = version.description;
  if (!version.model_id.empty()) out["model_id"] = version.model_id;
  return dump(out);
}

std::string encode_stage(std::string_view name, std::string_view version, std::string_view stage, bool archive) {
  Json out;
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
  Json out;
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
    bool whole = field(object, "files") != nullptr;
    const bool list = each(&object, "files", [&](const json& item) {
      const std::int64_t size = number(item, "size");
      out->push_back({text(item, "path"), text(item, "sha256"), static_cast<std::uint64_t>(size)});
      whole = whole && size >= 0 && !out->back().path.empty() && out->back().sha256.size() == 64;
    });
    return list && whole;
  } catch (...) {  // out of memory
    return false;
  }
}

}  // namespace mlops::mlflow
