// Ledger: what one destination has of one slot. `<slot>/delivery/<destination>/`: `lock` (flock: one deliverer at a
// time), `ledger` (append-only, checksummed protobuf-lite frames, compacted by rename; docs/format.md), `live`
// (replaced whole with each note_health).
//
// Losing the newest frames is harmless: a cursor that is too old leads to a resend, which the server's key and the
// watermark make exactly-once in effect. Thread-safe. Credentials are never stored: user, password, query and fragment
// of a URI are cut off at open. A forked child's copy closes its descriptors at fork, so that the lock stays the
// parent's alone; every write of that copy fails.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/uid.h"
#include "ledger/artifacts.h"
#include "ledger/models.h"
#include "mlops/status.h"

namespace mlops::ledger {

using base::Uid;

/// One run's delivery. One frame, written whole: the cursor is atomic with all the rest.
struct Lane {
  Uid run;
  std::string server_id, experiment_id;  // empty until known
  Uid buffer_uid;                        // what `cursor` is a place in
  std::uint64_t buffer_generation = 0;
  std::uint64_t cursor = 1;       // every record with seq < cursor is delivered or dead
  std::uint64_t in_flight = 0;    // end of a batch sent and not answered; 0 none
  bool creating = false;          // runs/create was sent: look up mlops.uid before sending it again
  bool resend = false;            // what comes next may already be there: small requests, NaN alone
  std::uint64_t delivered = 0;    // points
  std::uint64_t dead = 0;         // dead letters below the cursor that are refused or given up
  bool ended = false;             // status delivered
  std::string parked;             // why the run waits for somebody to act; empty = goes on
  std::uint64_t watermark = 0;    // seq proved by the server's watermark tag
  std::uint64_t dead_points = 0;  // points among `dead`
  std::int64_t parked_ms = 0;     // since when; 0 not known
  bool deleted = false;           // the run is, by the records below the cursor
  /// The server has said something that only an MLflow server says.
  bool answered() const {
    return !server_id.empty() || !experiment_id.empty() || creating || cursor > 1 || !parked.empty();
  }
};

/// A record the server would not take. One per run and seq: a later one replaces it.
struct DeadLetter {
  enum class State {
    refused = 0,    // waits for somebody to decide; counted as dropped
    retrying = 1,   // to be sent once more: counted as waiting
    delivered = 2,  // it went through after all: the letter is forgotten
    corrected = 3,  // delivered with another key or value; the record itself must not be sent again
    given_up = 4,   // by a person, for good; counted as dropped
  };
  Uid run;
  std::uint64_t seq = 0, count = 1;
  std::string what;    // "metric loss step 3", "param lr", …
  std::string reason;  // the server's words
  std::int64_t time_ms = 0;
  std::uint64_t points = 0;  // among `count` records
  State state = State::refused;
  std::optional<std::string> key{}, value{};  // instead of the record's own
  bool artifact = false;                      // of an artifact's record: counted in ArtifactPlace::dead, not in a lane
  bool dead() const { return state == State::refused || state == State::given_up; }
};

/// What became of a registry intent here. One per uid: a later one replaces it. Of the settled ones the newest
/// kMostIntents are kept.
struct IntentResult {
  enum class State {
    sending = 1,           // may have reached the server; of a promotion: decided, with `version` and `from`
    done = 2,              //
    refused = 3,           // `code` and `words` say why
    condition_failed = 4,  // `words` say what was found instead
  };
  Uid uid;
  State state = State::sending;
  std::uint32_t verb = 0;  // model::Verb
  std::string model;
  std::string version;  // made, or worked on
  std::string from;     // of a promotion: what the alias stood for before; empty: nothing
  int code = 0;         // StatusCode
  std::string words;
  std::int64_t time_ms = 0;
  std::uint64_t seq = 0;  // of its record
};
inline constexpr std::size_t kMostIntents = 10'000;

struct Destination {
  std::string name;  // folder name, made from the URI unless given
  std::string uri;   // without credentials
};
/// Folder name for a URI: host_port_path; with a hash at its end when anything in it is unusual (other characters,
/// length). User, password, query, fragment and trailing slashes do not count.
std::string destination_name(const std::string& uri);

/// What a deliverer publishes for those who stand by; replaced with each note_health (at most about twice a second).
struct LiveState {
  int state = 0;  // LaneState
  std::uint64_t retries = 0, requests = 0, bytes_sent = 0;
  double lag_seconds = 0;
  int error_code = 0;  // StatusCode
  std::string error;
  double points_per_second = 0;  // of a backlog, while there was one; 0 never measured
  std::uint64_t files_waiting = 0, file_bytes_waiting = 0;
};

class Ledger {
 public:
  /// Takes the lock, and on a network file system the lease; unavailable when another deliverer has it. Makes the
  /// folder. A torn tail is cut. An empty name means destination_name(uri); another URI under the same name replaces
  /// the old one (remote set-url).
  static Result<std::unique_ptr<Ledger>> open(const std::string& slot_dir, const Destination& destination);
  /// Reads without the lock (for health, view, standing by, and the drain's check of cursors), also while another
  /// process appends or compacts. not_found when there is no such destination. Of the dead letters the newest 10,000.
  struct Snapshot {
    Destination destination;
    std::map<Uid, Lane> lanes;
    std::vector<DeadLetter> dead;
    std::map<Uid, IntentResult> intents;
    std::map<Uid, ArtifactPlace> artifacts;
    std::vector<Upload> uploads;
    std::map<Uid, ModelState> models;
    LiveState live;
    bool held = false;  // some deliverer has the lock
    /// The server has once answered as an MLflow server: what is known of it is more than its address.
    bool answered() const;
  };
  static Result<Snapshot> read(const std::string& slot_dir, const std::string& name);
  static Result<std::vector<std::string>> list(const std::string& slot_dir);  // destination names
  /// A deliverer on another node has it: by its lease, on network file systems.
  static bool held_elsewhere(const std::string& slot_dir, const std::string& name);

