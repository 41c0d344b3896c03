// AttachedFiles: what other processes of this host, attached to a run, logged to it and its destination has not got
// yet. The run's end waits for these files, wherever they are: in the slot of a living process, or of one that is gone.
//
// Known is what slots have published: a file counts from the beat that brought it to the buffer (0.5 s). A slot that
// cannot be read holds up nothing. Slots of other hosts are not looked at.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "base/uid.h"

namespace mlops::client {

/// Thread-safe.
class AttachedFiles {
 public:
  explicit AttachedFiles(std::string destination) : destination_(std::move(destination)) {}

  /// Whether a slot beside this one, which owns the run, holds files of it that are neither delivered nor given up.
  /// Reads the summaries that have changed, and the databases of slots that are attached to the run.
  bool wait_for(const std::string& slot_dir, const base::Uid& run);
  /// Whether the slot is attached to any run, as far as it says.
  bool any(const std::string& slot_dir);

 private:
  struct Seen {
    std::int64_t time_ns = 0, size = 0;  // of the summary
    std::set<base::Uid> runs;            // attached ones
  };
  const Seen& look(const std::string& slot_dir);

  const std::string destination_;
  std::mutex mu_;
  std::map<std::string, Seen> seen_;
};

}  // namespace mlops::client
