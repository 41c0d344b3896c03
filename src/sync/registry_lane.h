// RegistryLane: delivers a slot's registry intents to one destination, one at a time.
//
// The order of one model's intents is kept; one that waits (for files, for the version of another intent, for a better
// answer) holds back what concerns the same models and nothing else; only silence stops all. Each ends in the ledger as
// an IntentResult: done, refused, or its condition failed; that frame and the cursor are one write, fsynced at once.
// Exactly once rests on this: a version carries the intent's uid as tag mlops.uid and is looked up by it before a
// create that may have been sent; a promotion is decided once and kept in the ledger before its first write; every
// other write is the same when it is done twice, or marked in the ledger first, durably, so that what is found on the
// server can be told from somebody else's doing. A create may have been sent when the ledger says so, and when its
// intent is older than this lane.
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>

#include "ledger/ledger.h"
#include "mlflow/registry.h"
#include "model/intent.h"
#include "sync/backoff.h"
#include "sync/call.h"
#include "sync/lane.h"
#include "sync/remote.h"
#include "sync/shared.h"

namespace mlops::sync {

class RegistryLane final : public Lane {
 public:
  RegistryLane(Shared* shared, ledger::Lane state);

  /// One step: at most one intent.
  Outcome step(Remote& remote) override;
  const ledger::Lane& state() const override { return state_; }
  std::uint64_t retries() const override { return 0; }
  std::int64_t oldest_ms() const override { return queue_.empty() ? 0 : queue_.front().intent.time_ms; }
  void unpark() override { state_.parked.clear(); }
  void release() override {}

 private:
  using Answer = mlflow::Answer;
  using Result = ledger::IntentResult;
  struct Entry {
    std::uint64_t seq = 0;
    model::Intent intent;
    Result result;            // as the ledger has it; or fresh
    bool marked = false;      // the ledger says that it may have been sent
    bool maybe_sent = false;  // so it does, or the ledger might have lost it
    int lookups_left = 0;     // before a create is sent (again)
    std::int64_t due_ms = 0, waits_since_ms = 0;
    Backoff backoff;  // between looks at what it waits for
    Backoff trouble;  // after answers that leave doubt
    Entry(std::uint64_t s, model::Intent i, Backoff b, Backoff t)
        : seq(s), intent(std::move(i)), backoff(b), trouble(t) {}
  };
  /// What a try came to.
  struct Tried {
    enum class How { settled, later, answered, local } how = How::settled;
    Answer answer;        // answered: not ok, and no word on the intent itself
    std::string reason;   // later
    bool looked = false;  // later: for a create that may still be at work on the server
  };

  // registry_lane.cc
  Status check_identity(const model::RunRow& row);
  Status load(const model::RunRow& row);
  Outcome park(std::string why);
  Outcome after(Entry* entry, const Tried& tried);
  Status keep(const Result& result, bool sync);
  // registry_verbs.cc
  Tried attempt(Remote& remote, Entry* entry);
  Tried done(Entry* entry, std::string version = {});
  Tried refuse(Entry* entry, const Status& why);
  Tried condition_failed(Entry* entry, std::string found);
  Tried later(std::string reason) const;
  Tried local(const Status& status) const;
  Tried settle(Entry* entry, const Answer& answer);  // of an answer that is not ok
  Tried mark(Entry* entry, bool sync);               // settled: go on
  Tried find_version_of(Remote& remote, Entry* entry, const std::string& model, std::string* version);
  Tried create_model(Remote& remote, Entry* entry);
  Tried rename_model(Remote& remote, Entry* entry);
  Answer read_alias(Remote& remote, const model::Intent& intent, std::string* version);  // empty: it is not there
  void let_others_finish() const;
  Tried change_alias(Remote& remote, Entry* entry);
  Tried promote(Remote& remote, Entry* entry);
  Tried decide(Remote& remote, Entry* entry);
  Tried simple(Remote& remote, Entry* entry);
  // registry_versions.cc
  Tried place_of(Remote& remote, Entry* entry, mlflow::NewVersion* out);
  Tried place_of_run(Remote& remote, Entry* entry, mlflow::NewVersion* out);
  mlops::Result<std::string> manifest_of(const model::Intent& intent) const;
  Tried create_version(Remote& remote, Entry* entry);
  Tried make_version(Remote& remote, Entry* entry, const mlflow::NewVersion& version);
  Tried copy_version(Remote& remote, Entry* entry);
  template <typename Call>
  Answer call(Call&& make) {
    return call_server(shared_, 0, std::forward<Call>(make));
  }

  Shared* shared_;
  ledger::Lane state_;
  std::deque<Entry> queue_;        // not settled, by seq
  std::uint64_t read_ = 0;         // records below are in the queue or settled
  std::uint64_t fresh_ = 0;        // records from here on are younger than this lane
  std::int64_t forgotten_ms_ = 0;  // the ledger may have forgotten what it settled before
  bool identity_checked_ = false;
  Backoff backoff_;
  std::map<base::Uid, std::string> artifact_uris_;  // of runs, as the server said
};

}  // namespace mlops::sync
