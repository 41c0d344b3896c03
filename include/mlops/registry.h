// Registry: registered models, their versions and aliases. Writes are intents: accepted at once, offline too, delivered
// in order and exactly once, and their results stay readable. Reads ask the server.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "mlops/options.h"
#include "mlops/status.h"

MLOPS_NAMESPACE_BEGIN

struct RegisteredModel {
  std::string name, description;
  std::int64_t created_ms = 0, updated_ms = 0;  ///< milliseconds since the epoch
  Pairs tags;
  Pairs aliases;  ///< alias, version
};

struct ModelVersion {
  std::string name, version, description;
  std::string source;            ///< where its files are, as the server has it
  std::string run_id, model_id;  ///< the server's; empty: none
  std::string status;            ///< "READY", …
  std::string stage;             ///< "None", "Staging", …, where a server still has stages
  std::string user;
  std::int64_t created_ms = 0, updated_ms = 0;
  Pairs tags;
  std::vector<std::string> aliases;
};

/// What a search looks for. `filter` and `order_by` are MLflow's: "name LIKE 'dig%'", "tags.team = 'vision'".
struct ModelQuery {
  std::string filter{};
  std::string order_by{};
  std::uint64_t limit = 0;  ///< at most so many; 0: all
};

enum class PendingState : int {
  waiting = 0,           ///< accepted, not settled yet
  done = 1,              ///< on the server
  refused = 2,           ///< the server, or what it depends on, says no
  condition_failed = 3,  ///< its condition did not hold; nothing was changed
};
MLOPS_API const char* pending_state_name(PendingState state) noexcept;  ///< "waiting", "done", …

/// What became of an intent at one destination.
struct PendingStatus {
  std::string id;    ///< 32 hex; of a new version also its tag mlops.uid
  std::string verb;  ///< "create_version", "promote", …
  std::string model;
  PendingState state = PendingState::waiting;
  std::string version;       ///< made, or worked on; empty: none, or not known yet
  std::string from;          ///< of a promotion: the version that the alias stood for before
  Status status;             ///< why not; OK while waiting and when done
  std::string destination;   ///< name; empty: nothing delivers this slot's records anywhere yet
  std::int64_t time_ms = 0;  ///< accepted; of a settled one: settled
};

