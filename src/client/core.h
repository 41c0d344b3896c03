// Core: one slot of one root in this process, and everything that works on it: journal writer, drain, engines. Root:
// the cores of one folder, shared by all Clients on it.
//
// Cores, roots, writers and run states are never destroyed: handles, detached threads and exit handlers may come at any
// time. A closed root leaves the registry, so that the next open of its folder makes a new one.
//
// Locks, in the order in which they are taken (fork's prepare handler takes them so): registry, core, drain, engines (a
// leaf: nothing is called under it). `Core::mutex` alone is held while a record waits for a full journal, bounded by
// Options::full_wait; none is held while anything waits for the disk or the network. Every append and key definition
// happens under `Core::mutex`, so a forked child finds the writer's tables whole.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/uid.h"
#include "client/env.h"
#include "drain/drain.h"
#include "journal/journal.h"
#include "ledger/ledger.h"
#include "mlops/client.h"
#include "sync/engine.h"

namespace mlops::client {

using base::Uid;
struct Root;

/// What this process is to a run.
enum class Role {
  owner,     // started or resumed it: sends its status
  attached,  // another slot owns it: logs, never sends status
  joined,    // this process has it open already: this object adds a pair of hands, its end changes nothing
};

/// Where MLflow's table view finds a run's tables: JSON, a list of {"path", "type"}.
inline constexpr const char* kTablesTag = "mlflow.loggedArtifacts";

/// A run this process logs to. Shared by the Run object, the core that ends it at close, and fork.
struct RunState {
  detail::Core* core = nullptr;
  detail::Gate* gate = nullptr;
  std::uint32_t generation = 0;  // of the gate, while the run is open here
  Uid uid;
  std::string id, experiment;
  Role role = Role::owner;
  std::int64_t start_number = 1;
  pid_t pid = 0;             // of the process that started it; a forked child detaches only
  std::uint64_t client = 0;  // the Client it was started through
  Millis end_deadline{5'000};
  std::vector<std::pair<std::string, std::int64_t>> steps_before;  // of metrics that the server had, if it was asked
  // Guarded by core->mutex:
  std::deque<std::string> names_given;  // Run::name returns references: a name that was once given stays
  bool ended = false;
  bool fresh = true;  // nothing was logged to it before this process started it
  std::unordered_map<std::string, std::string> params;

  const std::string& name() const { return names_given.back(); }
};

struct WantedEngine {
  ledger::Destination destination;
  Credentials credentials;
};

std::int64_t millis_left(std::int64_t steady_end);

}  // namespace mlops::client

MLOPS_NAMESPACE_BEGIN
namespace detail {

struct Core {
  client::Root* root = nullptr;
  pid_t pid = 0;
  std::string slot_dir;
  journal::Control* control = nullptr;
  journal::Writer* writer = nullptr;  // leaked
  std::unique_ptr<drain::Drain> drain;
  std::atomic<bool> closing{false};   // no new runs, no new records
  std::atomic<bool> in_child{false};  // this process was forked from the one that opened it

  std::mutex mutex;  // runs, and the state inside them
  std::vector<std::shared_ptr<client::RunState>> open_runs;
  std::vector<base::Uid> touched;           // all runs this process logged to, for flush(delivered)
  std::map<base::Uid, std::string> tables;  // of runs: the tag client::kTablesTag as it is here
  std::int64_t last_intent_ms = 0;          // no two have one time: the story of an alias is told by it

  std::mutex engines_mutex;
  std::condition_variable engines_changed;
  std::vector<std::shared_ptr<sync::Engine>> engines;  // one per destination
  std::vector<std::string> engine_names;
  std::vector<client::WantedEngine> wanted;  // not started yet
  Status engine_error;                       // why the last one could not be started
  bool stopping = false;
  std::thread starter;

  /// Asks for a destination; started once the database is open. The same one again is a no-op.
  void want_engine(const client::WantedEngine& want);
  std::vector<std::shared_ptr<sync::Engine>> current_engines();
  /// Everything accepted before the call has reached `level`; a zero `run` means every run this process touched.
  Status flush(Level level, Millis deadline, const base::Uid& run);
  /// Runs of `client` (0: of all) end as `status`; accepted only, waits for nothing but a full journal.
  void end_runs(std::uint64_t client, RunStatus status);
  /// end_runs, last beat, delivery as far as it goes, slot let go: within the deadline. Once.
  Status close(Millis deadline);
  void add_health(Health* health);

  void starter_main();
  Status flush_delivered(std::int64_t steady_end, const base::Uid& run);
  void wait_for_delivery(std::int64_t steady_end);
};

}  // namespace detail
MLOPS_NAMESPACE_END

namespace mlops::client {

using detail::Core;

/// One folder. Options are those of the first open; credentials and tracking URI are each client's own.
struct Root {
  std::string path;
  Options options;
  base::Placing placing;
  std::atomic<bool> closed{false};
  // Guarded by the registry's mutex:
  std::vector<WantedEngine> destinations;  // of every client; a core that joins later gets them too
  std::vector<Core*> cores;  // the first is the main one; others hold runs that were resumed out of other slots
  std::uint64_t clients = 0;
  // Health callback thread, made by the first Client::on_health.
  std::mutex health_mutex;
  std::condition_variable health_changed;
  std::function<void(const Health&)> on_health;
  std::thread health_thread;
  bool health_stop = false;

  Core* main_core = nullptr;  // cores.front(), fixed at open
  Health health();
  void set_on_health(std::function<void(const Health&)> callback);
  void stop_health(bool own_process);
};

/// All roots of the process.
struct Registry {
  std::mutex mutex;
  std::vector<Root*> roots;      // open ones
  std::vector<Core*> all_cores;  // ever made, for fork
  std::vector<Core*> guests;     // ever made: writers into other processes' slots
  std::uint64_t next_client = 1;
  pid_t pid = 0;        // of the process that installed the lifecycle; 0 none
  bool forked() const;  // this process inherited all that and must open nothing
};
Registry& registry();

/// The open root of this folder, or a new one: locks a slot, maps the first segment, starts the threads. Counts a
/// client.
Result<Root*> open_root(const Options& options, const drain::SlotWish& wish);
/// place_root, and what follows from it: the root is marked for other nodes, the journals' folder is there.
Result<base::Placing> prepare_root(const std::string& root);
/// Another slot of this root, taken over for a run it holds. unavailable when somebody has it.
Result<Core*> add_core(Root* root, const std::string& slot_dir);
/// Every core of the root delivers there from now on.
void add_destination(Root* root, const std::string& uri, const Credentials& credentials);
/// Closes all cores of a root and forgets it.
Status close_root(Root* root, Millis deadline);
std::vector<Core*> cores_of(Root* root);
/// The open run of this process, or null.
std::shared_ptr<RunState> open_run(Root* root, const Uid& run);

/// The end of a run, by Run::end, ~Run and close. `wait`: for durable, within the deadline.
/// `end_ms`: 0 is now.
Status end_run(const std::shared_ptr<RunState>& run, RunStatus status, Millis deadline, bool wait,
               std::int64_t end_ms = 0);
/// A time that somebody gives: not before 1970.
Status check_time(const char* what, std::int64_t ms);
/// The run stays RUNNING without this process. Waits for durable within the deadline.
Status leave_run(const std::shared_ptr<RunState>& run, Millis deadline);
/// The end of a run that is open nowhere, wherever its slot is. Waits until readers see it, within the deadline.
Status end_run_by_id(Root* root, std::string_view id, RunStatus status, std::int64_t end_ms, Millis deadline);

}  // namespace mlops::client
