// The ledger's file: opened under its lock, appended with one write per frame, compacted by rename. Readers take no
// lock: they see whole frames up to the first that does not verify, of the old file or of the new one.
#include "ledger/ledger.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <set>

#include "base/base.h"
#include "base/file.h"
#include "base/lease.h"
#include "base/place.h"
#include "ledger/destination.h"
#include "ledger/frames.h"

namespace mlops::ledger {
namespace {

constexpr std::size_t kCompactAbove = 1u << 20;  // and more than 4x what is live
constexpr std::size_t kMaxDead = 10'000;         // dead letters kept in words; Lane::dead counts them all

std::string folder(const std::string& slot_dir, const std::string& name) { return slot_dir + "/delivery/" + name; }

/// What a file says, newest frame of each lane and of each dead letter.
struct Content {
  struct Letter {
    DeadLetter letter;
    std::size_t bytes = 0;
  };
  Destination destination;
  std::map<Uid, Lane> lanes;
  std::map<Uid, std::size_t> lane_bytes;
  std::map<std::uint64_t, Letter> dead;  // in the order of their first frames
  std::map<std::pair<Uid, std::uint64_t>, std::uint64_t> dead_at;
  std::uint64_t next_dead = 0;
  struct Result {
    IntentResult result;
    std::size_t bytes = 0;
  };
  std::map<std::uint64_t, Result> intents;  // in the order of their first frames
  std::map<Uid, std::uint64_t> intent_at;
  std::uint64_t next_intent = 0;
  ArtifactBook artifacts;
  std::map<Uid, ModelState> models;
  std::map<Uid, std::size_t> model_bytes;
  std::size_t live_bytes = 0;

  void take(const ModelState& model, std::size_t bytes) {
    std::size_t& old = model_bytes[model.uid];
    live_bytes += bytes - old;
    old = bytes;
    models[model.uid] = model;
  }
  void take(const Lane& lane, std::size_t bytes) {
    std::size_t& old = lane_bytes[lane.run];
    live_bytes += bytes - old;
    old = bytes;
    lanes[lane.run] = lane;
  }
  void forget(std::uint64_t at) {
    const auto it = dead.find(at);
    live_bytes -= it->second.bytes;
    dead_at.erase({it->second.letter.run, it->second.letter.seq});
    dead.erase(it);
  }
  void take(const DeadLetter& letter, std::size_t bytes) {
    const auto [it, fresh] = dead_at.emplace(std::make_pair(letter.run, letter.seq), next_dead);
    if (letter.state == DeadLetter::State::delivered) {
      if (fresh)
        dead_at.erase(it);
      else
        forget(it->second);
      return;
    }
    if (fresh) ++next_dead;
    Letter& kept = dead[it->second];
    live_bytes += bytes - kept.bytes;
    kept = {letter, bytes};
    if (dead.size() > kMaxDead) forget(dead.begin()->first);
  }
  void take(const IntentResult& result, std::size_t bytes) {
    const auto [it, fresh] = intent_at.emplace(result.uid, next_intent);
    if (fresh) ++next_intent;
    Result& kept = intents[it->second];
    live_bytes += bytes - kept.bytes;
    kept = {result, bytes};
    if (intents.size() <= kMostIntents || intents.begin()->second.result.state == IntentResult::State::sending) return;
    live_bytes -= intents.begin()->second.bytes;
    intent_at.erase(intents.begin()->second.result.uid);
    intents.erase(intents.begin());
  }
  std::size_t parse(std::string_view file) {
    FrameSink sink;
    sink.destination = [this](Destination d) { destination = std::move(d); };
    sink.lane = [this](const Lane& lane, std::size_t bytes) { take(lane, bytes); };
    sink.dead = [this](const DeadLetter& letter, std::size_t bytes) { take(letter, bytes); };
    sink.model = [this](const ModelState& model, std::size_t bytes) { take(model, bytes); };
    sink.intent = [this](const IntentResult& result, std::size_t bytes) { take(result, bytes); };
    sink.artifacts = [this](const ArtifactPlace& place, std::size_t bytes) { artifacts.take(place, bytes); };
    sink.finished = [this](const Finished& finished) { artifacts.take(finished); };
    sink.upload = [this](const Upload& upload, const std::vector<std::uint32_t>& numbers, std::size_t bytes) {
      artifacts.take(upload, numbers, bytes);
    };
    const std::size_t end = parse_frames(file, sink);
    for (const auto& [at, kept] : dead) {  // lanes of older ledgers did not count the points among their dead letters
      const auto lane = lanes.find(kept.letter.run);
      if (lane != lanes.end() && lane->second.dead > 0 && lane->second.dead_points == 0) old_.insert(kept.letter.run);
    }
    for (const auto& [at, kept] : dead) {
      if (old_.contains(kept.letter.run) && kept.letter.dead() && kept.letter.seq < lanes[kept.letter.run].cursor) {
        lanes[kept.letter.run].dead_points += kept.letter.points;
      }
    }
    return end;
  }

