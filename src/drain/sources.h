// Sources: the journals of a slot: this process's, those of dead predecessors, those of forked children wherever and
// whenever they appear. A journal is removed when its writer is dead and all of it is durable, and its cursors leave
// the database only after its folder has left the disk: so nothing is ever collected twice.
//
// Used by the drain thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "buffer/buffer.h"
#include "drain/runs.h"
#include "drain/slot.h"
#include "journal/journal.h"

namespace mlops::drain {

struct Source {
  std::unique_ptr<journal::Collector> collector;
  base::Uid writer;
  std::string dir;
  bool own = false;
  bool dead_at_open = false;  // a predecessor's: read to its end before anything of this process
  KeyTable keys;
  std::vector<journal::Cursor> taken;  // of the newest beat written
  bool moved = false;                  // collected something since the newest beat
  bool unsynced = false;               // taken is ahead of durable
  std::uint64_t since_sync = 0;        // points collected since the newest fsync
};

class Sources {
 public:
  /// `own`: may be null; its journal is in the first of the slot's homes.
  Sources(const Slot* slot, journal::Writer* own);

  /// After the database was opened (again): every journal goes on from the cursors the database has.
  Status restart(const buffer::Reader& reader);
  /// Looks for new journals (forked children's). True when there was one.
  bool look();
  /// Cheap test for look: the folder has changed since, or too little time has passed to tell.
  bool folder_changed();

  std::vector<std::unique_ptr<Source>>& all() { return sources_; }
  Source* own() { return own_; }
  bool recovering() const;  // a predecessor's journal is not read to its end yet
  bool others() const { return sources_.size() > (own_ != nullptr ? 1u : 0u); }
  bool holds(const base::Uid& writer) const;
  std::uint64_t pending() const;

  /// Cursors of what was collected since the newest beat, for the next one; and whose cursors are to be deleted.
  void describe(buffer::Beat* beat);
  /// The beat is written. `pressure`: our segments go back now, before they are durable; another writer's (whose pool
  /// is not seen from here) when more than `others_points` wait for the fsync.
  void written(bool pressure, std::uint64_t others_points);
  /// All that was written is durable: segments go back, finished journals are removed. True when one was removed.
  bool synced();
  bool whole() const { return broken_.empty() && !far_; }  // every journal there is could be opened
  const Status& broken() const { return why_broken_; }     // the first one that could not, and why
  bool has_gone() const { return !gone_.empty(); }

 private:
  Source* add(std::unique_ptr<journal::Collector> collector, std::string dir, bool own, bool dead);
  void find_all(bool first);
  void find_in(const std::string& home, bool first);

  const std::vector<std::string> homes_;  // folders with journals, the first one for new ones
  const std::vector<base::Uid> predecessors_;
  const bool far_;  // other nodes have more
  journal::Writer* const own_writer_;
  std::vector<std::unique_ptr<Source>> sources_;
  Source* own_ = nullptr;
  std::vector<model::JournalCursor> persisted_;
  std::vector<base::Uid> gone_;    // folders removed; cursors still in the database
  std::vector<base::Uid> going_;   // the same, in the beat being written
  std::vector<base::Uid> broken_;  // journals that cannot be opened; looked at once more by the next process
  Status why_broken_;
  std::int64_t seen_mtime_ns_ = -1;
};

}  // namespace mlops::drain
