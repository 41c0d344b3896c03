// deliver: `mlops sync`. The same engine as inside a trainer, over every slot of a root: free slots are taken over
// (what dead processes left is collected first) and given back when nothing waits; slots of living processes are read
// as secondaries, those of another node by what is published there.
#include "mlops/delivery.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <thread>

#include "base/base.h"
#include "base/place.h"
#include "buffer/outbox.h"
#include "client/attached_files.h"
#include "client/core.h"
#include "client/delivery_target.h"
#include "client/lifecycle.h"
#include "client/remotes.h"
#include "client/slot_count.h"
#include "drain/drain.h"
#include "drain/slot.h"
#include "ledger/ledger.h"
#include "sync/engine.h"
#include "sync/turnstile.h"
#include "view/view.h"

namespace mlops::client {

Result<Target> find_target(const std::string& given_root, const std::string& to, const Credentials& credentials,
                           Purpose purpose, const char* option) {
  const Environment environment = read_environment();
  Target target;
  Result<std::string> root = resolve_root(given_root, environment);
  if (!root.ok()) return root.status();
  target.root = *root;
  if (!base::exists(target.root)) {
    return Status(StatusCode::not_found, "there is no buffer at " + target.root + ": give --root, or set MLOPS_HOME");
  }
  Result<std::string> uri = resolve_uri(to, environment, target.root);
  if (!uri.ok()) return uri.status();
  if (uri->empty()) {
    Result<std::vector<KnownDestination>> known = known_destinations(target.root);
    if (!known.ok()) return known.status();
    std::string words;
    const KnownDestination* one = only_one(*known, purpose == Purpose::delivers, &words);
    if (one == nullptr) {
      return Status(StatusCode::invalid_argument,
                    words + ": give " + option + " URI or NAME, or set MLFLOW_TRACKING_URI");
    }
    target.destination = one->destination;
  } else {
    target.destination = destination_of(target.root, *uri);
  }
  target.credentials = credentials_from_environment(credentials);
  return target;
}

namespace {

constexpr Millis kOpenPatience{20'000};
constexpr std::int64_t kAskMs = 1'000;
constexpr std::int64_t kPublishMs = 5'000;  // for a living owner on another node to publish what this deliverer lacks
constexpr int kAtOnce = 8;                  // requests to the server, over all slots
constexpr int kFilesAtOnce = 4;             // artifacts on their way, over all slots
constexpr std::size_t kWideEngines = 4;     // slots with several connections each; one will do for those beyond

std::int64_t written_at(const std::string& path) {
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return -1;
  return st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec;
}

// When somebody last took the slot (its lock file is written then), or changed what is to be delivered of it.
std::int64_t changed_at(const std::string& dir, const std::string& destination) {
  return std::max(written_at(dir + "/lock"), written_at(dir + "/delivery/" + destination + "/ledger"));
}

/// One slot that deliver works on. Either owned (drain) or read beside its living owner (control).
struct Work {
  std::string dir;
  std::unique_ptr<drain::Drain> drain;
  std::string local;  // where the owner's control page is; empty: on another node
  base::Mapping control;
  std::shared_ptr<buffer::Reader> reader;
  std::unique_ptr<sync::Engine> engine;
  std::function<std::uint64_t()> durable_beat;
  std::uint64_t asked_beat = 0;  // when the engine was last asked what is new
  std::int64_t asked_at = 0;
  bool idle = false;                  // it had nothing left of that beat
  bool makes_ledger = false;          // there was none when we came
  std::uint64_t points_at_start = 0;  // delivered before we came
  std::uint64_t files_at_start = 0, file_bytes_at_start = 0;
  std::int64_t blocked_since = 0;
  std::int64_t lacking_since = 0;  // all that is published is delivered, and more is said to be there

  ~Work() { close(Millis(2'000)); }
  void close(Millis deadline) {
    if (engine != nullptr) engine->stop(deadline);
    if (drain != nullptr) drain->on_beat({});  // it wakes the engine
    engine.reset();
    if (drain != nullptr) drain->close(deadline).ignore();
    drain.reset();
    reader.reset();
  }
};

class Deliverer {
 public:
  Deliverer(const DeliverOptions& options, Target target)
      : options_(options), target_(std::move(target)), start_(base::steady_ms()) {}

  Result<DeliverReport> run() {
    if (options_.dry_run) return count_only();
    if (registry().forked()) {
      return Status(StatusCode::failed_precondition,
                    "deliver in a forked child: its parent has a client open; exec instead");
    }
    install_delivery_lifecycle();
    Result<base::Placing> placing = prepare_root(target_.root);
    if (!placing.ok()) return placing.status();
    placing_ = *placing;
    Result<std::vector<KnownDestination>> known = known_destinations(target_.root);
    if (!known.ok()) return known.status();
    is_new_ = !options_.follow && std::none_of(known->begin(), known->end(), [this](const KnownDestination& k) {
      return k.destination.name == target_.destination.name;
    });
    std::int64_t next_look = 0, next_report = 0;
    for (;;) {
      if (base::steady_ms() >= next_look) {
        if (Status s = look_for_slots(); !s.ok()) return s;
        next_look = base::steady_ms() + 500;
      }
      Work* busy = nullptr;
      const bool idle = step(&busy);
      if (base::steady_ms() >= next_report) {
        report_progress();
        next_report = base::steady_ms() + 200;
      }
      if (stopped()) break;
      if (idle && !options_.follow && doubted_.empty()) break;
      // While an engine works, it says when it is done; looking on costs CPU.
      if (busy == nullptr || busy->engine->wait_idle(Millis(100)).code() != StatusCode::deadline_exceeded)
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return finish();
  }

 private:
  bool stopped() const {
    if (options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed)) return true;
    return options_.deadline.count() > 0 && base::steady_ms() - start_ >= options_.deadline.count();
  }

  Status look_for_slots() {
    Result<std::vector<drain::SlotInfo>> slots = drain::find_slots(target_.root);
    if (!slots.ok()) return slots.status();
    // Slots that are attached first: what is left in their journals is known before the owner's slot ends the run.
    std::stable_partition(slots->begin(), slots->end(),
                          [this](const drain::SlotInfo& slot) { return attached_.any(slot.dir); });
    for (const drain::SlotInfo& slot : *slots) {
      if (placing_.network) doubt(slot);
      const auto known = works_.find(slot.dir);
      if (known != works_.end()) {
        // Its owner died: from a reader beside it we become the one who collects what it left. Or it is another one.
        const bool reads = known->second->drain == nullptr;
        if (reads && (!slot.alive || base::local_half(slot.dir).value_or("") != known->second->local)) {
          close(known->second.get());
          works_.erase(known);
        } else {
          continue;
        }
      }
      const auto settled = settled_.find(slot.dir);
      if (settled != settled_.end() && !slot.alive && settled->second == changed_at(slot.dir, target_.destination.name))
        continue;
      settled_.erase(slot.dir);
      take(slot);
    }
    return {};
  }

  // Of another node's slot whose lock is free its lease alone says that somebody lives; until it has been renewed once,
  // or the silence was long enough, there may be a dead owner's slot to take over.
  void doubt(const drain::SlotInfo& slot) {
    const bool unsure = slot.alive && !base::FileLock::is_held(slot.dir + "/lock");
    const std::string now = unsure ? base::read_file(slot.dir + "/lease", 4096).value_or("") : std::string();
    const auto seen = leases_.find(slot.dir);
    if (!unsure || (seen != leases_.end() && seen->second != now)) {
      doubted_.erase(slot.dir);
      if (unsure) leases_[slot.dir] = "lives";
      return;
    }
    if (seen == leases_.end()) {
      leases_[slot.dir] = now;
      doubted_.insert(slot.dir);
      base::log(base::LogLevel::info, slot.dir + ": waiting to see whether its node lives");
    }
  }

  // A slot that cannot be opened is left for the next look, and its reason is reported.
  void take(const drain::SlotInfo& info) {
    auto work = std::make_unique<Work>();
    work->dir = info.dir;
    Status s = info.alive ? read_beside(work.get()) : own(work.get());
    if (s.code() == StatusCode::unavailable && work->drain == nullptr) s = read_beside(work.get());  // taken meanwhile
    if (s.ok()) s = start_engine(work.get());
    if (s.code() == StatusCode::not_found && info.alive) return;  // nothing buffered there yet
    if (!s.ok()) {
      problems_[info.dir] = Status(s.code(), info.dir + ": " + std::string(s.message()));
      if (s.code() != StatusCode::unavailable) {
        if (options_.follow)
          base::log(base::LogLevel::warn, problems_[info.dir].to_string());  // else the report says it
        settled_[info.dir] = changed_at(info.dir, target_.destination.name);
      }
      return;
    }
    problems_.erase(info.dir);
    if (work->drain != nullptr && left_alone_.ok()) left_alone_ = work->drain->stats().journals;
    works_[info.dir] = std::move(work);
  }

  Status own(Work* work) {
    Result<std::unique_ptr<drain::Slot>> slot = drain::acquire_slot_at(work->dir, placing_);
    if (!slot.ok()) return slot.status();
    drain::DrainOptions options;
    options.root = target_.root;
    options.publish = false;
    options.end_dead_runs = options_.end_dead_runs;
    work->drain = drain::Drain::start(std::move(*slot), nullptr, options);
    // A flush opens the database, and says at once why it cannot be opened or written.
    const std::int64_t open_until = base::steady_ms() + kOpenPatience.count();
    const std::int64_t patience = base::steady_ms() + 2'000;  // a living child of a dead process may stay on
    for (;;) {
      const Status s = work->drain->flush(Level::durable, Millis(200));
      const bool more_time = base::steady_ms() < open_until && !stopped();
      if (s.code() == StatusCode::deadline_exceeded && more_time) continue;
      if (!s.ok()) return s;
      if (work->drain->settled() || base::steady_ms() >= patience || stopped()) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    Result<std::shared_ptr<buffer::Reader>> reader = work->drain->reader(Millis(200));
    if (!reader.ok()) return reader.status();
    work->reader = *reader;
    return {};
  }

  Status read_beside(Work* work) {
    const Result<std::string> local = base::local_half(work->dir);
    if (!local.ok() && local.status().code() == StatusCode::unavailable && placing_.network) return read_outbox(work);
    if (!local.ok()) return local.status();
    work->local = *local;
    Result<base::Mapping> control = drain::open_control(work->dir);
    if (!control.ok()) return control.status();
    work->control = std::move(*control);
    Result<std::unique_ptr<buffer::Reader>> reader = view::open_beside(work->dir);
    if (!reader.ok()) {
      return reader.status().code() == StatusCode::not_found || !base::exists(work->dir + "/summary")
                 ? Status(StatusCode::not_found, "no database yet")
                 : reader.status();
    }
    work->reader = std::move(*reader);
    return {};
  }

  Status read_outbox(Work* work) {
    Result<std::unique_ptr<buffer::OutboxReader>> opened = buffer::open_outbox(work->dir, false);
    if (!opened.ok()) return opened.status();
    const std::shared_ptr<buffer::OutboxReader> outbox = std::move(*opened);
    work->reader = outbox;
    work->durable_beat = [outbox] {
      outbox->refresh().ignore();
      return outbox->newest();
    };
    return {};
  }

  Status start_engine(Work* work) {
    sync::EngineOptions options;
    options.slot_dir = work->dir;
    options.destination = target_.destination;
    options.credentials = target_.credentials;
    options.reader = work->reader;
    options.turnstile = turnstile_;
    options.upload_turnstile = upload_turnstile_;
    options.env = environment_variable;
    options.says_trouble = options_.log_trouble;
    if (works_.size() >= kWideEngines) options.max_connections = 1;
    if (work->drain != nullptr) {
      drain::Drain* drain = work->drain.get();
      options.durable_beat = [drain] { return drain->durable_beat(); };
    } else if (work->local.empty()) {
      options.durable_beat = work->durable_beat;
    } else {
      const auto* control = reinterpret_cast<const journal::Control*>(work->control.data());
      buffer::Reader* reader = work->reader.get();
      options.durable_beat = [control, reader]() -> std::uint64_t {
        // What was fsynced of another database says nothing of this one.
        const buffer::Identity identity = reader->identity();
        if (!std::equal(identity.uid.bytes.begin(), identity.uid.bytes.end(), control->buffer_uid)) return 0;
        return control->durable_beat.load(std::memory_order_acquire);
      };
    }
    work->durable_beat = options.durable_beat;
    options.experiment_of = [this](const base::Uid& run) { return drain::experiment_of(target_.root, run); };
    options.files_elsewhere = [this, dir = work->dir](const base::Uid& run) { return attached_.wait_for(dir, run); };
    Result<ledger::Ledger::Snapshot> before = ledger::Ledger::read(work->dir, target_.destination.name);
    work->makes_ledger = before.status().code() == StatusCode::not_found;
    if (before.ok()) {
      for (const auto& [uid, lane] : before->lanes) work->points_at_start += lane.delivered;
      for (const auto& [uid, place] : before->artifacts) {
        work->files_at_start += place.files;
        work->file_bytes_at_start += place.bytes;
      }
    }
    Result<std::unique_ptr<sync::Engine>> engine = sync::Engine::start(std::move(options));
    if (!engine.ok()) return engine.status();
    work->engine = std::move(*engine);
    if (work->drain != nullptr) {
      sync::Engine* raw = work->engine.get();
      work->drain->on_beat([raw] { raw->wake(); });
    }
    return {};
  }

  // The whole destination has waited for a person (credentials, another server) for three seconds.
  static bool needs_somebody(Work* work) {
    const LaneState state = work->engine->health().state;
    if (state != LaneState::auth_blocked && state != LaneState::parked) {
      work->blocked_since = 0;
      return false;
    }
    const std::int64_t now = base::steady_ms();
    if (work->blocked_since == 0) work->blocked_since = now;
    return now - work->blocked_since > 3'000;
  }

  // Asking costs the engine a look at all its rows: only after a new beat, and once a second.
  static bool is_done(Work* work) {
    const std::uint64_t beat = work->durable_beat();
    const std::int64_t now = base::steady_ms();
    if (beat != work->asked_beat || now - work->asked_at >= kAskMs) {
      work->asked_beat = beat;
      work->asked_at = now;
      work->idle = false;
      if (work->drain == nullptr) work->engine->wake();
    }
    if (!work->idle) work->idle = work->engine->wait_idle(Millis(0)).ok();
    if (!work->idle || work->drain != nullptr || !work->local.empty()) return work->idle;
    // What another node's process has not published (any more) it publishes when it sees that somebody lacks it.
    if (work->engine->health().waiting == 0) {
      work->lacking_since = 0;
      return true;
    }
    if (work->lacking_since == 0) work->lacking_since = now;
    return now - work->lacking_since > kPublishMs;
  }

  // True when nothing more can be done now; else *busy is an engine at work.
  bool step(Work** busy) {
    bool idle = true;
    for (auto it = works_.begin(); it != works_.end();) {
      Work* work = it->second.get();
      if (!is_done(work)) {
        if (!options_.follow && needs_somebody(work)) {
          ++it;
          continue;
        }
        idle = false;
        if (*busy == nullptr) *busy = work;
        ++it;
        continue;
      }
      const bool alone = work->drain != nullptr && work->drain->settled();
      if (options_.follow && alone) {  // give the slot back: the next process may want it
        const std::string dir = work->dir;
        close(work);
        settled_[dir] = changed_at(dir, target_.destination.name);
        it = works_.erase(it);
      } else {
        ++it;
      }
    }
    return idle;
  }

  void close(Work* work) {
    DeliverReport last;
    add_to_report(work, &last);
    closed_.points += last.points;
    closed_.files += last.files;
    closed_.file_bytes += last.file_bytes;
    closed_.requests += last.requests;
    closed_.retries += last.retries;
    left_[work->dir] = {last, work->engine != nullptr ? work->engine->progress().total : 0};
    work->close(Millis(3'000));
  }

  void add_to_report(Work* work, DeliverReport* report) {
    if (work->engine == nullptr) return;
    const DestinationHealth health = work->engine->health();
    const DeliverProgress progress = work->engine->progress();
    if (work->engine->is_deliverer()) {
      report->points += health.delivered - std::min(health.delivered, work->points_at_start);
      report->files += health.files_delivered - std::min(health.files_delivered, work->files_at_start);
      report->file_bytes +=
          health.file_bytes_delivered - std::min(health.file_bytes_delivered, work->file_bytes_at_start);
      report->requests += health.requests;
      report->retries += health.retries;
    }
    report->runs += progress.runs_total;
    report->dead_letters += health.dead_letters;
    report->waiting += health.waiting;
    report->files_waiting += health.files_waiting;
    report->file_bytes_waiting += health.file_bytes_waiting;
    report->parked += work->engine->parked();
    intents_ += work->engine->intents_waiting();
    if (report->status.ok()) report->status = health.last_error;
  }

  void report_progress() {
    if (!options_.on_progress) return;
    DeliverProgress sum;
    std::uint64_t waiting = 0;
    for (const auto& [dir, work] : works_) {
      const DeliverProgress p = work->engine->progress();
      sum.total += p.total;
      sum.delivered += p.delivered;
      sum.files_total += p.files_total;
      sum.files_delivered += p.files_delivered;
      sum.file_bytes_total += p.file_bytes_total;
      sum.file_bytes_delivered += p.file_bytes_delivered;
      sum.runs_total += p.runs_total;
      sum.runs_done += p.runs_done;
      sum.points_per_second += p.points_per_second;
      if (sum.last_error.ok()) sum.last_error = p.last_error;
      waiting += p.total - std::min(p.total, p.delivered);
    }
    for (const auto& [dir, left] : left_) {
      if (works_.count(dir) != 0) continue;  // taken again, and counted as it is now
      sum.total += left.total;
      sum.delivered += left.total - std::min(left.total, left.report.waiting);
      sum.runs_total += left.report.runs;
      sum.runs_done += left.report.waiting == 0 ? left.report.runs : 0;
      sum.files_total += left.report.files_waiting;
      sum.file_bytes_total += left.report.file_bytes_waiting;
    }
    if (sum.last_error.ok() && !problems_.empty()) sum.last_error = problems_.begin()->second;
    if (waiting == 0) {
      sum.seconds_left = 0;
    } else if (sum.points_per_second > 0) {
      sum.seconds_left = static_cast<double>(waiting) / sum.points_per_second;
    }
    options_.on_progress(sum);
  }

  Result<DeliverReport> finish() {
    report_progress();
    DeliverReport report = closed_;
    report.status = Status();
    intents_ = 0;
    for (auto& [dir, work] : works_) add_to_report(work.get(), &report);
    for (const auto& [dir, left] : left_) {
      if (works_.count(dir) != 0) continue;
      report.runs += left.report.runs;
      report.dead_letters += left.report.dead_letters;
      report.waiting += left.report.waiting;
      report.files_waiting += left.report.files_waiting;
      report.file_bytes_waiting += left.report.file_bytes_waiting;
      report.parked += left.report.parked;
    }
    const std::string unreached = end_works();
    for (const auto& [dir, problem] : problems_) {  // by what its files say: what only its journals hold is not counted
      const Count count = count_slot(dir, target_.destination.name);
      report.runs += count.runs;
      report.waiting += count.waiting;
      if (report.status.ok()) report.status = problem;
    }
    report.intents_waiting = intents_;
    const Status last = report.status;
    report.status = Status();
    if (report.waiting != 0 || report.parked != 0 || intents_ != 0 || report.files_waiting != 0) {
      std::string words = std::to_string(report.waiting) + " points wait";
      if (report.files_waiting != 0) {
        words += ", " + std::to_string(report.files_waiting) + " files (" + std::to_string(report.file_bytes_waiting) +
                 " bytes) wait";
      }
      if (intents_ != 0) words += ", " + std::to_string(intents_) + " registry writes wait (`mlops models pending`)";
      if (report.parked != 0) words += ", " + std::to_string(report.parked) + " runs need somebody to act";
      if (!last.ok()) words += ": " + std::string(last.message());
      words += unreached;
      const StatusCode code = !last.ok() ? last.code() : StatusCode::deadline_exceeded;
      report.status = Status(report.parked != 0 ? StatusCode::failed_precondition : code, words);
    } else if (!problems_.empty()) {
      report.status = last;
    } else {
      report.status = left_alone_;
    }
    return report;
  }

  /// A destination that this delivery brought up is forgotten again when it never answered. What there is to say of
  /// one that never did.
  std::string end_works() {
    std::vector<std::string> made;
    for (const auto& [dir, work] : works_) {
      if (work->makes_ledger && work->engine->is_deliverer()) made.push_back(dir);
    }
    works_.clear();
    const std::string& name = target_.destination.name;
    if (is_new_ && !made.empty() && forget_unreached(target_.root, name, made)) {
      return ". It never answered as an MLflow server, so this root forgets it again";
    }
    const Result<std::vector<KnownDestination>> known = known_destinations(target_.root);
    for (std::size_t i = 0; known.ok() && i < known->size(); ++i) {
      const KnownDestination& k = (*known)[i];
      if (k.destination.name == name && !k.reached)
        return ". Never reached; a typo? `mlops remote remove " + name + "`";
    }
    return {};
  }

  Result<DeliverReport> count_only() {
    Result<std::vector<drain::SlotInfo>> slots = drain::find_slots(target_.root);
    if (!slots.ok()) return slots.status();
    DeliverReport report;
    DeliverProgress progress;
    for (const drain::SlotInfo& slot : *slots) {
      Count count = count_slot(slot.dir, target_.destination.name);
      const Status files = count_files(slot.dir, target_.destination.name, &count);
      if (!files.ok() && files.code() != StatusCode::not_found) {  // not_found: nothing is buffered there yet
        return Status(files.code(), slot.dir + ": " + std::string(files.message()));
      }
      report.files_waiting += count.files_waiting;
      report.file_bytes_waiting += count.file_bytes_waiting;
      report.intents_waiting += count.intents_waiting;
      progress.files_total += count.files_waiting;
      progress.file_bytes_total += count.file_bytes_waiting;
      report.runs += count.runs;
      report.waiting += count.waiting;
      report.parked += count.parked;
      progress.total += count.points;
      progress.delivered += count.points - count.waiting;
      progress.runs_total += count.runs;
      progress.runs_done += count.runs_done;
    }
    if (options_.on_progress) options_.on_progress(progress);
    return report;
  }

  const DeliverOptions& options_;
  Target target_;
  base::Placing placing_;
  std::int64_t start_;
  const std::shared_ptr<sync::Turnstile> turnstile_ = std::make_shared<sync::Turnstile>(kAtOnce);
  const std::shared_ptr<sync::Turnstile> upload_turnstile_ = std::make_shared<sync::Turnstile>(kFilesAtOnce);
  AttachedFiles attached_{target_.destination.name};
  std::map<std::string, std::unique_ptr<Work>> works_;
  std::map<std::string, std::int64_t> settled_;  // free slots with nothing left to do, and when they last changed
  struct Left {
    DeliverReport report;
    std::uint64_t total = 0;  // points in it
  };
  std::map<std::string, Left> left_;           // slots given back, as they were when last let go
  std::uint64_t intents_ = 0;                  // registry writes that wait at the end
  DeliverReport closed_;                       // what was done in them, over all times
  std::map<std::string, std::string> leases_;  // of slots whose lock is free, as first seen
  std::set<std::string> doubted_;              // of them those whose owner may be dead
  std::map<std::string, Status> problems_;     // slots that cannot be opened, and why
  bool is_new_ = false;                        // the root did not know the destination when we came
  Status left_alone_;                          // the first journal that no slot's owner could read, and why
};

}  // namespace
}  // namespace mlops::client

MLOPS_NAMESPACE_BEGIN

Result<DeliverReport> deliver(const DeliverOptions& options) {
  Result<client::Target> target =
      client::find_target(options.root, options.to, options.credentials, client::Purpose::delivers);
  if (!target.ok()) return target.status();
  return client::Deliverer(options, std::move(*target)).run();
}

MLOPS_NAMESPACE_END
