// Core: the engine's threads and what they share. A coordinator takes the ledger (or stands by), finds runs that have
// something new, moves waiting lanes on, publishes health and fsyncs the ledger; up to four workers, each with a
// connection of its own, run lanes a window at a time, round robin.
//
// The gate: trouble that concerns the whole destination closes it; one worker at a time tries again when its time has
// come, and the first good answer opens it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/uid.h"
#include "ledger/ledger.h"
#include "ledger/requests.h"
#include "sync/backoff.h"
#include "sync/concurrency.h"
#include "sync/engine.h"
#include "sync/lane.h"
#include "sync/remote.h"
#include "sync/shared.h"
#include "sync/upload.h"
#include "sync/window.h"

namespace mlops::sync {

/// What the engine is built from; tests give their own.
struct Parts {
  MakeRemote make_remote;
  std::function<Result<std::unique_ptr<store::Store>>(const store::Place&)>
      make_store;  // empty: no files are delivered
  std::function<Result<base::Fd>(const buffer::FileRow&)> open_file;
  std::function<Result<std::unique_ptr<ledger::Ledger>>()> open_ledger;
  std::function<Result<ledger::Ledger::Snapshot>()> read_ledger;
  std::function<std::vector<ledger::Asked>()> asked;     // empty: nobody can ask
  std::function<void(const ledger::Asked&)> asked_done;  // applied: forget it
};
Parts real_parts(const EngineOptions& options);
Result<std::unique_ptr<Engine>> start_engine(EngineOptions options, Parts parts);

class Core : public std::enable_shared_from_this<Core> {
 public:
  Core(EngineOptions options, Parts parts);
  void start();

  void wake();
  bool delivered(const base::Uid& run, std::uint64_t seq) const;
  Status wait_idle(Millis deadline);
  DestinationHealth health() const;
  DeliverProgress progress() const;
  std::uint64_t parked() const;
  std::uint64_t dead_points() const;
  Result<std::string> server_id(const base::Uid& run) const;
  std::optional<ledger::IntentResult> intent(const base::Uid& uid) const;
  std::uint64_t intents_waiting() const;
  std::optional<ledger::ModelState> logged_model(const base::Uid& uid) const;
  bool is_deliverer() const;
  void retry_now();
  void stop(Millis deadline);

 private:
  using Lock = std::unique_lock<std::mutex>;
  struct Entry {
    std::unique_ptr<Lane> lane;
    ledger::Lane seen;  // as of the last step
    std::uint64_t next_seq = 1, points = 0;
    std::uint64_t retries = 0;  // dead letters to be sent once more
    std::int64_t last_ms = 0, oldest_ms = 0;
    bool has_row = false;
    bool queued = false, running = false, delayed = false, again = false;
    bool hot = false;
    int turn = 0;                // windows it has sent in this turn
    std::uint64_t dry_beat = 0;  // the durable beat at which nothing was left
    bool dry = false;
    Status waits_for;        // in words, when that is worth saying
    bool forbidden = false;  // it waits because of a 403
  };
  enum class Gate { open, offline, waiting, auth, parked };

  // core.cc: the coordinator
  void coordinate();
  bool try_take_over(Lock& lock);
  void step_down(Lock& lock);
  void read_standby(Lock& lock, std::int64_t now);
  void publish(std::int64_t now);
  void take_requests(Lock& lock);
  void reload(Entry* entry);
  void files_there(const base::Uid& run);
  void end_ledger(Lock& lock);
  // scan.cc: what is new
  void scan(Lock& lock, std::int64_t now);
  void scan_hot(Lock& lock);
  void see_row(const model::RunRow& row, std::uint64_t beat);
  void make_ready(Entry* entry);
  void delay(Entry* entry, std::int64_t due);
  // work.cc: the workers
  void work(int index);
  bool may_take(std::int64_t now, std::int64_t* until) const;
  void take_turns(Entry* entry);
  void run_lane(Lock& lock, Entry* entry, Remote& remote, int index);
  bool only_here(const Entry& entry);
  void hold_back(Entry* entry, const mlflow::Answer& answer, std::int64_t now, bool said);
  mlflow::Answer handshake(Lock& lock, Remote& remote);
  void close_gate(Gate gate, const mlflow::Answer& answer, std::int64_t now);
  void open_gate();
  void note_error(const Status& status);
  void say_error(const Status& status) const;
  Entry& entry_of(const base::Uid& run);
  bool done(const Entry& entry) const;  // nothing known of it waits
  bool settled(const Entry& entry, std::uint64_t target, std::uint64_t beat) const;
  std::uint64_t place(const Entry& entry) const;
  std::uint64_t waiting_points() const;
  LaneState state() const;
  Status trouble(const UploadCounts& files) const;
  double lag_seconds(std::int64_t now_ms) const;
  std::uint64_t bytes_sent() const;

  EngineOptions options_;
  Parts parts_;
  Shared shared_;
  std::unique_ptr<Uploads> uploads_;  // its mutex comes after mu_

  mutable std::mutex mu_;
  std::condition_variable coordinator_cv_, worker_cv_, idle_cv_;
  bool stopping_ = false;
  bool woken_ = false, retry_asked_ = false, scan_forced_ = false;
  int alive_ = 0;
  std::vector<std::thread> threads_;
  std::vector<std::unique_ptr<Remote>> remotes_;  // one per worker

  std::unique_ptr<ledger::Ledger> ledger_;  // null: standing by
  bool stepping_down_ = false;
  ledger::Ledger::Snapshot standby_;
  std::int64_t standby_read_ = 0;

  std::unordered_map<base::Uid, std::unique_ptr<Entry>, base::UidHash> entries_;
  std::map<base::Uid, DeadMarks> dead_;  // from the ledger, until its lane is made
  std::deque<Entry*> ready_;
  std::multimap<std::int64_t, Entry*> delayed_;
  std::vector<Entry*> hot_;
  buffer::Identity identity_;  // of the buffer, as of the last look
  std::uint64_t scans_ = 0, scanned_beat_ = 0;
  std::uint64_t looked_beat_ = 0;  // the reader sees everything up to it
  std::int64_t next_scan_ = 0;

  Gate gate_ = Gate::open;
  std::int64_t gate_until_ = 0;
  bool gate_tried_ = false;  // a worker tries now
  bool handshake_due_ = true, handshaking_ = false, contact_due_ = false;
  Backoff gate_backoff_;
  std::uint64_t good_when_closed_ = 0, good_when_forbidden_ = 0;  // Shared::good at that moment
  std::set<base::Uid> forbidden_;                                 // lanes that got 403 since the last good answer
  int doubtful_streak_ = 0;                                       // answers of unknown fate in a row, over all lanes
  Status last_error_;
  Concurrency concurrency_;
  int working_ = 0;

  std::uint64_t bytes_before_ = 0;  // of connections that are gone
  std::int64_t published_ = 0, ledger_synced_ = 0;
  bool ledger_dirty_ = false;
  std::uint64_t rate_points_ = 0;
  std::int64_t rate_ms_ = 0;
  int rate_looks_ = 0;
  double points_per_second_ = 0;
  std::uint64_t rate_waiting_ = 0;
  double pace_ = 0;  // points per second while a backlog is delivered; kept in the ledger for estimates
};

}  // namespace mlops::sync
