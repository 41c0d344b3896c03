// Proof: what the ledgers of a slot know that its database does not (any more), and what may therefore be evicted.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "buffer/buffer.h"
#include "drain/runs.h"
#include "ledger/ledger.h"

namespace mlops::drain {

/// Where a ledger's cursor is above what the database has of a run (its tail or all of it was lost), the run's numbers
/// start at that cursor, so that no seq means two records. `bump`: this loss is new, the generation must grow.
struct Floors {
  std::vector<std::pair<base::Uid, std::uint64_t>> next_seq;
  bool bump = false;
};
Floors floors_of(const std::string& slot_dir, const buffer::Reader& reader, Status* status);

/// What every destination this root knows has of a slot, by its ledgers as they are now. Nothing is whole while a
/// ledger or the list of remotes cannot be read, and while no destination is known: then the buffer is the store.
class Proof {
 public:
  /// `reader`, which must live as long, shows a run's artifacts; null: they are not looked at, and whoever evicts does.
  Proof(const std::string& root, const std::string& slot_dir, const buffer::Identity& identity,
        const buffer::Reader* reader = nullptr);
  /// Every record of the run is delivered or given up everywhere, and none is to be sent once more. So are
  /// all of its artifacts.
  bool whole(const model::RunRow& row) const;
  /// Which destinations lack records of it, by name. None although it is not whole: its artifacts are missing there, no
  /// destination is known in this slot, or `trouble`.
  std::vector<std::string> lacking(const model::RunRow& row) const;
  const Status& trouble() const { return trouble_; }  // why the ledgers or the remotes cannot be read

 private:
  bool has(const ledger::Ledger::Snapshot& snapshot, const model::RunRow& row) const;

  std::vector<ledger::Ledger::Snapshot> ledgers_;
  std::vector<std::string> absent_;  // remotes with no ledger here: nothing was delivered to them
  Status trouble_;
  const buffer::Reader* reader_;
  buffer::Identity identity_;
};

struct RetentionOptions {
  std::string root, slot_dir;
  std::uint64_t retention_mib = 0;
  std::uint32_t retention_days = 0;
  std::function<std::uint64_t(const base::Uid& run)> spool_bytes{};  // bytes of its artifacts in the spool
};
/// Bytes of the run's artifacts that are in the spool, as if no other run had the same; 0 when it cannot be read.
std::uint64_t spool_bytes_of(const buffer::Reader& reader, const base::Uid& run);
/// Bytes on the disk below the root less those of spools, which have a quota of their own.
std::uint64_t usage_without_spools(const std::string& root);

/// Ended runs that every known destination has whole and that are too old or in the way, oldest end first. None while
/// no destination is known: then the buffer is the store.
std::vector<base::Uid> evictable(const RetentionOptions& options, const Runs& runs, const buffer::Reader& reader,
                                 std::uint64_t slot_bytes);

}  // namespace mlops::drain
