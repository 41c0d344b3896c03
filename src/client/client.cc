// Client and Experiment: the door, over one Session.
#include "mlops/client.h"

#include <exception>

#include "base/base.h"
#include "client/registry_impl.h"
#include "client/run_impl.h"
#include "client/start.h"
#include "model/limits.h"

MLOPS_NAMESPACE_BEGIN

struct Client::Impl {
  client::Session session;
};

struct Experiment::Impl {
  std::shared_ptr<Client::Impl> client;
  std::string name;
  Status error;  // of the options; start_run returns it
};

namespace {

constexpr Millis kEndPatience{5'000};

Status closed_status() { return Status(StatusCode::failed_precondition, "the client is closed"); }

Result<Run> make_run(client::Session* session, const std::string& experiment, RunOptions options) {
  Result<std::shared_ptr<client::RunState>> state = client::start_run(session, experiment, std::move(options));
  if (!state.ok()) return state.status();
  auto impl = std::make_unique<Run::Impl>();
  impl->state = *state;
  impl->uncaught = std::uncaught_exceptions();
  return Run(std::move(impl));
}

}  // namespace

Client::Client(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

Result<Client> Client::open(Options given) {
  const client::Environment environment = client::read_environment();
  Result<Options> options = client::complete_options(std::move(given), environment);
  if (!options.ok()) return options.status();
  // The slot that holds the run the environment names, if its process is gone, is the one to take.
  drain::SlotWish wish{{}, environment.job.key, environment.job.rank <= 0};
  base::Uid::parse(environment.attach_run.empty() ? environment.run_id : environment.attach_run, &wish.run);
  Result<client::Root*> root = client::open_root(*options, wish);
  if (!root.ok()) return root.status();
  auto impl = std::make_shared<Impl>();
  client::Session& session = impl->session;
  session.root = *root;
  session.environment = environment;
  session.uri = options->tracking_uri;
  session.credentials = options->credentials;
  session.system_metrics = options->system_metrics;
  {
    const std::lock_guard<std::mutex> lock(client::registry().mutex);
    session.number = client::registry().next_client++;
  }
  if (options->deliver && !session.uri.empty()) client::add_destination(*root, session.uri, session.credentials);
  return Client(std::move(impl));
}

Experiment Client::experiment(std::string_view name, ExperimentOptions options) const {
  auto impl = std::make_shared<Experiment::Impl>();
  impl->client = impl_;
  impl->name = name;
  if (impl->name.empty()) impl->name = impl_->session.environment.experiment;
  if (impl->name.empty()) impl->name = "Default";
  const auto check = [&]() -> Status {
    if (Status s = impl_->session.check_open(); !s.ok()) return s;
    if (Status s = model::check_text("experiment name", impl->name, model::kExperimentChars, false); !s.ok()) return s;
    if (options.tags.empty() && options.artifact_location.empty()) return {};
    if (Status s = model::check_text("artifact location", options.artifact_location, 500, true); !s.ok()) return s;
    for (const auto& [key, value] : options.tags) {
      if (Status s = model::check_key("experiment tag", key); !s.ok()) return s;
      if (Status s = model::check_text("experiment tag value", value, 5'000, true); !s.ok()) return s;
    }
    model::Op op;
    op.kind = model::OpKind::experiment;
    op.time_ms = base::now_ms();
    op.key = impl->name;
    op.value = options.artifact_location;
    op.pairs = options.tags;
    if (model::encode_op(op).size() > journal::kMaxRecord) {
      return Status(StatusCode::invalid_argument, "the tags of experiment \"" + impl->name + "\" are more than 48 KiB");
    }
    client::Core* core = impl_->session.root->main_core;
    const std::lock_guard<std::mutex> lock(core->mutex);
    if (core->closing.load()) return closed_status();
    return core->writer->append(&op);
  };
  impl->error = check();
  return Experiment(std::move(impl));
}

Result<Run> Client::start_run(std::string_view experiment, RunOptions options) const {
  return make_run(&impl_->session, std::string(experiment), std::move(options));
}

Status Client::end_run(std::string_view id, RunStatus status, std::int64_t end_ms) const {
  if (Status s = impl_->session.check_open(); !s.ok()) return s;
  return client::end_run_by_id(impl_->session.root, id, status, end_ms, kEndPatience);
}

Registry Client::registry() const { return client::registry_of(impl_, &impl_->session); }

Status Client::flush(Level level, Millis deadline) const noexcept {
  if (Status s = impl_->session.check_open(); !s.ok()) return s;
  const std::int64_t until = base::steady_ms() + deadline.count();
  for (client::Core* core : client::cores_of(impl_->session.root)) {
    if (Status s = core->flush(level, Millis(client::millis_left(until)), base::Uid()); !s.ok()) return s;
  }
  return {};
}

Health Client::health() const { return impl_->session.root->health(); }

void Client::on_health(std::function<void(const Health&)> callback) const {
  impl_->session.root->set_on_health(std::move(callback));
}

const std::string& Client::root() const noexcept { return impl_->session.root->path; }
const std::string& Client::tracking_uri() const noexcept { return impl_->session.uri; }

Status Client::close() const noexcept {
  client::Session& session = impl_->session;
  if (session.closed.exchange(true)) return closed_status();
  if (session.root->closed.load()) return closed_status();
  bool last = false;
  {
    const std::lock_guard<std::mutex> lock(client::registry().mutex);
    last = --session.root->clients == 0;
  }
  if (last) return client::close_root(session.root, session.root->options.exit_deadline);
  Status first;
  for (client::Core* core : client::cores_of(session.root)) {
    core->end_runs(session.number, RunStatus::finished);
    Status s =
        core->in_child.load() ? Status() : core->drain->flush(Level::durable, session.root->options.exit_deadline);
    if (first.ok()) first = s;
  }
  return first;
}

Experiment::Experiment(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
const std::string& Experiment::name() const noexcept { return impl_->name; }

Result<Run> Experiment::start_run(RunOptions options) const {
  if (!impl_->error.ok()) return impl_->error;
  return make_run(&impl_->client->session, impl_->name, std::move(options));
}

MLOPS_NAMESPACE_END
