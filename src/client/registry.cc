// Registry's writes: each becomes an intent in the stream of its client's slot. Pending: where it stands.
#include "mlops/registry.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/base.h"
#include "client/delivery_target.h"
#include "client/env.h"
#include "client/intents.h"
#include "client/registry_impl.h"
#include "client/remotes.h"
#include "client/run_impl.h"
#include "client/start.h"
#include "mlflow/mlflow.h"

namespace mlops::client {
namespace {

constexpr std::int64_t kLookMs = 200;

/// The engines of the process that took the intent know first; the files say it to everybody.
std::optional<PendingStatus> result_of(const Pending::Impl& pending) {
  std::optional<PendingStatus> found;
  if (pending.core != nullptr && !pending.core->in_child.load() && !pending.core->closing.load()) {
    for (const auto& engine : pending.core->current_engines()) {
      std::optional<ledger::IntentResult> result = engine->intent(pending.uid);
      if (!result) continue;
      const std::string name = engine->health().name;
      if (!found || name == pending.destination) found = status_of(*result, name);
    }
    if (found || !pending.core->current_engines().empty()) return found;
  }
  return find_result(pending.root, pending.uid, pending.destination);
}

}  // namespace

Result<Pending> accept(Core* core, model::Intent intent, const std::string& destination) {
  intent.uid = Uid::random();
  if (Status s = model::check_intent(intent); !s.ok()) return s;
  model::Op op = model::op_of(intent);
  auto pending = std::make_shared<Pending::Impl>();
  pending->uid = intent.uid;
  pending->id = intent.uid.hex();
  pending->root = core->root->path;
  pending->destination = destination;
  pending->core = core;
  const std::lock_guard<std::mutex> lock(core->mutex);
  if (core->closing.load()) return Status(StatusCode::failed_precondition, "the client is closed");
  op.time_ms = std::max(base::now_ms(), core->last_intent_ms + 1);
  if (Status s = core->writer->append(&op); !s.ok()) return s;
  core->last_intent_ms = op.time_ms;
  if (std::find(core->touched.begin(), core->touched.end(), model::kRegistry) == core->touched.end()) {
    core->touched.push_back(model::kRegistry);
  }
  return Pending(std::move(pending));
}

::mlops::Registry registry_of(std::shared_ptr<void> hold, Session* session) {
  auto impl = std::make_shared<::mlops::Registry::Impl>();
  impl->client = std::move(hold);
  impl->session = session;
  impl->root = session->root->path;
  impl->uri = session->uri;
  impl->credentials = session->credentials;
  if (!impl->uri.empty()) impl->destination = destination_of(impl->root, impl->uri).name;
  return ::mlops::Registry(std::move(impl));
}

}  // namespace mlops::client

MLOPS_NAMESPACE_BEGIN

const char* pending_state_name(PendingState state) noexcept {
  switch (state) {
    case PendingState::waiting:
      return "waiting";
    case PendingState::done:
      return "done";
    case PendingState::refused:
      return "refused";
    case PendingState::condition_failed:
      return "condition_failed";
  }
  return "unknown";
}

Pending::Pending(std::shared_ptr<const Impl> impl) noexcept : impl_(std::move(impl)) {}
const std::string& Pending::id() const noexcept { return impl_->id; }

Result<PendingStatus> Pending::status() const {
  std::optional<PendingStatus> found = client::result_of(*impl_);
  if (found) return std::move(*found);
  PendingStatus waiting;
  waiting.id = impl_->id;
  waiting.destination = impl_->destination;
  return waiting;
}

Result<PendingStatus> Pending::wait(Millis deadline) const {
  const std::int64_t until = base::steady_ms() + deadline.count();
  for (std::int64_t pause = 2;; pause = std::min<std::int64_t>(client::kLookMs, pause * 2)) {
    std::optional<PendingStatus> found = client::result_of(*impl_);
    if (found && found->state != PendingState::waiting) return std::move(*found);
    const std::int64_t left = client::millis_left(until);
    if (left == 0) {
      return Status(
          StatusCode::deadline_exceeded,
          "the write " + impl_->id + " waits for its delivery: by a process with a tracking URI, or by `mlops sync`");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(std::min(pause, left)));
  }
}

Result<std::string> Pending::version(Millis deadline) const {
  Result<PendingStatus> settled = wait(deadline);
  if (!settled.ok()) return settled.status();
  if (settled->state != PendingState::done) return settled->status;
  if (settled->version.empty()) {
    return Status(StatusCode::failed_precondition, "the write " + impl_->id + " is about no version");
  }
  return settled->version;
}

