// Uploads: a request, and what its answer means for the file.
#include <algorithm>
#include <utility>

#include "base/base.h"
#include "base/hex.h"
#include "sync/call.h"
#include "sync/upload.h"

namespace mlops::sync {

using store::Verdict;

namespace {

constexpr std::int64_t kPlaceMs = 500;           // before somebody is asked again for a place that is not known yet
constexpr std::int64_t kSlowMs = 30'000;         // a person must act: slowly, but good credentials are noticed soon
constexpr int kDoubtfulMost = 3;                 // answers of unknown fate in a row before a store is doubted
constexpr int kPartOffline = 5;                  // tries at parts that nobody takes before it goes in one request
constexpr std::uint64_t kProveAlone = 8u << 20;  // larger files are proved at once, not with their folder

store::Answer answer_of(Verdict verdict, Status status) {
  store::Answer answer;
  answer.verdict = verdict;
  answer.status = std::move(status);
  return answer;
}

/// A tracking server's answer, in the words of stores.
store::Answer answer_of(const mlflow::Answer& from) {
  store::Answer answer;
  answer.status = from.status;
  answer.retry_after_ms = from.retry_after_ms;
  answer.http_status = from.http_status;
  switch (from.verdict) {
    case mlflow::Verdict::ok:
      break;
    case mlflow::Verdict::offline:
      answer.verdict = Verdict::offline;
      break;
    case mlflow::Verdict::throttled:
      answer.verdict = Verdict::throttled;
      break;
    case mlflow::Verdict::auth:
    case mlflow::Verdict::misconfigured:
    case mlflow::Verdict::unsupported:
      answer.verdict = Verdict::auth;
      break;
    case mlflow::Verdict::run_gone:
      answer.verdict = Verdict::not_found;
      break;
    default:
      answer.verdict = Verdict::ambiguous;
  }
  return answer;
}

std::uint64_t part_bytes(const ledger::Upload& upload, std::size_t index) {
  const std::uint64_t offset = index * upload.part_size;
  return offset >= upload.size ? 0 : std::min(upload.part_size, upload.size - offset);
}

/// As the store takes it: all parts, or one of them with its URL.
store::Upload store_upload(const ledger::Upload& from, std::size_t only) {
  store::Upload upload;
  upload.id = from.id;
  upload.part_size = from.part_size;
  for (std::size_t i = 0; i < from.parts.size(); ++i) {
    if (only != SIZE_MAX && i != only) continue;
    const auto number = static_cast<std::uint32_t>(i + 1);
    const ledger::Upload::Part& part = from.parts[i];
    upload.parts.push_back({number, i * from.part_size, part_bytes(from, i), only == SIZE_MAX ? part.etag : ""});
    if (only != SIZE_MAX && !part.url.empty()) upload.urls.push_back({number, part.url, part.headers});
  }
  return upload;
}

std::string folder_key(const UploadItem& item) {
  const auto slash = item.path.rfind('/');
  return item.model.hex() + "/" + (slash == std::string::npos ? std::string() : item.path.substr(0, slash));
}

}  // namespace

void Uploads::perform_resolve(Worker* worker, Job* job) {
  job->server_id = parts_.server_id(job->run);
  if (job->server_id.empty()) {
    job->waits = true;
    return;
  }
  if (!job->root.empty()) return;
  if (!worker->remote) {
    Result<std::unique_ptr<Remote>> made = parts_.make_remote();
    if (!made.ok()) {
      job->answer = answer_of(Verdict::auth, made.status());
      return;
    }
    const Lock lock(mu_);
    worker->remote = std::move(*made);
  }
  mlflow::RemoteRun run;
  const mlflow::Answer answer = call_server(shared_, 0, [&] { return worker->remote->get_run(job->server_id, &run); });
  job->answer = answer_of(answer);
  job->root = run.artifact_uri;
  if (job->answer.ok() && job->root.empty()) {
    job->answer = answer_of(
        Verdict::auth, Status(StatusCode::failed_precondition, "the server does not say where the artifacts of run " +
                                                                   job->server_id + " go (artifact_uri)"));
  }
}

/// One connection per worker: to the place of its last file, mostly that of the next one too.
Result<store::Store*> Uploads::store_for(Worker* worker, const Job& job) {
  const std::string wanted = job.root + " " + job.server_id;
  if (worker->store && worker->store_of == wanted) return worker->store.get();
  store::Place place;
  place.artifact_uri = job.root;
  place.tracking_uri = parts_.tracking_uri;
  if (job.model.zero()) place.run_id = job.server_id;
  place.credentials = parts_.credentials;
  const mlflow::Server server = shared_->server();
  place.abilities.major = server.major;
  place.abilities.minor = server.minor;
  if (!job.may_part) place.abilities.multipart_upload = false;
  Result<std::unique_ptr<store::Store>> made = parts_.make_store(place);
  if (!made.ok()) return made.status();
  const Lock lock(mu_);
  worker->store = std::move(*made);
  worker->store_of = wanted;
  return worker->store.get();
}

void Uploads::perform(Worker* worker, Job* job) {
  if (job->kind == Job::Kind::resolve) return perform_resolve(worker, job);
  const Pass pass(parts_.turnstile.get(), shared_->may_send);
  if (!pass.given()) {
    job->answer = answer_of(Verdict::offline, Status(StatusCode::unavailable, "delivery is stopping"));
    return;
  }
  if (!job->model.zero()) {
    Result<std::string> root(Status(StatusCode::unavailable, "nobody makes logged models here"));
    if (shared_->model_root) root = shared_->model_root(job->run, job->model);
    if (!root.ok()) {
      const StatusCode code = root.status().code();
      job->waits = code == StatusCode::unavailable || code == StatusCode::not_found;
      job->answer = answer_of(Verdict::rejected, root.status());
      return;
    }
    job->root = *root;
  }
  Result<store::Store*> store = store_for(worker, *job);
  if (!store.ok()) {
    const bool somebody = store.status().code() == StatusCode::failed_precondition;
    job->answer = answer_of(somebody ? Verdict::auth : Verdict::rejected, store.status());
    return;
  }
  shared_->requests.fetch_add(1, std::memory_order_relaxed);
  job->answer = perform_on(*store, job);
}

store::Answer Uploads::perform_on(store::Store* store, Job* job) {
  const auto right_size = [&](store::Answer* answer) {
    std::uint64_t size = 0;
    *answer = store->stat(job->path, &size);
    return answer->ok() && size == job->file.size;
  };
  store::Answer answer;
  if (job->kind == Job::Kind::abort) return store->abort(job->path, store_upload(*job->upload, SIZE_MAX));
  if (job->kind == Job::Kind::prove) {
    std::vector<store::Entry> entries;
    answer = store->list(job->folder, &entries);
    for (const store::Entry& entry : entries) {
      if (!entry.is_dir) job->sizes[entry.path] = entry.size;
    }
    return answer;
  }
  if (job->doubtful && !job->rewrites) {
    job->is_done = right_size(&answer);
    if (answer.ok() && job->is_done) return answer;
    if (!answer.ok() && answer.verdict != Verdict::not_found && answer.verdict != Verdict::unsupported) return answer;
  }
  if (job->kind == Job::Kind::finish) {
    MLOPS_POINT("upload.before_finish");
    answer = store->finish(job->path, store_upload(*job->upload, SIZE_MAX));
    MLOPS_POINT("upload.after_finish");
    if (answer.verdict != Verdict::expired || job->rewrites) return answer;
    store::Answer proof;  // said twice, the first one may have done it
    job->is_done = right_size(&proof);
    return job->is_done ? proof : answer;
  }
  const Result<base::Fd> fd = parts_.open_file(job->file);
  if (!fd.ok()) {
    job->local = fd.status();
    return answer;
  }
  store::Body body;
  body.fd = fd->get();
  if (job->kind == Job::Kind::part) {
    body.offset = job->part * job->upload->part_size;
    body.size = part_bytes(*job->upload, job->part);
    const store::Upload upload = store_upload(*job->upload, job->part);
    store::Part part = upload.parts.front();
    MLOPS_POINT("upload.before_part");
    answer = store->put_part(job->path, upload, &part, body, {});
    MLOPS_POINT("upload.after_part");
    job->etag = part.etag;
    return answer;
  }
  if (job->may_part && store->can_multipart(job->file.size)) {
    store::Upload upload;
    answer = store->begin(job->path, job->file.size, &upload);
    MLOPS_POINT("upload.begun");
    if (answer.ok()) {
      job->begun = std::make_shared<ledger::Upload>();
      job->begun->run = job->run;
      job->begun->seq = job->seq;
      job->begun->id = upload.id;
      job->begun->part_size = upload.part_size;
      job->begun->size = job->file.size;
      job->begun->parts.resize(upload.parts.size());
      for (store::PartUrl& url : upload.urls) {
        if (url.number == 0 || url.number > job->begun->parts.size()) continue;
        job->begun->parts[url.number - 1].url = std::move(url.url);
        job->begun->parts[url.number - 1].headers = std::move(url.headers);
      }
      return answer;
    }
    if (answer.verdict != Verdict::unsupported) return answer;
    job->no_parts = true;  // the whole, then
  }
  body.size = job->file.size;
  if (job->file.sha256.size() == 32) {
    body.sha256 = base::to_hex(reinterpret_cast<const unsigned char*>(job->file.sha256.data()), 32);
  }
  MLOPS_POINT("upload.before_put");
  answer = store->put(job->path, body, {});
  MLOPS_POINT("upload.after_put");
  if (!answer.ok() || !job->proves || job->file.size < kProveAlone) return answer;
  job->is_done = right_size(&answer);
  if (!answer.ok() || job->is_done) return answer;
  return answer_of(Verdict::ambiguous, Status(StatusCode::data_loss, "the server has another size of " + job->path +
                                                                         " than was sent; it is sent again"));
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

/// Best effort: the store is told that these parts are not needed.
void Uploads::abort(const RunFiles& files, const UploadItem& item) {
  if (!item.upload || files.root.empty() || !item.model.zero()) return;
  Job job;
  job.kind = Job::Kind::abort;
  job.run = files.run;
  job.root = files.root;
  job.server_id = files.server_id;
  job.path = item.path;
  job.upload = item.upload;
  aborts_.push_back(std::move(job));
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
  std::erase_if(files->asked, [&](const auto& ask) {
    if (any_before(*files, ask.first, ask.second)) return false;
    told->push_back(files->run);
    return true;
  });
}

void Uploads::settle_resolve(RunFiles* files, Job* job) {
  files->resolving = false;
  if (job->waits) {
    if (const auto gate = gates_.find(job->gate); gate != gates_.end()) gate->second.tried = false;
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
  if (job->kind == Job::Kind::abort) return;
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
  const bool old_part = job->kind == Job::Kind::part && item->upload != job->upload;
  const auto untried = [&] {
    if (const auto gate = gates_.find(job->gate); gate != gates_.end()) gate->second.tried = false;
  };
  if (old_part) return untried();
  if (!job->local.ok()) {
    untried();
    const StatusCode code = job->local.code();
    if (code == StatusCode::not_found || code == StatusCode::data_loss) {  // there is nothing to send any more
      return bury(files, job->seq, std::string(job->local.message()), told);
    }
    local_error_ = job->local;
    return again(files, item, std::max<std::int64_t>(1, shared_->backoff_first.count()));
  }
  if (job->waits) {
    untried();
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
      if (job->kind == Job::Kind::part && !job->upload->parts[job->part].url.empty()) {
        // The address of a part, which perhaps only the server can reach.
        untried();
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
      untried();
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
      untried();
      if (job->kind == Job::Kind::part || job->kind == Job::Kind::finish) {
        no_parts_.insert(job->gate);
        return begin_again(files, item, std::string(job->answer.status.message()));
      }
      [[fallthrough]];
    case Verdict::rejected:
    case Verdict::not_found:
      untried();
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
