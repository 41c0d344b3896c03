// deliver: `mlops sync`. The same engine as inside a trainer, over every slot of a root. Slots that are taken over are
// given back when nothing waits.
#include "mlops/delivery.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <thread>

#include "base/base.h"
#include "base/place.h"
#include "client/core.h"
#include "client/delivery_slot.h"
#include "client/lifecycle.h"
#include "client/remotes.h"
#include "client/slot_count.h"
#include "drain/drain.h"
#include "drain/slot.h"
#include "ledger/ledger.h"
#include "sync/engine.h"

namespace mlops::client {
namespace {

constexpr std::int64_t kYieldMs = 10'000;  // for a slot's owner to become its deliverer
constexpr std::size_t kWideSlots = 4;      // with several connections each; one will do for those beyond

class Deliverer {
  using Works = std::map<std::string, std::unique_ptr<DeliverySlot>>;  // by folder

 public:
  Deliverer(const DeliverOptions& options, Target target)
      : share_(options, std::move(target)), options_(share_.options), target_(share_.target) {}

  Result<DeliverReport> run() {
    if (options_.dry_run) return count_only();
    if (registry().forked()) {
      return Status(StatusCode::failed_precondition,
                    "deliver in a forked child: its parent has a client open; exec instead");
    }
    install_delivery_lifecycle();
    Result<base::Placing> placing = prepare_root(target_.root);
    if (!placing.ok()) return placing.status();
    share_.placing = *placing;
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
      DeliverySlot* busy = nullptr;
      const bool idle = step(&busy);
      if (base::steady_ms() >= next_report) {
        report_progress();
        next_report = base::steady_ms() + 200;
      }
      if (share_.stopped()) break;
      if (idle && !options_.follow && doubted_.empty()) break;
      // While an engine works, it says when it is done; looking on costs CPU.
      if (busy == nullptr || busy->engine()->wait_idle(Millis(100)).code() != StatusCode::deadline_exceeded)
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return finish();
  }

 private:
  Status look_for_slots() {
    Result<std::vector<drain::SlotInfo>> slots = drain::find_slots(target_.root);
    if (!slots.ok()) return slots.status();
    // Slots that are attached first: what is left in their journals is known before the owner's slot ends the run.
    std::stable_partition(slots->begin(), slots->end(),
                          [this](const drain::SlotInfo& slot) { return share_.attached.any(slot.dir); });
    for (const drain::SlotInfo& slot : *slots) {
      if (share_.placing.network) doubt(slot);
      const auto known = works_.find(slot.dir);
      if (known != works_.end()) {
        // Its owner died: from a reader beside it we become the one who collects what it left. Or it is another one.
        const DeliverySlot& work = *known->second;
        const bool another = base::local_half(slot.dir).value_or("") != work.owners_place();
        if (work.owned() || (slot.alive && !another)) continue;
        give_back(known);
      }
      const auto yielded = yielded_.find(slot.dir);
      if (yielded != yielded_.end() && slot.alive && base::steady_ms() < yielded->second) continue;
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
    auto work = std::make_unique<DeliverySlot>(&share_, info.dir);
    const Status s = work->open(info.alive, works_.size() < kWideSlots ? sync::EngineOptions().max_connections : 1);
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
    if (left_alone_.ok()) left_alone_ = work->journals();
    works_[info.dir] = std::move(work);
  }

  // True when nothing more can be done now; else *busy is an engine at work.
  bool step(DeliverySlot** busy) {
    bool idle = true;
    for (auto it = works_.begin(); it != works_.end();) {
      DeliverySlot* work = it->second.get();
      if (!work->is_done()) {
        if (options_.follow || !work->needs_somebody()) {
          idle = false;
          if (*busy == nullptr) *busy = work;
        }
        ++it;
      } else if (options_.follow && work->lacks()) {
        yielded_[it->first] = base::steady_ms() + kYieldMs;
        it = give_back(it);
      } else if (options_.follow && work->settled()) {  // the next process may want it
        const auto settled = settled_.try_emplace(it->first).first;
        it = give_back(it, &settled->second);
      } else {
        ++it;
      }
    }
    return idle;
  }

  // `changed`: what `changed_at` said while it was still ours.
  Works::iterator give_back(Works::iterator at, std::int64_t* changed = nullptr) {
    DeliverReport last;
    std::uint64_t intents = 0;
    at->second->add_to(&last, &intents);
    closed_.points += last.points;
    closed_.files += last.files;
    closed_.file_bytes += last.file_bytes;
    closed_.requests += last.requests;
    closed_.retries += last.retries;
    left_[at->first] = {last, at->second->engine()->progress().total};
    const std::int64_t left = at->second->close(Millis(3'000));
    if (changed != nullptr) *changed = left;
    return works_.erase(at);
  }

  void report_progress() {
    if (!options_.on_progress) return;
    DeliverProgress sum;
    std::uint64_t waiting = 0;
    for (const auto& [dir, work] : works_) {
      const DeliverProgress p = work->engine()->progress();
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
    for (const auto& [dir, work] : works_) work->add_to(&report, &report.intents_waiting);
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
    const Status last = report.status;
    report.status = Status();
    if (report.waiting != 0 || report.parked != 0 || report.intents_waiting != 0 || report.files_waiting != 0) {
      std::string words = std::to_string(report.waiting) + " points wait";
      if (report.files_waiting != 0) {
        words += ", " + std::to_string(report.files_waiting) + " files (" + std::to_string(report.file_bytes_waiting) +
                 " bytes) wait";
      }
      if (report.intents_waiting != 0) {
        words += ", " + std::to_string(report.intents_waiting) + " registry writes wait (`mlops models pending`)";
      }
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
      if (work->made_ledger()) made.push_back(dir);
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

  DeliveryShare share_;
  const DeliverOptions& options_;
  const Target& target_;
  Works works_;
  std::map<std::string, std::int64_t> yielded_;  // slots of others, left to their owners until then
  std::map<std::string, std::int64_t> settled_;  // free slots with nothing left to do, and when they last changed
  struct Left {
    DeliverReport report;
    std::uint64_t total = 0;  // points in it
  };
  std::map<std::string, Left> left_;           // slots given back, as they were when last let go
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
