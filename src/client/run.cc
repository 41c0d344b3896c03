// Run: the calls of a training program on one run. Ops go through Core::mutex into the journal; metrics by name find
// their key in a cache of the calling thread.
#include "mlops/run.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <utility>

#include "base/base.h"
#include "client/core.h"
#include "client/run_impl.h"
#include "client/steps.h"
#include "model/limits.h"

MLOPS_NAMESPACE_BEGIN

namespace {

using client::Core;
using client::RunState;

constexpr const char* kNoteTag = "mlflow.note.content";

// Names of metrics by run, per calling thread: 64 lines of the cache, found by a hash of (gate, name), four tries.
struct KnownName {
  detail::Gate* gate;
  std::uint32_t generation;
  std::uint32_t key;
  std::uint64_t hash;
  std::uint8_t size;
  char name[39];
};
static_assert(sizeof(KnownName) == 64);
constexpr std::size_t kKnownNames = 64, kTries = 4;
// On the heap: the library's thread-local memory is static (initial-exec), and a program that loads it with dlopen, as
// Python does, has a few hundred bytes of that for all its libraries together.
thread_local KnownName* known_names = nullptr;
thread_local bool known_names_gone = false;

// Made at a thread's first miss, so that the calls that hit pay for no guard.
KnownName* make_known_names() {
  struct Owner {
    Owner() { known_names = static_cast<KnownName*>(std::calloc(kKnownNames, sizeof(KnownName))); }
    ~Owner() {
      std::free(std::exchange(known_names, nullptr));
      known_names_gone = true;
    }
  };
  if (known_names_gone) return nullptr;
  static thread_local const Owner owner;
  return known_names;
}

std::uint64_t read_tail(const char* at, std::size_t size) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, size);
  return word;
}

std::uint64_t hash_name(std::string_view name, const detail::Gate* gate) {
  std::uint64_t h = reinterpret_cast<std::uintptr_t>(gate) ^ (name.size() * 0x9E3779B97F4A7C15ull);
  const char* at = name.data();
  std::size_t left = name.size();
  for (; left >= 8; left -= 8, at += 8) {
    std::uint64_t word;
    std::memcpy(&word, at, 8);
    h = (h ^ word) * 0xC2B2AE3D27D4EB4Full;
    h ^= h >> 32;
  }
  if (left != 0) h = (h ^ read_tail(at, left)) * 0xC2B2AE3D27D4EB4Full;
  return h ^ (h >> 29);
}

Status ended_status(const RunState& run) {
  return Status(StatusCode::failed_precondition,
                "run \"" + run.name() + "\" has ended or its client is closed: start or resume a run to log more");
}

Status full_status() {
  return Status(StatusCode::resource_exhausted,
                "the journal is full and the drain cannot keep up or cannot write; the point was dropped and counted "
                "(see Client::health)");
}

// log_point that says whether the point was taken: then this thread's place in the journal has moved.
Status log_checked(const RunState& run, std::uint32_t key, double value, std::int64_t step, std::int64_t ms) {
  const detail::Handle handle(run.gate, run.generation, key);
  const detail::Lane* lane = detail::lane_of(handle);
  const detail::Cell* cursor = lane == nullptr ? nullptr : lane->cursor;
  detail::log_point(handle, value, step, ms);
  lane = detail::lane_of(handle);
  if (MLOPS_LIKELY(lane != nullptr && lane->cursor != cursor)) return {};
  return run.gate->generation.load(std::memory_order_relaxed) == run.generation ? full_status() : ended_status(run);
}

// Looks the name up, defining it on first use.
Result<std::uint32_t> find_key(RunState* run, std::string_view name) {
  if (Status s = model::check_key("metric", name); !s.ok()) return s;
  const std::lock_guard<std::mutex> lock(run->core->mutex);
  if (run->ended) return ended_status(*run);
  Result<std::uint32_t> key = run->core->writer->key(run->uid, name);
  if (!key.ok()) return key;
  if (*key == 0) return Status(StatusCode::resource_exhausted, "this process has defined 16 million metrics: no more");
  return key;
}

