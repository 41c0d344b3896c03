// FileRows: the rows of artifact bytes that one WriteBatch changes: `a/`, `f/` and, counted over all of the batch,
// `b/`.
#pragma once

#include <map>
#include <string>

#include "buffer/buffer.h"
#include "buffer/kv.h"

namespace mlops::buffer {

class FileRows {
 public:
  FileRows(const Kv* kv, Batch* batch) : kv_(kv), batch_(batch) {}
  /// An artifact's record is written with this batch: its bytes are in the spool, without a name by content.
  void came(const Uid& run, std::uint64_t seq, const model::Op& op);
  /// A row changes. One that is not in the database is not made.
  Status set(const FileRow& row);
  /// All rows of the run's artifact records below `until` go.
  Status drop(const Uid& run, std::uint64_t until);
  /// Last: the counts. `freed` (may be null) gets what is named by nothing any more.
  void finish(Freed* freed);

 private:
  Status count(const FileRow& row, int by);

  const Kv* kv_;
  Batch* batch_;
  std::map<std::string, BlobRow> blobs_;  // those this batch changes
  std::vector<Uid> incoming_;
};

}  // namespace mlops::buffer
