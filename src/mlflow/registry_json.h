// Registry bodies and answers in JSON. Private to mlflow.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mlflow/decode.h"
#include "mlflow/registry.h"

namespace mlops::mlflow {

/// {"name": "…", …}: pairs in order; those with an empty value too.
std::string encode_fields(const std::vector<std::pair<const char*, std::string_view>>& fields);
std::string encode_new_model(std::string_view name, std::string_view description, const Pairs& tags);
std::string encode_new_version(const NewVersion& version);
std::string encode_stage(std::string_view name, std::string_view version, std::string_view stage, bool archive);

// Each returns false when the reply is not of that shape.
bool read_model(const Reply& reply, RemoteModel* out);
bool read_models(const Reply& reply, std::vector<RemoteModel>* out, std::string* next);  // appends
bool read_version(const Reply& reply, RemoteVersion* out);
bool read_versions(const Reply& reply, std::vector<RemoteVersion>* out, std::string* next);  // appends

}  // namespace mlops::mlflow
