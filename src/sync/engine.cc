// Engine: the shell around Core that a forked child can drop without touching it.
#include "sync/engine.h"

#include <unistd.h>

#include <utility>

#include "buffer/spool.h"
#include "sync/core.h"

namespace mlops::sync {
namespace {

class EngineShell : public Engine {
 public:
  explicit EngineShell(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  ~EngineShell() override { stop(Millis(2'000)); }

  void wake() override {
    if (core_) core_->wake();
  }
  bool delivered(const base::Uid& run, std::uint64_t seq) const override { return core_ && core_->delivered(run, seq); }
  Status wait_idle(Millis deadline) override { return core_ ? core_->wait_idle(deadline) : forked(); }
  DestinationHealth health() const override { return core_ ? core_->health() : DestinationHealth(); }
  DeliverProgress progress() const override { return core_ ? core_->progress() : DeliverProgress(); }
  std::uint64_t parked() const override { return core_ ? core_->parked() : 0; }
  std::uint64_t dead_points() const override { return core_ ? core_->dead_points() : 0; }
  Result<std::string> server_id(const base::Uid& run) const override {
    if (!core_) return forked();
    return core_->server_id(run);
  }
  std::optional<ledger::IntentResult> intent(const base::Uid& uid) const override {
    return core_ ? core_->intent(uid) : std::nullopt;
  }
  std::uint64_t intents_waiting() const override { return core_ ? core_->intents_waiting() : 0; }
  std::optional<ledger::ModelState> logged_model(const base::Uid& uid) const override {
    return core_ ? core_->logged_model(uid) : std::nullopt;
  }
  bool is_deliverer() const override { return core_ && core_->is_deliverer(); }
  void retry_now() override {
    if (core_) core_->retry_now();
  }
  void stop(Millis deadline) override {
    if (core_) core_->stop(deadline);
  }
  void after_fork_in_child() override {
    if (!core_) return;
    new std::shared_ptr<Core>(std::move(core_));  // NOLINT: never destroyed: its threads and mutexes are the parent's
    core_ = nullptr;
  }

 private:
  static Status forked() {
    return Status(StatusCode::failed_precondition, "a forked child does not deliver; its parent does");
  }
  std::shared_ptr<Core> core_;
};

}  // namespace

Result<std::unique_ptr<Engine>> start_engine(EngineOptions options, Parts parts) {
  if (!options.reader) return Status(StatusCode::invalid_argument, "the delivery engine needs a buffer to read");
  if (!options.durable_beat) {
    return Status(StatusCode::invalid_argument, "the delivery engine needs to know what is durable");
  }
  auto core = std::make_shared<Core>(std::move(options), std::move(parts));
  core->start();
  return std::unique_ptr<Engine>(new EngineShell(std::move(core)));
}

Parts real_parts(const EngineOptions& options) {
  Parts parts;
  parts.make_remote = remote_to(options.destination.uri, options.credentials);
  parts.open_ledger = [slot = options.slot_dir, destination = options.destination] {
    return ledger::Ledger::open(slot, destination);
  };
  parts.read_ledger = [slot = options.slot_dir, name = options.destination.name] {
    return ledger::Ledger::read(slot, name);
  };
  parts.make_store = [env = options.env](const store::Place& place) {
    return store::open(place, env ? env : [](const char*) -> const char* { return nullptr; });
  };
  parts.open_file = [spool = buffer::Spool(options.slot_dir)](const buffer::FileRow& row) { return spool.open(row); };
  parts.asked = [slot = options.slot_dir, name = options.destination.name] { return ledger::asked(slot, name); };
  parts.asked_done = [](const ledger::Asked& asked) { ::unlink(asked.path.c_str()); };
  return parts;
}

Result<std::unique_ptr<Engine>> Engine::start(EngineOptions options) {
  if (options.destination.name.empty()) options.destination.name = ledger::destination_name(options.destination.uri);
  Parts parts = real_parts(options);
  return start_engine(std::move(options), std::move(parts));
}

}  // namespace mlops::sync