  virtual ~Ledger() = default;
  virtual const Destination& destination() const = 0;
  virtual Lane lane(const Uid& run) const = 0;  // a fresh one when unknown
  virtual std::vector<Lane> lanes() const = 0;
  virtual std::vector<DeadLetter> dead(const Uid& run) const = 0;  // by seq
  /// Appended; visible to readers at once. On failure (full disk) nothing has changed, here and on disk.
  virtual Status put(const Lane& lane) = 0;
  virtual Status add_dead(const DeadLetter& letter) = 0;
  virtual Status put(const Lane& lane, const DeadLetter& letter) = 0;  // both, in one write
  virtual std::optional<IntentResult> intent(const Uid& uid) const = 0;
  virtual std::vector<IntentResult> intents() const = 0;                 // as they were first told of
  virtual Status put(const Lane& lane, const IntentResult& result) = 0;  // both, in one write
  virtual ArtifactPlace artifacts(const Uid& run) const = 0;             // a fresh one when unknown
  virtual std::vector<ArtifactPlace> artifact_places() const = 0;
  virtual std::vector<Upload> uploads() const = 0;
  virtual Status put(const ArtifactPlace& place) = 0;
  virtual Status put(const ArtifactPlace& place, const DeadLetter& letter) = 0;  // both, in one write
  /// With the letter (may be null) that says why it is dead, or is settled by this, in one write.
  virtual Status finish(const Finished& finished, const DeadLetter* letter) = 0;
  virtual Status begin(const Upload& upload) = 0;                        // instead of any other of this record
  virtual Status put_part(const Upload& upload, std::size_t index) = 0;  // upload.parts[index] has its etag
  virtual Status forget_upload(const Uid& run, std::uint64_t seq) = 0;   // over, or there is none
  virtual std::optional<ModelState> model(const Uid& uid) const = 0;
  virtual std::vector<ModelState> models(const Uid& run) const = 0;  // zero: of all runs
  virtual Status put(const ModelState& model) = 0;
  virtual Status note_health(const LiveState& state) = 0;
  virtual Status sync() = 0;  // fsync and, when it has grown, compact
  /// False when the lease is lost, or may be soon: nothing may be sent, and nothing is written. Renews when due. Others
  /// than the one thread that asks so ask `held`, which costs nothing.
  virtual bool hold() { return true; }
  virtual bool held() const { return true; }
};

}  // namespace mlops::ledger
