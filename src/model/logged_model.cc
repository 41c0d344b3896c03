#include "model/logged_model.h"

#include <algorithm>
#include <string>

#include "model/limits.h"

namespace mlops::model {

Status check_logged_model_name(std::string_view name) {
  if (Status s = check_text("model name", name, kModelNameChars, false); !s.ok()) return s;
  const auto bad = [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F ||
           std::string_view("/:.%\"'#\\?;").find(c) != std::string_view::npos;
  };
  if (std::any_of(name.begin(), name.end(), bad) || name.front() == ' ' || name.back() == ' ') {
    return Status(
        StatusCode::invalid_argument,
        "model name \"" + std::string(cut_chars(name, 60)) +
            "\" holds a character that MLflow refuses or its paths lose: none of / : . % \" ' # \\ ? ; and no "
            "space at either end");
  }
  return {};
}

Status add_model_pairs(std::string_view prefix, const Pairs& pairs, Pairs* out) {
  const bool param = prefix == kParamPrefix;
  for (const auto& [key, value] : pairs) {
    if (Status s = check_key(param ? "param of the model" : "tag of the model", key); !s.ok()) return s;
    Status s = param ? check_text("param value", value, kModelParamChars, true)
                     : check_text("tag value", value, kModelTagChars, true);
    if (!s.ok()) return s;
    out->emplace_back(std::string(prefix) + key, value);
  }
  return {};
}

}  // namespace mlops::model