Result<std::uint32_t> known_key(RunState* run, std::string_view name) {
  if (name.size() > sizeof(KnownName::name) || name.empty()) return find_key(run, name);
  const std::uint64_t hash = hash_name(name, run->gate);
  KnownName* const known = known_names != nullptr ? known_names : make_known_names();
  if (known == nullptr) return find_key(run, name);  // out of memory, or the thread is at its end
  KnownName* victim = nullptr;
  for (std::size_t i = 0; i < kTries; ++i) {
    KnownName& k = known[(hash + i) % kKnownNames];
    if (k.gate == run->gate && k.generation == run->generation && k.hash == hash && k.size == name.size() &&
        std::memcmp(k.name, name.data(), name.size()) == 0) {
      return k.key;
    }
    if (victim == nullptr && k.gate == nullptr) victim = &k;
  }
  Result<std::uint32_t> key = find_key(run, name);
  if (!key.ok()) return key;
  if (victim == nullptr) victim = &known[(hash + (hash >> 40) % kTries) % kKnownNames];
  victim->gate = run->gate;
  victim->generation = run->generation;
  victim->key = *key;
  victim->hash = hash;
  victim->size = static_cast<std::uint8_t>(name.size());
  std::memcpy(victim->name, name.data(), name.size());
  return key;
}

Status append_locked(RunState* run, model::OpKind kind, std::string_view key, std::string_view value) {
  model::Op op;
  op.run = run->uid;
  op.time_ms = base::now_ms();
  op.kind = kind;
  op.key = key;
  op.value = value;
  return run->core->writer->append(&op);
}

Status put_tag(RunState* run, std::string_view key, std::string_view value) {
  if (Status s = model::check_key("tag", key); !s.ok()) return s;
  if (Status s = model::check_text("tag value", value, SIZE_MAX, true); !s.ok()) return s;
  const std::string_view cut = model::cut_chars(value, model::kTagChars);
  if (cut.size() != value.size()) {
    base::log(base::LogLevel::warn, "tag \"" + std::string(key) + "\" was cut to 8,000 characters");
  }
  const std::lock_guard<std::mutex> lock(run->core->mutex);
  if (run->ended) return ended_status(*run);
  return append_locked(run, model::OpKind::set_tag, key, cut);
}

Status put_param(RunState* run, std::string_view key, std::string_view value) {
  if (Status s = model::check_key("param", key); !s.ok()) return s;
  if (Status s = model::check_text("param value", value, SIZE_MAX, true); !s.ok()) return s;
  const std::string_view cut = model::cut_chars(value, model::kParamChars);
  const std::lock_guard<std::mutex> lock(run->core->mutex);
  if (run->ended) return ended_status(*run);
  const auto [known, fresh] = run->params.try_emplace(std::string(key), cut);
  if (!fresh) {
    if (known->second == cut) return {};
    return Status(StatusCode::already_exists,
                  "param \"" + std::string(key) + "\" is \"" + std::string(model::cut_chars(known->second, 60)) +
                      "\" in this run and cannot become \"" + std::string(model::cut_chars(cut, 60)) +
                      "\": params are written once; use a tag, or another run");
  }
  if (Status s = append_locked(run, model::OpKind::param, key, cut); !s.ok()) {
    run->params.erase(known);
    return s;
  }
  if (cut.size() == value.size()) return {};
  base::log(base::LogLevel::warn, "param \"" + std::string(key) + "\" was cut to 6,000 characters");
  // A key may use up all of a tag key's length: then its first characters name it.
  const std::string tag = std::string(model::cut_chars("mlops.truncated." + std::string(key), model::kKeyChars));
  return append_locked(run, model::OpKind::set_tag, tag, std::to_string(model::count_chars(value)));
}

Status moved_from() { return Status(StatusCode::failed_precondition, "this Run object was moved from"); }

// The first failure of many; the rest goes on.
void keep_first(Status* first, Status next) {
  if (first->ok()) *first = std::move(next);
}

const std::string& nothing() {
  static const std::string* const empty = new std::string;
  return *empty;
}

}  // namespace

