// A store of artifacts in memory, with a script of faults by request index, and the files of a spool.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "rig.h"
#include "store/store.h"

namespace mlops::sync::fake {

enum class StoreFault {
  none,
  offline,        // certainly not sent
  request_lost,   // a reset: not executed, unknown to the client
  response_lost,  // executed, unknown to the client
  http_500,       // not executed, answered 500
  http_503,       // not executed, throttled
  truncated,      // half of the body is kept as the whole; no answer
  unauthorized,   // 401
  kill_before,    // the process dies before the request
  kill_after,     // the process dies after it was executed
};

/// What a bucket, or a folder behind MLflow's proxy, holds.
class Objects {
 public:
  std::uint64_t part_size = 10, multipart_from = 25;
  bool takes_parts = true, presigned = false;
  bool half_kept = false;                // puts are answered well, and half of the body is kept, once for each path
  std::set<std::string> refused;         // paths
  std::uint64_t expire_after_parts = 0;  // uploads are gone once so many parts of them were put; 0 never
  std::set<std::uint64_t> dead_epochs;
  std::function<void()> on_kill;
  std::function<void(const std::string& what)> on_request;

  void fault_at(std::uint64_t index, StoreFault fault) { faults_[index] = fault; }
  /// Of the first call of this name ("abort a/b").
  void fault_once(const std::string& call, StoreFault fault) { once_[call] = fault; }
  void always(StoreFault fault) {
    std::lock_guard<std::mutex> lock(mu_);
    always_ = fault;
  }
  std::map<std::string, std::string> files() const {
    std::lock_guard<std::mutex> lock(mu_);
    return files_;
  }
  std::uint64_t requests() const {
    std::lock_guard<std::mutex> lock(mu_);
    return requests_;
  }
  std::vector<std::string> calls() const {
    std::lock_guard<std::mutex> lock(mu_);
    return calls_;
  }
  std::size_t open_uploads() const {
    std::lock_guard<std::mutex> lock(mu_);
    return uploads_.size();
  }
  /// How often each part arrived, of all uploads.
  std::map<std::pair<std::string, std::uint32_t>, int> parts_received() const {
    std::lock_guard<std::mutex> lock(mu_);
    return received_;
  }
  int most_at_once() const {
    std::lock_guard<std::mutex> lock(mu_);
    return most_at_once_;
  }

 private:
  friend class StoreClient;
  struct Multipart {
    std::string path;
    std::map<std::uint32_t, std::string> parts;
  };
  mutable std::mutex mu_;
  std::map<std::uint64_t, StoreFault> faults_;
  std::map<std::string, StoreFault> once_;
  StoreFault always_ = StoreFault::none;
  std::uint64_t requests_ = 0, ids_ = 0;
  int at_once_ = 0, most_at_once_ = 0;
  std::vector<std::string> calls_;
  std::map<std::string, std::string> files_;
  std::map<std::string, Multipart> uploads_;
  std::map<std::pair<std::string, std::uint32_t>, int> received_;
  std::set<std::string> cut_;
};

class StoreClient : public store::Store {
 public:
  using Answer = store::Answer;
  using Verdict = store::Verdict;
  StoreClient(Objects* objects, std::uint64_t epoch, std::string root)
      : o_(objects), epoch_(epoch), root_(std::move(root)) {}

