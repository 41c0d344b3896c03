// Uploads: a request to a store, or to the tracking server for a run's place.
#include <algorithm>
#include <utility>

#include "base/base.h"
#include "base/hex.h"
#include "sync/call.h"
#include "sync/upload.h"

namespace mlops::sync {

using store::Verdict;

namespace {

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
      if (entry.is_dir) {
        job->folders.insert(entry.path);
      } else {
        job->sizes[entry.path] = entry.size;
      }
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

}  // namespace mlops::sync
