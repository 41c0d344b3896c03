#include "client/core.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "base/base.h"
#include "base/place.h"
#include "client/attached_files.h"
#include "drain/slot.h"

namespace mlops::client {

std::int64_t millis_left(std::int64_t steady_end) { return std::max<std::int64_t>(0, steady_end - base::steady_ms()); }

namespace {

Status no_destination() {
  return Status(
      StatusCode::failed_precondition,
      "nothing is delivered from here: no tracking URI (set MLFLOW_TRACKING_URI or Options::tracking_uri), or "
      "Options::deliver is off; `mlops sync --to URI` delivers later");
}

bool runs_by_itself(LaneState state) { return state == LaneState::idle || state == LaneState::sending; }

}  // namespace
}  // namespace mlops::client

MLOPS_NAMESPACE_BEGIN
namespace detail {

using client::millis_left;

void Core::want_engine(const client::WantedEngine& want) {
  {
    const std::lock_guard<std::mutex> lock(engines_mutex);
    const std::string& name = want.destination.name;
    if (std::find(engine_names.begin(), engine_names.end(), name) != engine_names.end()) return;
    engine_names.push_back(name);
    wanted.push_back(want);
  }
  engines_changed.notify_all();
}

std::vector<std::shared_ptr<sync::Engine>> Core::current_engines() {
  const std::lock_guard<std::mutex> lock(engines_mutex);
  return engines;
}

void Core::starter_main() {
  base::begin_own_thread("mlops-core");
  std::shared_ptr<buffer::Reader> reader;
  while (reader == nullptr) {
    Result<std::shared_ptr<buffer::Reader>> opened = drain->reader(Millis(100));
    if (opened.ok()) {
      reader = *opened;
      break;
    }
    std::unique_lock<std::mutex> lock(engines_mutex);
    if (engines_changed.wait_for(lock, std::chrono::milliseconds(20), [this] { return stopping; })) return;
  }
  std::unique_lock<std::mutex> lock(engines_mutex);
  for (;;) {
    engines_changed.wait(lock, [this] { return stopping || !wanted.empty(); });
    if (stopping) return;
    const client::WantedEngine want = wanted.front();
    lock.unlock();
    sync::EngineOptions options;
    options.slot_dir = slot_dir;
    options.destination = want.destination;
    options.credentials = want.credentials;
    options.reader = reader;
    options.durable_beat = [this] { return drain->durable_beat(); };
    options.env = client::environment_variable;
    options.experiment_of = [this](const base::Uid& run) {
      return drain::experiment_of(base::root_of_slot(slot_dir), run);
    };
    options.files_elsewhere = [this, attached = std::make_shared<client::AttachedFiles>(want.destination.name)](
                                  const base::Uid& run) { return attached->wait_for(slot_dir, run); };
    Result<std::unique_ptr<sync::Engine>> engine = sync::Engine::start(std::move(options));
    lock.lock();
    if (engine.ok()) {
      wanted.erase(wanted.begin());
      engines.emplace_back(std::move(*engine));
      engine_error = Status();
      engines_changed.notify_all();
    } else {
      engine_error = engine.status();
      base::log(base::LogLevel::warn,
                "delivery to " + want.destination.uri + " cannot start: " + engine_error.to_string());
      if (engines_changed.wait_for(lock, std::chrono::seconds(5), [this] { return stopping; })) return;
    }
  }
}

Status Core::flush(Level level, Millis deadline, const base::Uid& run) {
  if (in_child.load()) {
    return Status(
        StatusCode::failed_precondition,
        "flush in a forked child: its journal is collected by the process that opened the client; flush there");
  }
  if (closing.load()) return Status(StatusCode::failed_precondition, "flush on a closed client");
  const std::int64_t until = base::steady_ms() + std::max<std::int64_t>(0, deadline.count());
  const Level local = level == Level::buffered ? Level::buffered : Level::durable;
  if (Status s = drain->flush(local, Millis(millis_left(until))); !s.ok() || level != Level::delivered) return s;
  return flush_delivered(until, run);
}

Status Core::flush_delivered(std::int64_t until, const base::Uid& run) {
  std::vector<base::Uid> runs{run};
  if (run.zero()) {
    const std::lock_guard<std::mutex> lock(mutex);
    runs = touched;
  }
  Result<std::shared_ptr<buffer::Reader>> reader = drain->reader(Millis(millis_left(until)));
  if (!reader.ok()) return reader.status();
  std::vector<std::pair<base::Uid, std::uint64_t>> goals;
  for (const base::Uid& uid : runs) {
    Result<model::RunRow> row = (*reader)->run(uid);
    if (row.ok()) {
      goals.emplace_back(uid, row->next_seq);
    } else if (row.status().code() != StatusCode::not_found) {
      return row.status();
    }
  }
  {
    std::unique_lock<std::mutex> lock(engines_mutex);
    if (engine_names.empty()) return client::no_destination();
    const bool started = engines_changed.wait_for(lock, std::chrono::milliseconds(millis_left(until)),
                                                  [this] { return stopping || wanted.empty(); });
    if (!started) {
      return Status(StatusCode::deadline_exceeded,
                    "delivery has not started" +
                        (engine_error.ok() ? std::string() : ": " + std::string(engine_error.message())));
    }
  }
  for (const auto& engine : current_engines()) {
    engine->wake();
    std::vector<std::pair<base::Uid, std::uint64_t>> open = goals;
    for (std::int64_t pause = 2;; pause = std::min<std::int64_t>(20, pause * 2)) {
      open.erase(std::remove_if(open.begin(), open.end(),
                                [&](const auto& goal) { return engine->delivered(goal.first, goal.second); }),
                 open.end());
      if (open.empty()) break;
      const bool stuck = engine->parked() > 0 && engine->wait_idle(Millis(0)).ok();
      if (stuck || millis_left(until) == 0 || closing.load()) {
        const DestinationHealth health = engine->health();
        std::string words = std::to_string(open.size()) + (open.size() == 1 ? " run is" : " runs are") +
                            " not fully delivered to " + health.uri + " (" + std::to_string(health.waiting) +
                            " points of all runs in this process's slot wait for it)";
        if (!health.last_error.ok()) words += "; last error: " + std::string(health.last_error.message());
        return Status(stuck ? StatusCode::failed_precondition : StatusCode::deadline_exceeded, std::move(words));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(std::min(pause, millis_left(until) + 1)));
    }
  }
  return {};
}

void Core::end_runs(std::uint64_t client, RunStatus status) {
  std::vector<std::shared_ptr<client::RunState>> runs;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    runs = open_runs;
  }
  for (const auto& run : runs) {
    if (client != 0 && run->client != client) continue;
    if (run->pid != ::getpid()) continue;  // a forked child leaves its parent's runs alone
    client::end_run(run, status, Millis(0), false).ignore();
  }
}

