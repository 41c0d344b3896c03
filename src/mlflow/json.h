// Json: the JSON library, and what every reader and writer of this room does with it. Servers write ids and int64 as
// numbers or strings, and leave out lists that are empty. Private to mlflow: for its encoders and decoders only.
#pragma once

#include <charconv>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "mlflow/mlflow.h"

namespace mlops::mlflow {

using nlohmann::json;
using Json = nlohmann::ordered_json;  // what is written: as its author ordered it

inline std::string dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

inline Json pairs_json(const Pairs& pairs) {
  Json list = Json::array();
  for (const auto& [key, value] : pairs) list.push_back({{"key", key}, {"value", value}});
  return list;
}

/// Null: not there.
inline const json* field(const json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(name);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

/// Empty: not there, or neither a string nor an integer.
inline std::string text(const json& object, const char* name) {
  const json* v = field(object, name);
  if (v == nullptr) return {};
  if (v->is_string()) return v->get_ref<const std::string&>();
  if (v->is_number_integer()) return std::to_string(v->get<std::int64_t>());
  return {};
}

/// 0: not there, or no integer.
inline std::int64_t number(const json& object, const char* name) {
  const std::string digits = text(object, name);
  std::int64_t out = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), out);
  return out;
}

/// Calls `take` for each object of the list; false when it is no list of objects. `object` may be null.
template <typename Take>
bool each(const json* object, const char* name, Take&& take) {
  const json* list = object == nullptr ? nullptr : field(*object, name);
  if (list == nullptr) return true;
  if (!list->is_array()) return false;
  for (const json& item : *list) {
    if (!item.is_object()) return false;
    take(item);
  }
  return true;
}

inline bool read_pairs(const json& object, const char* name, Pairs* out, const char* key = "key",
                       const char* value = "value") {
  out->clear();
  return each(&object, name, [&](const json& item) { out->emplace_back(text(item, key), text(item, value)); });
}

}  // namespace mlops::mlflow
