// Datasets: their digests, and how one becomes a record of a run.
#include "mlops/dataset.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>

#include "base/base.h"
#include "base/file.h"
#include "base/hex.h"
#include "client/dataset.h"
#include "client/json_text.h"
#include "client/run_impl.h"
#include "client/spool_in.h"
#include "model/dataset.h"

MLOPS_NAMESPACE_BEGIN

namespace {

constexpr std::size_t kRead = std::size_t{1} << 20;
constexpr std::size_t kInRecord = 40'000;  // bytes of all that may stand in the record; an op takes 48 KiB

std::size_t size_of(DataType type) {
  switch (type) {
    case DataType::boolean:
    case DataType::int8:
    case DataType::uint8:
      return 1;
    case DataType::int16:
    case DataType::uint16:
      return 2;
    case DataType::int32:
    case DataType::uint32:
    case DataType::float32:
      return 4;
    case DataType::int64:
    case DataType::uint64:
    case DataType::float64:
    case DataType::datetime:
      return 8;
    case DataType::text:
    case DataType::binary:
      return 0;
  }
  return 0;
}

std::string hex16(std::uint64_t h) {
  unsigned char bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<unsigned char>(h >> (56 - 8 * i));
  return base::to_hex(bytes, 8);
}

Result<std::string> digest_and_size(const std::string& path, std::uint64_t* size) {
  const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return base::errno_status(errno, "open", path);
  struct stat st{};
  if (::fstat(fd.get(), &st) != 0) return base::errno_status(errno, "stat", path);
  if (!S_ISREG(st.st_mode)) {
    return Status(StatusCode::failed_precondition, path + " is no regular file: a digest is of a file's bytes");
  }
  base::Digest sha;
  std::string block(kRead, '\0');
  *size = 0;
  for (;;) {
    const ssize_t n = ::read(fd.get(), block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::errno_status(errno, "read", path);
    if (n == 0) break;
    *size += static_cast<std::uint64_t>(n);
    sha.update(std::string_view(block.data(), static_cast<std::size_t>(n)));
  }
  std::string digest = sha.finish_hex();
  if (digest.empty()) return Status(StatusCode::internal, "the crypto library cannot take a digest");
  digest.resize(16);
  return digest;
}

}  // namespace

Result<std::string> digest_of_file(const std::string& path) {
  std::uint64_t size = 0;
  return digest_and_size(path, &size);
}

std::string digest_of_columns(const std::vector<Column>& columns) {
  std::uint64_t h = 0;
  for (const Column& column : columns) {
    h = base::hash64(column.name, h);
    const char* const type = client::tensor_type_name(column.type);
    h = base::hash64(type == nullptr ? "" : type, h);
    h = base::hash64({static_cast<const char*>(column.data), column.rows * size_of(column.type)}, h);
  }
  return hex16(h);
}

Result<Dataset> file_dataset(std::string_view name, const std::string& path) {
  std::uint64_t size = 0;
  Result<std::string> digest = digest_and_size(path, &size);
  if (!digest.ok()) return digest.status();
  char real[PATH_MAX];
  if (::realpath(path.c_str(), real) == nullptr) return base::errno_status(errno, "open", path);
  Dataset dataset;
  dataset.name = name;
  dataset.digest = std::move(*digest);
  dataset.source_type = "local";
  dataset.source = "{\"uri\": " + client::json_string(real) + "}";
  dataset.profile = "{\"num_bytes\": " + std::to_string(size) + "}";
  if (Status s = model::check_dataset(dataset, {}); !s.ok()) return s;
  return dataset;
}

Result<Dataset> columns_dataset(std::string_view name, const std::vector<Column>& columns) {
  Schema schema;
  for (const Column& c : columns) {
    if (size_of(c.type) == 0 || (c.data == nullptr && c.rows != 0) || c.rows != columns.front().rows) {
      return Status(
          StatusCode::invalid_argument,
          "column \"" + std::string(c.name) + "\": columns are of one length, with data, of a type of fixed size");
    }
    DataType type = c.type;  // a column's type that holds all values
    if (type == DataType::int8 || type == DataType::int16 || type == DataType::uint8 || type == DataType::uint16) {
      type = DataType::int32;
    } else if (type == DataType::uint32 || type == DataType::uint64) {
      type = DataType::int64;
    }
    schema.column(c.name, type);
  }
  if (Status s = schema.check(); !s.ok()) return s;
  const std::size_t rows = columns.empty() ? 0 : columns.front().rows;
  Dataset dataset;
  dataset.name = name;
  dataset.digest = digest_of_columns(columns);
  dataset.source = "{\"tags\": {\"mlflow.source.type\": \"LOCAL\"}}";
  dataset.schema = schema.dataset_json();
  dataset.profile =
      "{\"num_rows\": " + std::to_string(rows) + ", \"num_elements\": " + std::to_string(rows * columns.size()) + "}";
  if (Status s = model::check_dataset(dataset, {}); !s.ok()) return s;
  return dataset;
}

MLOPS_NAMESPACE_END

namespace mlops::client {

Status append_op(RunState* run, model::Op* op) {
  op->run = run->uid;
  if (op->time_ms == 0) op->time_ms = base::now_ms();
  const std::lock_guard<std::mutex> lock(run->core->mutex);
  if (run->ended) return ended_status(*run);
  return run->core->writer->append(op);
}

Status ended_status(const RunState& run) {
  return Status(StatusCode::failed_precondition,
                "run \"" + run.name() + "\" has ended or its client is closed: start or resume a run to log more");
}

Status put_input(RunState* run, const Dataset& dataset, std::string_view context) {
  if (Status s = model::check_dataset(dataset, context); !s.ok()) return s;
  const struct {
    std::string_view key, what;
    const std::string& value;
  } fields[] = {{model::kDataSource, "source", dataset.source},
                {model::kSchema, "schema", dataset.schema},
                {model::kProfile, "profile", dataset.profile}};
  for (const auto& field : fields) {
    if (field.value.empty()) continue;
    if (Status s = check_json(field.value); !s.ok()) {
      return Status(s.code(), "the " + std::string(field.what) + " of dataset \"" + dataset.name +
                                  "\" is no JSON text: " + std::string(s.message()));
    }
  }
  {
    const std::lock_guard<std::mutex> lock(run->core->mutex);
    if (run->ended) return ended_status(*run);
  }
  model::Op op;
  op.kind = model::OpKind::input;
  op.key = dataset.name;
  op.value = dataset.digest;
  op.pairs.emplace_back(model::kSourceType, dataset.source_type);
  if (!context.empty())
    op.pairs.emplace_back(std::string(model::kTagPrefix) + std::string(model::kContextTag), context);
  std::size_t bytes = 0;
  for (const auto& [key, value] : dataset.tags) {
    if (key == model::kContextTag && !context.empty()) continue;
    op.pairs.emplace_back(std::string(model::kTagPrefix) + key, value);
    bytes += key.size() + value.size() + 16;
  }
  for (const auto& field : fields) {
    if (field.value.empty()) continue;
    if (field.value.size() <= kInRecord / 4) {
      op.pairs.emplace_back(field.key, field.value);
      bytes += field.value.size();
      continue;
    }
    ArtifactIn in;
    in.path = "mlops-inputs/" + dataset.digest + "/" + std::string(field.key);
    in.bytes = field.value;
    in.pairs = {{std::string(model::kPartOf), "input"}};
    in.checked = true;
    std::string name;
    in.name = &name;
    if (Status s = put_artifact(run, in); !s.ok()) return s;
    op.pairs.emplace_back(std::string(field.key) + "@", name);
  }
  if (bytes > kInRecord) {
    return Status(StatusCode::invalid_argument, "the tags of dataset \"" + dataset.name +
                                                    "\" are more than a record takes (40,000 bytes): shorten them");
  }
  return append_op(run, &op);
}

}  // namespace mlops::client

MLOPS_NAMESPACE_BEGIN

Status Run::log_input(const Dataset& dataset, std::string_view context) noexcept {
  if (impl_ == nullptr) return client::moved_from();
  return client::put_input(impl_->state.get(), dataset, context);
}

MLOPS_NAMESPACE_END
