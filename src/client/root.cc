// Roots of this process and their registry; the health callback.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <tuple>

#include "base/base.h"
#include "base/file.h"
#include "base/lease.h"
#include "client/core.h"
#include "client/lifecycle.h"
#include "client/remotes.h"

namespace mlops::client {

Registry& registry() {
  static Registry* const one = new Registry;  // never destroyed: exit handlers and detached threads come late
  return *one;
}

bool Registry::forked() const { return pid != 0 && pid != ::getpid(); }

namespace {

// The registry's mutex is held.
Result<Core*> start_core(Root* root, std::unique_ptr<drain::Slot> slot) {
  auto core = std::make_unique<Core>();
  core->root = root;
  core->pid = ::getpid();
  core->slot_dir = slot->dir;
  core->control = slot->control();
  Core* raw = core.get();
  journal::WriterOptions options;
  options.slot_dir = slot->local;
  options.journal_mib = root->options.journal_mib;
  options.when_full = root->options.when_full;
  options.full_wait = root->options.full_wait;
  options.wake = [raw] {
    if (raw->drain != nullptr && !raw->in_child.load(std::memory_order_relaxed)) raw->drain->wake();
  };
  Result<std::unique_ptr<journal::Writer>> writer = journal::Writer::create(options, core->control, raw);
  if (!writer.ok()) return writer.status();
  std::ignore = core.release();  // never destroyed
  raw->writer = writer->release();
  journal::bind_core(raw, raw->writer);
  raw->drain = drain::Drain::start(std::move(slot), raw->writer, {root->options, root->path});
  raw->drain->on_beat([raw] {
    for (const auto& engine : raw->current_engines()) engine->wake();
  });
  Registry& r = registry();
  r.all_cores.push_back(raw);
  root->cores.push_back(raw);
  for (const WantedEngine& d : root->destinations) raw->want_engine(d);
  raw->starter = std::thread([raw] { raw->starter_main(); });
  return raw;
}

// What callbacks are told at once.
bool same_state(const Health& a, const Health& b) {
  if (a.buffer.code() != b.buffer.code() || a.destinations.size() != b.destinations.size()) return false;
  for (std::size_t i = 0; i < a.destinations.size(); ++i) {
    if (a.destinations[i].state != b.destinations[i].state) return false;
    if (a.destinations[i].last_error.code() != b.destinations[i].last_error.code()) return false;
  }
  return true;
}

bool same_counts(const Health& a, const Health& b) {
  if (a.accepted != b.accepted || a.buffered != b.buffered || a.durable != b.durable || a.merged != b.merged ||
      a.dropped != b.dropped) {
    return false;
  }
  for (std::size_t i = 0; i < std::min(a.destinations.size(), b.destinations.size()); ++i) {
    const DestinationHealth &x = a.destinations[i], &y = b.destinations[i];
    if (x.delivered != y.delivered || x.waiting != y.waiting || x.dead_letters != y.dead_letters ||
        x.retries != y.retries || x.files_delivered != y.files_delivered || x.files_waiting != y.files_waiting) {
      return false;
    }
  }
  return true;
}

void health_main(Root* root) {
  base::begin_own_thread("mlops-health");
  Health last;
  bool first = true;
  std::int64_t called = 0;
  for (;;) {
    std::function<void(const Health&)> callback;
    {
      std::unique_lock<std::mutex> lock(root->health_mutex);
      root->health_changed.wait_for(lock, std::chrono::milliseconds(200), [root] { return root->health_stop; });
      if (root->health_stop) return;
      callback = root->on_health;
    }
    if (!callback) continue;
    Health now = root->health();
    const bool at_once = first || !same_state(last, now);
    if (!at_once && (same_counts(last, now) || base::steady_ms() - called < 1'000)) continue;
    first = false;
    called = base::steady_ms();
    callback(now);
    last = std::move(now);
  }
}

}  // namespace

Result<base::Placing> prepare_root(const std::string& root) {
  const Environment environment = read_environment();
  Result<base::Placing> placing = place_root(root, environment);
  if (!placing.ok()) return placing;
  if (!placing->folder.empty()) {
    if (Status s = base::make_dirs(placing->folder); !s.ok() && !base::exists(placing->folder)) return s;
  }
  if (!placing->network) return placing;
  if (Status s = base::mark_network_root(root); !s.ok()) return s;
  base::log(environment.journal.empty() ? base::LogLevel::warn : base::LogLevel::info,
            root + " is on a network file system: journals are in " + placing->folder + " on this node" +
                (environment.journal.empty() ? " (a temporary folder; MLOPS_JOURNAL names one that stays)" : "") +
                ", other nodes read what is published in the slots, and a node that is silent for " +
                std::to_string(base::lease_silence().count() / 1'000) + " s loses its leases");
  return placing;
}

Result<Root*> open_root(const Options& options, const drain::SlotWish& wish) {
  install_lifecycle();
  Registry& r = registry();
  const std::lock_guard<std::mutex> lock(r.mutex);
  for (Root* root : r.roots) {
    if (root->path != options.root) continue;
    ++root->clients;
    return root;
  }
  if (r.forked()) {
    return Status(StatusCode::failed_precondition,
                  "a forked child cannot open another root (" + options.root +
                      "): its parent had a client open before the fork. Open it before the fork, or exec");
  }
  if (Status s = base::make_dirs(options.root); !s.ok()) return s;
  Result<base::Placing> placing = prepare_root(options.root);
  if (!placing.ok()) return placing.status();
  Result<std::unique_ptr<drain::Slot>> slot = drain::acquire_slot(options.root, options.host, wish, *placing);
  if (!slot.ok()) return slot.status();
  auto root = std::make_unique<Root>();
  root->path = options.root;
  root->options = options;
  root->placing = *placing;
  Result<Core*> core = start_core(root.get(), std::move(*slot));
  if (!core.ok()) return core.status();
  root->main_core = *core;
  root->clients = 1;
  r.roots.push_back(root.get());
  return root.release();
}

Result<Core*> add_core(Root* root, const std::string& slot_dir) {
  const std::lock_guard<std::mutex> lock(registry().mutex);
  if (root->closed.load()) return Status(StatusCode::failed_precondition, "the client is closed");
  for (Core* core : root->cores) {
    if (core->slot_dir == slot_dir) return core;
  }
  Result<std::unique_ptr<drain::Slot>> slot = drain::acquire_slot_at(slot_dir, root->placing);
  if (!slot.ok()) return slot.status();
  return start_core(root, std::move(*slot));
}

void add_destination(Root* root, const std::string& uri, const Credentials& credentials) {
  install_delivery_lifecycle();
  const WantedEngine want{destination_of(root->path, uri), credentials};
  const std::lock_guard<std::mutex> lock(registry().mutex);
  root->destinations.push_back(want);
  for (Core* core : root->cores) core->want_engine(want);
}

std::vector<Core*> cores_of(Root* root) {
  const std::lock_guard<std::mutex> lock(registry().mutex);
  return root->cores;
}

std::shared_ptr<RunState> open_run(Root* root, const Uid& run) {
  for (Core* core : cores_of(root)) {
    const std::lock_guard<std::mutex> lock(core->mutex);
    for (const auto& state : core->open_runs) {
      if (state->uid == run && state->role != Role::joined) return state;
    }
  }
  return nullptr;
}

Status close_root(Root* root, Millis deadline) {
  if (root->closed.exchange(true)) return Status(StatusCode::failed_precondition, "closed already");
  Registry& r = registry();
  std::vector<Core*> cores;
  {
    const std::lock_guard<std::mutex> lock(r.mutex);
    cores = root->cores;
  }
  root->stop_health(!r.forked());
  const std::int64_t until = base::steady_ms() + deadline.count();
  Status first;
  for (Core* core : cores) {
    Status s = core->close(Millis(millis_left(until)));
    if (first.ok()) first = s;
  }
  const std::lock_guard<std::mutex> lock(r.mutex);
  r.roots.erase(std::remove(r.roots.begin(), r.roots.end(), root), r.roots.end());
  return first;
}

Health Root::health() {
  Health out;
  for (Core* core : cores_of(this)) core->add_health(&out);
  return out;
}

void Root::set_on_health(std::function<void(const Health&)> callback) {
  if (registry().forked()) return;
  const std::lock_guard<std::mutex> lock(health_mutex);
  on_health = std::move(callback);
  if (on_health && !health_thread.joinable() && !health_stop) health_thread = std::thread(health_main, this);
}

void Root::stop_health(bool own_process) {
  if (!own_process) return;  // the thread stayed in the parent
  {
    const std::lock_guard<std::mutex> lock(health_mutex);
    health_stop = true;
  }
  health_changed.notify_all();
  if (!health_thread.joinable()) return;
  if (health_thread.get_id() == std::this_thread::get_id()) {
    health_thread.detach();  // close was called from the callback
  } else {
    health_thread.join();
  }
}

}  // namespace mlops::client
