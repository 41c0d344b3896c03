// A buffer and a ledger in memory, which survive the engine that used them.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "buffer/buffer.h"
#include "ledger/ledger.h"

namespace mlops::sync::fake {

class Buffer : public buffer::Reader {
 public:
  struct Run {
    model::RunRow row;
    std::vector<buffer::Record> records;
    std::vector<std::string> names;
    std::map<std::uint64_t, std::uint64_t> damaged;  // seq, count
  };

  Buffer() { identity_.uid = base::Uid::random(); }

  /// Builds a run, record by record.
  class Writer {
   public:
    Writer(Buffer* buffer, const base::Uid& uid) : b_(buffer), uid_(uid) {}
    Writer& start(const std::string& experiment, const std::string& name, Pairs tags = {}, base::Uid parent = {}) {
      std::lock_guard<std::mutex> lock(b_->mu_);
      Run& run = b_->runs_[uid_];
      run.row.uid = uid_;
      run.row.experiment = experiment;
      run.row.name = name;
      run.row.parent = parent;
      run.row.starts = run.row.starts + 1;
      model::Op op = make(model::OpKind::run_start, experiment, name);
      op.pairs = std::move(tags);
      op.number = run.row.starts;
      op.parent = parent;
      add(run, op);
      return *this;
    }
    Writer& attach(const std::string& experiment) {
      std::lock_guard<std::mutex> lock(b_->mu_);
      Run& run = b_->runs_[uid_];
      run.row.uid = uid_;
      run.row.experiment = experiment;
      run.row.attached = true;
      add(run, make(model::OpKind::run_attach, experiment, ""));
      return *this;
    }
    Writer& op(model::OpKind kind, const std::string& key, const std::string& value = "") {
      std::lock_guard<std::mutex> lock(b_->mu_);
      add(b_->runs_[uid_], make(kind, key, value));
      return *this;
    }
    Writer& record(model::Op op) {
      std::lock_guard<std::mutex> lock(b_->mu_);
      Run& run = b_->runs_[uid_];
      run.row.uid = uid_;
      op.ticket = ++b_->tickets_;
      op.time_ms = 1'000 + static_cast<std::int64_t>(op.ticket);
      add(run, op);
      return *this;
    }
    Writer& param(const std::string& key, const std::string& value) { return op(model::OpKind::param, key, value); }
    Writer& tag(const std::string& key, const std::string& value) { return op(model::OpKind::set_tag, key, value); }
    Writer& end(RunStatus status, std::uint64_t start) {
      std::lock_guard<std::mutex> lock(b_->mu_);
      model::Op op = make(model::OpKind::run_end, std::to_string(start), "");
      op.number = static_cast<int>(status);
      op.time_ms = 5'000 + static_cast<std::int64_t>(start);
      Run& run = b_->runs_[uid_];
      run.row.status = status;
      add(run, op);
      return *this;
    }
    /// One block.
    Writer& points(const std::vector<std::pair<std::string, model::Point>>& points) {
      std::lock_guard<std::mutex> lock(b_->mu_);
      Run& run = b_->runs_[uid_];
      buffer::Record record;
      record.is_block = true;
      for (const auto& [name, p] : points) {
        std::size_t n = 0;
        while (n < run.names.size() && run.names[n] != name) ++n;
        if (n == run.names.size()) run.names.push_back(name);
        record.block.metric.push_back(static_cast<std::uint32_t>(n));
        record.block.step.push_back(p.step);
        record.block.time_ms.push_back(p.time_ms);
        record.block.value.push_back(p.value);
      }
      record.count = points.size();
      record.seq = record.block.first_seq = run.row.next_seq;
      record.beat = record.block.beat = b_->beat_;
      run.row.next_seq += record.count;
      run.row.points += record.count;
      run.row.last_ms = 1'000;
      run.records.push_back(record);
      return *this;
    }

   private:
    model::Op make(model::OpKind kind, const std::string& key, const std::string& value) {
      model::Op op;
      op.kind = kind;
      op.run = uid_;
      op.key = key;
      op.value = value;
      op.time_ms = 1'000;
      return op;
    }
    void add(Run& run, const model::Op& op) {
      buffer::Record record;
      record.seq = run.row.next_seq++;
      record.beat = b_->beat_;
      record.op = op;
      if (record.op.ticket == 0) record.op.ticket = ++b_->tickets_;
      run.records.push_back(record);
    }
    Buffer* b_;
    base::Uid uid_;
  };
  Writer write(const base::Uid& uid) { return Writer(this, uid); }
  void set_beat(std::uint64_t beat) {
    std::lock_guard<std::mutex> lock(mu_);
    beat_ = beat;
  }
  void set_identity(const buffer::Identity& identity) {
    std::lock_guard<std::mutex> lock(mu_);
    identity_ = identity;
  }
  void edit(const base::Uid& uid, const std::function<void(Run&)>& change) {
    std::lock_guard<std::mutex> lock(mu_);
    change(runs_[uid]);
  }
  std::uint64_t scans() const {
    std::lock_guard<std::mutex> lock(mu_);
    return row_scans_;
  }
  std::uint64_t record_scans() const {
    std::lock_guard<std::mutex> lock(mu_);
    return record_scans_;
  }

