// RegistryLane: what each verb does on the server, and how it is known to have been done.
#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "base/base.h"
#include "sync/call.h"
#include "sync/registry_lane.h"

namespace mlops::sync {

using mlflow::Verdict;
using model::Verb;

namespace {

constexpr std::string_view kUid = "uid:";
constexpr char kOvertaken[] = "somebody moved it at the same moment: ";
constexpr Millis kSettleTime{100};
constexpr std::int64_t kForeignMs = 60'000;  // how long the version of another process's intent is waited for

bool absent(const mlflow::Answer& answer) { return answer.status.code() == StatusCode::not_found; }

/// `version`: what the alias stands for; empty: it is not there.
std::string stands_for(const std::string& alias, const std::string& version) {
  return "the alias '" + alias + "' " + (version.empty() ? "is not there" : "stands for version " + version);
}
bool holds(const model::Intent& i, const std::string& version) {
  if (i.only_if_absent) return version.empty();
  return i.only_if_version.empty() || version == i.only_if_version;
}

const std::string* find(const Pairs& pairs, std::string_view key) {
  for (const auto& pair : pairs) {
    if (pair.first == key) return &pair.second;
  }
  return nullptr;
}

}  // namespace

RegistryLane::Tried RegistryLane::done(Entry* entry, std::string version) {
  entry->result.state = Result::State::done;
  entry->result.code = 0;
  entry->result.words.clear();
  if (!version.empty()) entry->result.version = std::move(version);
  return {};
}

RegistryLane::Tried RegistryLane::refuse(Entry* entry, const Status& why) {
  entry->result.state = Result::State::refused;
  entry->result.code = static_cast<int>(why.code());
  entry->result.words = std::string(why.message());
  return {};
}

RegistryLane::Tried RegistryLane::condition_failed(Entry* entry, std::string found) {
  entry->result.state = Result::State::condition_failed;
  entry->result.code = static_cast<int>(StatusCode::failed_precondition);
  entry->result.words = std::move(found);
  return {};
}

RegistryLane::Tried RegistryLane::later(std::string reason) const {
  Tried tried;
  tried.how = Tried::How::later;
  tried.reason = std::move(reason);
  return tried;
}

RegistryLane::Tried RegistryLane::local(const Status& status) const {
  Tried tried;
  tried.how = Tried::How::local;
  tried.answer.status = status;
  return tried;
}

/// What concerns this intent alone refuses it; what concerns the destination, or leaves doubt, is the caller's.
RegistryLane::Tried RegistryLane::settle(Entry* entry, const Answer& answer) {
  switch (answer.verdict) {
    case Verdict::run_gone:
    case Verdict::rejected:
    case Verdict::exists:
    case Verdict::too_large:
    case Verdict::unsupported:
      return refuse(entry, answer.status);
    case Verdict::auth:  // this user may not change this model
      if (answer.http_status == 403) return refuse(entry, answer.status);
      break;
    case Verdict::misconfigured:  // a server without this endpoint, or without a registry
      if (answer.http_status == 404 || answer.http_status == 405) {
        return refuse(entry, Status(StatusCode::unimplemented,
                                    "this server does not do that: " + std::string(answer.status.message())));
      }
      break;
    default:
      break;
  }
  Tried tried;
  tried.how = Tried::How::answered;
  tried.answer = answer;
  return tried;
}

/// The ledger knows, before a write goes out that cannot be told from somebody else's, that it may have.
RegistryLane::Tried RegistryLane::mark(Entry* entry, bool sync) {
  entry->result.state = Result::State::sending;
  entry->result.time_ms = base::now_ms();
  const Status kept = keep(entry->result, sync);
  if (!kept.ok()) return local(kept);
  entry->marked = true;
  return {};
}

/// The number of the version that the intent names. How::settled without a version: the intent is settled.
RegistryLane::Tried RegistryLane::find_version_of(Remote& remote, Entry* entry, const std::string& model,
                                                  std::string* version) {
  const std::string& named = entry->intent.version;
  if (named.compare(0, kUid.size(), kUid) != 0) {
    *version = named;
    return {};
  }
  base::Uid uid;
  base::Uid::parse(named.substr(kUid.size()), &uid);
  const std::optional<Result> known = shared_->ledger->intent(uid);
  if (known && known->state == Result::State::done && !known->version.empty()) {
    *version = known->version;
    return {};
  }
  if (known && known->state != Result::State::sending) {
    return refuse(entry, Status(StatusCode::failed_precondition,
                                "the version it is about was not made (" + uid.hex() + "): " + known->words));
  }
  const bool here = std::any_of(queue_.begin(), queue_.end(), [&](const Entry& e) { return e.intent.uid == uid; });
  if (here) return later("the version it is about is not made yet");
  mlflow::RemoteVersion found;
  bool is_there = false;
  const Answer answer = call([&] { return remote.registry().find_version(model, uid.hex(), &found, &is_there); });
  if (answer.verdict != Verdict::ok) return settle(entry, answer);
  if (is_there) {
    *version = found.version;
    return {};
  }
  if (entry->waits_since_ms == 0 || base::steady_ms() - entry->waits_since_ms < kForeignMs) {
    return later("the version it is about is not on the server yet");
  }
  return refuse(entry, Status(StatusCode::not_found,
                              "the version it is about is not on the server, and no intent of "
                              "this process makes it (" +
                                  uid.hex() + "): deliver that one first, then try again"));
}

RegistryLane::Tried RegistryLane::attempt(Remote& remote, Entry* entry) {
  switch (entry->intent.verb) {
    case Verb::create_model:
      return create_model(remote, entry);
    case Verb::rename_model:
      return rename_model(remote, entry);
    case Verb::create_version:
      return create_version(remote, entry);
    case Verb::copy_version:
      return copy_version(remote, entry);
    case Verb::set_alias:
    case Verb::delete_alias:
      return change_alias(remote, entry);
    case Verb::promote:
    case Verb::rollback:
      return promote(remote, entry);
    default:
      return simple(remote, entry);
  }
}

/// Writes that are the same when done twice.
RegistryLane::Tried RegistryLane::simple(Remote& remote, Entry* entry) {
  const model::Intent& i = entry->intent;
  std::string version;
  if (!i.version.empty()) {
    Tried tried = find_version_of(remote, entry, i.model, &version);
    if (version.empty()) return tried;
  }
  mlflow::Registry& registry = remote.registry();
  const bool deletes = i.verb == Verb::delete_model || i.verb == Verb::delete_version;
  const bool repeated = entry->marked;
  if (deletes && !repeated) {
    if (Tried marked = mark(entry, true); marked.how != Tried::How::settled) return marked;
  }
  Answer answer;
  switch (i.verb) {
    case Verb::update_model:
      answer = call([&] { return registry.update_model(i.model, i.value); });
      break;
    case Verb::delete_model:
      answer = call([&] { return registry.delete_model(i.model); });
      break;
    case Verb::set_model_tag:
      answer = call([&] { return registry.set_model_tag(i.model, i.key, i.value); });
      break;
    case Verb::delete_model_tag:
      answer = call([&] { return registry.delete_model_tag(i.model, i.key); });
      break;
    case Verb::update_version:
      answer = call([&] { return registry.update_version(i.model, version, i.value); });
      break;
    case Verb::delete_version:
      answer = call([&] { return registry.delete_version(i.model, version); });
      break;
    case Verb::set_version_tag:
      answer = call([&] { return registry.set_version_tag(i.model, version, i.key, i.value); });
      break;
    case Verb::delete_version_tag:
      answer = call([&] { return registry.delete_version_tag(i.model, version, i.key); });
      break;
    case Verb::set_stage:
      answer = call([&] { return registry.set_stage(i.model, version, i.value, i.archive); });
      break;
    default:
      return refuse(entry, Status(StatusCode::internal, "no such verb"));
  }
  // What is not there any more was deleted by this intent, whose answer was lost.
  if (answer.verdict == Verdict::ok || (deletes && repeated && absent(answer))) return done(entry, version);
  return settle(entry, answer);
}

RegistryLane::Tried RegistryLane::create_model(Remote& remote, Entry* entry) {
  const model::Intent& i = entry->intent;
  Pairs tags = i.tags;
  tags.emplace_back("mlops.uid", i.uid.hex());
  const Answer answer = call([&] { return remote.registry().create_model(i.model, i.description, tags); });
  if (answer.verdict == Verdict::ok) return done(entry);
  if (answer.verdict != Verdict::exists) return settle(entry, answer);
  if (!i.only_if_absent) return done(entry);
  mlflow::RemoteModel model;
  const Answer read = call([&] { return remote.registry().get_model(i.model, &model); });
  if (read.verdict != Verdict::ok) return settle(entry, read);
  const std::string* uid = find(model.tags, "mlops.uid");
  if (uid != nullptr && *uid == i.uid.hex()) return done(entry);
  return condition_failed(entry, "there is a model of that name already");
}

RegistryLane::Tried RegistryLane::rename_model(Remote& remote, Entry* entry) {
  const model::Intent& i = entry->intent;
  const bool repeated = entry->marked;
  if (!repeated) {
    if (Tried marked = mark(entry, true); marked.how != Tried::How::settled) return marked;
  }
  const Answer answer = call([&] { return remote.registry().rename_model(i.model, i.value); });
  if (answer.verdict == Verdict::ok) return done(entry);
  if (absent(answer) && repeated) {  // by this intent, whose answer was lost
    mlflow::RemoteModel model;
    const Answer read = call([&] { return remote.registry().get_model(i.value, &model); });
    if (read.verdict == Verdict::ok) return done(entry);
    if (!absent(read)) return settle(entry, read);
  }
  return settle(entry, answer);
}

RegistryLane::Answer RegistryLane::read_alias(Remote& remote, const model::Intent& i, std::string* version) {
  mlflow::RemoteVersion now;
  bool found = false;
  Answer answer = call([&] { return remote.registry().version_by_alias(i.model, i.key, &now, &found); });
  *version = found ? now.version : std::string();
  return answer;
}

/// Whoever looked at an alias before our write has written by then.
void RegistryLane::let_others_finish() const {
  std::this_thread::sleep_for(std::min(kSettleTime, shared_->backoff_first));
}

RegistryLane::Tried RegistryLane::change_alias(Remote& remote, Entry* entry) {
  const model::Intent& i = entry->intent;
  mlflow::Registry& registry = remote.registry();
  const bool sets = i.verb == Verb::set_alias;
  const bool conditional = i.only_if_absent || !i.only_if_version.empty();
  std::string version, now;
  if (sets) {
    Tried named = find_version_of(remote, entry, i.model, &version);
    if (version.empty()) return named;
  }
  if (conditional) {
    const Answer read = read_alias(remote, i, &now);
    if (read.verdict != Verdict::ok) return settle(entry, read);
    if (entry->marked && now == version) return done(entry, version);
    if (!holds(i, now)) return condition_failed(entry, stands_for(i.key, now));
    if (Tried marked = mark(entry, true); marked.how != Tried::How::settled) return marked;
  }
  const Answer answer =
      call([&] { return sets ? registry.set_alias(i.model, i.key, version) : registry.delete_alias(i.model, i.key); });
  if (answer.verdict != Verdict::ok) return settle(entry, answer);
  if (conditional && sets) {  // as in promote
    let_others_finish();
    const Answer read = read_alias(remote, i, &now);
    if (read.verdict != Verdict::ok) return settle(entry, read);
    if (now != version) return condition_failed(entry, kOvertaken + stands_for(i.key, now));
  }
  return done(entry, version);
}

/// Which version the alias goes to, and from which: kept before anything is written, and not asked again.
RegistryLane::Tried RegistryLane::decide(Remote& remote, Entry* entry) {
  const model::Intent& i = entry->intent;
  mlflow::Registry& registry = remote.registry();
  std::string to;
  if (i.verb == Verb::promote) {
    Tried named = find_version_of(remote, entry, i.model, &to);
    if (to.empty()) return named;
  }
  mlflow::RemoteVersion now;
  bool found = false;
  const Answer answer = call([&] { return registry.version_by_alias(i.model, i.key, &now, &found); });
  if (answer.verdict != Verdict::ok) return settle(entry, answer);
  const std::string from = found ? now.version : std::string();
  if (!holds(i, from)) return condition_failed(entry, stands_for(i.key, from));
  if (i.verb == Verb::rollback) {
    std::int64_t newest = -1;
    for (const auto& [key, value] : now.tags) {
      mlflow::Promotion p;
      if (key.compare(0, mlflow::kPromotionTag.size(), mlflow::kPromotionTag) != 0 ||
          !mlflow::decode_promotion(value, &p) || p.alias != i.key || p.to != now.version || p.time_ms <= newest) {
        continue;
      }
      newest = p.time_ms;
      to = p.from;
    }
    if (to.empty()) {
      return refuse(entry,
                    Status(StatusCode::failed_precondition,
                           stands_for(i.key, from) +
                               (found ? ", and nothing is known of what it stood for before: set it by number" : "")));
    }
  }
  // That the version is there is known before its story is written, and by a clearer word than the alias's.
  mlflow::RemoteVersion target;
  const Answer read = call([&] { return registry.get_version(i.model, to, &target); });
  if (read.verdict != Verdict::ok) return settle(entry, read);
  entry->result.version = to;
  entry->result.from = from;
  return mark(entry, true);
}

RegistryLane::Tried RegistryLane::promote(Remote& remote, Entry* entry) {
  const model::Intent& i = entry->intent;
  mlflow::Registry& registry = remote.registry();
  const bool decided_before = !entry->result.version.empty();
  if (!decided_before) {
    Tried decided = decide(remote, entry);
    if (entry->result.version.empty()) return decided;
    if (decided.how != Tried::How::settled) {
      entry->result.version.clear();
      return decided;
    }
  }
  const std::string& to = entry->result.version;
  const std::string& from = entry->result.from;
  if (to == from) return done(entry);
  const std::string key = std::string(mlflow::kPromotionTag) + i.uid.hex();
  // No server compares and sets. So the alias is looked at right before its write, and a moment after it: of two who
  // move it at once, the one who was overwritten says so.
  const bool conditional = i.only_if_absent || !i.only_if_version.empty() || i.verb == Verb::rollback;
  const auto overtaken = [&](bool written) -> std::optional<Tried> {
    std::string now;
    const Answer read = read_alias(remote, i, &now);
    if (read.verdict != Verdict::ok) return settle(entry, read);
    if (now == to || (!written && now == from)) return std::nullopt;
    const Answer gone = call([&] { return registry.delete_version_tag(i.model, to, key); });
    if (gone.verdict != Verdict::ok && !absent(gone)) return settle(entry, gone);
    return condition_failed(entry, kOvertaken + stands_for(i.key, now));
  };
  const mlflow::Promotion story{model::verb_name(i.verb), i.key, from, to, i.who, i.why, i.time_ms};
  Answer answer = call([&] { return registry.set_version_tag(i.model, to, key, mlflow::encode_promotion(story)); });
  if (answer.verdict != Verdict::ok) return settle(entry, answer);
  if (conditional) {
    if (std::optional<Tried> lost = overtaken(false)) return *lost;
  }
  answer = call([&] { return registry.set_alias(i.model, i.key, to); });
  if (answer.verdict != Verdict::ok) return settle(entry, answer);
  if (conditional) {
    let_others_finish();
    if (std::optional<Tried> lost = overtaken(true)) return *lost;
  }
  return done(entry);
}

}  // namespace mlops::sync