Registry::Registry(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

Result<Registry> Registry::open(RegistryOptions options) {
  auto impl = std::make_shared<Impl>();
  const client::Environment environment = client::read_environment();
  Result<std::string> root = client::resolve_root(options.root, environment);
  if (!root.ok()) return root.status();
  impl->root = *root;
  impl->deadline = options.deadline;
  Result<std::string> uri = client::resolve_uri(options.to, environment, impl->root);
  if (!uri.ok()) return uri.status();
  impl->uri = *uri;
  impl->credentials = client::credentials_from_environment(std::move(options.credentials));
  if (impl->uri.empty() && base::exists(impl->root)) {
    Result<std::vector<client::KnownDestination>> known = client::known_destinations(impl->root);
    std::string words;
    const client::KnownDestination* one = known.ok() ? client::only_one(*known, false, &words) : nullptr;
    if (one != nullptr) impl->uri = one->destination.uri;
  }
  if (!impl->uri.empty()) impl->destination = client::destination_of(impl->root, impl->uri).name;
  return Registry(std::move(impl));
}

namespace {

using model::Intent;
using model::Verb;

Result<Pending> put(const Registry::Impl& impl, Intent intent) {
  if (impl.session == nullptr) {
    return Status(StatusCode::failed_precondition,
                  "this registry only reads: Client::registry() gives one that also writes");
  }
  if (Status s = impl.session->check_open(); !s.ok()) return s;
  return client::accept(impl.session->root->main_core, std::move(intent), impl.destination);
}

Intent intent_of(Verb verb, std::string_view name) {
  Intent intent;
  intent.verb = verb;
  intent.model = name;
  return intent;
}

Intent with(Intent intent, const Condition& condition) {
  intent.only_if_absent = condition.absent;
  intent.only_if_version = condition.version;
  return intent;
}

Intent promotion(Verb verb, std::string_view name, std::string_view alias, const PromoteOptions& options) {
  Intent intent = with(intent_of(verb, name), options.condition);
  intent.key = alias;
  intent.who = options.who.empty() ? mlflow::user_name(client::environment_variable) : options.who;
  if (intent.who.empty()) intent.who = "uid " + std::to_string(::geteuid());
  intent.why = options.why;
  return intent;
}

}  // namespace

Result<Pending> Registry::create_model(std::string_view name, const ModelOptions& options) const {
  Intent intent = with(intent_of(Verb::create_model, name), options.condition);
  if (!options.condition.version.empty()) {
    return Status(StatusCode::invalid_argument, "create_model: the only condition is Condition::if_absent()");
  }
  intent.description = options.description;
  intent.tags = options.tags;
  return put(*impl_, std::move(intent));
}

Result<Pending> Registry::rename_model(std::string_view name, std::string_view to) const {
  Intent intent = intent_of(Verb::rename_model, name);
  intent.value = to;
  return put(*impl_, std::move(intent));
}

Result<Pending> Registry::update_model(std::string_view name, std::string_view description) const {
  Intent intent = intent_of(Verb::update_model, name);
  intent.value = description;
  return put(*impl_, std::move(intent));
}

Result<Pending> Registry::delete_model(std::string_view name) const {
  return put(*impl_, intent_of(Verb::delete_model, name));
}

Result<Pending> Registry::set_model_tag(std::string_view name, std::string_view key, std::string_view value) const {
  Intent intent = intent_of(Verb::set_model_tag, name);
  intent.key = key;
  intent.value = value;
  return put(*impl_, std::move(intent));
}

Result<Pending> Registry::delete_model_tag(std::string_view name, std::string_view key) const {
  Intent intent = intent_of(Verb::delete_model_tag, name);
  intent.key = key;
  return put(*impl_, std::move(intent));
}

Result<Pending> Registry::set_alias(std::string_view name, std::string_view alias, const VersionRef& version,
                                    const Condition& condition) const {
  Intent intent = with(intent_of(Verb::set_alias, name), condition);
  intent.key = alias;
  intent.version = version.text();
  return put(*impl_, std::move(intent));
}

Result<Pending> Registry::delete_alias(std::string_view name, std::string_view alias,
                                       const Condition& condition) const {
  if (condition.absent) {
    return Status(StatusCode::invalid_argument, "delete_alias: the only condition is Condition::still(version)");
  }
  Intent intent = with(intent_of(Verb::delete_alias, name), condition);
  intent.key = alias;
  return put(*impl_, std::move(intent));
}

Result<Pending> Registry::create_version(std::string_view name, std::string_view source,
                                         const VersionOptions& options) const {
  Intent intent = intent_of(Verb::create_version, name);
  intent.source = source;
  intent.description = options.description;
  intent.tags = options.tags;
  intent.create_model = options.create_model;
  return put(*impl_, std::move(intent));
}

Result<Pending> Registry::update_version(std::string_view name, const VersionRef& version,
                                         std::string_view description) const {
  Intent intent = intent_of(Verb::update_version, name);
  intent.version = version.text();
  intent.value = description;
  return put(*impl_, std::move(intent));
}

Result<Pending> Registry::delete_version(std::string_view name, const VersionRef& version) const {
  Intent intent = intent_of(Verb::delete_version, name);
  intent.version = version.text();
  return put(*impl_, std::move(intent));
}

Result<Pending> Registry::set_version_tag(std::string_view name, const VersionRef& version, std::string_view key,
                                          std::string_view value) const {
  Intent intent = intent_of(Verb::set_version_tag, name);
  intent.version = version.text();
  intent.key = key;
  intent.value = value;
  return put(*impl_, std::move(intent));
}

Result<Pending> Registry::delete_version_tag(std::string_view name, const VersionRef& version,
                                             std::string_view key) const {
  Intent intent = intent_of(Verb::delete_version_tag, name);
  intent.version = version.text();
  intent.key = key;
  return put(*impl_, std::move(intent));
}

Result<Pending> Registry::set_stage(std::string_view name, const VersionRef& version, std::string_view stage,
                                    bool archive_existing) const {
  Intent intent = intent_of(Verb::set_stage, name);
  intent.version = version.text();
  intent.value = stage;
  intent.archive = archive_existing;
  return put(*impl_, std::move(intent));
}

Result<Pending> Registry::copy_version(std::string_view name, const VersionRef& version, std::string_view to) const {
  Intent intent = intent_of(Verb::copy_version, to);
  intent.from_model = name;
  intent.version = version.text();
  return put(*impl_, std::move(intent));
}

Result<Pending> Registry::promote(std::string_view name, const VersionRef& version, std::string_view alias,
                                  const PromoteOptions& options) const {
  Intent intent = promotion(Verb::promote, name, alias, options);
  intent.version = version.text();
  return put(*impl_, std::move(intent));
}

Result<Pending> Registry::rollback(std::string_view name, std::string_view alias, const PromoteOptions& options) const {
  if (options.condition.absent) {
    return Status(StatusCode::invalid_argument, "rollback: the only condition is Condition::still(version)");
  }
  return put(*impl_, promotion(Verb::rollback, name, alias, options));
}

Result<Pending> Registry::set_shares(std::string_view name, const std::vector<Share>& shares) const {
  if (shares.empty()) return delete_model_tag(name, "mlops.shares");
  std::string text;
  std::uint64_t sum = 0;
  for (const Share& share : shares) {
    if (Status s = model::check_alias(share.alias); !s.ok()) return s;
    text += (text.empty() ? "" : ",") + share.alias + "=" + std::to_string(share.share);
    sum += share.share;
  }
  if (sum == 0) return Status(StatusCode::invalid_argument, "set_shares: at least one share must be more than 0");
  return set_model_tag(name, "mlops.shares", text);
}

Result<Pending> Registry::pending(std::string_view id) const {
  if (id.size() < 4) {
    return Status(StatusCode::invalid_argument, "a write's id has 32 hex digits; give at least 4 of them");
  }
  Result<std::vector<PendingStatus>> all = client::list_intents(impl_->root);
  if (!all.ok()) return all.status();
  const PendingStatus* found = nullptr;
  for (const PendingStatus& status : *all) {
    if (status.id.compare(0, id.size(), id) != 0) continue;
    if (found != nullptr && found->id != status.id) {
      return Status(StatusCode::invalid_argument, "\"" + std::string(id) + "\" is the start of several writes' ids");
    }
    found = &status;
  }
  if (found == nullptr) {
    return Status(StatusCode::not_found, "no write of this root has the id \"" + std::string(id.substr(0, 40)) +
                                             "\"; `mlops models pending --all` lists them");
  }
  auto pending = std::make_shared<Pending::Impl>();
  base::Uid::parse(found->id, &pending->uid);
  pending->id = found->id;
  pending->root = impl_->root;
  pending->destination = impl_->destination;
  return Pending(std::move(pending));
}

Result<std::vector<PendingStatus>> Registry::pendings(bool settled_too) const {
  Result<std::vector<PendingStatus>> all = client::list_intents(impl_->root);
  if (!all.ok() || settled_too) return all;
  all->erase(
      std::remove_if(all->begin(), all->end(), [](const PendingStatus& s) { return s.state != PendingState::waiting; }),
      all->end());
  return all;
}

Result<Pending> Run::register_model(std::string_view artifact_path, std::string_view name,
                                    const RegisterOptions& options) {
  if (impl_ == nullptr) return Status(StatusCode::failed_precondition, "this Run object was moved from");
  const client::RunState& run = *impl_->state;
  Intent intent = intent_of(Verb::create_version, name);
  intent.run = run.uid;
  intent.path = artifact_path;
  if (!options.logged_model.empty() && !base::Uid::parse(options.logged_model, &intent.logged_model)) {
    return Status(StatusCode::invalid_argument,
                  "register_model: logged_model is our id of a logged model, 32 hex digits");
  }
  intent.description = options.description;
  intent.tags = options.tags;
  intent.create_model = true;
  std::string destination;
  {
    const std::lock_guard<std::mutex> lock(run.core->engines_mutex);
    if (!run.core->engine_names.empty()) destination = run.core->engine_names.front();
  }
  return client::accept(run.core, std::move(intent), destination);
}

MLOPS_NAMESPACE_END
