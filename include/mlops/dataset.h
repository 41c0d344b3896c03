// Dataset: what a run was trained or judged on, as MLflow shows it; and Schema: columns or tensors from C++ types, for
// datasets and for the signatures of models. Values only: nothing here waits, but for the helpers that read a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "mlops/options.h"
#include "mlops/status.h"

MLOPS_NAMESPACE_BEGIN

/// MLflow's column types and, beside them, what only tensors can be of. The comment is what MLflow writes.
enum class DataType : int {
  boolean = 1,   ///< boolean; tensor: bool
  int32 = 2,     ///< integer; int32
  int64 = 3,     ///< long; int64
  float32 = 4,   ///< float; float32
  float64 = 5,   ///< double; float64
  text = 6,      ///< string; str
  binary = 7,    ///< binary; bytes
  datetime = 8,  ///< datetime; datetime64[ns]
  int8 = 9,      ///< tensors only, as are those below
  int16 = 10,
  uint8 = 11,
  uint16 = 12,
  uint32 = 13,
  uint64 = 14,
};

/// The DataType of a C++ type: bool, integers by size and sign, float, double, std::string.
template <typename T>
constexpr DataType data_type() noexcept {
  if constexpr (std::is_same_v<T, bool>) {
    return DataType::boolean;
  } else if constexpr (std::is_same_v<T, float>) {
    return DataType::float32;
  } else if constexpr (std::is_same_v<T, double>) {
    return DataType::float64;
  } else if constexpr (std::is_convertible_v<T, std::string_view>) {
    return DataType::text;
  } else {
    static_assert(std::is_integral_v<T>, "no MLflow type for this C++ type: name a DataType");
    constexpr bool sign = std::is_signed_v<T>;
    return sizeof(T) == 1   ? (sign ? DataType::int8 : DataType::uint8)
           : sizeof(T) == 2 ? (sign ? DataType::int16 : DataType::uint16)
           : sizeof(T) == 4 ? (sign ? DataType::int32 : DataType::uint32)
                            : (sign ? DataType::int64 : DataType::uint64);
  }
}

/// Columns, or tensors; not both. A mistake (both kinds, a column of a type that columns cannot be of, an empty name of
/// a column) is kept and is what check() and whoever takes the schema say.
class MLOPS_API Schema {
 public:
  Schema& column(std::string_view name, DataType type, bool required = true);
  template <typename T>
  Schema& column(std::string_view name, bool required = true) {
    return column(name, data_type<T>(), required);
  }
  /// `shape`: -1 where the size may differ, first the batch. A name may be empty when there is one tensor only.
  Schema& tensor(std::string_view name, DataType type, const std::vector<std::int64_t>& shape);
  template <typename T>
  Schema& tensor(std::string_view name, const std::vector<std::int64_t>& shape) {
    return tensor(name, data_type<T>(), shape);
  }
  bool empty() const noexcept { return entries_.empty(); }
  Status check() const { return wrong_; }
  std::string json() const;          ///< as in a model's signature: a list
  std::string dataset_json() const;  ///< as of a dataset: {"mlflow_colspec": …} or {"mlflow_tensorspec": …}

 private:
  std::string entries_;
  bool tensors_ = false;
  Status wrong_;
};

/// A column in memory: `rows` values of `type` one after the other.
struct Column {
  std::string_view name;
  DataType type = DataType::float64;
  const void* data = nullptr;
  std::size_t rows = 0;
};
template <typename T>
Column column(std::string_view name, const T* data, std::size_t rows) {
  static_assert(std::is_arithmetic_v<T>, "values of a fixed size");
  return {name, data_type<T>(), data, rows};
}

/// What Run::log_input takes. Lengths are characters; they are MLflow's and its databases'.
struct Dataset {
  std::string name;    ///< 1..500
  std::string digest;  ///< 1..36; MLflow's own are 8 hex digits. With the name it is the dataset's identity
  std::string source_type = "code";  ///< 1..36: "local", "http", "s3", "hugging_face", "code", …
  std::string source = "{}";         ///< JSON, 1..65,535: {"uri": "…"} and the like, by source_type
  std::string schema;                ///< JSON, at most 1,048,575; Schema::dataset_json()
  std::string profile;               ///< JSON, at most 16,777,215; {"num_rows": …, "num_elements": …}
  Pairs tags;                        ///< of this use of it; keys 1..255, values at most 500
};

/// A dataset that is a file here: source {"uri": its absolute path}, digest_of_file, a profile of its size. Reads the
/// file: blocks as long as that takes. not_found, permission_denied, failed_precondition (no regular file).
MLOPS_API Result<Dataset> file_dataset(std::string_view name, const std::string& path);
/// One that lies in memory in columns: their digest, schema and profile; source_type "code". Columns of unequal
/// length, without data, or of a type without a fixed size: invalid_argument.
MLOPS_API Result<Dataset> columns_dataset(std::string_view name, const std::vector<Column>& columns);

/// The first 16 hex digits of the SHA-256 of its bytes: `sha256sum FILE | cut -c1-16`.
MLOPS_API Result<std::string> digest_of_file(const std::string& path);
/// 16 hex digits. With h = 0 first, for each column in turn: h = XXH3-64(name, seed h); h = XXH3-64(MLflow's name of
/// its tensor type, seed h); h = XXH3-64(its bytes as they lie in memory, seed h). So order, names and types count.
MLOPS_API std::string digest_of_columns(const std::vector<Column>& columns);

MLOPS_NAMESPACE_END
