// Manage: what `mlops remote`, `stuck`, `delete`, `restore`, `gc` and `roots` do, as calls. Each takes the root as in
// Options (empty: MLOPS_HOME, else `.mlops` found upwards) and works beside live trainers. A trainer needs none of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mlops/options.h"
#include "mlops/status.h"

MLOPS_NAMESPACE_BEGIN

/// A server this root delivers to: a name for a URI. The name stands for the URI wherever one is asked for
/// (Options::tracking_uri, MLFLOW_TRACKING_URI, `mlops sync --to NAME`).
struct Remote {
  std::string name;
  std::string uri;     ///< without credentials
  bool named = false;  ///< somebody named it; else the name was made from the URI at its first delivery
};

/// All servers the root knows, by name: those that were named, and those it was delivered to.
MLOPS_API Result<std::vector<Remote>> remotes(const std::string& root);
/// Names a server; makes the root when there is none. The same again is OK. already_exists: the name has another URI
/// (set_remote_url), or the URI another name (rename_remote); invalid_argument: no name, no http(s) URI, or one with
/// credentials in it.
MLOPS_API Status add_remote(const std::string& root, std::string_view name, const std::string& uri);
/// What was delivered stays known. failed_precondition while somebody delivers there: it names who.
MLOPS_API Status rename_remote(const std::string& root, std::string_view name, std::string_view to);
/// The same server at another address: what was delivered stays known, and the next delivery reads one run back before
/// it sends anything, so that a server that is another one is noticed. Processes that deliver to the old address go on
/// until they end; their words come back, one for each.
MLOPS_API Result<std::vector<std::string>> set_remote_url(const std::string& root, std::string_view name,
                                                          const std::string& uri);
/// Forgets a server and what it has; what is on it stays. failed_precondition: somebody delivers there; or points wait
/// for it, or it refused some, and `even_waiting` is false.
MLOPS_API Status remove_remote(const std::string& root, std::string_view name, bool even_waiting);

/// What did not go through: a record that a server refused (a dead letter), or a run whose delivery stopped until
/// somebody acts (parked).
struct Stuck {
  std::string id;    ///< 8 hex digits; the same from call to call
  std::string kind;  ///< "record", "run"
  /// Of a record: "refused" (counted as dropped), "retrying" (counted as waiting again), "corrected" (delivered with
  /// another key or value), "dropped" (for good). Of a run: "parked".
  std::string state;
  std::string run_id, run_name, experiment;
  std::string destination, uri;
  std::string what;           ///< e.g. "param lr"
  std::string reason;         ///< the server's words, with what to do
  std::int64_t since_ms = 0;  ///< milliseconds since the epoch; 0: not known
  std::uint64_t records = 0, points = 0;
  std::string key, value;  ///< the correction, if any
};

/// All that is stuck in a root, oldest first. `settled_too`: also what was corrected or dropped. Reads files only.
MLOPS_API Result<std::vector<Stuck>> stuck(const std::string& root, bool settled_too = false);

enum class StuckVerb {
  retry,  ///< back into delivery, once more
  drop,   ///< given up for good: counted as dropped; of a parked run everything that waits in it
};
struct StuckChange {
  StuckVerb verb = StuckVerb::retry;
  std::vector<std::string> ids;               ///< as in Stuck, or a unique start of one; empty: all
  std::optional<std::string> key{}, value{};  ///< retry of one refused record under another key, or with another value
};
struct StuckReport {
  std::uint64_t changed = 0;       ///< of what was named
  std::vector<std::string> notes;  ///< what somebody should know, e.g. that a deliverer has not taken the request yet
};
/// Done in the ledger at once, or by the process that delivers right now (asked, and waited for up to 5 s). What is put
/// back is delivered by the next delivery. not_found: no such id; invalid_argument: a key or value that no server
/// takes, or that the record has not; failed_precondition: the records are gone here (retention, damage), or settled
/// already.
MLOPS_API Result<StuckReport> change_stuck(const std::string& root, const StuckChange& change);

/// Deletes runs as MLflow does: they stay, out of sight, here and (once delivered) on the server, until they are
/// restored. Ids as in Reader::run. All are looked up before any is changed: not_found and invalid_argument change
/// nothing. The record goes into the slot that has the run when no process holds it, else it is written beside the
/// living one, as an attached process does: then what that process delivers later waits, parked, until the run is
/// restored. Returns how many were not deleted before. May wait for the disk, at most 20 s.
MLOPS_API Result<std::uint64_t> delete_runs(const std::string& root, const std::vector<std::string>& ids);
/// The opposite; the same in everything else.
MLOPS_API Result<std::uint64_t> restore_runs(const std::string& root, const std::vector<std::string>& ids);

struct GcOptions {
  std::string root{};
  Millis older_than{std::chrono::hours(24 * 30)};  ///< since their end
  std::string experiment{};                        ///< only runs of this one
  std::uint64_t keep = 0;                          ///< the newest so many of each experiment stay, whatever their age
  bool deleted = false;  ///< also deleted runs that are not delivered everywhere: their records are gone then
  bool dry_run = true;   ///< say what would go; remove nothing
};
struct GcRun {
  std::string id, name, experiment;
  std::int64_t end_ms = 0;
  std::uint64_t points = 0, bytes = 0;  ///< bytes: about
  bool deleted = false, delivered = false;
};
struct GcReport {
  std::vector<GcRun> runs;              ///< oldest end first
  std::uint64_t points = 0, bytes = 0;  ///< of them; when not dry_run: that did go
  std::vector<std::string> notes;       ///< e.g. which living process holds runs that could go
};
/// Removes records from the buffer that every known destination has, of ended runs; summaries (params, tags, last, min,
/// max, counts) stay. With no destination the buffer is the store, and nothing goes but deleted runs if asked for.
/// Slots of living processes are left alone, and said.
MLOPS_API Result<GcReport> gc(const GcOptions& options);

struct RootInfo {
  std::string path;
  std::string from;       ///< why it is listed: "given", "MLOPS_HOME", "upwards", "default", "below"
  bool in_force = false;  ///< what `root` stands for here
  bool exists = false;
  std::uint64_t bytes = 0, runs = 0, waiting = 0;  ///< waiting: points, summed over destinations
  Status status;                                   ///< why it cannot be read
};
/// The root in force first, then other `.mlops` folders above the current one, then those at most `depth` folders below
/// it (hidden ones and links are not entered, nor more than 20,000 folders looked at). There is no list of roots
/// elsewhere on the machine.
MLOPS_API Result<std::vector<RootInfo>> roots(const std::string& root, int depth = 4);

MLOPS_NAMESPACE_END
