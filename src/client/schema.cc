// Schema: MLflow's JSON for columns and tensors, as its own client writes it.
#include <charconv>

#include "client/dataset.h"
#include "client/json_text.h"
#include "mlops/dataset.h"
#include "model/limits.h"

MLOPS_NAMESPACE_BEGIN

namespace {

struct TypeName {
  const char* column;  // null: no column is of it
  const char* tensor;
};

TypeName name_of(DataType type) {
  switch (type) {
    case DataType::boolean:
      return {"boolean", "bool"};
    case DataType::int32:
      return {"integer", "int32"};
    case DataType::int64:
      return {"long", "int64"};
    case DataType::float32:
      return {"float", "float32"};
    case DataType::float64:
      return {"double", "float64"};
    case DataType::text:
      return {"string", "str"};
    case DataType::binary:
      return {"binary", "bytes"};
    case DataType::datetime:
      return {"datetime", "datetime64[ns]"};
    case DataType::int8:
      return {nullptr, "int8"};
    case DataType::int16:
      return {nullptr, "int16"};
    case DataType::uint8:
      return {nullptr, "uint8"};
    case DataType::uint16:
      return {nullptr, "uint16"};
    case DataType::uint32:
      return {nullptr, "uint32"};
    case DataType::uint64:
      return {nullptr, "uint64"};
  }
  return {nullptr, nullptr};
}

Status wrong(std::string_view name, const char* rule) {
  return Status(StatusCode::invalid_argument, "schema: \"" + std::string(model::cut_chars(name, 60)) + "\" " + rule);
}

}  // namespace

MLOPS_NAMESPACE_END

namespace mlops::client {
const char* tensor_type_name(DataType type) { return name_of(type).tensor; }
}  // namespace mlops::client

MLOPS_NAMESPACE_BEGIN

Schema& Schema::column(std::string_view name, DataType type, bool required) {
  const char* const type_name = name_of(type).column;
  if (!wrong_.ok()) return *this;
  if (tensors_ && !entries_.empty()) {
    wrong_ = wrong(name, "is a column beside tensors: a schema is of one kind");
  } else if (type_name == nullptr) {
    wrong_ = wrong(name, "is of a type that MLflow's columns cannot be of: widen it to int32, int64, float or double");
  } else if (Status s = model::check_text("column name", name, SIZE_MAX, false); !s.ok()) {
    wrong_ = s;
  } else {
    if (!entries_.empty()) entries_ += ", ";
    entries_ += "{\"type\": \"" + std::string(type_name) + "\", \"name\": " + client::json_string(name) +
                ", \"required\": " + (required ? "true" : "false") + "}";
  }
  return *this;
}

Schema& Schema::tensor(std::string_view name, DataType type, const std::vector<std::int64_t>& shape) {
  const char* const type_name = name_of(type).tensor;
  if (!wrong_.ok()) return *this;
  if (!tensors_ && !entries_.empty()) {
    wrong_ = wrong(name, "is a tensor beside columns: a schema is of one kind");
    return *this;
  }
  if (type_name == nullptr) {
    wrong_ = wrong(name, "is of no DataType that there is");
    return *this;
  }
  if (Status s = model::check_text("tensor name", name, SIZE_MAX, true); !s.ok()) {
    wrong_ = s;
    return *this;
  }
  std::string sizes;
  for (const std::int64_t n : shape) sizes += (sizes.empty() ? "" : ", ") + std::to_string(n);
  if (!entries_.empty()) entries_ += ", ";
  entries_ += "{\"type\": \"tensor\", ";
  if (!name.empty()) entries_ += "\"name\": " + client::json_string(name) + ", ";
  entries_ += "\"tensor-spec\": {\"dtype\": \"" + std::string(type_name) + "\", \"shape\": [" + sizes + "]}}";
  tensors_ = true;
  return *this;
}

std::string Schema::json() const { return "[" + entries_ + "]"; }

std::string Schema::dataset_json() const {
  if (!tensors_) return "{\"mlflow_colspec\": " + json() + "}";
  return "{\"mlflow_tensorspec\": {\"features\": " + client::json_string(json()) + ", \"targets\": null}}";
}

MLOPS_NAMESPACE_END
