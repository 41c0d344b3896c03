#include "sync/inputs.h"

#include <algorithm>

#include "base/file.h"
#include "buffer/spool.h"
#include "model/dataset.h"

namespace mlops::sync {
namespace {

Result<std::string> read_bytes(const Shared& shared, const std::string& name) {
  base::Uid uid;
  if (!base::Uid::parse(name, &uid)) return Status(StatusCode::data_loss, "a dataset's record names no bytes");
  Result<buffer::FileRow> row = shared.reader->file(uid);
  const bool not_yet = row.ok() ? row->beat > shared.durable_beat() : row.status().code() == StatusCode::not_found;
  if (not_yet) return Status(StatusCode::unavailable, "the bytes of a dataset's record are not durable yet");
  if (!row.ok()) return row.status();
  Result<std::string> path = buffer::Spool(shared.slot_dir).find(*row);
  if (!path.ok()) return path.status();
  return base::read_file(*path, std::max<std::uint64_t>(1, row->size));
}

}  // namespace

Result<mlflow::DatasetInput> read_dataset(const Shared& shared, const model::Op& input) {
  mlflow::DatasetInput out;
  out.name = input.key;
  out.digest = input.value;
  for (const auto& [key, value] : input.pairs) {
    std::string_view name = key;
    if (name.substr(0, model::kTagPrefix.size()) == model::kTagPrefix) {
      out.tags.emplace_back(name.substr(model::kTagPrefix.size()), value);
      continue;
    }
    const bool spooled = !name.empty() && name.back() == '@';
    if (spooled) name.remove_suffix(1);
    std::string* const field = name == model::kSourceType   ? &out.source_type
                               : name == model::kDataSource ? &out.source
                               : name == model::kSchema     ? &out.schema
                               : name == model::kProfile    ? &out.profile
                                                            : nullptr;
    if (field == nullptr) continue;  // of a newer version
    *field = value;
    if (!spooled) continue;
    Result<std::string> bytes = read_bytes(shared, value);
    if (!bytes.ok()) return bytes.status();
    *field = std::move(*bytes);
  }
  return out;
}

}  // namespace mlops::sync
