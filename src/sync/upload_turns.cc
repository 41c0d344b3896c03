// Uploads: whose turn it is, and the threads that ask.
#include <algorithm>
#include <utility>

#include "base/base.h"
#include "sync/upload.h"

namespace mlops::sync {
namespace {

constexpr std::int64_t kIdleMs = 5'000;    // a thread with nothing to do is let go after this long
constexpr std::size_t kProveAtOnce = 500;  // files of a folder whose sizes are read with one list

}  // namespace

/// Whose trouble is one: a bucket, the tracking server, the local disk.
std::string Uploads::gate_name(const std::string& root) {
  const auto colon = root.find(':');
  if (colon == std::string::npos) return "file";
  if (root.compare(colon, 3, "://") != 0) return root.substr(0, colon);
  return root.substr(0, root.find('/', colon + 3));
}

Uploads::Gate& Uploads::gate_of(const std::string& name) {
  return gates_.try_emplace(name, shared_->backoff_first.count(), shared_->backoff_most.count()).first->second;
}

bool Uploads::gate_open(const std::string& name, std::int64_t now, std::int64_t* until) {
  const auto it = gates_.find(name);
  if (it == gates_.end() || it->second.state == LaneState::idle) return true;
  if (it->second.tried) return false;
  if (now < it->second.until) {
    *until = *until < 0 ? it->second.until : std::min(*until, it->second.until);
    return false;
  }
  return true;
}

Uploads::Job Uploads::next_job(std::int64_t now, std::int64_t* until, std::vector<base::Uid>* told) {
  Job job;
  if (ledger_ == nullptr || leaving_ || working_ >= concurrency_.limit()) return job;
  for (auto it = aborts_.begin(); it != aborts_.end(); ++it) {
    if (!gate_open(it->gate, now, until)) continue;
    if (it->due > now) {
      *until = *until < 0 ? it->due : std::min(*until, it->due);
      continue;
    }
    job = std::move(*it);
    aborts_.erase(it);
    return job;
  }
  std::vector<base::Uid> ended;
  bool found = false;
  for (const auto& [age, run] : order_) {
    RunFiles* files = runs_.at(run).get();
    found = job_of(files, now, until, &job, told);
    if (files->items.empty()) ended.push_back(run);
    if (found) break;
  }
  if (found) {
    ++runs_.at(job.run)->working;
    if (const auto gate = gates_.find(job.gate); gate != gates_.end()) gate->second.tried = true;
  }
  for (const base::Uid& run : ended) drop_if_done(run);
  return job;
}

bool Uploads::job_of(RunFiles* files, std::int64_t now, std::int64_t* until, Job* job, std::vector<base::Uid>* told) {
  if (files->gone) return false;
  const auto wait_until = [until](std::int64_t due) { *until = *until < 0 ? due : std::min(*until, due); };
  if (files->until > now) {
    wait_until(files->until);
    return false;
  }
  while (!files->later.empty() && files->later.begin()->first <= now) {
    files->ready.insert(files->later.begin()->second);
    files->later.erase(files->later.begin());
  }
  if (!files->later.empty()) wait_until(files->later.begin()->first);
  // What needs no request: bytes that are lost, and those of a path that has newer ones.
  for (auto it = files->ready.begin(); it != files->ready.end();) {
    const std::uint64_t seq = *it++;
    UploadItem& item = files->items.at(seq);
    const auto newest = files->newest.find(item.key());
    if (newest != files->newest.end() && newest->second > seq) {
      if (files->items.count(newest->second) == 0) {
        finish(files, seq, told);
      } else {  // it is there when the newer one is
        files->ready.erase(seq);
        files->replaced.emplace(newest->second, seq);
      }
    } else if (!item.lost.empty()) {
      bury(files, seq, item.lost, told);
    } else {
      break;
    }
  }
  if (files->ready.empty() && files->open.empty() && files->unproved.empty()) return false;
  job->run = files->run;
  if (files->root.empty() || files->server_id.empty()) {
    job->gate = "tracking";
    if (files->resolving || !gate_open(job->gate, now, until)) return false;
    files->resolving = true;
    job->kind = Job::Kind::resolve;
    job->wakes = wakes_;
    job->root = files->root;
    return true;
  }
  job->gate = gate_name(files->root);
  job->root = files->root;
  job->server_id = files->server_id;
  if (!gate_open(job->gate, now, until)) return false;
  const mlflow::Server server = shared_->server();
  const auto take = [&](UploadItem& item, Job::Kind kind) {
    ++item.working;
    job->kind = kind;
    job->seq = item.seq;
    job->model = item.model;
    job->path = item.path;
    job->key = item.key();
    job->file = item.file;
    job->doubtful = item.doubtful;
    job->rewrites = item.rewrites;
    job->may_part = !item.whole && no_parts_.count(job->gate) == 0;
    job->proves = server.major < 3 && job->gate == "mlflow-artifacts";
    job->upload = item.upload;
    return true;
  };
  for (const std::uint64_t seq : files->open) {
    UploadItem& item = files->items.at(seq);
    if (item.finishing) continue;
    if (item.missing == 0 && item.working == 0) {
      item.finishing = true;
      return take(item, Job::Kind::finish);
    }
    for (std::size_t i = 0; i < item.taken.size(); ++i) {
      if (item.taken[i] || !item.upload->parts[i].etag.empty()) continue;
      item.taken[i] = true;
      job->part = i;
      return take(item, Job::Kind::part);
    }
  }
  for (const std::uint64_t seq : files->ready) {
    UploadItem& item = files->items.at(seq);
    if (!files->busy.insert(item.key()).second) continue;
    files->ready.erase(seq);
    return take(item, Job::Kind::whole);
  }
  for (auto it = files->unproved.begin(); it != files->unproved.end(); ++it) {
    if (files->working > 0 && it->second.size() < kProveAtOnce) continue;
    job->kind = Job::Kind::prove;
    for (const std::uint64_t seq : it->second) {
      const UploadItem& item = files->items.at(seq);
      job->model = item.model;
      job->proving.emplace_back(seq, item.path);
    }
    const std::string& path = job->proving.front().second;
    job->folder = path.substr(0, path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'));
    files->unproved.erase(it);
    return true;
  }
  return false;
}

/// One more than are at work, up to the limit: each that finds something to do sees to the next, be it another file or
/// another part of the same one.
void Uploads::start_worker() {
  if (ledger_ == nullptr || stopping_ || order_.empty()) return;
  for (auto it = workers_.begin(); it != workers_.end();) {
    if (!(*it)->gone) {
      ++it;
      continue;
    }
    (*it)->thread.join();  // it only has to return
    it = workers_.erase(it);
  }
  if (static_cast<int>(workers_.size()) > working_ || working_ >= concurrency_.limit()) return;
  auto worker = std::make_unique<Worker>();
  Worker* raw = worker.get();
  raw->index = made_++ % parts_.max_connections;
  raw->thread = std::thread([this, raw] { work(raw); });
  workers_.push_back(std::move(worker));
}

void Uploads::work(Worker* worker) {
  base::begin_own_thread(("mlops-put-" + std::to_string(worker->index)).c_str());
  Lock lock(mu_);
  std::int64_t idle_since = base::steady_ms();
  while (!stopping_) {
    const std::int64_t now = base::steady_ms();
    std::int64_t until = -1;
    std::vector<base::Uid> told;
    Job job = next_job(now, &until, &told);
    if (job.kind == Job::Kind::none) {
      if (!told.empty()) {
        lock.unlock();
        for (const base::Uid& run : told) parts_.done(run);
        lock.lock();
        continue;
      }
      const auto others = std::count_if(workers_.begin(), workers_.end(), [](const auto& w) { return !w->gone; });
      if (now - idle_since >= kIdleMs && (until < 0 || others > 1)) break;
      const std::int64_t due = until < 0 ? now + kIdleMs : std::min(until, now + kIdleMs);
      work_cv_.wait_for(lock, Millis(std::max<std::int64_t>(1, due - now)));
      continue;
    }
    ++working_;
    worker->busy = true;
    start_worker();
    lock.unlock();
    const std::int64_t start = base::steady_ms();
    perform(worker, &job);
    job.seconds = static_cast<double>(base::steady_ms() - start) / 1000.0;
    lock.lock();
    worker->busy = false;
    const bool busy = working_ >= concurrency_.limit();
    --working_;
    if (leaving_ && working_ == 0) left_cv_.notify_all();
    settle(&job, worker, &told);
    if (job.answer.ok() && job.kind != Job::Kind::resolve) {
      const std::uint64_t bytes = job.kind == Job::Kind::part ? job.upload->part_size : job.file.size;
      concurrency_.done(bytes + 32'768, job.seconds, base::steady_ms(), busy);
    }
    drop_if_done(job.run);
    start_worker();
    work_cv_.notify_all();
    idle_since = base::steady_ms();
    if (told.empty()) continue;
    lock.unlock();
    for (const base::Uid& run : told) parts_.done(run);
    lock.lock();
  }
  worker->gone = true;
}

}  // namespace mlops::sync
