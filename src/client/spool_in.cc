#include "client/spool_in.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <utility>

#include "base/base.h"
#include "base/file.h"
#include "base/snapshot.h"
#include "buffer/spool.h"
#include "model/artifact.h"
#include "model/limits.h"

namespace mlops::client {
namespace {

constexpr std::int64_t kFreeMs = 2'000;  // the drain has so long to make room

/// Room in the spool, given back unless it is kept.
class Room {
 public:
  explicit Room(Core* core) : core_(core), most_(core->root == nullptr ? 0 : core->root->options.spool_mib << 20) {}
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;
  ~Room() { give_back(taken_); }

  Status take(std::uint64_t bytes) {
    if (try_take(bytes)) return {};
    if (bytes > most_) return full(bytes);
    // The drain looks at it with its next beat; it says that it is done by taking the wish back.
    auto& wanted = core_->control->spool_wanted;
    wanted.store(bytes, std::memory_order_release);
    core_->control->hurry.fetch_add(1, std::memory_order_relaxed);
    if (!core_->in_child.load() && core_->drain != nullptr) core_->drain->wake();
    for (const std::int64_t until = base::steady_ms() + kFreeMs; base::steady_ms() < until;) {
      ::usleep(5'000);
      const bool done = wanted.load(std::memory_order_acquire) == 0;
      if (try_take(bytes)) return {};
      if (done) break;
    }
    return full(bytes);
  }
  /// The bytes turned out to be others.
  void correct(std::uint64_t bytes) {
    core_->control->spool_bytes.fetch_add(bytes - taken_);  // modulo 2^64
    taken_ = bytes;
  }
  void keep() { taken_ = 0; }

 private:
  bool try_take(std::uint64_t bytes) {
    const std::uint64_t used = journal::spool_used(core_->control->spool_bytes.fetch_add(bytes) + bytes);
    taken_ = bytes;
    if (most_ == 0 || used <= most_) return true;
    give_back(std::exchange(taken_, 0));
    return false;
  }
  void give_back(std::uint64_t bytes) { core_->control->spool_bytes.fetch_sub(bytes); }
  Status full(std::uint64_t bytes) const {
    return Status(StatusCode::resource_exhausted,
                  "the spool of " + core_->slot_dir + " holds " +
                      std::to_string(journal::spool_used(core_->control->spool_bytes.load())) + " of " +
                      std::to_string(most_) + " bytes, and " + std::to_string(bytes) +
                      " more do not fit: deliver what waits (`mlops sync`), or raise spool_mib");
  }

  Core* core_;
  const std::uint64_t most_;
  std::uint64_t taken_ = 0;
};

/// A file of the spool that nothing names yet; removed unless it is kept.
class Incoming {
 public:
  explicit Incoming(std::string path) : path_(std::move(path)) {}
  Incoming(const Incoming&) = delete;
  Incoming& operator=(const Incoming&) = delete;
  ~Incoming() {
    if (there_) ::unlink(path_.c_str());
  }

  Status make() {
    fd_ = base::Fd(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd_) return base::errno_status(errno, "make", path_);
    there_ = true;
    return lock();
  }
  /// The file itself under a second name; its size. False: this one cannot be, copy it.
  bool link(const std::string& file, std::uint64_t* size) {
    struct stat st{};
    if (::lstat(file.c_str(), &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1) return false;
    base::Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat opened{};
    if (!fd || ::fstat(fd.get(), &opened) != 0 || opened.st_ino != st.st_ino || opened.st_dev != st.st_dev)
      return false;
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return false;  // somebody else has it
    if (::link(file.c_str(), path_.c_str()) != 0) return false;
    there_ = true;
    if (::lstat(path_.c_str(), &st) != 0 || st.st_ino != opened.st_ino) {  // replaced meanwhile
      ::unlink(path_.c_str());
      there_ = false;
      return false;
    }
    fd_ = std::move(fd);
    *size = static_cast<std::uint64_t>(st.st_size);
    return true;
  }
  Status write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_.get(), bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return base::errno_status(errno, "write", path_);
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
  }
  int fd() const { return fd_.get(); }
  void keep() { there_ = false; }

