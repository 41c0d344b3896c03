// Uploads: what an answer means for the file, for its store, and in the ledger.
#include <algorithm>
#include <utility>

#include "base/base.h"
#include "sync/upload.h"

namespace mlops::sync {

using store::Verdict;

namespace {

constexpr std::int64_t kPlaceMs = 500;    // before somebody is asked again for a place that is not known yet
constexpr std::int64_t kSlowMs = 30'000;  // a person must act: slowly, but good credentials are noticed soon
constexpr int kDoubtfulMost = 3;          // answers of unknown fate in a row before a store is doubted
constexpr int kPartOffline = 5;           // tries at parts that nobody takes before it goes in one request
constexpr int kAborts = 5;                // tries at telling a store that parts are not needed

std::string folder_key(const UploadItem& item) {
  const auto slash = item.path.rfind('/');
  return item.model.hex() + "/" + (slash == std::string::npos ? std::string() : item.path.substr(0, slash));
}

}  // namespace

void Uploads::untried(const std::string& name) {
  if (const auto gate = gates_.find(name); gate != gates_.end()) gate->second.tried = false;
}

void Uploads::close_gate(const std::string& name, LaneState state, const store::Answer& answer) {
  Gate& gate = gate_of(name);
  std::int64_t pause = gate.backoff.next(answer.retry_after_ms);
  if (state == LaneState::auth_blocked)
    pause = std::min(std::max<std::int64_t>(pause, shared_->backoff_first.count()), kSlowMs);
  gate.state = state;
  gate.until = base::steady_ms() + pause;
  gate.tried = false;
  gate.error = answer.status;
  if (!answer.status.ok()) base::log(base::LogLevel::warn, "artifacts: " + answer.status.to_string());
  concurrency_.trouble(base::steady_ms(), state == LaneState::waiting);
  shared_->retries.fetch_add(1, std::memory_order_relaxed);
}

void Uploads::open_gate(const std::string& name) {
  const auto it = gates_.find(name);
  if (it == gates_.end()) return;
  if (it->second.state != LaneState::idle) work_cv_.notify_all();
  gates_.erase(it);
}

/// The store is told that these parts are not needed: a few times, while this process lives; else its lifecycle rules
/// remove them.
void Uploads::abort(const RunFiles& files, const UploadItem& item) {
  if (!item.upload || files.root.empty() || !item.model.zero()) return;
  Job job;
  job.kind = Job::Kind::abort;
  job.run = files.run;
  job.root = files.root;
  job.gate = gate_name(files.root);
  job.server_id = files.server_id;
  job.path = item.path;
  job.upload = item.upload;
  aborts_.push_back(std::move(job));
}

void Uploads::settle_abort(Job* job) {
  const bool again = job->answer.verdict == Verdict::offline || job->answer.verdict == Verdict::throttled ||
                     job->answer.verdict == Verdict::auth || job->answer.verdict == Verdict::ambiguous;
  if (!again || ++job->tries >= kAborts || stopping_ || leaving_) return;
  Job next = *job;
  const std::int64_t pause =
      std::min<std::int64_t>(shared_->backoff_first.count() << next.tries, shared_->backoff_most.count());
  next.due = base::steady_ms() + std::max(pause, next.answer.retry_after_ms);
  next.answer = store::Answer();
  aborts_.push_back(std::move(next));
}

void Uploads::begin_again(RunFiles* files, UploadItem* item, const std::string& why) {
  base::log(base::LogLevel::warn,
            "artifact " + item->path + " of run " + files->run.hex() + ": its upload in parts begins again: " + why);
  abort(*files, *item);
  if (ledger_ != nullptr) {
    if (Status s = ledger_->forget_upload(files->run, item->seq); !s.ok()) local_error_ = s;
  }
  item->upload.reset();
  item->taken.clear();
  item->missing = 0;
  item->finishing = item->doubtful = false;
  leave(item, item->file.size);
  if (files->open.erase(item->seq) != 0) files->busy.erase(item->key());
  files->ready.insert(item->seq);
}

/// Its turn comes again after a while; of an open upload in parts: that of all its parts.
void Uploads::again(RunFiles* files, UploadItem* item, std::int64_t delay_ms) {
  const std::int64_t due = base::steady_ms() + delay_ms;
  if (files->open.count(item->seq) != 0) {
    files->until = std::max(files->until, due);
    return;
  }
  files->later.emplace(due, item->seq);
}

void Uploads::finish(RunFiles* files, std::uint64_t seq, std::vector<base::Uid>* told) {
  UploadItem& item = files->items.at(seq);
  const ledger::Finished finished{files->run, seq, item.file.size, false};
  MLOPS_POINT("upload.before_record");
  Status status;
  if (item.retried) {
    ledger::DeadLetter letter = letters_of(files->run)[seq];
    letter.run = files->run;
    letter.seq = seq;
    letter.artifact = true;
    letter.state = ledger::DeadLetter::State::delivered;
    status = ledger_->finish(finished, &letter);
  } else {
    status = ledger_->finish(finished, nullptr);
  }
  MLOPS_POINT("upload.recorded");
  if (status.ok()) {
    ++counts_.files;
    counts_.bytes += item.file.size;
  }
  written(files, seq, status, told);
}

void Uploads::bury(RunFiles* files, std::uint64_t seq, const std::string& reason, std::vector<base::Uid>* told) {
  UploadItem& item = files->items.at(seq);
  ledger::DeadLetter letter;
  letter.run = files->run;
  letter.seq = seq;
  letter.what = "artifact " + item.path;
  letter.reason = reason;
  letter.time_ms = base::now_ms();
  letter.artifact = true;
  base::log(base::LogLevel::error, "run " + files->run.hex() + ": given up: " + letter.what + ": " + reason);
  abort(*files, item);
  Status status = ledger_->finish({files->run, seq, 0, true}, &letter);
  if (status.ok()) {
    ++counts_.dead;
    const auto newest = files->newest.find(item.key());
    if (newest != files->newest.end() && newest->second == seq) files->newest.erase(newest);
  }
  written(files, seq, status, told);
}

void Uploads::written(RunFiles* files, std::uint64_t seq, const Status& status, std::vector<base::Uid>* told) {
  if (!status.ok()) {  // our own disk: the file stays to be sent
    local_error_ = status;
    UploadItem& item = files->items.at(seq);
    item.finishing = false;
    files->ready.erase(seq);
    again(files, &item, std::max<std::int64_t>(1, shared_->backoff_first.count()));
    return;
  }
  local_error_ = Status();
  ++files->finished;
  forget(files, seq);
  if (Status s = settle_place(files, false); !s.ok()) local_error_ = s;
  const auto answered = [&](const auto& ask) { return !any_before(*files, ask.first, ask.second); };
  // Who waits for this run's files, or until there is nothing left to do.
  if (std::erase_if(files->asked, answered) != 0 || files->items.empty()) told->push_back(files->run);
}

void Uploads::settle_resolve(RunFiles* files, Job* job) {
  files->resolving = false;
  if (job->waits) {
    untried(job->gate);
    if (job->wakes == wakes_) files->until = base::steady_ms() + kPlaceMs;  // else it has got one meanwhile
    return;
  }
  switch (job->answer.verdict) {
    case Verdict::ok:
      open_gate(job->gate);
      files->server_id = job->server_id;
      files->root = job->root;
      if (Status s = settle_place(files, true); !s.ok()) local_error_ = s;
      return;
    case Verdict::not_found:
      open_gate(job->gate);
      files->gone = true;
      local_error_ = job->answer.status;
      return;
    case Verdict::throttled:
      return close_gate(job->gate, LaneState::waiting, job->answer);
    case Verdict::auth:
      if (job->answer.http_status == 403) {  // perhaps this run's alone; what else is wrong, the lanes find out
        untried(job->gate);
        files->until = base::steady_ms() + kSlowMs;
        local_error_ = job->answer.status;
        return;
      }
      return close_gate(job->gate, LaneState::auth_blocked, job->answer);
    default:
      return close_gate(job->gate, LaneState::offline, job->answer);
  }
}

void Uploads::settle_proof(RunFiles* files, Job* job, std::vector<base::Uid>* told) {
  open_gate(job->gate);
  for (const auto& [seq, path] : job->proving) {
    const auto it = files->items.find(seq);
    if (it == files->items.end()) continue;
    const auto size = job->sizes.find(path);
    files->busy.erase(it->second.key());
    if (size != job->sizes.end() && size->second == it->second.file.size) {
      finish(files, seq, told);
      continue;
    }
    if (job->folders.count(path) != 0) {  // an old server puts the file into it
      bury(files, seq, path + ": on the server that is a folder: no file can have its name. Log it under another path",
           told);
      continue;
    }
    base::log(base::LogLevel::warn,
              "artifact " + path + ": the server answered well, but does not have it whole; it is sent again");
    shared_->retries.fetch_add(1, std::memory_order_relaxed);
    again(files, &it->second, it->second.backoff.next());
  }
}

void Uploads::settle_good(RunFiles* files, UploadItem* item, Job* job, std::vector<base::Uid>* told) {
  open_gate(job->gate);
  counts_.bytes_sent += job->kind == Job::Kind::part    ? part_bytes(*job->upload, job->part)
                        : job->kind == Job::Kind::whole ? job->file.size
                                                        : 0;
  item->backoff.reset();
  if (job->kind == Job::Kind::part) {
    if (item->upload != job->upload) return;  // it began again meanwhile
    ledger::Upload::Part& part = item->upload->parts[job->part];
    part.etag = job->etag;
    const Status status = ledger_->put_part(*item->upload, job->part);
    MLOPS_POINT("upload.part_recorded");
    if (!status.ok()) {
      local_error_ = status;
      part.etag.clear();
      return again(files, item, std::max<std::int64_t>(1, shared_->backoff_first.count()));
    }
    --item->missing;
    item->part_offline = 0;
    leave(item, item->left - std::min(item->left, part_bytes(*item->upload, job->part)));
    work_cv_.notify_all();
    return;
  }
  if (job->begun) {
    const Status status = ledger_->begin(*job->begun);
    MLOPS_POINT("upload.begun_recorded");
    if (!status.ok()) {
      local_error_ = status;
      files->busy.erase(job->key);
      return again(files, item, std::max<std::int64_t>(1, shared_->backoff_first.count()));
    }
    item->upload = job->begun;
    item->missing = item->upload->parts.size();
    item->taken.assign(item->missing, false);
    files->open.insert(item->seq);
    work_cv_.notify_all();
    return;
  }
  if (job->kind == Job::Kind::whole && job->proves && !job->is_done) {
    files->unproved[folder_key(*item)].push_back(item->seq);
    return;
  }
  files->busy.erase(job->key);
  finish(files, job->seq, told);
}

void Uploads::settle(Job* job, Worker* worker, std::vector<base::Uid>* told) {
  if (job->no_parts && no_parts_.insert(job->gate).second) {
    base::log(base::LogLevel::info, "artifacts: " + job->gate + " takes no uploads in parts");
  }
  if (job->answer.verdict == Verdict::auth) {  // the next one reads its credentials again
    worker->store.reset();
    worker->remote.reset();
  }
  if (job->kind == Job::Kind::abort) return settle_abort(job);
  RunFiles* const files = runs_.at(job->run).get();
  --files->working;
  if (job->kind == Job::Kind::resolve) return settle_resolve(files, job);
  if (job->kind == Job::Kind::prove) {
    if (job->answer.ok()) return settle_proof(files, job, told);
    for (const auto& [seq, path] : job->proving) {
      const auto it = files->items.find(seq);
      if (it != files->items.end()) files->unproved[folder_key(it->second)].push_back(seq);
    }
    return settle_trouble(files, nullptr, job, told);
  }
  const auto it = files->items.find(job->seq);
  if (it == files->items.end()) return;
  UploadItem* const item = &it->second;
  --item->working;
  if (job->kind == Job::Kind::part && item->upload == job->upload) item->taken[job->part] = false;
  if (job->kind == Job::Kind::finish) item->finishing = false;
  if (job->local.ok() && !job->waits && job->answer.ok()) return settle_good(files, item, job, told);
  if (job->kind == Job::Kind::whole) files->busy.erase(job->key);
  settle_trouble(files, item, job, told);
}

/// `item` is null when the request was about a whole folder.
void Uploads::settle_trouble(RunFiles* files, UploadItem* item, Job* job, std::vector<base::Uid>* told) {
  const std::int64_t now = base::steady_ms();
  const bool old_part = item != nullptr && job->kind == Job::Kind::part && item->upload != job->upload;
  if (old_part) return untried(job->gate);
  if (!job->local.ok()) {
    untried(job->gate);
    const StatusCode code = job->local.code();
    if (code == StatusCode::not_found || code == StatusCode::data_loss) {  // there is nothing to send any more
      return bury(files, job->seq, std::string(job->local.message()), told);
    }
    local_error_ = job->local;
    return again(files, item, std::max<std::int64_t>(1, shared_->backoff_first.count()));
  }
  if (job->waits) {
    untried(job->gate);
    if (item != nullptr) return again(files, item, kPlaceMs);
    files->until = now + kPlaceMs;
    return;
  }
  // Trouble of the whole store: the file's turn is not used up.
  const auto back = [&] {
    if (item != nullptr && files->open.count(item->seq) == 0) files->ready.insert(item->seq);
  };
  switch (job->answer.verdict) {
    case Verdict::offline:
      if (item != nullptr && job->kind == Job::Kind::part && !job->upload->parts[job->part].url.empty()) {
        // The address of a part, which perhaps only the server can reach.
        untried(job->gate);
        if (++item->part_offline >= kPartOffline) {
          item->whole = true;
          return begin_again(files, item,
                             "nobody answers at the address of its parts, so it goes in one request: " +
                                 std::string(job->answer.status.message()));
        }
        return again(files, item, item->backoff.next());
      }
      back();
      return close_gate(job->gate, LaneState::offline, job->answer);
    case Verdict::throttled:
      back();
      return close_gate(job->gate, LaneState::waiting, job->answer);
    case Verdict::auth:
      back();
      return close_gate(job->gate, LaneState::auth_blocked, job->answer);
    case Verdict::expired:
      untried(job->gate);
      if (item != nullptr && item->upload) {
        return begin_again(files, item, std::string(job->answer.status.message()));
      }
      [[fallthrough]];
    case Verdict::ambiguous: {
      shared_->retries.fetch_add(1, std::memory_order_relaxed);
      concurrency_.trouble(now, false);
      if (item != nullptr && job->kind != Job::Kind::part) item->doubtful = true;
      local_error_ = job->answer.status;
      Gate& gate = gate_of(job->gate);
      const bool closed = gate.state != LaneState::idle;
      gate.tried = false;
      if (item != nullptr) {
        again(files, item, item->backoff.next(job->answer.retry_after_ms));
      } else {
        files->until = now + std::max<std::int64_t>(1, shared_->backoff_first.count());
      }
      // A 500 is the store's word on this file. Silence concerns them all.
      if (job->answer.http_status != 500 && (++gate.doubtful >= kDoubtfulMost || closed)) {
        close_gate(job->gate, LaneState::offline, job->answer);
      }
      return;
    }
    case Verdict::unsupported:
      untried(job->gate);
      if (item != nullptr && (job->kind == Job::Kind::part || job->kind == Job::Kind::finish)) {
        no_parts_.insert(job->gate);
        return begin_again(files, item, std::string(job->answer.status.message()));
      }
      [[fallthrough]];
    case Verdict::rejected:
    case Verdict::not_found:
      untried(job->gate);
      if (item == nullptr) {  // the folder cannot be listed: what was answered well is taken for delivered
        for (const auto& [seq, path] : job->proving) {
          const auto it = files->items.find(seq);
          if (it == files->items.end()) continue;
          for (auto& [folder, seqs] : files->unproved) std::erase(seqs, seq);
          files->busy.erase(it->second.key());
          finish(files, seq, told);
        }
        std::erase_if(files->unproved, [](const auto& folder) { return folder.second.empty(); });
        return;
      }
      return bury(files, job->seq, std::string(job->answer.status.message()), told);
    case Verdict::ok:
      return;
  }
}

}  // namespace mlops::sync