// Delivery as far as it goes: until nothing waits, the time is up, or every destination has been out of reach, or
// waiting for a person, for two seconds. What is left is on disk.
void Core::wait_for_delivery(std::int64_t until) {
  for (const auto& engine : current_engines()) {
    engine->wake();
    std::int64_t bad_since = 0;
    while (millis_left(until) > 0) {
      if (engine->wait_idle(Millis(std::min<std::int64_t>(50, millis_left(until)))).ok()) break;
      const std::int64_t now = base::steady_ms();
      if (client::runs_by_itself(engine->health().state)) {
        bad_since = 0;
      } else if (bad_since == 0) {
        bad_since = now;
      } else if (now - bad_since > 2'000) {
        break;
      }
    }
  }
}

Status Core::close(Millis deadline) {
  if (closing.exchange(true)) return Status(StatusCode::failed_precondition, "closed already");
  end_runs(0, RunStatus::finished);
  if (in_child.load()) {
    const std::lock_guard<std::mutex> lock(mutex);
    writer->close();
    return {};
  }
  const std::int64_t until = base::steady_ms() + deadline.count();
  const std::int64_t reserve = std::min<std::int64_t>(500, deadline.count() / 5);  // for the database's own close
  Status flushed = drain->flush(Level::durable, Millis(millis_left(until - reserve)));
  if (flushed.ok()) wait_for_delivery(until - reserve);
  std::vector<std::shared_ptr<sync::Engine>> stopped;
  {
    const std::lock_guard<std::mutex> lock(engines_mutex);
    stopping = true;
    stopped.swap(engines);
  }
  engines_changed.notify_all();
  if (starter.joinable()) starter.join();
  {
    const std::lock_guard<std::mutex> lock(engines_mutex);  // one that the starter just made
    for (auto& engine : engines) stopped.push_back(std::move(engine));
    engines.clear();
  }
  drain->on_beat({});
  for (auto& engine : stopped) engine->stop(Millis(std::max<std::int64_t>(100, millis_left(until - reserve / 2))));
  stopped.clear();
  {
    const std::lock_guard<std::mutex> lock(mutex);
    writer->close();
  }
  Status closed = drain->close(Millis(std::max<std::int64_t>(100, millis_left(until))));
  return flushed.ok() ? closed : flushed;
}

