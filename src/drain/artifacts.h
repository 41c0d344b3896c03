// Artifacts: what the drain thread keeps of artifact bytes between the spooler and the database: which records wait for
// their bytes' name, which rows wait for a beat, which for an fsync; and the sweep of what dead processes left.
//
// Used by the drain thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "buffer/buffer.h"
#include "drain/slot.h"
#include "drain/spooler.h"

namespace mlops::drain {

class Artifacts {
 public:
  /// `ring` wakes the drain thread.
  Artifacts(Slot* slot, std::uint64_t most_bytes, std::function<void()> ring);

  /// The database was opened (again), its journals are about to be read. `known_runs`: it knows of any; one made anew
  /// does not, and then nothing is removed that it knows nothing of.
  Status opened(const buffer::Buffer& buffer, bool known_runs);
  /// After a beat: everything published before it is in the database. What was in the spool when it was opened, had no
  /// lock after one beat and no record after the next will never have one. `whole`: every journal could be read.
  void recovered(const buffer::Buffer& buffer, bool whole);

  bool anything() const { return !hashed_.empty(); }
  void take();                        // what the spooler has done
  void describe(buffer::Beat* beat);  // into the next beat; its number is set
  void written(const buffer::Beat& beat);
  void synced();
  void freed(buffer::Freed freed);
  void answer_wish();
  void wind_down();  // hashes no more
  void stop();

  /// Records seen, and those whose bytes' names are durable, since this process has the slot. Equal: nothing waits.
  std::uint64_t given() const { return given_; }
  std::uint64_t done() const { return done_; }
  std::uint64_t lost() const { return lost_; }

 private:
  Spooler* spooler();
  void hash(buffer::ArtifactRow artifact);
  void publish();  // on the control page
  void look(const buffer::Buffer& buffer, bool known_runs);
  void sweep_contents(const buffer::Buffer& buffer);

  Slot* const slot_;
  const buffer::Spool spool_;
  const std::uint64_t most_bytes_;
  const std::function<void()> ring_;
  std::unique_ptr<Spooler> spooler_;  // made by the first artifact

  absl::flat_hash_set<base::Uid, base::UidHash> waiting_;  // from the record on until the name is durable
  std::vector<buffer::FileRow> hashed_;                    // for the next beat
  std::vector<buffer::FileRow> written_;                   // for the next fsync
  std::vector<base::Uid> orphans_;                         // perhaps
  bool looked_ = false, swept_ = false, unlocked_ = false;
  std::uint64_t given_ = 0, done_ = 0, lost_ = 0;
};

}  // namespace mlops::drain
