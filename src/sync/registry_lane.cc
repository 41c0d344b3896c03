// RegistryLane: which intent is next, and what is kept of it.
#include "sync/registry_lane.h"

#include <algorithm>
#include <utility>

#include "base/base.h"
#include "sync/call.h"

namespace mlops::sync {

using mlflow::Verdict;

namespace {

constexpr std::size_t kQueue = 256;       // intents looked at, of those that wait
constexpr std::int64_t kLaterMs = 1'000;  // at most, between two looks at what an intent waits for

bool settled(const ledger::IntentResult& result) { return result.state != ledger::IntentResult::State::sending; }

}  // namespace

RegistryLane::RegistryLane(Shared* shared, ledger::Lane state)
    : shared_(shared),
      state_(std::move(state)),
      backoff_(shared->backoff_first.count(), shared->backoff_most.count()) {}

/// The cursor is a place in one buffer and generation. In any other one all records are walked again, and what the
/// ledger has settled, by its uid, is passed over.
Status RegistryLane::check_identity(const model::RunRow& row) {
  const buffer::Identity identity = shared_->reader->identity();
  const bool same = state_.buffer_uid == identity.uid && state_.buffer_generation == identity.generation &&
                    state_.cursor <= row.next_seq;
  if (same) return {};
  if (!state_.buffer_uid.zero()) {
    base::log(base::LogLevel::warn,
              "registry: the ledger's cursor belongs to another state of the buffer; all intents are looked at again");
  }
  state_.cursor = 1;
  state_.buffer_uid = identity.uid;
  state_.buffer_generation = identity.generation;
  queue_.clear();
  read_ = 0;
  return shared_->ledger->put(state_);
}

Status RegistryLane::load(const model::RunRow& row) {
  if (read_ == 0) {
    read_ = std::max<std::uint64_t>({1, state_.cursor, row.evicted_before});
    fresh_ = row.next_seq;
    const std::vector<Result> all = shared_->ledger->intents();
    if (all.size() >= ledger::kMostIntents) forgotten_ms_ = all.front().time_ms;
  }
  if (queue_.size() >= kQueue || read_ >= row.next_seq) return {};
  const std::uint64_t durable = shared_->durable_beat();
  Status broken;
  Status scanned = shared_->reader->scan(
      model::kRegistry, read_,
      [&](const buffer::Record& record) {
        if (record.beat > durable || queue_.size() >= kQueue) return false;
        if (record.seq < read_) return true;
        mlops::Result<model::Intent> intent = model::intent_of(record.op);
        if (!intent.ok() && intent.status().code() == StatusCode::failed_precondition) {
          broken = intent.status();
          return false;
        }
        read_ = record.seq + record.count;
        if (!intent.ok()) {
          base::log(base::LogLevel::error, "registry: a record is passed over: " + intent.status().to_string());
          return true;
        }
        const std::optional<Result> known = shared_->ledger->intent(intent->uid);
        if (known && settled(*known)) return true;
        if (!known && intent->time_ms < forgotten_ms_) return true;
        Entry& entry = queue_.emplace_back(record.seq, std::move(*intent),
                                           Backoff(std::min<std::int64_t>(shared_->backoff_first.count(), 50),
                                                   std::min<std::int64_t>(shared_->backoff_most.count(), kLaterMs)),
                                           Backoff(shared_->backoff_first.count(), shared_->backoff_most.count()));
        entry.marked = known.has_value();
        entry.maybe_sent = known.has_value() || record.seq < fresh_;
        entry.lookups_left = known ? 3 : 1;
        if (known) entry.result = *known;
        entry.result.uid = entry.intent.uid;
        entry.result.verb = static_cast<std::uint32_t>(entry.intent.verb);
        entry.result.model = entry.intent.model;
        entry.result.seq = entry.seq;
        return true;
      },
      [&](std::uint64_t seq, std::uint64_t count, const Status& why) {
        base::log(base::LogLevel::error,
                  "registry: " + std::to_string(count) + " damaged records are passed over: " + why.to_string());
        read_ = std::max(read_, seq + count);
      });
  if (!scanned.ok()) return scanned;
  return queue_.empty() ? broken : Status();
}

Outcome RegistryLane::park(std::string why) {
  base::log(base::LogLevel::error, "the registry's intents are parked: " + why);
  state_.parked = std::move(why);
  if (state_.parked_ms == 0) state_.parked_ms = base::now_ms();
  Outcome out;
  out.step = Step::parked;
  Status status = shared_->ledger->put(state_);
  if (!status.ok()) {
    out.step = Step::local;
    out.answer.status = status;
  }
  return out;
}

/// The frame and the lane's place in one write.
Status RegistryLane::keep(const Result& result, bool sync) {
  Status status = shared_->ledger->put(state_, result);
  if (status.ok() && sync) status = shared_->ledger->sync();
  return status;
}

Outcome RegistryLane::after(Entry* entry, const Tried& tried) {
  Outcome out;
  out.answer = tried.answer;
  const std::int64_t now = base::steady_ms();
  switch (tried.how) {
    case Tried::How::settled: {
      Result result = std::move(entry->result);
      result.time_ms = base::now_ms();
      const auto at = std::find_if(queue_.begin(), queue_.end(), [entry](const Entry& e) { return &e == entry; });
      Entry gone = std::move(*at);
      queue_.erase(at);
      const std::uint64_t before = state_.cursor;
      state_.cursor = queue_.empty() ? read_ : queue_.front().seq;
      state_.parked_ms = 0;
      MLOPS_POINT("sync.intent.confirmed");
      const Status kept = keep(result, true);
      MLOPS_POINT("sync.intent.kept");
      if (!kept.ok()) {  // nothing happened: it is tried again, and found done
        state_.cursor = before;
        gone.result = std::move(result);
        gone.result.state = Result::State::sending;
        gone.marked = gone.maybe_sent = true;
        gone.lookups_left = 1;
        queue_.insert(std::find_if(queue_.begin(), queue_.end(), [&](const Entry& e) { return e.seq > gone.seq; }),
                      std::move(gone));
        out.step = Step::local;
        out.answer.status = kept;
        return out;
      }
      if (result.state != Result::State::done) {
        base::log(base::LogLevel::error, std::string("registry: ") + model::verb_name(gone.intent.verb) + " of '" +
                                             result.model + "' (" + result.uid.hex() + "): " + result.words);
      }
      backoff_.reset();
      out.answer = Answer();
      out.step = Step::more;
      return out;
    }
    case Tried::How::later:
      if (entry->waits_since_ms == 0) entry->waits_since_ms = now;
      entry->due_ms = now + (tried.looked ? entry->trouble : entry->backoff).next_spaced();
      out.step = Step::more;
      return out;
    case Tried::How::local:
      out.step = Step::local;
      return out;
    case Tried::How::answered:
      break;
  }
  switch (tried.answer.verdict) {
    case Verdict::offline:
    case Verdict::throttled:
    case Verdict::auth:
    case Verdict::misconfigured:
    case Verdict::unsupported:
      out.step = Step::blocked;
      return out;
    default:
      break;
  }
  shared_->retries.fetch_add(1, std::memory_order_relaxed);
  entry->maybe_sent = true;
  const std::int64_t asked = tried.answer.retry_after_ms;
  entry->due_ms = now + std::max(entry->trouble.next_spaced(), asked);  // a create may still be at work there
  // What the server says of this intent it need not say of the next one.
  out.step = Step::wait;
  out.delay_ms = tried.answer.http_status != 0 ? 1 : backoff_.next(asked);
  return out;
}

Outcome RegistryLane::step(Remote& remote) {
  Outcome out;
  const auto local = [&out](const Status& status) {
    out.step = Step::local;
    out.answer.status = status;
    return out;
  };
  mlops::Result<model::RunRow> row = shared_->reader->run(model::kRegistry);
  if (!row.ok()) {
    if (row.status().code() == StatusCode::not_found) return out;
    return local(row.status());
  }
  if (!identity_checked_ || state_.cursor > row->next_seq) {
    if (Status s = check_identity(*row); !s.ok()) return local(s);
    identity_checked_ = true;
  }
  if (Status s = load(*row); !s.ok()) {
    return s.code() == StatusCode::failed_precondition ? park(std::string(s.message())) : local(s);
  }
  if (queue_.empty()) {
    if (state_.cursor < read_) {  // settled before, by another name of the buffer
      state_.cursor = read_;
      if (Status s = shared_->ledger->put(state_); !s.ok()) return local(s);
    }
    return out;  // dry
  }
  // The first whose time has come, and whose models no earlier one waits for.
  const std::int64_t now = base::steady_ms();
  std::set<std::string> held;
  std::int64_t due = 0;
  for (Entry& entry : queue_) {
    const model::Intent& intent = entry.intent;
    const bool renames = intent.verb == model::Verb::rename_model;
    const bool free = held.count(intent.model) == 0 && held.count(intent.from_model) == 0 &&
                      (!renames || held.count(intent.value) == 0);
    if (free && entry.due_ms <= now) return after(&entry, attempt(remote, &entry));
    if (free && (due == 0 || entry.due_ms < due)) due = entry.due_ms;
    held.insert(intent.model);
    if (!intent.from_model.empty()) held.insert(intent.from_model);
    if (renames) held.insert(intent.value);
  }
  out.step = Step::wait;
  out.delay_ms = std::max<std::int64_t>(1, due - now);
  return out;
}

}  // namespace mlops::sync