  Answer put(std::string_view path, const store::Body& body, const store::Progress&) override {
    const std::string bytes = read(body);
    return exchange(
        "put " + std::string(path),
        [&](bool truncate) {
          const std::string where = at(path);
          const bool cut = truncate || (o_->half_kept && o_->cut_.insert(where).second);
          o_->files_[where] = cut ? bytes.substr(0, bytes.size() / 2) : bytes;
          return Answer();
        },
        path);
  }
  bool can_multipart(std::uint64_t size) const override { return size >= o_->multipart_from; }
  Answer begin(std::string_view path, std::uint64_t size, store::Upload* out) override {
    return exchange(
        "begin " + std::string(path),
        [&](bool) {
          if (!o_->takes_parts) return answer(Verdict::unsupported, 501, "no parts here");
          out->id = "u" + std::to_string(++o_->ids_);
          out->part_size = o_->part_size;
          for (std::uint64_t offset = 0; offset < size; offset += o_->part_size) {
            const auto number = static_cast<std::uint32_t>(out->parts.size() + 1);
            out->parts.push_back({number, offset, std::min(o_->part_size, size - offset), ""});
            if (o_->presigned) out->urls.push_back({number, out->id + "/" + std::to_string(number), {{"h", "v"}}});
          }
          o_->uploads_[out->id].path = at(path);
          return Answer();
        },
        path);
  }
  Answer put_part(std::string_view path, const store::Upload& upload, store::Part* part, const store::Body& body,
                  const store::Progress&) override {
    const std::string bytes = read(body);
    if (o_->presigned &&
        (upload.urls.empty() || upload.urls[0].url != upload.id + "/" + std::to_string(part->number))) {
      return answer(Verdict::expired, 403, "no such URL");
    }
    return exchange(
        "part " + std::to_string(part->number),
        [&](bool) {
          const auto it = o_->uploads_.find(upload.id);
          if (it == o_->uploads_.end() || it->second.path != at(path))
            return answer(Verdict::expired, 404, "NoSuchUpload");
          ++o_->received_[{upload.id, part->number}];
          it->second.parts[part->number] = bytes;
          if (o_->expire_after_parts != 0 && it->second.parts.size() >= o_->expire_after_parts) {
            o_->uploads_.erase(it);
            o_->expire_after_parts = 0;
          }
          part->etag = "\"" + std::to_string(std::hash<std::string>()(bytes)) + "\"";
          return Answer();
        },
        path);
  }
  Answer finish(std::string_view path, const store::Upload& upload) override {
    return exchange(
        "finish " + std::string(path),
        [&](bool) {
          const auto it = o_->uploads_.find(upload.id);
          if (it == o_->uploads_.end()) return answer(Verdict::expired, 404, "NoSuchUpload");
          std::string whole;
          for (const store::Part& part : upload.parts) {
            const auto there = it->second.parts.find(part.number);
            if (there == it->second.parts.end() ||
                part.etag != "\"" + std::to_string(std::hash<std::string>()(there->second)) + "\"") {
              return answer(Verdict::expired, 400, "InvalidPart");
            }
            whole += there->second;
          }
          o_->files_[at(path)] = whole;
          o_->uploads_.erase(it);
          return Answer();
        },
        path);
  }
  Answer abort(std::string_view path, const store::Upload& upload) override {
    return exchange(
        "abort " + std::string(path),
        [&](bool) {
          o_->uploads_.erase(upload.id);
          return Answer();
        },
        path);
  }
  Answer stat(std::string_view path, std::uint64_t* size) override {
    return exchange(
        "stat " + std::string(path),
        [&](bool) {
          const auto it = o_->files_.find(at(path));
          if (it == o_->files_.end()) return answer(Verdict::not_found, 404, "not there");
          *size = it->second.size();
          return Answer();
        },
        path);
  }
  Answer list(std::string_view dir, std::vector<store::Entry>* out) override {
    return exchange(
        "list " + std::string(dir),
        [&](bool) {
          const std::string below = dir.empty() ? root_ + "/" : at(dir) + "/";
          for (const auto& [path, bytes] : o_->files_) {
            if (path.compare(0, below.size(), below) != 0 || path.find('/', below.size()) != std::string::npos)
              continue;
            out->push_back({path.substr(root_.size() + 1), false, bytes.size()});
          }
          return Answer();
        },
        dir);
  }
  Answer get(std::string_view, std::uint64_t, store::Version*, const store::Sink&, const store::Progress&) override {
    return answer(Verdict::unsupported, 501, "not here");
  }
  void cancel() override {}

 private:
  static Answer answer(Verdict verdict, int http, std::string words) {
    Answer a;
    a.verdict = verdict;
    a.http_status = http;
    a.status = Status(StatusCode::unavailable, std::move(words));
    return a;
  }
  static std::string read(const store::Body& body) {
    std::string bytes(body.size, '\0');
    EXPECT_EQ(::pread(body.fd, bytes.data(), bytes.size(), static_cast<off_t>(body.offset)),
              static_cast<ssize_t>(body.size));
    return bytes;
  }
  std::string at(std::string_view path) const { return root_ + "/" + std::string(path); }

