// Engine: delivers one slot's runs to one destination. Lanes (one per run) on up to 4 connections, each lane on at most
// one at a time; concurrency adapts to the server's latency. Full-jitter backoff, no limit on retries while data is on
// disk.
//
// Only what is durable is sent. A lane: resolve the run on the server (lookup by mlops.uid before create), then windows
// of records: points (≤ 999 beside the watermark tag mlops.sync.<slot hash>), params, tags, deletes, name, end; then
// the cursor moves in the ledger. Ambiguous answers are proved by reading the watermark back before anything is
// repeated.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "buffer/buffer.h"
#include "ledger/ledger.h"
#include "mlops/delivery.h"
#include "mlops/health.h"
#include "mlops/options.h"

namespace mlops::sync {

class Turnstile;

struct EngineOptions {
  std::string slot_dir;
  ledger::Destination destination;
  Credentials credentials;                      // completed
  std::shared_ptr<buffer::Reader> reader;       // thread-safe
  std::function<std::uint64_t()> durable_beat;  // records of later beats are not sent
  std::function<bool()> lease_ok;               // asked before each request; empty = always
  /// The experiment of a run that another slot owns; empty when nobody knows yet. Empty: nobody ever does.
  std::function<std::string(const base::Uid& run)> experiment_of;
  /// Whether other slots hold files of a run of this one that are not delivered: its end waits. Empty: nobody does.
  std::function<bool(const base::Uid& run)> files_elsewhere;
  int max_connections = 4;
  std::shared_ptr<Turnstile> turnstile;         // shared by engines that deliver to one server; null: none
  std::shared_ptr<Turnstile> upload_turnstile;  // of files: they never wait in front of records
  std::function<const char*(const char*)> env;  // for stores that are not the tracking server's; empty: no variable
  bool says_trouble = true;                     // warns of it in the log; false: whoever runs it says it
  Millis backoff_first{1'000}, backoff_most{300'000};
};

class Engine {
 public:
  /// Starts the threads. While another deliverer holds the ledger, stands by and takes over within 2 s of its release.
  static Result<std::unique_ptr<Engine>> start(EngineOptions options);
  virtual ~Engine() = default;  // stops

  virtual void wake() = 0;  // new durable data; any thread, non-blocking
  /// Every point and op of the run (zero uid: of all runs) with seq < `seq` is delivered or dead. Works while standing
  /// by.
  virtual bool delivered(const base::Uid& run, std::uint64_t seq) const = 0;
  /// Waits until everything durable now is delivered, dead or parked; deadline_exceeded says what waits.
  virtual Status wait_idle(Millis deadline) = 0;
  virtual DestinationHealth health() const = 0;
  virtual DeliverProgress progress() const = 0;
  virtual std::uint64_t parked() const = 0;                               // runs that wait for somebody to act
  virtual std::uint64_t dead_points() const = 0;                          // points among the dead letters
  virtual Result<std::string> server_id(const base::Uid& run) const = 0;  // not_found until created
  /// What became of a registry intent; nothing while it waits.
  virtual std::optional<ledger::IntentResult> intent(const base::Uid& uid) const = 0;
  virtual std::uint64_t intents_waiting() const = 0;
  virtual std::optional<ledger::ModelState> logged_model(const base::Uid& uid) const = 0;  // nothing while it waits
  virtual bool is_deliverer() const = 0;
  virtual void retry_now() = 0;            // skip the current backoff (a person asked)
  virtual void stop(Millis deadline) = 0;  // ends the request in flight when it must; cursors are in the ledger
  virtual void after_fork_in_child() = 0;  // forgets threads and sockets without touching them
};

}  // namespace mlops::sync
