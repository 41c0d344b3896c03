// Outlet: the writing side of a slot's outbox (buffer/outbox.h), on network file systems. After each fsync what is new
// is sealed into a file and renamed into place; files go when every ledger of the slot has passed them.
//
// It is bounded. When it is full, the oldest files go; but not those that a deliverer on another node has not passed:
// then nothing new is published until it has. Whatever is not there is in the database: a deliverer whose ledger is
// behind what is published (a new one, one that was away) is seen within a second or so, and gets it published again.
// So an outbox is of one owner's life: who opens the slot begins with an empty one. A run that does not move (it is
// parked, it waits for another one) while others do is left out when there is no room, and tried again later.
//
// Used by the drain thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "buffer/buffer.h"
#include "drain/runs.h"
#include "ledger/ledger.h"

namespace mlops::drain {

struct OutletLimits {
  std::uint64_t bytes = 256u << 20, files = 1'024;
  std::size_t file_bytes = 4u << 20;  // of records in one file, about
};

class Outlet {
 public:
  explicit Outlet(std::string slot_dir, OutletLimits limits = {});

  /// Removes all files of a slot.
  static void clear(const std::string& slot_dir);
  /// The database was opened (again). `beat` is above all beats in it.
  void restart(const Runs& runs, const buffer::Identity& identity, std::uint64_t beat);
  /// This beat has something of the run.
  void touch(const Uid& run) { waiting_.insert(run); }
  void touch(const buffer::FileRow& row) { rows_waiting_.push_back(row); }
  /// After the fsync of all beats up to `beat`: publishes what waits. On failure it waits on, and the reason is told.
  void publish(const buffer::Buffer& buffer, Runs& runs, std::uint64_t beat);
  /// The summary says all that was published so far.
  void summary_written() { told_ = newest_; }
  /// Looks at the ledgers, now and then: what may go, what is wanted again.
  void look(Runs& runs, bool now);
  bool waits() const { return !waiting_.empty() || !rows_waiting_.empty(); }

 private:
  struct Span {  // of a run's numbers: what is published, without a hole
    std::uint64_t from = 0, until = 0;
    std::size_t metrics = 0;  // whose names are
  };
  struct Piece {
    Uid run;
    std::uint64_t until = 0;
  };
  struct Sealed {
    std::uint64_t number = 0, bytes = 0;
    std::vector<Piece> pieces;
  };
  struct Needs {  // of one ledger
    std::unordered_map<Uid, std::uint64_t, base::UidHash> from;
    bool active = false;  // its deliverer is on another node
  };
  struct Pace {  // of a run, over all active ledgers
    std::uint64_t need = 0;
    std::int64_t moved = 0;
  };

  bool publish_one(const buffer::Buffer& buffer, Runs& runs, std::uint64_t beat);
  bool make_room();
  std::deque<Sealed>::iterator remove(const std::deque<Sealed>::iterator& file);
  bool passed(const Sealed& file, bool by_active_only) const;
  std::uint64_t need(const Needs& needs, const Uid& run) const;
  void leave_out(const Sealed& file);
  void read_needs();
  std::string ledger_stamp() const;

  const std::string slot_dir_, folder_;
  const OutletLimits limits_;
  buffer::Identity identity_;
  std::unordered_map<Uid, Span, base::UidHash> spans_;
  std::set<Uid> waiting_;                      // runs with durable records that are not published
  std::vector<buffer::FileRow> rows_waiting_;  // of artifact bytes, that came after their records
  std::deque<Sealed> files_;                   // by number
  std::vector<Needs> needs_;                   // of each ledger of the slot
  std::string stamp_;                          // of the ledgers, as of needs_
  std::unordered_map<Uid, Pace, base::UidHash> paces_;
  std::map<Uid, std::int64_t> left_out_;  // since when
  std::int64_t moved_ = 0;                // any run of an active ledger
  std::uint64_t newest_ = 0, told_ = 0, bytes_ = 0;
  std::int64_t looked_ = 0, look_took_ = 0;
};

}  // namespace mlops::drain