/// A write that was accepted. Copyable, thread-safe; another process finds it again by its id (Registry::pending).
class MLOPS_API Pending {
 public:
  const std::string& id() const noexcept;
  /// As far as is known here and now; reads files only.
  Result<PendingStatus> status() const;
  /// Until it is settled: then OK, whatever it came to (see `state`). deadline_exceeded: it goes on waiting. Its
  /// delivery is not hurried: a process with a tracking URI, or `mlops sync`, does it.
  Result<PendingStatus> wait(Millis deadline = Millis(30'000)) const;
  /// The version's number once it is there: what wait says, with every other end as a failure.
  Result<std::string> version(Millis deadline = Millis(30'000)) const;

  struct Impl;
  explicit Pending(std::shared_ptr<const Impl> impl) noexcept;

 private:
  std::shared_ptr<const Impl> impl_;
};

/// A version by its number, or the one that a pending write will make.
class MLOPS_API VersionRef {
 public:
  // NOLINTBEGIN(google-explicit-constructor): promote("m", 7, "champion") is the point of it
  VersionRef(std::string_view number) : text_(number) {}
  VersionRef(const char* number) : text_(number) {}
  VersionRef(const std::string& number) : text_(number) {}
  VersionRef(int number) : text_(std::to_string(number)) {}
  VersionRef(const Pending& pending) : text_("uid:" + pending.id()) {}
  // NOLINTEND(google-explicit-constructor)
  const std::string& text() const noexcept { return text_; }

 private:
  std::string text_;
};

/// Evaluated against the server at delivery. One that does not hold is reported, and nothing is overwritten.
struct Condition {
  bool absent = false;    ///< there is no such model, or alias, yet
  std::string version{};  ///< the alias still stands for this version
  static Condition if_absent() {
    Condition c;
    c.absent = true;
    return c;
  }
  static Condition still(std::string_view number) {
    Condition c;
    c.version = number;
    return c;
  }
};

struct ModelOptions {
  std::string description{};  ///< at most 5,000 characters
  Pairs tags{};               ///< values at most 5,000 characters
  Condition condition{};      ///< if_absent: else a model that is there already is no failure
};
struct VersionOptions {
  std::string description{};
  Pairs tags{};
  bool create_model = true;  ///< the registered model too, when it is not there
};
struct RegisterOptions {
  std::string description{};
  Pairs tags{};
  std::string logged_model{};  ///< our id (32 hex) of a logged model of this run; its files, not those at the path
};
struct PromoteOptions {
  std::string who{};  ///< default: this user's name
  std::string why{};
  Condition condition{};
};

/// One step of an alias's story, as tags on the versions tell it.
struct PromotionRecord {
  std::string verb;  ///< "promote", "rollback"
  std::string alias, from, to, who, why;
  std::int64_t time_ms = 0;
};

/// What share of the requests an alias gets. Shares are weights: they need not add up to 100.
struct Share {
  std::string alias;
  std::uint32_t share = 0;
};

struct RegistryOptions {
  std::string root{};         ///< as in Options; may be missing when `to` or MLFLOW_TRACKING_URI names a server
  std::string to{};           ///< tracking URI, or a remote's name; MLFLOW_TRACKING_URI; the root's only destination
  Credentials credentials{};  ///< completed from the environment as in Client::open
  Millis deadline{30'000};    ///< of each read
};

struct PullOptions {
  /// Models by content, shared by all who pull: default $XDG_CACHE_HOME/mlops/models, else ~/.cache/mlops/models.
  std::string cache{};
  enum class Layout {
    plain,   ///< `dir` is the model's files
    triton,  ///< a Triton model repository: `dir/<model>/<version>` is the model's files
  } layout = Layout::plain;
  bool offline = true;  ///< without a server: what the cache knows of this URI, and the report says so
};

struct PullReport {
  ModelVersion version;   ///< offline: name and number only
  std::string path;       ///< of the model's files
  bool changed = false;   ///< `path` holds other files than before the call
  bool fetched = false;   ///< they were not in the cache
  bool offline = false;   ///< the server was away
  bool verified = false;  ///< by the SHA-256 of each file in mlops-manifest.json; else by the sizes the store lists
  std::uint64_t files = 0, bytes = 0;
};

/// One rule of a gate, with the numbers it came to.
struct GateCheck {
  std::string rule;
  bool passed = false;
  double value = 0;   ///< of the version; NaN: it has no such metric
  double limit = 0;   ///< what the right side comes to; NaN: there is none
  std::string words;  ///< why it failed, when it is not by the numbers
};
struct GateReport {
  std::string model, version;
  std::vector<GateCheck> checks;
  bool passed = false;  ///< all of them did
};
struct GateOptions {
  bool allow_first = false;  ///< a rule against an alias that is not there passes
};

/// Copyable (shares), thread-safe. Names: 1..256 characters without '/' and ':'. Aliases: letters, digits, '_', '-';
/// not "latest", not "v7".
class MLOPS_API Registry {
 public:
  /// For reading without a client: no slot is taken, no thread started. Writes are failed_precondition there.
  static Result<Registry> open(RegistryOptions options = {});

  // Reads: ask the server, at most `RegistryOptions::deadline` (of a client's: 30 s). not_found, unavailable,
  // permission_denied; failed_precondition: no tracking URI.
  Result<RegisteredModel> model(std::string_view name) const;
  Result<std::vector<RegisteredModel>> models(const ModelQuery& query = {}) const;
  Result<ModelVersion> version(std::string_view name, std::string_view number) const;
  Result<ModelVersion> version_by_alias(std::string_view name, std::string_view alias) const;
  Result<std::vector<ModelVersion>> versions(const ModelQuery& query = {}) const;
  Result<std::string> download_uri(std::string_view name, std::string_view number) const;
  /// "models:/digits@champion", "models:/digits/3", "models:/digits/latest", "models:/digits/Production".
  Result<ModelVersion> resolve(std::string_view uri) const;
  /// The story of a model's aliases, oldest first; `alias` empty: of all.
  Result<std::vector<PromotionRecord>> history(std::string_view name, std::string_view alias = {}) const;
  /// The alias's share as the model's tag mlops.shares tells them; empty: none are set.
  Result<std::vector<Share>> shares(std::string_view name) const;
  /// One of the aliases, by their shares: by chance, or for a `key` always the same one. "champion" when no shares are
  /// set. One request.
  Result<ModelVersion> pick(std::string_view name, std::string_view key = {}) const;

  /// The version's files as `dir`: fetched into the cache, checked, and switched in at once (`dir` becomes a link into
  /// the cache; who has the old files open keeps them). When the cache has the version, one request. Blocks as a
  /// download does. not_found, unavailable; data_loss: what came is not what the manifest says; failed_precondition:
  /// `dir` is there and no link of an earlier pull, or lies in what one brought.
  Result<PullReport> pull(std::string_view uri, const std::string& dir, const PullOptions& options = {}) const;
  /// Pulls, and again every `interval`, until *stop. `callback` is called on this thread: for the first, whenever the
  /// directory was switched, and once for each new failure. One request a look.
  Status watch(std::string_view uri, const std::string& dir, const PullOptions& options, Millis interval,
               const std::function<void(const Result<PullReport>&)>& callback, const std::atomic<bool>* stop) const;

  /// Rules such as "val/auc >= champion + 0.002", "latency_ms.p99 < 20": a metric's last value in the version's run,
  /// < <= > >= == !=, and a number, or an alias (the same metric of its version's run) with "+ 0.002", "- 0.1" or
  /// "* 0.98". Runs that are in this root are read here, others asked for. invalid_argument: a rule that is none.
  Result<GateReport> gate(const std::vector<std::string>& rules, std::string_view name, std::string_view number,
                          const GateOptions& options = {}) const;

  // Writes: accepted when they return, never wait for the network. invalid_argument names what no server takes;
  // failed_precondition: no client, or closed.
  Result<Pending> create_model(std::string_view name, const ModelOptions& options = {}) const;
  Result<Pending> rename_model(std::string_view name, std::string_view to) const;
  Result<Pending> update_model(std::string_view name, std::string_view description) const;
  Result<Pending> delete_model(std::string_view name) const;
  Result<Pending> set_model_tag(std::string_view name, std::string_view key, std::string_view value) const;
  Result<Pending> delete_model_tag(std::string_view name, std::string_view key) const;
  Result<Pending> set_alias(std::string_view name, std::string_view alias, const VersionRef& version,
                            const Condition& condition = {}) const;
  Result<Pending> delete_alias(std::string_view name, std::string_view alias, const Condition& condition = {}) const;
  /// `source`: s3://…, mlflow-artifacts:/…, `runs:/<server's run id>/<path>`, `models:/<server's model id>`.
  Result<Pending> create_version(std::string_view name, std::string_view source,
                                 const VersionOptions& options = {}) const;
  Result<Pending> update_version(std::string_view name, const VersionRef& version, std::string_view description) const;
  Result<Pending> delete_version(std::string_view name, const VersionRef& version) const;
  Result<Pending> set_version_tag(std::string_view name, const VersionRef& version, std::string_view key,
                                  std::string_view value) const;
  Result<Pending> delete_version_tag(std::string_view name, const VersionRef& version, std::string_view key) const;
  /// None, Staging, Production, Archived; where a server still has stages.
  Result<Pending> set_stage(std::string_view name, const VersionRef& version, std::string_view stage,
                            bool archive_existing = false) const;
  /// A new version of `to` with the same files, description and tags; the model `to` is made when it is not there.
  Result<Pending> copy_version(std::string_view name, const VersionRef& version, std::string_view to) const;
  /// The alias stands for the version from now on; who, when, why and from which version stay on it as a tag.
  Result<Pending> promote(std::string_view name, const VersionRef& version, std::string_view alias,
                          const PromoteOptions& options = {}) const;
  /// The alias goes back to what it stood for before its last promotion. Refused when nothing is known of that.
  Result<Pending> rollback(std::string_view name, std::string_view alias, const PromoteOptions& options = {}) const;
  /// Tag mlops.shares of the model; empty: away with it.
  Result<Pending> set_shares(std::string_view name, const std::vector<Share>& shares) const;

  /// An earlier write of this root, by its id or a unique start of it of at least 4 digits. not_found.
  Result<Pending> pending(std::string_view id) const;
  /// The writes of this root that wait, oldest first; `settled_too`: also what became of the others. Reads files only.
  Result<std::vector<PendingStatus>> pendings(bool settled_too = false) const;

  struct Impl;
  explicit Registry(std::shared_ptr<Impl> impl) noexcept;

 private:
  std::shared_ptr<Impl> impl_;
};

MLOPS_NAMESPACE_END
