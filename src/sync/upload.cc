// Uploads: what there is to do, of what the buffer and the ledger say; its beginning and end.
#include "sync/upload.h"

#include <algorithm>
#include <utility>

#include "base/base.h"
#include "model/dataset.h"

namespace mlops::sync {
namespace {

constexpr int kPlaceEvery = 256;  // files finished between two frames that hold a run's place
constexpr int kFirstConnections = 4;

}  // namespace

Uploads::Uploads(Shared* shared, UploadParts parts)
    : shared_(shared), parts_(std::move(parts)), concurrency_(parts_.max_connections, kFirstConnections) {}

Uploads::~Uploads() { stop(); }

void Uploads::take_over(ledger::Ledger* ledger) {
  Lock lock(mu_);
  ledger_ = ledger;
  runs_.clear();
  order_.clear();
  looked_.clear();
  gates_.clear();
  resumed_.clear();
  counts_ = UploadCounts();
  for (const ledger::ArtifactPlace& place : ledger->artifact_places()) {
    counts_.files += place.files;
    counts_.bytes += place.bytes;
    counts_.dead += place.dead;
  }
  for (ledger::Upload& upload : ledger->uploads()) resumed_[{upload.run, upload.seq}] = std::move(upload);
}

void Uploads::stand_by(const ledger::Ledger::Snapshot& snapshot) {
  Lock lock(mu_);
  if (ledger_ != nullptr) return;
  standby_ = snapshot.artifacts;
  standby_letters_.clear();
  for (const ledger::DeadLetter& letter : snapshot.dead) {
    if (letter.artifact) standby_letters_[letter.run][letter.seq] = letter;
  }
  counts_.files = counts_.bytes = counts_.dead = 0;
  for (const auto& [run, place] : standby_) {
    counts_.files += place.files;
    counts_.bytes += place.bytes;
    counts_.dead += place.dead;
  }
  for (const auto& [run, files] : runs_) looked_.erase(run);  // what waits is compared again
}

void Uploads::see(const std::vector<model::RunRow>& rows) {
  Lock lock(mu_);
  for (const model::RunRow& row : rows) {
    if (stopping_) return;
    const auto seen = looked_.find(row.uid);
    const auto files = runs_.find(row.uid);
    if (seen != looked_.end() && seen->second == row.next_seq &&
        (files == runs_.end() || files->second->unready == 0)) {
      continue;
    }
    look(lock, row.uid, row.next_seq);
  }
  start_worker();
  work_cv_.notify_all();
}

/// `next_seq` was read before: every record below it is seen.
void Uploads::look(Lock& lock, const base::Uid& run, std::uint64_t next_seq) {
  if (run == model::kRegistry) {
    looked_[run] = next_seq;
    return;
  }
  lock.unlock();
  const Result<std::vector<buffer::ArtifactRow>> rows = shared_->reader->artifacts(run);
  lock.lock();
  if (stopping_) return;
  if (!rows.ok()) {
    local_error_ = rows.status();
    return;
  }
  std::uint64_t& seen = looked_[run];
  seen = std::max(seen, next_seq);
  if (!rows->empty() || runs_.count(run) != 0) merge(run, *rows, next_seq);
}

/// As the ledger has it. A place in another buffer or generation says nothing: everything is sent again.
Status Uploads::place_of(const base::Uid& run, ledger::ArtifactPlace* place) {
  const buffer::Identity identity = shared_->reader->identity();
  if (ledger_ == nullptr) {
    const auto it = standby_.find(run);
    if (it != standby_.end()) *place = it->second;
  } else {
    *place = ledger_->artifacts(run);
  }
  if (place->buffer_uid == identity.uid && place->buffer_generation == identity.generation) return Status();
  if (!place->buffer_uid.zero()) {
    counts_.files -= std::min(counts_.files, place->files);
    counts_.bytes -= std::min(counts_.bytes, place->bytes);
    counts_.dead -= std::min(counts_.dead, place->dead);
    place->cursor = 1;
    place->beyond.clear();
    place->files = place->bytes = place->dead = 0;
    for (auto it = resumed_.lower_bound({run, 0}); it != resumed_.end() && it->first.first == run;) {
      if (ledger_ != nullptr) {
        if (Status s = ledger_->forget_upload(run, it->first.second); !s.ok()) return s;
      }
      it = resumed_.erase(it);
    }
  }
  place->run = run;
  place->buffer_uid = identity.uid;
  place->buffer_generation = identity.generation;
  return ledger_ == nullptr ? Status() : ledger_->put(*place);
}

std::map<std::uint64_t, ledger::DeadLetter> Uploads::letters_of(const base::Uid& run) const {
  std::map<std::uint64_t, ledger::DeadLetter> letters;
  if (ledger_ == nullptr) {
    const auto it = standby_letters_.find(run);
    return it == standby_letters_.end() ? letters : it->second;
  }
  for (ledger::DeadLetter& letter : ledger_->dead(run)) {
    if (letter.artifact) letters[letter.seq] = std::move(letter);
  }
  return letters;
}

void Uploads::merge(const base::Uid& run, const std::vector<buffer::ArtifactRow>& rows, std::uint64_t next_seq) {
  ledger::ArtifactPlace place;
  if (Status s = place_of(run, &place); !s.ok()) {
    local_error_ = s;
    looked_.erase(run);
    return;
  }
  const auto letters = letters_of(run);
  std::unique_ptr<RunFiles>& files = runs_[run];
  if (!files) {
    files = std::make_unique<RunFiles>();
    files->run = run;
    files->root = place.root;
  }
  files->top = std::max(files->top, next_seq);
  for (auto it = files->items.begin(); it != files->items.end();) {  // of who stood by: done by another
    const std::uint64_t seq = it->first;
    ++it;
    const auto letter = letters.find(seq);
    const bool wanted = letter != letters.end() && letter->second.state == ledger::DeadLetter::State::retrying;
    if (place.done(seq) && !wanted && files->items.at(seq).working == 0) forget(files.get(), seq);
  }
  const std::uint64_t durable = shared_->durable_beat();
  std::set<std::string> paths;
  files->unready = 0;
  for (const buffer::ArtifactRow& row : rows) {
    if (model::is_part(row.op)) {  // of a dataset's record, which the lane brings
      const bool settle = ledger_ != nullptr && row.beat <= durable && !place.done(row.seq);
      if (settle) ledger_->finish({run, row.seq, 0, false}, nullptr).ignore();
      continue;
    }
    const std::string key = row.op.parent.hex() + "/" + row.op.key;
    const bool rewrites = !paths.insert(key).second;
    const bool named = row.beat <= durable && row.file.beat != 0 && row.file.beat <= durable;
    if (named && row.file.lost.empty()) files->newest[key] = row.seq;
    const auto letter = letters.find(row.seq);
    const bool retried = letter != letters.end() && letter->second.state == ledger::DeadLetter::State::retrying;
    if (place.done(row.seq) && !retried) {
      if (const auto left = resumed_.find({run, row.seq}); left != resumed_.end()) {  // given up meanwhile
        UploadItem gone(1, 1);
        gone.path = row.op.key;
        gone.model = row.op.parent;
        gone.upload = std::make_shared<ledger::Upload>(left->second);
        abort(*files, gone);
        if (ledger_ != nullptr) ledger_->forget_upload(run, row.seq).ignore();
        resumed_.erase(left);
      }
      continue;
    }
    if (!retried && letter != letters.end() && letter->second.dead()) {  // of an older state of the buffer
      if (ledger_ != nullptr && ledger_->finish({run, row.seq, 0, true}, nullptr).ok()) ++counts_.dead;
      continue;
    }
    auto it = files->items.find(row.seq);
    if (it == files->items.end()) {
      it = files->items.emplace(row.seq, UploadItem(shared_->backoff_first.count(), shared_->backoff_most.count()))
               .first;
      UploadItem& item = it->second;
      item.seq = row.seq;
      item.ticket = row.op.ticket;
      item.time_ms = row.op.time_ms;
      item.model = row.op.parent;
      item.path = row.op.key;
      item.rewrites = rewrites;
      item.retried = retried;
      ++counts_.waiting_files;
      leave(&item, static_cast<std::uint64_t>(std::max<std::int64_t>(0, row.op.number)));
    }
    if (!it->second.ready) {
      if (named || (row.beat <= durable && !row.file.lost.empty())) {
        make_ready(files.get(), &it->second, row);
      } else {
        ++files->unready;
      }
    }
  }
  if (!files->items.empty()) {
    order_.erase({files->age_ms, run});
    files->age_ms = files->items.begin()->second.time_ms;
    order_.insert({files->age_ms, run});
  }
  drop_if_done(run);
}

void Uploads::make_ready(RunFiles* files, UploadItem* item, const buffer::ArtifactRow& row) {
  item->ready = true;
  item->file = row.file;
  item->lost = row.file.lost;
  leave(item, item->file.size);
  const auto resumed = resumed_.find({files->run, item->seq});
  if (resumed != resumed_.end()) {
    item->upload = std::make_shared<ledger::Upload>(std::move(resumed->second));
    resumed_.erase(resumed);
    const ledger::Upload& upload = *item->upload;
    const bool urls =
        std::any_of(upload.parts.begin(), upload.parts.end(), [](const auto& p) { return !p.url.empty(); });
    bool fits = item->lost.empty() && upload.size == item->file.size && upload.part_size > 0 &&
                upload.parts.size() == (upload.size + upload.part_size - 1) / upload.part_size;
    item->missing = 0;
    for (const ledger::Upload::Part& part : upload.parts) {
      if (!part.etag.empty()) continue;
      ++item->missing;
      fits = fits && (!urls || !part.url.empty());
    }
    if (fits) {
      item->taken.assign(upload.parts.size(), false);
      item->doubtful = item->missing == 0;  // it may have been put together already
      item->part_offline = 0;
      files->open.insert(item->seq);
      files->busy.insert(item->key());
      leave(item, std::min(item->file.size, item->missing * upload.part_size));
      return;
    }
    begin_again(files, item, "what is known of it is not whole");
    return;
  }
  files->ready.insert(item->seq);
}

void Uploads::leave(UploadItem* item, std::uint64_t bytes) {
  counts_.waiting_bytes += bytes;
  counts_.waiting_bytes -= std::min(counts_.waiting_bytes, item->left);
  item->left = bytes;
}

/// The item is no more.
void Uploads::forget(RunFiles* files, std::uint64_t seq) {
  const auto it = files->items.find(seq);
  if (it == files->items.end()) return;
  leave(&it->second, 0);
  counts_.waiting_files -= std::min<std::uint64_t>(counts_.waiting_files, 1);
  if (files->open.erase(seq) != 0) files->busy.erase(it->second.key());
  files->ready.erase(seq);
  std::erase_if(files->later, [seq](const auto& waiting) { return waiting.second == seq; });
  std::erase_if(files->replaced, [seq](const auto& older) { return older.second == seq; });
  for (auto [older, end] = files->replaced.equal_range(seq); older != end; older = files->replaced.erase(older)) {
    files->ready.insert(older->second);  // it is looked at again
  }
  files->items.erase(it);
}

/// The run's place in one frame, once in a while and when nothing of it is left.
Status Uploads::settle_place(RunFiles* files, bool now) {
  if (ledger_ == nullptr || (!now && !files->items.empty() && files->finished < kPlaceEvery)) return Status();
  ledger::ArtifactPlace place = ledger_->artifacts(files->run);
  std::uint64_t cursor = files->top;
  for (const auto& [seq, item] : files->items) {
    if (item.retried) continue;
    cursor = std::min(cursor, seq);
    break;
  }
  if (cursor <= place.cursor && place.root == files->root) return Status();
  place.cursor = std::max(place.cursor, cursor);
  place.beyond.erase(place.beyond.begin(), place.beyond.lower_bound(place.cursor));
  place.root = files->root;
  files->finished = 0;
  return ledger_->put(place);
}

void Uploads::drop_if_done(const base::Uid& run) {
  const auto it = runs_.find(run);
  if (it == runs_.end() || !it->second->items.empty() || it->second->working != 0) return;
  if (Status s = settle_place(it->second.get(), true); !s.ok()) local_error_ = s;  // the next start sees it again
  order_.erase({it->second->age_ms, run});
  runs_.erase(it);
}

void Uploads::wake() {
  Lock lock(mu_);
  for (auto& [run, files] : runs_) {
    if (files->server_id.empty()) files->until = 0;
  }
  ++wakes_;
  start_worker();
  work_cv_.notify_all();
}

void Uploads::retry_now() {
  Lock lock(mu_);
  gates_.clear();
  for (auto& [run, files] : runs_) {
    files->until = 0;
    files->gone = false;
    for (const auto& [due, seq] : files->later) files->ready.insert(seq);
    files->later.clear();
  }
  start_worker();
  work_cv_.notify_all();
}

void Uploads::reload(const base::Uid& run) {
  Lock lock(mu_);
  looked_.erase(run);
  if (ledger_ == nullptr) return;
  counts_.files = counts_.bytes = counts_.dead = 0;
  for (const ledger::ArtifactPlace& place : ledger_->artifact_places()) {
    counts_.files += place.files;
    counts_.bytes += place.bytes;
    counts_.dead += place.dead;
  }
}

bool Uploads::any_before(const RunFiles& files, const base::Uid& model, std::uint64_t ticket) const {
  for (const auto& [seq, item] : files.items) {
    if (item.ticket > ticket) break;  // one order for both
    if (!item.retried && (model.zero() || item.model == model)) return true;
  }
  return false;
}

bool Uploads::delivered(const base::Uid& run, const base::Uid& model, std::uint64_t ticket) {
  const Result<model::RunRow> row = shared_->reader->run(run);
  if (!row.ok()) return row.status().code() == StatusCode::not_found;
  Lock lock(mu_);
  const auto seen = looked_.find(run);
  const auto known = runs_.find(run);
  if (seen == looked_.end() || seen->second < row->next_seq || (known != runs_.end() && known->second->unready != 0)) {
    look(lock, run, row->next_seq);
    start_worker();
    work_cv_.notify_all();
    const auto now = looked_.find(run);
    if (now == looked_.end() || now->second < row->next_seq) return false;
  }
  const auto it = runs_.find(run);
  if (it == runs_.end() || it->second->gone || !any_before(*it->second, model, ticket)) return true;
  const std::pair<base::Uid, std::uint64_t> ask{model, ticket};
  auto& asked = it->second->asked;
  if (std::find(asked.begin(), asked.end(), ask) == asked.end()) asked.push_back(ask);
  return false;
}

bool Uploads::delivered_below(const base::Uid& run, std::uint64_t seq) const {
  Lock lock(mu_);
  const auto it = runs_.find(run);
  return it == runs_.end() || it->second->items.empty() || it->second->items.begin()->first >= seq;
}

bool Uploads::waiting(const base::Uid& run) const {
  Lock lock(mu_);
  const auto it = runs_.find(run);
  return it != runs_.end() && !it->second->items.empty();
}

UploadCounts Uploads::counts() const {
  Lock lock(mu_);
  UploadCounts out = counts_;
  out.error = local_error_;
  for (const auto& [name, gate] : gates_) {
    if (gate.state == LaneState::idle) continue;
    out.state = gate.state;
    if (!gate.error.ok()) out.error = gate.error;
  }
  if (working_ > 0 && out.state == LaneState::idle) out.state = LaneState::sending;
  if (out.state == LaneState::idle && out.waiting_files > 0) out.state = LaneState::waiting;
  if (!order_.empty()) out.oldest_ms = order_.begin()->first;
  return out;
}

void Uploads::ask_stop() {
  const Lock lock(mu_);
  stopping_ = true;
  work_cv_.notify_all();
}

void Uploads::let_go() {
  Lock lock(mu_);
  leaving_ = true;
  while (working_ > 0 && !stopping_) {
    for (const auto& worker : workers_) {
      if (worker->busy && worker->store) worker->store->cancel();
      if (worker->busy && worker->remote) worker->remote->cancel();
    }
    left_cv_.wait_for(lock, Millis(100));
  }
  ledger_ = nullptr;
  leaving_ = false;
  runs_.clear();
  order_.clear();
  looked_.clear();
  resumed_.clear();
  aborts_.clear();
  counts_.waiting_files = counts_.waiting_bytes = 0;
}

void Uploads::cancel() {
  Lock lock(mu_);
  for (const auto& worker : workers_) {
    if (worker->store) worker->store->cancel();
    if (worker->remote) worker->remote->cancel();
  }
}

void Uploads::stop() {
  Lock lock(mu_);
  stopping_ = true;
  work_cv_.notify_all();
  std::vector<std::unique_ptr<Worker>> workers;
  workers.swap(workers_);
  lock.unlock();
  for (const auto& worker : workers) worker->thread.join();
  lock.lock();
  ledger_ = nullptr;
}

}  // namespace mlops::sync