 private:
  Status lock() {  // a sweeper that looks whether it is locked has it for a moment
    while (::flock(fd_.get(), LOCK_EX) != 0) {
      if (errno != EINTR) return base::errno_status(errno, "lock", path_);
    }
    return {};
  }
  std::string path_;
  base::Fd fd_;
  bool there_ = false;
};

Status ended(const RunState& run) {
  return Status(StatusCode::failed_precondition,
                "run \"" + run.name() + "\" has ended or its client is closed: start or resume a run to log more");
}

Status append(RunState* run, const ArtifactIn& in, const base::Uid& name, std::uint64_t size, Pairs pairs) {
  model::Op op;
  op.run = run->uid;
  op.parent = in.parent;
  op.kind = model::OpKind::artifact;
  op.time_ms = base::now_ms();
  op.key = in.path;
  op.value = name.hex();
  op.number = static_cast<std::int64_t>(size);
  op.pairs = std::move(pairs);
  const std::lock_guard<std::mutex> lock(run->core->mutex);
  if (run->ended) return ended(*run);
  return run->core->writer->append(&op);
}

Result<std::string> absolute(const std::string& file) {
  if (file[0] == '/') return file;
  char here[PATH_MAX];
  if (::getcwd(here, sizeof here) == nullptr) return base::errno_status(errno, "ask for the current folder", {});
  return std::string(here) + "/" + file;
}

Status put_later(RunState* run, const ArtifactIn& in) {
  const Result<base::FileId> id = base::identify(in.file);
  if (!id.ok()) return id.status();
  if (::access(in.file.c_str(), R_OK) != 0) return base::errno_status(errno, "read", in.file);
  Result<std::string> source = absolute(in.file);
  if (!source.ok()) return source.status();
  Pairs pairs = in.pairs;
  const auto put = [&pairs](std::string_view key, std::string value) { pairs.emplace_back(key, std::move(value)); };
  put(model::kSource, std::move(*source));
  put(model::kSourceDevice, std::to_string(id->device));
  put(model::kSourceInode, std::to_string(id->inode));
  put(model::kSourceMtime, std::to_string(id->mtime_ns));
  put(model::kSourceCtime, std::to_string(id->ctime_ns));
  return append(run, in, base::Uid::random(), id->size, std::move(pairs));
}

}  // namespace

Status put_artifact(RunState* run, const ArtifactIn& in) {
  if (!in.checked) {
    if (Status s = model::check_artifact_path(in.path); !s.ok()) return s;
  }
  Core* core = run->core;
  {
    const std::lock_guard<std::mutex> lock(core->mutex);
    if (run->ended) return ended(*run);
  }
  if (in.later) return put_later(run, in);

  std::uint64_t size = in.bytes.size();
  if (!in.file.empty()) {
    const Result<base::FileId> id = base::identify(in.file);
    if (!id.ok()) return id.status();
    size = id->size;
  }
  const buffer::Spool spool(core->slot_dir);
  if (!base::exists(spool.in())) {
    if (Status s = base::make_dirs(spool.in()); !s.ok()) return s;
  }
  Room room(core);
  if (Status s = room.take(size); !s.ok()) return s;
  MLOPS_POINT("spool.begin");
  const base::Uid name = base::Uid::random();
  Incoming incoming(spool.incoming(name));
  const bool linked = in.move && !in.file.empty() && incoming.link(in.file, &size);
  if (!linked) {
    if (Status s = incoming.make(); !s.ok()) return s;
    if (in.file.empty()) {
      if (Status s = incoming.write(in.bytes); !s.ok()) return s;
    } else {
      const Result<base::FileId> id = base::snapshot(in.file, incoming.fd(), nullptr);
      if (!id.ok()) return id.status();
      size = id->size;
    }
  }
  room.correct(size);
  MLOPS_POINT("spool.copied");
  if (Status s = append(run, in, name, size, in.pairs); !s.ok()) return s;
  incoming.keep();
  room.keep();
  if (in.name != nullptr) *in.name = name.hex();
  MLOPS_POINT("spool.appended");
  if (in.move && !in.file.empty() && ::unlink(in.file.c_str()) != 0) {
    base::log(base::LogLevel::warn,
              "the artifact is accepted, but " + std::string(base::errno_status(errno, "remove", in.file).message()));
  }
  return {};
}

}  // namespace mlops::client
