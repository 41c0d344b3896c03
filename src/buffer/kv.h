// Kv: an ordered key-value store on disk with atomic batches and a write-ahead log. The face of RocksDB for this room;
// only kv.cc knows it. Reads are thread-safe; writes come from one thread.
//
// close() refuses new calls, waits for those under way and then lets go of every file; later calls answer
// failed_precondition. Errors: not_found, resource_exhausted (disk full), data_loss (corruption), permission_denied,
// unavailable (other I/O; the owner reopens).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "mlops/status.h"

namespace mlops::buffer {

/// Writes that happen together or not at all.
class Batch {
 public:
  Batch();
  ~Batch();
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;
  void put(std::string_view key, std::string_view value);
  void erase(std::string_view key);
  void erase_range(std::string_view from, std::string_view until);  // until excluded

 private:
  friend class Kv;
  void* rep_;
};

class Kv {
 public:
  /// See buffer::prepare_library.
  static void prepare_library();
  /// See buffer::library.
  static std::string built_with();
  static std::string loaded_from();
  /// Opens or makes the store in `dir`. A folder that holds data but no store is data_loss, never made anew.
  static Result<std::unique_ptr<Kv>> open(const std::string& dir);
  /// A reader of another process's store: sees what was written when it was opened or last refreshed.
  static Result<std::unique_ptr<Kv>> open_secondary(const std::string& dir, const std::string& scratch);
  ~Kv();
  Kv(const Kv&) = delete;
  Kv& operator=(const Kv&) = delete;

  Status get(std::string_view key, std::string* value) const;
  /// Calls `take` for keys in [from, until) in order until it returns false. A consistent view of one moment.
  /// Ends early with failed_precondition when the store is closed meanwhile.
  Status each(std::string_view from, std::string_view until,
              const std::function<bool(std::string_view key, std::string_view value)>& take) const;
  /// The last key in [from, until); not_found when there is none.
  Status last(std::string_view from, std::string_view until, std::string* key) const;

  Status write(const Batch& batch);  // in the log when it returns: survives the process, not the machine
  Status sync();                     // the log reaches the device: survives the machine
  Status flush();                    // memtable to files, waits
  Status refresh();                  // secondaries: catch up with the owner
  /// Gives back the disk space of [from, until), whose keys must be erased already: whole files at once, the few
  /// that hold other keys too are rewritten. Blocks for that (some 10 ms per 10 MB).
  Status drop_files(std::string_view from, std::string_view until);
  void close();

 private:
  struct Rep;
  class Use;  // one call under way
  explicit Kv(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace mlops::buffer
