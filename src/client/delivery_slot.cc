#include "client/delivery_slot.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "buffer/outbox.h"
#include "client/core.h"
#include "drain/slot.h"
#include "ledger/ledger.h"
#include "view/view.h"

namespace mlops::client {
namespace {

constexpr std::int64_t kOpenMs = 20'000;
constexpr std::int64_t kChildMs = 2'000;  // a living child of a dead process may stay on
constexpr std::int64_t kAskMs = 1'000;
constexpr std::int64_t kBlockedMs = 3'000;
constexpr std::int64_t kPublishMs = 5'000;  // for a living owner on another node to publish what this deliverer lacks

std::int64_t written_at(const std::string& path) {
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return -1;
  return st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec;
}

}  // namespace

std::int64_t changed_at(const std::string& dir, const std::string& destination) {
  return std::max(written_at(dir + "/lock"), written_at(dir + "/delivery/" + destination + "/ledger"));
}

bool DeliveryShare::stopped() const {
  if (options.stop != nullptr && options.stop->load(std::memory_order_relaxed)) return true;
  return options.deadline.count() > 0 && base::steady_ms() - started >= options.deadline.count();
}

Status DeliverySlot::open(bool alive, int max_connections) {
  Status s = alive ? read_beside() : own();
  if (s.code() == StatusCode::unavailable && !owned()) s = read_beside();  // taken meanwhile
  return s.ok() ? start_engine(max_connections) : s;
}

std::int64_t DeliverySlot::close(Millis deadline) {
  if (engine_ != nullptr) engine_->stop(deadline);
  if (drain_ != nullptr) drain_->on_beat({});  // it wakes the engine
  // Nothing was collected: another follower need not look again. What was delivered changed the ledger's time.
  if (owned() && drain_->stats().beats == 0) drain_->slot().lock.untouch();
  engine_.reset();
  const std::int64_t changed = changed_at(dir_, share_->target.destination.name);
  if (drain_ != nullptr) drain_->close(deadline).ignore();
  drain_.reset();
  reader_.reset();
  return changed;
}

Status DeliverySlot::own() {
  Result<std::unique_ptr<drain::Slot>> slot = drain::acquire_slot_at(dir_, share_->placing);
  if (!slot.ok()) return slot.status();
  drain::DrainOptions options;
  options.root = share_->target.root;
  options.publish = false;
  options.end_dead_runs = share_->options.end_dead_runs;
  drain_ = drain::Drain::start(std::move(*slot), nullptr, options);
  // A flush opens the database, and says at once why it cannot be opened or written.
  const std::int64_t began = base::steady_ms();
  const auto within = [&](std::int64_t ms) { return base::steady_ms() - began < ms && !share_->stopped(); };
  for (;;) {
    const Status s = drain_->flush(Level::durable, Millis(200));
    if (s.code() == StatusCode::deadline_exceeded && within(kOpenMs)) continue;
    if (!s.ok()) return s;
    if (drain_->settled() || !within(kChildMs)) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  Result<std::shared_ptr<buffer::Reader>> reader = drain_->reader(Millis(200));
  if (!reader.ok()) return reader.status();
  reader_ = *reader;
  durable_beat_ = [drain = drain_.get()] { return drain->durable_beat(); };
  return {};
}

Status DeliverySlot::read_beside() {
  const Result<std::string> place = base::local_half(dir_);
  if (place.status().code() == StatusCode::unavailable && share_->placing.network) return read_outbox();
  if (!place.ok()) return place.status();
  place_ = *place;
  Result<base::Mapping> control = drain::open_control(dir_);
  if (!control.ok()) return control.status();
  control_ = std::move(*control);
  Result<std::unique_ptr<buffer::Reader>> opened = view::open_beside(dir_);
  if (!opened.ok()) {
    return opened.status().code() == StatusCode::not_found || !base::exists(dir_ + "/summary")
               ? Status(StatusCode::not_found, "no database yet")
               : opened.status();
  }
  reader_ = std::move(*opened);
  const auto* page = reinterpret_cast<const journal::Control*>(control_.data());
  durable_beat_ = [page, reader = reader_.get()]() -> std::uint64_t {
    // What was fsynced of another database says nothing of this one.
    const buffer::Identity identity = reader->identity();
    if (!std::equal(identity.uid.bytes.begin(), identity.uid.bytes.end(), page->buffer_uid)) return 0;
    return page->durable_beat.load(std::memory_order_acquire);
  };
  return {};
}

Status DeliverySlot::read_outbox() {
  Result<std::unique_ptr<buffer::OutboxReader>> opened = buffer::open_outbox(dir_, false);
  if (!opened.ok()) return opened.status();
  const std::shared_ptr<buffer::OutboxReader> outbox = std::move(*opened);
  reader_ = outbox;
  durable_beat_ = [outbox] {
    outbox->refresh().ignore();
    return outbox->newest();
  };
  return {};
}

Status DeliverySlot::start_engine(int max_connections) {
  const Target& target = share_->target;
  sync::EngineOptions options;
  options.slot_dir = dir_;
  options.destination = target.destination;
  options.credentials = target.credentials;
  options.reader = reader_;
  options.turnstile = share_->turnstile;
  options.upload_turnstile = share_->upload_turnstile;
  options.env = environment_variable;
  options.says_trouble = share_->options.log_trouble;
  options.max_connections = max_connections;
  options.durable_beat = durable_beat_;
  options.experiment_of = [root = target.root](const base::Uid& run) { return drain::experiment_of(root, run); };
  options.files_elsewhere = [this](const base::Uid& run) { return share_->attached.wait_for(dir_, run); };
  Result<ledger::Ledger::Snapshot> before = ledger::Ledger::read(dir_, target.destination.name);
  makes_ledger_ = before.status().code() == StatusCode::not_found;
  if (before.ok()) {
    for (const auto& [uid, lane] : before->lanes) points_at_start_ += lane.delivered;
    for (const auto& [uid, place] : before->artifacts) {
      files_at_start_ += place.files;
      file_bytes_at_start_ += place.bytes;
    }
  }
  Result<std::unique_ptr<sync::Engine>> engine = sync::Engine::start(std::move(options));
  if (!engine.ok()) return engine.status();
  engine_ = std::move(*engine);
  if (owned()) drain_->on_beat([raw = engine_.get()] { raw->wake(); });
  return {};
}

bool DeliverySlot::is_done() {
  const std::uint64_t beat = durable_beat_();
  const std::int64_t now = base::steady_ms();
  if (beat != asked_beat_ || now - asked_at_ >= kAskMs) {  // asking costs the engine a look at all its rows
    asked_beat_ = beat;
    asked_at_ = now;
    idle_ = false;
    if (!owned()) engine_->wake();
  }
  if (!idle_) idle_ = engine_->wait_idle(Millis(0)).ok();
  if (!idle_ || owned() || !place_.empty()) return idle_;
  // What another node's process has not published (any more) it publishes when it sees that somebody lacks it.
  if (engine_->health().waiting == 0) {
    lacking_since_ = 0;
    lacks_ = false;
    return true;
  }
  if (lacking_since_ == 0) lacking_since_ = now;
  lacks_ = now - lacking_since_ > kPublishMs;
  return lacks_;
}

bool DeliverySlot::needs_somebody() {
  const LaneState state = engine_->health().state;
  if (state != LaneState::auth_blocked && state != LaneState::parked) {
    blocked_since_ = 0;
    return false;
  }
  const std::int64_t now = base::steady_ms();
  if (blocked_since_ == 0) blocked_since_ = now;
  return now - blocked_since_ > kBlockedMs;
}

void DeliverySlot::add_to(DeliverReport* report, std::uint64_t* intents) const {
  if (engine_ == nullptr) return;
  const DestinationHealth health = engine_->health();
  const auto since = [](std::uint64_t now, std::uint64_t start) { return now - std::min(now, start); };
  if (engine_->is_deliverer()) {
    report->points += since(health.delivered, points_at_start_);
    report->files += since(health.files_delivered, files_at_start_);
    report->file_bytes += since(health.file_bytes_delivered, file_bytes_at_start_);
    report->requests += health.requests;
    report->retries += health.retries;
  }
  report->runs += engine_->progress().runs_total;
  report->dead_letters += health.dead_letters;
  report->waiting += health.waiting;
  report->files_waiting += health.files_waiting;
  report->file_bytes_waiting += health.file_bytes_waiting;
  report->parked += engine_->parked();
  *intents += engine_->intents_waiting();
  if (report->status.ok()) report->status = health.last_error;
}

}  // namespace mlops::client