void Core::add_health(Health* out) {
  const journal::WriterStats w = writer->stats();
  out->journal_bytes += w.segments_in_use * journal::kSegmentBytes;
  out->journal_cap_bytes += w.segments_cap * journal::kSegmentBytes;
  const auto dropped = [out](const char* reason, std::uint64_t count) {
    if (count != 0) out->dropped[reason] += count;
  };
  dropped("closed", w.dropped_closed);
  dropped("journal_full", w.dropped_full);
  dropped("invalid", w.dropped_invalid);
  if (in_child.load()) return;
  const drain::DrainStats d = drain->stats();
  if (out->buffer.ok()) out->buffer = d.buffer;
  out->accepted += d.accepted;
  out->merged += d.merged;
  out->buffered += d.buffered;
  out->durable += d.durable;
  out->disk_bytes += d.disk_bytes;
  out->spool_bytes += d.spool_bytes;
  out->artifacts_waiting += d.artifacts_waiting;
  out->artifacts_lost += d.artifacts_lost;
  for (const auto& [reason, count] : d.dropped_elsewhere) dropped(reason.c_str(), count);
  dropped("damaged", d.dropped_damaged);
  dropped("quota", d.dropped_quota);
  dropped("invalid", d.dropped_invalid);
  for (const auto& engine : current_engines()) {
    const DestinationHealth h = engine->health();
    dropped("rejected", engine->dead_points());
    auto known = std::find_if(out->destinations.begin(), out->destinations.end(),
                              [&h](const DestinationHealth& o) { return o.name == h.name; });
    if (known == out->destinations.end()) {
      out->destinations.push_back(h);
      continue;
    }
    known->delivered += h.delivered;
    known->waiting += h.waiting;
    known->dead_letters += h.dead_letters;
    known->files_delivered += h.files_delivered;
    known->file_bytes_delivered += h.file_bytes_delivered;
    known->files_waiting += h.files_waiting;
    known->file_bytes_waiting += h.file_bytes_waiting;
    known->dropped += h.dropped;
    known->retries += h.retries;
    known->requests += h.requests;
    known->bytes_sent += h.bytes_sent;
    known->lag_seconds = std::max(known->lag_seconds, h.lag_seconds);
    known->reached = known->reached || h.reached;
    known->deliverer_here = known->deliverer_here && h.deliverer_here;
    if (h.state > known->state) known->state = h.state;
    if (known->last_error.ok()) known->last_error = h.last_error;
  }
  const std::lock_guard<std::mutex> lock(engines_mutex);
  for (const auto& want : wanted) {
    DestinationHealth h;
    h.name = want.destination.name;
    h.uri = want.destination.uri;
    h.state = LaneState::waiting;
    h.last_error = engine_error;
    out->destinations.push_back(std::move(h));
  }
}

}  // namespace detail
MLOPS_NAMESPACE_END