 private:
  std::set<Uid> old_;
};

Status write_all(int fd, std::string_view bytes, std::uint64_t offset, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return base::errno_status(n == 0 ? ENOSPC : errno, "write", path);
    bytes.remove_prefix(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<base::Fd> open_file(const std::string& path, int flags) {
  base::Fd fd(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return base::errno_status(errno, "open", path);
  return fd;
}

bool is_newer(std::string_view bytes) { return bytes.compare(0, 7, kMagic.substr(0, 7)) == 0; }

Status newer(const std::string& path) {
  return Status(StatusCode::failed_precondition,
                path + " is of a newer version of mlops; use that version, or another root");
}

class FileLedger;

/// Open ledgers of this process. A forked child must not write into its parent's: its descriptors are closed, and
/// nothing of a ledger works there.
struct Registry {
  std::mutex mutex;
  std::set<FileLedger*> open;
};
Registry& registry() {
  static auto* r = new Registry;  // never destroyed: a fork may come late
  return *r;
}

class FileLedger final : public Ledger {
 public:
  FileLedger(std::string dir, base::FileLock lock, std::unique_ptr<base::Lease> lease)
      : dir_(std::move(dir)), lock_(std::move(lock)), lease_(std::move(lease)) {
    const std::lock_guard guard(registry().mutex);
    registry().open.insert(this);
  }
  ~FileLedger() override {
    const std::lock_guard guard(registry().mutex);
    registry().open.erase(this);
  }
  FileLedger(const FileLedger&) = delete;
  FileLedger& operator=(const FileLedger&) = delete;

  Status load(const Destination& wanted) {
    std::string bytes;
    if (base::exists(path())) {
      auto read = base::read_file(path(), std::size_t{1} << 32);
      if (!read.ok()) return read.status();
      bytes = std::move(*read);
    }
    end_ = content_.parse(bytes);
    if (end_ == 0 && bytes.size() >= kMagic.size()) {
      if (is_newer(bytes)) return newer(path());
      // Not a ledger: keep the bytes for whoever wants to look, start anew; the server's watermark proves what is
      // there.
      base::log(base::LogLevel::warn, path() + " is damaged; kept as ledger.damaged, delivery proves its place again");
      if (::rename(path().c_str(), (path() + ".damaged").c_str()) != 0) {
        return base::errno_status(errno, "rename", path());
      }
    } else if (end_ < bytes.size()) {
      base::log(base::LogLevel::debug,
                path() + ": a torn tail of " + std::to_string(bytes.size() - end_) + " bytes cut");
    }
    auto fd = open_file(path(), O_RDWR | O_CREAT);
    if (!fd.ok()) return fd.status();
    fd_ = std::move(*fd);
    // Only then: it changes the file's time, by which others tell whether there was news.
    if (end_ < bytes.size() && ::ftruncate(fd_.get(), static_cast<off_t>(end_)) != 0) {
      return base::errno_status(errno, "truncate", path());
    }
    if (end_ == 0) {
      if (Status s = write_all(fd_.get(), kMagic, 0, path()); !s.ok()) return s;
      end_ = kMagic.size();
    }
    if (content_.destination.name != wanted.name || content_.destination.uri != wanted.uri) {
      if (Status s = append([&](std::uint64_t at) { return destination_frame(wanted, at); }, nullptr); !s.ok())
        return s;
      content_.destination = wanted;
    }
    return {};
  }

  const Destination& destination() const override { return content_.destination; }

  Lane lane(const Uid& run) const override {
    const std::lock_guard guard(mutex_);
    const auto it = content_.lanes.find(run);
    if (it != content_.lanes.end()) return it->second;
    Lane fresh;
    fresh.run = run;
    return fresh;
  }

  std::vector<Lane> lanes() const override {
    const std::lock_guard guard(mutex_);
    std::vector<Lane> all;
    all.reserve(content_.lanes.size());
    for (const auto& [run, lane] : content_.lanes) all.push_back(lane);
    return all;
  }

  std::vector<DeadLetter> dead(const Uid& run) const override {
    const std::lock_guard guard(mutex_);
    std::vector<DeadLetter> out;
    for (auto it = content_.dead_at.lower_bound({run, 0}); it != content_.dead_at.end() && it->first.first == run;
         ++it) {
      out.push_back(content_.dead.at(it->second).letter);
    }
    return out;
  }

  Status put(const Lane& lane, const DeadLetter& letter) override {
    const std::lock_guard guard(mutex_);
    std::size_t lane_bytes = 0, bytes = 0;
    const auto both = [&](std::uint64_t at) {
      const std::string first = lane_frame(lane, at);
      lane_bytes = first.size();
      return first + dead_frame(letter, at + first.size());
    };
    MLOPS_POINT("ledger.letter");
    if (Status s = append(both, &bytes); !s.ok()) return s;
    content_.take(lane, lane_bytes);
    content_.take(letter, bytes - lane_bytes);
    return {};
  }

  std::optional<IntentResult> intent(const Uid& uid) const override {
    const std::lock_guard guard(mutex_);
    const auto it = content_.intent_at.find(uid);
    if (it == content_.intent_at.end()) return std::nullopt;
    return content_.intents.at(it->second).result;
  }

  std::vector<IntentResult> intents() const override {
    const std::lock_guard guard(mutex_);
    std::vector<IntentResult> all;
    all.reserve(content_.intents.size());
    for (const auto& [at, kept] : content_.intents) all.push_back(kept.result);
    return all;
  }

  Status put(const Lane& lane, const IntentResult& result) override {
    const std::lock_guard guard(mutex_);
    std::size_t lane_bytes = 0, bytes = 0;
    const auto both = [&](std::uint64_t at) {
      const std::string first = lane_frame(lane, at);
      lane_bytes = first.size();
      return first + intent_frame(result, at + first.size());
    };
    MLOPS_POINT("ledger.intent");
    if (Status s = append(both, &bytes); !s.ok()) return s;
    content_.take(lane, lane_bytes);
    content_.take(result, bytes - lane_bytes);
    return {};
  }

  std::optional<ModelState> model(const Uid& uid) const override {
    const std::lock_guard guard(mutex_);
    const auto it = content_.models.find(uid);
    if (it == content_.models.end()) return std::nullopt;
    return it->second;
  }

  std::vector<ModelState> models(const Uid& run) const override {
    const std::lock_guard guard(mutex_);
    std::vector<ModelState> all;
    for (const auto& [uid, model] : content_.models) {
      if (run.zero() || model.run == run) all.push_back(model);
    }
    return all;
  }

  Status put(const ModelState& model) override {
    const std::lock_guard guard(mutex_);
    std::size_t bytes = 0;
    MLOPS_POINT("ledger.model");
    if (Status s = append([&](std::uint64_t at) { return model_frame(model, at); }, &bytes); !s.ok()) return s;
    content_.take(model, bytes);
    return {};
  }

  Status put(const Lane& lane) override {
    const std::lock_guard guard(mutex_);
    std::size_t bytes = 0;
    MLOPS_POINT("ledger.put");
    if (Status s = append([&](std::uint64_t at) { return lane_frame(lane, at); }, &bytes); !s.ok()) return s;
    MLOPS_POINT("ledger.put.written");
    content_.take(lane, bytes);
    return {};
  }

  Status add_dead(const DeadLetter& letter) override {
    const std::lock_guard guard(mutex_);
    std::size_t bytes = 0;
    if (Status s = append([&](std::uint64_t at) { return dead_frame(letter, at); }, &bytes); !s.ok()) return s;
    content_.take(letter, bytes);
    return {};
  }

  ArtifactPlace artifacts(const Uid& run) const override {
    const std::lock_guard guard(mutex_);
    return content_.artifacts.place(run);
  }

  std::vector<ArtifactPlace> artifact_places() const override {
    const std::lock_guard guard(mutex_);
    std::vector<ArtifactPlace> all;
    for (const auto& [run, place] : content_.artifacts.places()) all.push_back(place);
    return all;
  }

  std::vector<Upload> uploads() const override {
    const std::lock_guard guard(mutex_);
    return content_.artifacts.uploads();
  }

  Status put(const ArtifactPlace& place) override {
    const std::lock_guard guard(mutex_);
    std::size_t bytes = 0;
    if (Status s = append([&](std::uint64_t at) { return artifacts_frame(place, at); }, &bytes); !s.ok()) return s;
    content_.artifacts.take(place, bytes);
    return {};
  }

  Status put(const ArtifactPlace& place, const DeadLetter& letter) override {
    const std::lock_guard guard(mutex_);
    std::size_t first = 0, bytes = 0;
    const auto both = [&](std::uint64_t at) {
      const std::string frame = artifacts_frame(place, at);
      first = frame.size();
      return frame + dead_frame(letter, at + first);
    };
    if (Status s = append(both, &bytes); !s.ok()) return s;
    content_.artifacts.take(place, first);
    content_.take(letter, bytes - first);
    return {};
  }

  Status finish(const Finished& finished, const DeadLetter* letter) override {
    const std::lock_guard guard(mutex_);
    std::size_t first = 0, bytes = 0;
    const auto both = [&](std::uint64_t at) {
      const std::string frame = finished_frame(finished, at);
      first = frame.size();
      return letter == nullptr ? frame : frame + dead_frame(*letter, at + first);
    };
    MLOPS_POINT("ledger.finish");
    if (Status s = append(both, &bytes); !s.ok()) return s;
    content_.artifacts.take(finished);
    if (letter != nullptr) content_.take(*letter, bytes - first);
    return {};
  }

  Status begin(const Upload& upload) override {
    const std::lock_guard guard(mutex_);
    std::size_t bytes = 0;
    const auto frames = [&](std::uint64_t at) {
      const std::string none = no_upload_frame(upload.run, upload.seq, at);
      return none + upload_frames(upload, at + none.size());
    };
    if (Status s = append(frames, &bytes); !s.ok()) return s;
    std::vector<std::uint32_t> numbers(upload.parts.size());
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<std::uint32_t>(i + 1);
    Upload none;
    none.run = upload.run;
    none.seq = upload.seq;
    content_.artifacts.take(none, {}, 0);
    content_.artifacts.take(upload, numbers, bytes);
    return {};
  }

  Status put_part(const Upload& upload, std::size_t index) override {
    const std::lock_guard guard(mutex_);
    std::size_t bytes = 0;
    MLOPS_POINT("ledger.part");
    if (Status s = append([&](std::uint64_t at) { return part_frame(upload, index, at); }, &bytes); !s.ok()) return s;
    Upload part;
    part.run = upload.run;
    part.seq = upload.seq;
    part.id = upload.id;
    part.parts.push_back({upload.parts[index].etag, {}, {}});
    content_.artifacts.take(part, {static_cast<std::uint32_t>(index + 1)}, bytes);
    return {};
  }

  Status forget_upload(const Uid& run, std::uint64_t seq) override {
    const std::lock_guard guard(mutex_);
    if (content_.artifacts.upload(run, seq) == nullptr) return {};
    if (Status s = append([&](std::uint64_t at) { return no_upload_frame(run, seq, at); }, nullptr); !s.ok()) return s;
    Upload none;
    none.run = run;
    none.seq = seq;
    content_.artifacts.take(none, {}, 0);
    return {};
  }

  bool hold() override { return lease_ == nullptr || lease_->hold(); }
  bool held() const override { return lease_ == nullptr || lease_->held(); }

  Status note_health(const LiveState& state) override {
    if (!held()) return lost();
    return base::replace_file(dir_ + "/live", encode_live(state), false);
  }

  Status sync() override {
    const std::lock_guard guard(mutex_);
    if (!fd_) return closed();
    if (!held()) return lost();
    if (end_ > kCompactAbove && end_ / 4 > content_.live_bytes + content_.artifacts.live_bytes()) {
      if (Status s = compact(); !s.ok()) return s;
    }
    MLOPS_POINT("ledger.sync");
    if (::fdatasync(fd_.get()) != 0) return base::errno_status(errno, "fsync", path());
    return {};
  }

  /// In a forked child, from the atfork handler: only close(2).
  void close_in_child() { fd_.reset(); }

 private:
  std::string path() const { return dir_ + "/ledger"; }
  Status lost() const { return Status(StatusCode::unavailable, dir_ + ": another node may deliver from here now"); }
  Status closed() const { return Status(StatusCode::failed_precondition, path() + " is closed (a forked child?)"); }

  /// Frames at the end, in one write. On failure the file ends where it ended before, and nothing has changed.
  template <typename Make>
  Status append(const Make& make, std::size_t* bytes) {
    if (!fd_) return closed();
    if (!held()) return lost();
    if (torn_) {
      if (::ftruncate(fd_.get(), static_cast<off_t>(end_)) != 0) return base::errno_status(errno, "truncate", path());
      torn_ = false;
    }
    const std::string frame = make(end_);
    if (Status s = write_all(fd_.get(), frame, end_, path()); !s.ok()) {
      torn_ = ::ftruncate(fd_.get(), static_cast<off_t>(end_)) != 0;
      return s;
    }
    end_ += frame.size();
    if (bytes != nullptr) *bytes = frame.size();
    return {};
  }

  Status compact() {
    const std::string fresh = path() + ".new";
    std::string bytes(kMagic);
    bytes += destination_frame(content_.destination, bytes.size());
    for (const auto& [run, lane] : content_.lanes) bytes += lane_frame(lane, bytes.size());
    for (const auto& [at, kept] : content_.dead) bytes += dead_frame(kept.letter, bytes.size());
    for (const auto& [uid, model] : content_.models) bytes += model_frame(model, bytes.size());
    for (const auto& [at, kept] : content_.intents) bytes += intent_frame(kept.result, bytes.size());
    for (const auto& [run, place] : content_.artifacts.places()) bytes += artifacts_frame(place, bytes.size());
    for (const Upload& upload : content_.artifacts.uploads()) bytes += upload_frames(upload, bytes.size());
    auto fd = open_file(fresh, O_RDWR | O_CREAT | O_TRUNC);
    if (!fd.ok()) return fd.status();
    if (Status s = write_all(fd->get(), bytes, 0, fresh); !s.ok()) return ::unlink(fresh.c_str()), s;
    if (::fdatasync(fd->get()) != 0) return base::errno_status(errno, "fsync", fresh);
    MLOPS_POINT("ledger.compact.written");
    if (::rename(fresh.c_str(), path().c_str()) != 0) return base::errno_status(errno, "rename", fresh);
    MLOPS_POINT("ledger.compact.renamed");
    fd_ = std::move(*fd);
    end_ = bytes.size();
    torn_ = false;
    base::Fd dir(::open(dir_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (dir && ::fsync(dir.get()) != 0) return base::errno_status(errno, "fsync", dir_);
    return {};
  }

  const std::string dir_;
  base::FileLock lock_;
  std::unique_ptr<base::Lease> lease_;  // null: not on a network file system
  mutable std::mutex mutex_;
  base::Fd fd_;
  Content content_;
  std::uint64_t end_ = 0;
  bool torn_ = false;  // a failed append may have left bytes behind end_
};

void before_fork() { registry().mutex.lock(); }
void after_fork_in_parent() { registry().mutex.unlock(); }
void after_fork_in_child() {
  for (FileLedger* ledger : registry().open) ledger->close_in_child();
  registry().mutex.unlock();
}

}  // namespace

Result<std::unique_ptr<Ledger>> Ledger::open(const std::string& slot_dir, const Destination& destination) {
  static std::once_flag once;
  std::call_once(once, [] { ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); });
  const Destination wanted{destination.name.empty() ? destination_name(destination.uri) : destination.name,
                           clean_uri(destination.uri)};
  if (wanted.name.empty() || wanted.name.front() == '.' || wanted.name.find('/') != std::string::npos) {
    return Status(StatusCode::invalid_argument,
                  "a destination's name is a folder name; \"" + wanted.name + "\" is none");
  }
  const std::string dir = folder(slot_dir, wanted.name);
  if (Status s = base::make_dirs(dir); !s.ok()) return s;
  auto lock = base::FileLock::try_lock(dir + "/lock");
  if (!lock.ok()) return lock.status();
  std::unique_ptr<base::Lease> lease;
  if (base::is_network_root(base::root_of_slot(slot_dir))) {
    auto taken = base::Lease::take(dir + "/lease");
    if (!taken.ok()) return taken.status();
    lease = std::move(*taken);
  }
  auto ledger = std::make_unique<FileLedger>(dir, std::move(*lock), std::move(lease));
  if (Status s = ledger->load(wanted); !s.ok()) return s;
  return std::unique_ptr<Ledger>(std::move(ledger));
}

Result<Ledger::Snapshot> Ledger::read(const std::string& slot_dir, const std::string& name) {
  const std::string dir = folder(slot_dir, name);
  auto bytes = base::read_file(dir + "/ledger", std::size_t{1} << 32);
  if (!bytes.ok()) return bytes.status();
  Content content;
  if (content.parse(*bytes) == 0 && bytes->size() >= kMagic.size()) {
    if (is_newer(*bytes)) return newer(dir + "/ledger");
    return Status(StatusCode::data_loss, dir + "/ledger is no ledger; the next delivery keeps it as ledger.damaged");
  }
  Snapshot out;
  out.destination = std::move(content.destination);
  out.destination.name = name;  // a folder that was renamed says its old one until it is next opened for writing
  out.lanes = std::move(content.lanes);
  for (auto& [at, kept] : content.dead) out.dead.push_back(std::move(kept.letter));
  out.models = std::move(content.models);
  for (auto& [at, kept] : content.intents) out.intents[kept.result.uid] = std::move(kept.result);
  out.artifacts = content.artifacts.places();
  out.uploads = content.artifacts.uploads();
  if (auto live = base::read_file(dir + "/live", 1u << 20); live.ok()) {
    if (auto state = decode_live(*live)) out.live = std::move(*state);
  }
  out.held = base::FileLock::is_held(dir + "/lock") || held_elsewhere(slot_dir, name);
  return out;
}

bool Ledger::Snapshot::answered() const {
  return !dead.empty() || !intents.empty() || !models.empty() || !uploads.empty() ||
         std::any_of(lanes.begin(), lanes.end(), [](const auto& lane) { return lane.second.answered(); });
}

bool Ledger::held_elsewhere(const std::string& slot_dir, const std::string& name) {
  return base::is_network_root(base::root_of_slot(slot_dir)) &&
         base::lease_alive_elsewhere(folder(slot_dir, name) + "/lease");
}

Result<std::vector<std::string>> Ledger::list(const std::string& slot_dir) {
  std::vector<std::string> names;
  if (!base::exists(slot_dir + "/delivery")) return names;
  auto entries = base::list_dir(slot_dir + "/delivery");
  if (!entries.ok()) return entries.status();
  for (std::string& name : *entries) {
    if (name.front() == '.') continue;  // one that is being removed
    if (base::exists(folder(slot_dir, name) + "/ledger")) names.push_back(std::move(name));
  }
  return names;
}

}  // namespace mlops::ledger
