#include "journal/segments.h"

#include <algorithm>
#include <utility>

namespace mlops::journal {

bool Segments::refresh() {
  if (chains_ != nullptr) {
    const Pool& pool = chains_->pool();
    for (std::size_t i = chunks_.size(); i < pool.chunk_count(); ++i) chunks_.push_back(pool.chunk(i));
    return true;
  }
  const auto names = base::list_dir(dir_);
  if (!names.ok()) return names.status().code() == StatusCode::not_found;
  bool whole = true;
  for (const std::string& name : *names) {
    if (name.size() < 8 || name.compare(name.size() - 4, 4, ".seg") != 0) continue;
    if (std::find(names_.begin(), names_.end(), name) != names_.end()) continue;
    auto map = base::Mapping::open(dir_ + "/" + name, true, kSegmentBytes);
    const StatusCode code = map.status().code();
    whole = whole && code != StatusCode::resource_exhausted && code != StatusCode::unavailable;
    if (!map.ok() || map->size() != kChunkBytes) continue;  // being made, or made by nobody: looked at again
    chunks_.push_back(map->data());
    maps_.push_back(std::move(*map));
    names_.push_back(name);
  }
  return whole;
}

bool Segments::alive() const {
  return chains_ != nullptr ? !chains_->closed() : base::FileLock::is_held(dir_ + "/lock");
}

}  // namespace mlops::journal
