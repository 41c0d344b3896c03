// Lease: who works on something that several nodes can reach, where a lock may not reach from node to node.
//
// A small file that its holder replaces at every heartbeat. Whoever wants it must have watched it stand still for as
// long as a holder may be silent, by a clock of his own: no two clocks are ever compared. A holder that could not renew
// for half of that time stops by itself, so that it has stopped before anybody may follow. It goes with the flock
// beside it, which is taken first: between processes of one node (host and boot id) the flock alone decides.
//
// File: "mlops-lease 1", then "nonce count dead_ms pid host boot-id". No file: nobody holds it.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "mlops/options.h"
#include "mlops/status.h"

namespace mlops::base {

/// How long a holder may be silent before others may follow: 60 s unless set. A heartbeat is a sixth of it. All nodes
/// of a root should have the same; a taker waits for the longer one of its own and the holder's.
void set_lease_silence(Millis dead);
Millis lease_silence();

class Lease {
 public:
  /// unavailable while another node holds it, with whose it is and how long it was silent so far (counted from the
  /// first look of this process). Call again; each call is a look.
  static Result<std::unique_ptr<Lease>> take(const std::string& path);
  /// Gives it back, unless it is lost, or this is a forked child.
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  /// Renews when a heartbeat is due. False: it is lost, or could not be renewed for too long; stop. Any thread; only
  /// the call that renews touches the file.
  bool hold();
  /// The same without renewing: for every request, at no cost.
  bool held() const;

 private:
  explicit Lease(std::string path);
  Status write();
  const std::string path_, nonce_;
  const std::int64_t dead_ms_;
  const pid_t pid_;
  std::uint64_t count_ = 0;
  std::mutex mutex_;  // of the one that renews
  std::atomic<std::int64_t> renewed_{0};
  std::atomic<bool> lost_{false};
};

/// For those who only look: another node holds it and has not been seen silent for too long. A lease of this node is
/// told by its flock, not here.
bool lease_alive_elsewhere(const std::string& path);
/// "process 12 on node7"; empty when nobody holds it.
std::string lease_holder(const std::string& path);

}  // namespace mlops::base