  buffer::Identity identity() const override {
    std::lock_guard<std::mutex> lock(mu_);
    return identity_;
  }
  Status refresh() override { return Status(); }
  Result<std::vector<model::RunRow>> runs() const override {
    std::lock_guard<std::mutex> lock(mu_);
    ++row_scans_;
    std::vector<model::RunRow> rows;
    for (const auto& [uid, run] : runs_) rows.push_back(run.row);
    return rows;
  }
  Result<model::RunRow> run(const base::Uid& uid) const override {
    std::lock_guard<std::mutex> lock(mu_);
    auto it = runs_.find(uid);
    if (it == runs_.end()) return Status(StatusCode::not_found, "no such run");
    return it->second.row;
  }
  Result<std::vector<buffer::MetricRow>> metrics(const base::Uid& uid) const override {
    std::lock_guard<std::mutex> lock(mu_);
    std::vector<buffer::MetricRow> rows;
    auto it = runs_.find(uid);
    if (it == runs_.end()) return rows;
    for (std::size_t i = 0; i < it->second.names.size(); ++i) {
      buffer::MetricRow row;
      row.metric = static_cast<std::uint32_t>(i);
      row.name = it->second.names[i];
      rows.push_back(row);
    }
    return rows;
  }
  Status scan(const base::Uid& uid, std::uint64_t from, const std::function<bool(const buffer::Record&)>& take,
              const std::function<void(std::uint64_t, std::uint64_t, const Status&)>& damaged) const override {
    Run copy;
    {
      std::lock_guard<std::mutex> lock(mu_);
      auto it = runs_.find(uid);
      if (it == runs_.end()) return Status();
      ++record_scans_;
      copy = it->second;
    }
    for (const buffer::Record& record : copy.records) {
      if (record.seq + record.count <= from) continue;
      if (copy.damaged.count(record.seq) != 0) {
        if (damaged) damaged(record.seq, record.count, Status(StatusCode::data_loss, "checksum"));
        continue;
      }
      if (!take(record)) break;
    }
    return Status();
  }
  Result<std::vector<model::Op>> experiments() const override { return std::vector<model::Op>(); }
  Result<std::vector<model::JournalCursor>> cursors() const override { return std::vector<model::JournalCursor>(); }
  /// Files are named when a test says so.
  void set_file(const buffer::FileRow& row) {
    std::lock_guard<std::mutex> lock(mu_);
    files_[row.name] = row;
  }
  Result<buffer::FileRow> file(const base::Uid& name) const override {
    std::lock_guard<std::mutex> lock(mu_);
    const auto it = files_.find(name);
    if (it == files_.end()) return Status(StatusCode::not_found, "not named yet");
    return it->second;
  }
  Result<std::vector<buffer::Record>> models() const override {  // for readers: delivery asks for none
    return Status(StatusCode::unimplemented, "not asked for");
  }
  Result<std::vector<buffer::ArtifactRow>> artifacts(const base::Uid& uid) const override {
    std::lock_guard<std::mutex> lock(mu_);
    std::vector<buffer::ArtifactRow> rows;
    const auto run = runs_.find(uid);
    if (run == runs_.end()) return rows;
    for (const buffer::Record& record : run->second.records) {
      if (record.is_block || record.op.kind != model::OpKind::artifact) continue;
      buffer::ArtifactRow row;
      row.seq = record.seq;
      row.beat = record.beat;
      row.op = record.op;
      base::Uid::parse(record.op.value, &row.file.name);
      const auto file = files_.find(row.file.name);
      if (file != files_.end()) row.file = file->second;
      rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  mutable std::mutex mu_;
  mutable std::uint64_t row_scans_ = 0, record_scans_ = 0;
  buffer::Identity identity_;
  std::uint64_t beat_ = 1, tickets_ = 0;
  std::map<base::Uid, Run> runs_;
  std::map<base::Uid, buffer::FileRow> files_;
};

/// What is on disk of a ledger: with what was fsynced apart from what a power cut takes.
class Disk {
 public:
  struct State {
    std::map<base::Uid, ledger::Lane> lanes;
    std::vector<ledger::DeadLetter> dead;
    std::vector<ledger::IntentResult> intents;
    std::map<base::Uid, ledger::ModelState> models;
    ledger::ArtifactBook artifacts;
  };
  /// The process that has the ledger dies: what it writes from now on is not there; with `power`, what it did not fsync
  /// neither.
  void kill(bool power) {
    std::lock_guard<std::mutex> lock(mu_);
    if (power) now_ = synced_;
    held_by_ = 0;
  }
  State state() const {
    std::lock_guard<std::mutex> lock(mu_);
    return now_;
  }
  void edit(const std::function<void(State&)>& change) {
    std::lock_guard<std::mutex> lock(mu_);
    change(now_);
  }
  Result<std::unique_ptr<ledger::Ledger>> open() {
    std::lock_guard<std::mutex> lock(mu_);
    if (held_by_ != 0) return Status(StatusCode::unavailable, "held");
    held_by_ = ++openings_;
    return std::unique_ptr<ledger::Ledger>(new Handle(this, held_by_));
  }
  Result<ledger::Ledger::Snapshot> read() const {
    std::lock_guard<std::mutex> lock(mu_);
    ledger::Ledger::Snapshot snapshot;
    snapshot.lanes = now_.lanes;
    snapshot.dead = now_.dead;
    for (const ledger::IntentResult& result : now_.intents) snapshot.intents[result.uid] = result;
    snapshot.artifacts = now_.artifacts.places();
    snapshot.uploads = now_.artifacts.uploads();
    snapshot.models = now_.models;
    snapshot.live = live_;
    snapshot.held = held_by_ != 0;
    return snapshot;
  }

 private:
  class Handle : public ledger::Ledger {
   public:
    Handle(Disk* disk, std::uint64_t mine) : d_(disk), mine_(mine) {}
    ~Handle() override {
      std::lock_guard<std::mutex> lock(d_->mu_);
      if (d_->held_by_ == mine_) d_->held_by_ = 0;
    }
    const ledger::Destination& destination() const override { return destination_; }
    ledger::Lane lane(const base::Uid& run) const override {
      std::lock_guard<std::mutex> lock(d_->mu_);
      auto it = d_->now_.lanes.find(run);
      if (it != d_->now_.lanes.end()) return it->second;
      ledger::Lane fresh;
      fresh.run = run;
      return fresh;
    }
    std::vector<ledger::Lane> lanes() const override {
      std::lock_guard<std::mutex> lock(d_->mu_);
      std::vector<ledger::Lane> out;
      for (const auto& [uid, lane] : d_->now_.lanes) out.push_back(lane);
      return out;
    }
    Status put(const ledger::Lane& lane) override {
      std::lock_guard<std::mutex> lock(d_->mu_);
      if (d_->held_by_ == mine_) d_->now_.lanes[lane.run] = lane;
      return Status();
    }
    std::vector<ledger::DeadLetter> dead(const base::Uid& run) const override {
      std::lock_guard<std::mutex> lock(d_->mu_);
      std::vector<ledger::DeadLetter> out;
      for (const ledger::DeadLetter& letter : d_->now_.dead) {
        if (letter.run == run) out.push_back(letter);
      }
      return out;
    }
    Status add_dead(const ledger::DeadLetter& letter) override {
      std::lock_guard<std::mutex> lock(d_->mu_);
      if (d_->held_by_ != mine_) return Status();
      auto& all = d_->now_.dead;
      const auto same = [&](const ledger::DeadLetter& l) { return l.run == letter.run && l.seq == letter.seq; };
      const auto it = std::find_if(all.begin(), all.end(), same);
      if (letter.state == ledger::DeadLetter::State::delivered) {
        if (it != all.end()) all.erase(it);
      } else if (it != all.end()) {
        *it = letter;
      } else {
        all.push_back(letter);
      }
      return Status();
    }
    Status put(const ledger::Lane& lane, const ledger::DeadLetter& letter) override {
      Status status = put(lane);
      return status.ok() ? add_dead(letter) : status;
    }
    std::optional<ledger::IntentResult> intent(const base::Uid& uid) const override {
      std::lock_guard<std::mutex> lock(d_->mu_);
      for (const ledger::IntentResult& result : d_->now_.intents) {
        if (result.uid == uid) return result;
      }
      return std::nullopt;
    }
    std::vector<ledger::IntentResult> intents() const override {
      std::lock_guard<std::mutex> lock(d_->mu_);
      return d_->now_.intents;
    }
    Status put(const ledger::Lane& lane, const ledger::IntentResult& result) override {
      Status status = put(lane);
      std::lock_guard<std::mutex> lock(d_->mu_);
      if (d_->held_by_ != mine_) return status;
      for (ledger::IntentResult& known : d_->now_.intents) {
        if (known.uid != result.uid) continue;
        known = result;
        return status;
      }
      d_->now_.intents.push_back(result);
      return status;
    }
    ledger::ArtifactPlace artifacts(const base::Uid& run) const override {
      std::lock_guard<std::mutex> lock(d_->mu_);
      return d_->now_.artifacts.place(run);
    }
    std::vector<ledger::ArtifactPlace> artifact_places() const override {
      std::lock_guard<std::mutex> lock(d_->mu_);
      std::vector<ledger::ArtifactPlace> out;
      for (const auto& [uid, place] : d_->now_.artifacts.places()) out.push_back(place);
      return out;
    }
    std::vector<ledger::Upload> uploads() const override {
      std::lock_guard<std::mutex> lock(d_->mu_);
      return d_->now_.artifacts.uploads();
    }
    Status put(const ledger::ArtifactPlace& place) override {
      return change([&](State& s) { s.artifacts.take(place, 0); });
    }
    Status put(const ledger::ArtifactPlace& place, const ledger::DeadLetter& letter) override {
      Status status = put(place);
      return status.ok() ? add_dead(letter) : status;
    }
    Status finish(const ledger::Finished& finished, const ledger::DeadLetter* letter) override {
      change([&](State& s) { s.artifacts.take(finished); }).ignore();
      return letter == nullptr ? Status() : add_dead(*letter);
    }
    Status begin(const ledger::Upload& upload) override {
      std::vector<std::uint32_t> numbers;
      for (std::uint32_t i = 1; i <= upload.parts.size(); ++i) numbers.push_back(i);
      return change([&](State& s) {
        s.artifacts.take(none(upload.run, upload.seq), {}, 0);
        s.artifacts.take(upload, numbers, 0);
      });
    }
    Status put_part(const ledger::Upload& upload, std::size_t index) override {
      ledger::Upload part = none(upload.run, upload.seq);
      part.id = upload.id;
      part.parts.push_back({upload.parts[index].etag, {}, {}});
      return change([&](State& s) { s.artifacts.take(part, {static_cast<std::uint32_t>(index + 1)}, 0); });
    }
    Status forget_upload(const base::Uid& run, std::uint64_t seq) override {
      return change([&](State& s) { s.artifacts.take(none(run, seq), {}, 0); });
    }
    std::optional<ledger::ModelState> model(const base::Uid& uid) const override {
      std::lock_guard<std::mutex> lock(d_->mu_);
      auto it = d_->now_.models.find(uid);
      if (it == d_->now_.models.end()) return std::nullopt;
      return it->second;
    }
    std::vector<ledger::ModelState> models(const base::Uid& run) const override {
      std::lock_guard<std::mutex> lock(d_->mu_);
      std::vector<ledger::ModelState> all;
      for (const auto& [uid, model] : d_->now_.models) {
        if (run.zero() || model.run == run) all.push_back(model);
      }
      return all;
    }
    Status put(const ledger::ModelState& model) override {
      std::lock_guard<std::mutex> lock(d_->mu_);
      if (d_->held_by_ == mine_) d_->now_.models[model.uid] = model;
      return Status();
    }
    Status note_health(const ledger::LiveState& state) override {
      std::lock_guard<std::mutex> lock(d_->mu_);
      if (d_->held_by_ == mine_) d_->live_ = state;
      return Status();
    }
    Status sync() override {
      std::lock_guard<std::mutex> lock(d_->mu_);
      if (d_->held_by_ == mine_) d_->synced_ = d_->now_;
      return Status();
    }

   private:
    static ledger::Upload none(const base::Uid& run, std::uint64_t seq) {
      ledger::Upload upload;
      upload.run = run;
      upload.seq = seq;
      return upload;
    }
    template <typename Change>
    Status change(Change&& what) {
      std::lock_guard<std::mutex> lock(d_->mu_);
      if (d_->held_by_ == mine_) what(d_->now_);
      return Status();
    }
    Disk* d_;
    std::uint64_t mine_;
    ledger::Destination destination_;
  };

  mutable std::mutex mu_;
  State now_, synced_;
  ledger::LiveState live_;
  std::uint64_t held_by_ = 0, openings_ = 0;
};

}  // namespace mlops::sync::fake