  template <typename Do>
  Answer exchange(const std::string& what, Do&& run, std::string_view path) {
    if (o_->on_request) o_->on_request(what);
    std::lock_guard<std::mutex> lock(o_->mu_);
    const Answer lost = answer(Verdict::ambiguous, 0, "connection reset");
    if (o_->dead_epochs.count(epoch_) != 0) return lost;
    o_->calls_.push_back(what);
    const std::uint64_t index = o_->requests_++;
    const auto it = o_->faults_.find(index);
    StoreFault fault = it == o_->faults_.end() ? o_->always_ : it->second;
    if (const auto once = o_->once_.find(what); once != o_->once_.end()) {
      fault = once->second;
      o_->once_.erase(once);
    }
    const auto kill = [&] {
      o_->dead_epochs.insert(epoch_);
      if (o_->on_kill) o_->on_kill();
      return lost;
    };
    if (o_->refused.count(std::string(path)) != 0) return answer(Verdict::rejected, 400, "bad path");
    switch (fault) {
      case StoreFault::none:
        return run(false);
      case StoreFault::offline:
        return answer(Verdict::offline, 0, "connection refused");
      case StoreFault::request_lost:
        return lost;
      case StoreFault::response_lost:
        run(false);
        return lost;
      case StoreFault::http_500:
        return answer(Verdict::ambiguous, 500, "internal");
      case StoreFault::http_503:
        return answer(Verdict::throttled, 503, "slow down");
      case StoreFault::truncated:
        run(true);
        return lost;
      case StoreFault::unauthorized:
        return answer(Verdict::auth, 401, "credentials");
      case StoreFault::kill_before:
        return kill();
      case StoreFault::kill_after:
        run(false);
        return kill();
    }
    return lost;
  }

  Objects* o_;
  std::uint64_t epoch_;
  std::string root_;
};

/// A Rig with a store and a spool.
struct FileRig : Rig {
  explicit FileRig(Server::Age age) : Rig(age) {}
  Objects objects;
  std::map<base::Uid, std::string> spool;
  std::atomic<bool> spool_is_gone{false};
  int names = 0;

  /// An artifact record, its bytes hashed and durable unless `named` is false. Returns its name.
  base::Uid artifact(const base::Uid& run, const std::string& path, const std::string& bytes, bool named = true,
                     const base::Uid& model = {}) {
    base::Uid name;
    name.bytes.fill(0x77);
    name.bytes[0] = static_cast<std::uint8_t>(++names >> 8);
    name.bytes[1] = static_cast<std::uint8_t>(names);
    model::Op op;
    op.kind = model::OpKind::artifact;
    op.run = run;
    op.parent = model;
    op.key = path;
    op.value = name.hex();
    op.number = static_cast<std::int64_t>(bytes.size());
    spool[name] = bytes;
    buffer->write(run).record(op);
    if (named) name_file(name);
    return name;
  }
  void name_file(const base::Uid& name, const std::string& lost = "") {
    buffer::FileRow row;
    row.name = name;
    row.size = spool[name].size();
    row.beat = 1;
    row.lost = lost;
    buffer->set_file(row);
  }
  std::unique_ptr<Engine> start_files(EngineOptions o, const std::function<void(Parts*)>& change = {}) {
    return Rig::start(std::move(o), [this, &change](Parts* parts) {
      const std::uint64_t mine = epoch.load();
      parts->make_store = [this, mine](const store::Place& place) -> Result<std::unique_ptr<store::Store>> {
        return std::unique_ptr<store::Store>(new StoreClient(&objects, mine, place.artifact_uri));
      };
      parts->open_file = [this](const buffer::FileRow& row) -> Result<base::Fd> {
        const auto it = spool.find(row.name);
        if (it == spool.end() || spool_is_gone) return Status(StatusCode::not_found, "not in the spool");
        base::Fd fd(::memfd_create("file", MFD_CLOEXEC));
        EXPECT_EQ(::write(fd.get(), it->second.data(), it->second.size()), static_cast<ssize_t>(it->second.size()));
        return fd;
      };
      if (change) change(parts);
    });
  }
  std::unique_ptr<Engine> start_files() { return start_files(options()); }
  Status deliver_files(Millis deadline = Millis(10'000)) {
    std::unique_ptr<Engine> engine = start_files();
    Status status = engine->wait_idle(deadline);
    last = engine->health();
    engine->stop(Millis(1'000));
    return status;
  }
};

}  // namespace mlops::sync::fake
