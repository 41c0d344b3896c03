// Worker: what the drain thread does: opens the database, beats, fsyncs, ends dead runs, evicts, survives write errors.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "drain/artifacts.h"
#include "drain/outlet.h"
#include "drain/runs.h"
#include "drain/shared.h"
#include "drain/sources.h"

namespace mlops::drain {

class Worker {
 public:
  explicit Worker(std::shared_ptr<Shared> shared);
  /// Until closing is asked for and done.
  void run();

 private:
  struct Asked {
    std::uint64_t flush = 0;
    bool buffered = false, durable = false, closing = false;
  };
  Asked asked();

  // worker.cc: the loop and the database's life.
  Status open();
  void fail(const Status& why, const Asked& asked);
  void close();
  std::int64_t wait_ms() const;
  bool beat_due(const Asked& asked);
  void answer(const Asked& asked, bool durable);
  std::uint64_t answered_durable(std::uint64_t flush, bool durable);
  void well_again();
  Status may_write();                        // the lease of a slot on a network file system
  void say_to_others(const Status& buffer);  // on the control page: other processes cannot see our health
  void publish_stats();

  // beat.cc: one beat.
  Status beat();                  // collects, packs, writes; everything published before is buffered after it
  Status write_some(bool* more);  // one WriteBatch
  void take(Source* source, std::size_t most, bool* more);
  void end_dead_runs();
  Status sync();
  void let_journals_go();
  void take_drops_of_children();
  buffer::Drops drops() const;
  void say_drops(const buffer::Drops& drops);

  // upkeep.cc: what is done now and then.
  void write_summary(bool now);
  void check_quota();
  Status evict();
  Status evict_asked();
  Status evict_run(const base::Uid& uid);
  Status make_room();
  void follow_rate();
  void look_at_outbox(bool now);

  const std::shared_ptr<Shared> shared_;
  Slot* const slot_;
  journal::Writer* const writer_;
  const DrainOptions& options_;

  std::unique_ptr<buffer::Buffer> buffer_;
  std::unique_ptr<Outlet> outlet_;  // null: nobody reads from another node
  Runs runs_;
  Sources sources_;
  Artifacts artifacts_;
  std::deque<std::pair<std::uint64_t, std::uint64_t>> durable_goals_;  // flush, artifacts that must be named for it
  std::vector<std::pair<model::Op, base::Uid>> ops_;
  std::vector<std::pair<Source*, journal::Batch>> batches_;  // the first batches_used_ are filled; memory is kept
  std::size_t batches_used_ = 0;

  std::uint64_t beat_ = 0, durable_beat_ = 0;
  std::uint64_t beats_ = 0, fsyncs_ = 0, damaged_ = 0;
  std::uint64_t durable_points_ = 0, disk_bytes_ = 0;
  bool closing_ = false, over_quota_ = false, ticker_ = false, summary_dirty_ = false, hurry_ = false;
  buffer::Drops drops_before_, drops_of_children_, drops_written_;
  bool dead_runs_open_ = true;  // some run may have been left by a dead process
  Status buffer_status_;

  // Steady milliseconds.
  std::int64_t opened_at_ = 0, last_beat_ = 0, last_sync_ = 0, last_look_ = 0, last_summary_ = 0, summary_took_ = 0;
  std::int64_t retry_at_ = 0, backoff_ = 0, last_quota_ = 0, last_evict_ = 0, last_dead_ = 0, last_disk_ = 0;
  std::int64_t rate_since_ = 0, slow_since_ = 0;
  std::uint64_t rate_points_ = 0;
};

}  // namespace mlops::drain
