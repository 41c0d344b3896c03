#include "model/dataset.h"

#include <algorithm>

#include "model/limits.h"

namespace mlops::model {

bool is_part(const Op& artifact) {
  return std::any_of(artifact.pairs.begin(), artifact.pairs.end(),
                     [](const auto& pair) { return pair.first == kPartOf; });
}

Status check_dataset(const Dataset& dataset, std::string_view context) {
  const struct {
    std::string_view what, text;
    std::size_t chars;
    bool may_be_empty;
  } fields[] = {
      {"dataset name", dataset.name, kDatasetNameChars, false},
      {"dataset digest", dataset.digest, kDigestChars, false},
      {"dataset source type", dataset.source_type, kSourceTypeChars, false},
      {"dataset source", dataset.source, kSourceChars, false},
      {"dataset schema", dataset.schema, kSchemaChars, true},
      {"dataset profile", dataset.profile, kProfileChars, true},
      {"dataset context", context, kInputTagChars, true},
  };
  for (const auto& field : fields) {
    if (Status s = check_text(field.what, field.text, field.chars, field.may_be_empty); !s.ok()) return s;
  }
  for (const auto& [key, value] : dataset.tags) {
    if (Status s = check_text("key of a dataset's tag", key, kInputTagKeyChars, false); !s.ok()) return s;
    if (Status s = check_text("dataset tag " + key, value, kInputTagChars, true); !s.ok()) return s;
  }
  return {};
}

}  // namespace mlops::model
