// Spooler: the thread that works on the slot's spool: reads files that are to be logged later, hashes what came in,
// gives files their content's name, removes what nothing names any more. In the order in which it is asked, one file at
// a time, memory bounded; the drain thread writes the rows and never waits for a file.
//
// A file is fsynced, and so is its folder, before its row is handed over; it is renamed only after the row is durable.
// So at every moment readers find it: under its content's name, else under the one it came with.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "buffer/buffer.h"
#include "buffer/spool.h"
#include "journal/journal.h"

namespace mlops::drain {

class Spooler {
 public:
  /// `ring` is called, on the thread, when there is something to take.
  Spooler(const std::string& slot_dir, journal::Control* control, std::uint64_t most_bytes, std::function<void()> ring);
  ~Spooler() { stop(); }
  Spooler(const Spooler&) = delete;
  Spooler& operator=(const Spooler&) = delete;

  void hash(buffer::ArtifactRow artifact);
  /// The row is durable: its file gets its content's name, or goes when the same bytes have it.
  void name(buffer::FileRow row);
  void remove(buffer::Freed freed);
  /// After all that was asked for before: nothing more can be freed (Control::spool_wanted).
  void answer_wish();

  /// Rows of files that were hashed, or lost, since the last call; in order, one for each hash().
  std::vector<buffer::FileRow> take();
  /// Nothing is hashed any more: that is left for the next process. Names and removals go on.
  void wind_down();
  /// wind_down, and the thread ends when it has done the rest. Waits for it.
  void stop();

 private:
  enum class Kind { hash, name, remove, answer };
  struct Task {
    Kind kind;
    buffer::ArtifactRow artifact;
    buffer::FileRow row;
    buffer::Freed freed;
  };
  void ask(Task task);
  void main();
  bool hash_now(const buffer::ArtifactRow& artifact);  // false: not now (try again later), or stopped
  Status read_source(const buffer::ArtifactRow& artifact, buffer::FileRow* row);
  Status digest(const std::string& path, buffer::FileRow* row);
  void settle();
  void name_now(const buffer::FileRow& row);
  void unlink(const std::string& path);
  void sync_folder(const std::string& path);

  const buffer::Spool spool_;
  journal::Control* const control_;
  const std::uint64_t most_bytes_;
  const std::function<void()> ring_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  std::vector<buffer::FileRow> hashed_;
  bool stopped_ = false;
  std::atomic<bool> stopping_{false};
  // The thread's own:
  std::vector<buffer::FileRow> unsettled_;  // the folder is not fsynced since
  bool renamed_ = false;                    // since the folder of names was fsynced
  std::thread thread_;
};

}  // namespace mlops::drain