Run::Run(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Run::Run(Run&&) noexcept = default;

Run& Run::operator=(Run&& other) noexcept {
  if (this != &other) {
    Run ends_here(std::move(*this));  // the run this object had ends now, as at the end of its scope
    impl_ = std::move(other.impl_);
  }
  return *this;
}

Run::~Run() {
  if (impl_ == nullptr) return;
  RunState* run = impl_->state.get();
  const bool unwinding = std::uncaught_exceptions() > impl_->uncaught;
  client::end_run(impl_->state, unwinding ? RunStatus::failed : RunStatus::finished, run->end_deadline, true).ignore();
}

const std::string& Run::id() const noexcept { return impl_ ? impl_->state->id : nothing(); }

const std::string& Run::name() const noexcept {
  if (impl_ == nullptr) return nothing();
  const std::lock_guard<std::mutex> lock(impl_->state->core->mutex);
  return impl_->state->name();
}

bool Run::ended() const noexcept {
  if (impl_ == nullptr) return true;
  const std::lock_guard<std::mutex> lock(impl_->state->core->mutex);
  return impl_->state->ended;
}

Result<std::string> Run::server_id(Millis deadline) const {
  if (impl_ == nullptr) return moved_from();
  RunState* run = impl_->state.get();
  Core* core = run->core;
  if (core->in_child.load()) {
    return Status(StatusCode::failed_precondition, "server_id in a forked child: ask in the process that delivers");
  }
  const std::int64_t until = base::steady_ms() + deadline.count();
  for (;;) {
    bool any = false;
    {
      const std::lock_guard<std::mutex> lock(core->engines_mutex);
      any = !core->engine_names.empty();
    }
    if (!any) {
      return Status(StatusCode::failed_precondition, "nothing is delivered from here: no tracking URI is set");
    }
    Status last(StatusCode::not_found, "the run is not on the server yet");
    for (const auto& engine : core->current_engines()) {
      Result<std::string> id = engine->server_id(run->uid);
      if (id.ok()) return id;
      const DestinationHealth health = engine->health();
      if (!health.last_error.ok()) {
        last = Status(StatusCode::not_found,
                      "the run is not on the server yet; last error: " + std::string(health.last_error.message()));
      }
    }
    if (client::millis_left(until) == 0) {
      return deadline.count() == 0 ? last : Status(StatusCode::deadline_exceeded, std::string(last.message()));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(std::min<std::int64_t>(10, client::millis_left(until))));
  }
}

Result<Metric> Run::try_metric(std::string_view name) const {
  if (impl_ == nullptr) return moved_from();
  RunState* run = impl_->state.get();
  Result<std::uint32_t> key = known_key(run, name);
  if (!key.ok()) return key.status();
  return Metric({run->gate, run->generation, *key});
}

Metric Run::metric(std::string_view name) const noexcept {
  Result<Metric> metric = try_metric(name);
  if (metric.ok()) return *metric;
  if (impl_ == nullptr) return {};
  base::log(base::LogLevel::warn, "metric handle that drops its points: " + metric.status().to_string());
  // A generation no gate ever has: each call takes the slow path, which counts key 0 as invalid and others as closed.
  const bool bad_name = metric.status().code() == StatusCode::invalid_argument;
  return Metric({impl_->state->gate, 0, bad_name ? 0u : 1u});
}

Run::AutoStep Run::auto_step(std::string_view name) const {
  const Metric handle = metric(name);
  if (impl_ == nullptr) return AutoStep(handle, 0);
  RunState* run = impl_->state.get();
  const std::int64_t next = client::next_step(*run, [name](std::string_view other) { return other == name; });
  return AutoStep(handle, next);
}

Status Run::log_metric(std::string_view name, double value, std::int64_t step) noexcept {
  if (impl_ == nullptr) return moved_from();
  RunState* run = impl_->state.get();
  Result<std::uint32_t> key = known_key(run, name);
  if (!key.ok()) return key.status();
  return log_checked(*run, *key, value, step, detail::kNow);
}

Status Run::log_metric(std::string_view name, double value, std::int64_t step,
                       std::chrono::system_clock::time_point when) noexcept {
  if (impl_ == nullptr) return moved_from();
  const std::int64_t ms = std::chrono::duration_cast<std::chrono::milliseconds>(when.time_since_epoch()).count();
  if (ms < 0) {
    return Status(StatusCode::invalid_argument, "metric \"" + std::string(model::cut_chars(name, 60)) +
                                                    "\": the time is before 1970, which MLflow refuses");
  }
  RunState* run = impl_->state.get();
  Result<std::uint32_t> key = known_key(run, name);
  if (!key.ok()) return key.status();
  return log_checked(*run, *key, value, step, ms);
}

Status Run::log_metrics(const MetricPair* metrics, std::size_t count, std::int64_t step) noexcept {
  if (impl_ == nullptr) return moved_from();
  const std::int64_t now = base::now_ms();
  RunState* run = impl_->state.get();
  Status first;
  for (std::size_t i = 0; i < count; ++i) {
    Result<std::uint32_t> key = known_key(run, metrics[i].first);
    keep_first(&first, key.ok() ? log_checked(*run, *key, metrics[i].second, step, now) : key.status());
  }
  return first;
}

Status Run::log_metrics(std::initializer_list<MetricPair> metrics, std::int64_t step) noexcept {
  return log_metrics(metrics.begin(), metrics.size(), step);
}

Status Run::log_param(std::string_view key, const Value& value) noexcept {
  return impl_ == nullptr ? moved_from() : put_param(impl_->state.get(), key, value.text());
}

Status Run::log_params(std::initializer_list<std::pair<std::string_view, Value>> params) noexcept {
  Status first;
  for (const auto& [key, value] : params) keep_first(&first, log_param(key, value));
  return first;
}

Status Run::log_params(const Pairs& params) noexcept {
  Status first;
  for (const auto& [key, value] : params) keep_first(&first, log_param(key, value));
  return first;
}

Status Run::set_tag(std::string_view key, const Value& value) noexcept {
  return impl_ == nullptr ? moved_from() : put_tag(impl_->state.get(), key, value.text());
}

Status Run::set_tags(std::initializer_list<std::pair<std::string_view, Value>> tags) noexcept {
  Status first;
  for (const auto& [key, value] : tags) keep_first(&first, set_tag(key, value));
  return first;
}

Status Run::set_tags(const Pairs& tags) noexcept {
  Status first;
  for (const auto& [key, value] : tags) keep_first(&first, set_tag(key, value));
  return first;
}

Status Run::delete_tag(std::string_view key) noexcept {
  if (impl_ == nullptr) return moved_from();
  if (Status s = model::check_key("tag", key); !s.ok()) return s;
  RunState* run = impl_->state.get();
  const std::lock_guard<std::mutex> lock(run->core->mutex);
  if (run->ended) return ended_status(*run);
  return append_locked(run, model::OpKind::delete_tag, key, {});
}

Status Run::set_name(std::string_view name) noexcept {
  if (impl_ == nullptr) return moved_from();
  if (Status s = model::check_text("run name", name, model::kRunNameChars, false); !s.ok()) return s;
  RunState* run = impl_->state.get();
  const std::lock_guard<std::mutex> lock(run->core->mutex);
  if (run->ended) return ended_status(*run);
  if (Status s = append_locked(run, model::OpKind::run_name, {}, name); !s.ok()) return s;
  run->names_given.emplace_back(name);
  return {};
}

Status Run::set_note(std::string_view markdown) noexcept { return set_tag(kNoteTag, Value(markdown)); }

Status Run::end(RunStatus status, std::int64_t end_ms) noexcept {
  if (impl_ == nullptr) return moved_from();
  if (Status s = client::check_time("end_ms", end_ms); !s.ok()) return s;
  return client::end_run(impl_->state, status, impl_->state->end_deadline, true, end_ms);
}

Status Run::leave() noexcept {
  if (impl_ == nullptr) return moved_from();
  return client::leave_run(impl_->state, impl_->state->end_deadline);
}

Status Run::flush(Level level, Millis deadline) noexcept {
  if (impl_ == nullptr) return moved_from();
  return impl_->state->core->flush(level, deadline, impl_->state->uid);
}

MLOPS_NAMESPACE_END

namespace mlops::client {

Status log_point(RunState* run, std::string_view name, double value, std::int64_t step, std::int64_t ms) {
  Result<std::uint32_t> key = known_key(run, name);
  if (!key.ok()) return key.status();
  return log_checked(*run, *key, value, step, ms);
}

}  // namespace mlops::client
