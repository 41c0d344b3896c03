// Slot: one live process's directory in a root. `<root>/<host>/<slot>/{lock,control,db,journal,delivery,summary}`.
//
// On a network file system (and where MLOPS_JOURNAL says so) control page and journals are in a half of the slot on
// this node (base/place.h), and the slot has a lease beside its lock.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/lease.h"
#include "base/place.h"
#include "base/uid.h"
#include "journal/journal.h"
#include "mlops/status.h"

namespace mlops::drain {

inline constexpr std::uint64_t kControlMagic = 0x4c54434c53504f4d;  // "MOPSLCTL"
inline constexpr std::uint32_t kControlVersion = 1;

/// A slot that this process owns (flock) with its control page mapped.
struct Slot {
  std::string dir;
  std::string local;                    // where control page and new journals are: dir, or a half on this node
  std::vector<std::string> homes;       // every folder of this node with journals of this slot; local is the first
  std::vector<base::Half> far;          // halves of other nodes: what their journals hold is collected there, by and by
  std::vector<base::Uid> predecessors;  // writers whose journals were there when it was taken
  bool network = false;                 // other nodes read what is published in dir/outbox
  std::int64_t taken_ns = 0;  // system's coarse clock: what is in the spool from before is not counted yet; 0: it is
  base::FileLock lock;
  std::unique_ptr<base::Lease> lease;  // of network slots
  base::Mapping control_map;
  journal::Control* control() const { return reinterpret_cast<journal::Control*>(control_map.data()); }

  /// False: another node has the slot, or may have it soon; nothing may be written. Cheap; renews when due.
  bool hold() const { return lease == nullptr || lease->hold(); }
  /// After that: takes the lease again, when it can be had.
  Status hold_again();
  /// Halves whose journals are all collected go. Before the lock is let go.
  void tidy();
};

struct SlotInfo {
  std::string dir;
  std::string host;
  bool alive = false;  // somebody holds the lock, or another node the lease
};

/// The control page of a slot, read only, for those who do not own it. not_found, data_loss when it is none, or
/// unavailable when it is on another node.
Result<base::Mapping> open_control(const std::string& slot_dir);
/// The same for writing: to take tickets of a slot that another process owns, as a forked child of its owner does.
Result<base::Mapping> join_control(const std::string& slot_dir);

/// What the control page says of the slot's artifacts; all 0 when there is none.
struct SpoolState {
  std::uint64_t bytes = 0, waiting = 0, lost = 0;
};
SpoolState spool_state(const std::string& slot_dir);

/// Why the living owner of this slot cannot write its database; ok when it can, or when nobody owns the slot.
Status buffer_trouble(const SlotInfo& slot);

/// All slots of a root, of every host, sorted. A missing root: not_found.
Result<std::vector<SlotInfo>> find_slots(const std::string& root);
/// The experiment of a run, as its owner's slot says it; empty when no slot of this root owns it, or did not say so
/// yet.
std::string experiment_of(const std::string& root, const base::Uid& run);
/// Which free slot a process would have.
struct SlotWish {
  base::Uid run{};        // one that holds this run, by its summary; zero: no wish
  std::string job{};      // of ranks of this job, which may hold its run (mark_slot); empty: no job
  bool owns_job = false;  // one marked so is for this process; else it is for another one, and left to it
};
/// Takes the free slot of the wish, else any free one of this host, else makes one.
Result<std::unique_ptr<Slot>> acquire_slot(const std::string& root, const std::string& host, const SlotWish& wish,
                                           const base::Placing& placing = {});
/// From now on the slot is the one that holds the run of this job (file `job`).
Status mark_slot(const std::string& slot_dir, const std::string& job);
/// Takes exactly this slot; unavailable when it is held.
Result<std::unique_ptr<Slot>> acquire_slot_at(const std::string& slot_dir, const base::Placing& placing = {});
/// Is any other process of this host attached to the run (a live slot with an attached, not ended row)?
bool has_live_attachment(const std::string& root, const base::Uid& run);

}  // namespace mlops::drain
