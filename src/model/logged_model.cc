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

}  // namespace mlops::model
