// Lane: what the engine's workers carry on, a step at a time: a run's records (RunLane), the registry's intents. Its
// place is a ledger::Lane, written before anything that cannot be repeated and after everything that is confirmed.
#pragma once

#include <cstdint>

#include "ledger/ledger.h"
#include "mlflow/mlflow.h"
#include "sync/remote.h"

namespace mlops::sync {

enum class Step {
  more,     // went on; call again
  dry,      // nothing durable is left to send
  wait,     // this lane waits `delay_ms`: for its parent, its owner, its artifacts, a proof; `answer.status` may say it
  parked,   // a person must act: Lane::state().parked
  blocked,  // the whole destination has trouble: `answer` says which
  local,    // the buffer or the ledger failed: `answer.status`
};

struct Outcome {
  Step step = Step::dry;
  std::int64_t delay_ms = 0;
  mlflow::Answer answer;
};

/// One thread at a time.
class Lane {
 public:
  virtual ~Lane() = default;
  /// One step: at most one window of records.
  virtual Outcome step(Remote& remote) = 0;
  virtual const ledger::Lane& state() const = 0;
  virtual std::uint64_t retries() const = 0;  // below the cursor: dead letters to be sent again, models to be ended
  virtual std::int64_t oldest_ms() const = 0;
  virtual void unpark() = 0;
  virtual void release() = 0;  // gives the memory of the last window and of read-ahead records back
};

}  // namespace mlops::sync
