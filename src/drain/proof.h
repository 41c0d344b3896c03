// Proof: what the ledgers of a slot know that its database does not (any more), and what may therefore be evicted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "buffer/buffer.h"
#include "drain/runs.h"

namespace mlops::drain {

/// Where a ledger's cursor is above what the database has of a run (its tail or all of it was lost), the run's numbers
/// start at that cursor, so that no seq means two records. `bump`: this loss is new, the generation must grow.
struct Floors {
  std::vector<std::pair<base::Uid, std::uint64_t>> next_seq;
  bool bump = false;
};
Floors floors_of(const std::string& slot_dir, const buffer::Reader& reader, Status* status);

struct RetentionOptions {
  std::string root, slot_dir;
  std::uint64_t retention_mib = 0;
  std::uint32_t retention_days = 0;
};
/// Ended runs that every known destination has whole and that are too old or in the way, oldest end first. None while
/// no destination is known: then the buffer is the store.
std::vector<base::Uid> evictable(const RetentionOptions& options, const Runs& runs, const buffer::Identity& identity,
                                 std::uint64_t slot_bytes);

}  // namespace mlops::drain
