#include "client/download.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>

#include "base/base.h"
#include "base/beneath.h"
#include "client/download_file.h"
#include "client/patience.h"

namespace mlops::client {
namespace {

constexpr std::size_t kDeepest = 100;

bool is_below(std::string_view path, std::string_view dir) {
  return dir.empty() ||
         (path.size() > dir.size() + 1 && path.compare(0, dir.size(), dir) == 0 && path[dir.size()] == '/');
}

Status check_listed(const store::Entry& entry, const std::string& dir) {
  const Status fine = store::check_path(entry.path);
  const bool direct =
      is_below(entry.path, dir) && entry.path.find('/', dir.empty() ? 0 : dir.size() + 1) == std::string::npos;
  if (fine.ok() && direct) return {};
  return {StatusCode::failed_precondition, "the server lists '" + entry.path.substr(0, 200) + "' in '" + dir +
                                               "', which is no plain path in it; nothing was written. Rename it there"};
}

/// The workers of one download, and what they share.
class Downloader {
 public:
  Downloader(const Download& what, const http::Env& env) : what_(what), env_(env) {}

  Result<DownloadReport> run() {
    for (const WantedFile& file : what_.files)
      if (Status s = store::check_path(file.path); !s.ok()) return s;
    Result<base::Beneath> folder = base::Beneath::open(what_.folder, true);
    if (!folder.ok()) return folder.status();
    folder_ = std::move(*folder);
    progress_.files = what_.files.size();
    for (const WantedFile& file : what_.files) progress_.bytes += file.size;
    const std::size_t wanted = std::clamp<std::size_t>(what_.connections, 1, 16);
    for (std::size_t i = 0; i < std::min(wanted, std::max<std::size_t>(1, what_.files.size())); ++i) {
      Result<std::unique_ptr<store::Store>> store = what_.open ? what_.open() : store::open(what_.place, env_);
      if (!store.ok()) return store.status();
      stores_.push_back(std::move(*store));
    }
    std::vector<std::thread> workers;
    running_ = stores_.size();
    for (std::size_t i = 0; i < stores_.size(); ++i) workers.emplace_back([this, i] { work(stores_[i].get()); });
    watch();
    for (std::thread& worker : workers) worker.join();
    report();
    if (!failure_.ok()) return failure_;
    result_.files = what_.files.size();
    result_.bytes = progress_.bytes;
    return result_;
  }

 private:
  void work(store::Store* store) {
    base::begin_own_thread("mlops-download");
    for (std::size_t i = next_++; i < what_.files.size() && !over_; i = next_++) {
      FileDownload file(folder_, what_.files[i], &over_);
      Patience patience(what_.patience, &over_);
      for (;;) {
        const std::uint64_t before = file.arrived();
        const FileDownload::Outcome outcome =
            file.attempt(store, [this](std::int64_t change) { bytes_done_ += change; });
        if (outcome.done) {
          const std::lock_guard<std::mutex> lock(mutex_);
          result_.resumed_bytes += outcome.resumed;
          ++files_done_;
          break;
        }
        if (file.arrived() > before) patience.progress();
        if (over_ || !outcome.again || !patience.wait(outcome.retry_after_ms)) {
          fail(outcome.status);
          break;
        }
        const std::lock_guard<std::mutex> lock(mutex_);
        ++result_.retries;
      }
    }
    --running_;
  }

  void fail(const Status& status) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (failure_.ok() && !over_) failure_ = status;
    over_ = true;
  }

  /// On the caller's thread, until the workers are done: progress out, stop in.
  void watch() {
    std::int64_t said = 0;
    while (running_ > 0) {
      if (what_.stop != nullptr && what_.stop->load() && !over_) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (failure_.ok())
          failure_ = Status(StatusCode::deadline_exceeded, "the download was stopped; the same call goes on with it");
        over_ = true;
      }
      if (over_)
        for (const auto& store : stores_) store->cancel();
      if (base::steady_ms() - said >= 100) {
        said = base::steady_ms();
        report();
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }

  void report() {
    if (!what_.on_progress) return;
    progress_.files_done = files_done_;
    progress_.bytes_done = static_cast<std::uint64_t>(std::max<std::int64_t>(0, bytes_done_));
    what_.on_progress(progress_);
  }

  const Download& what_;
  const http::Env& env_;
  base::Beneath folder_;
  std::vector<std::unique_ptr<store::Store>> stores_;
  std::atomic<std::size_t> next_{0}, running_{0};
  std::atomic<std::uint64_t> files_done_{0};
  std::atomic<std::int64_t> bytes_done_{0};
  std::atomic<bool> over_{false};
  DownloadProgress progress_;
  std::mutex mutex_;  // of the two below
  DownloadReport result_;
  Status failure_;
};

/// Lists one folder, trying again.
Status list_folder(store::Store* store, const std::string& dir, Patience* patience, std::vector<store::Entry>* out) {
  for (;;) {
    std::vector<store::Entry> entries;
    const store::Answer answer = store->list(dir, &entries);
    if (answer.ok()) {
      for (const store::Entry& entry : entries)
        if (Status s = check_listed(entry, dir); !s.ok()) return s;
      patience->progress();
      std::sort(entries.begin(), entries.end(),
                [](const store::Entry& a, const store::Entry& b) { return a.path < b.path; });
      *out = std::move(entries);
      return {};
    }
    if (!may_help(answer.verdict) || !patience->wait(answer.retry_after_ms)) return answer.status;
  }
}

}  // namespace

Result<DownloadReport> download(const Download& what, const http::Env& env) { return Downloader(what, env).run(); }

Result<std::vector<store::Entry>> find_artifacts(const store::Place& place, const std::string& path, bool recursive,
                                                 Millis patience, const std::atomic<bool>* stop, const http::Env& env) {
  if (!path.empty())
    if (Status s = store::check_path(path); !s.ok()) return s;
  Result<std::unique_ptr<store::Store>> store = store::open(place, env);
  if (!store.ok()) return store.status();
  return find_artifacts(store->get(), path, recursive, patience, stop);
}

Result<std::vector<store::Entry>> find_artifacts(store::Store* store, const std::string& path, bool recursive,
                                                 Millis patience_limit, const std::atomic<bool>* stop) {
  if (!path.empty())
    if (Status s = store::check_path(path); !s.ok()) return s;
  Patience patience(patience_limit, stop);
  if (!path.empty()) {  // a file, or a folder? only what holds it says so
    const auto slash = path.rfind('/');
    std::vector<store::Entry> around;
    if (Status s = list_folder(store, slash == std::string::npos ? "" : path.substr(0, slash), &patience, &around);
        !s.ok())
      return s;
    const auto found =
        std::find_if(around.begin(), around.end(), [&](const store::Entry& e) { return e.path == path; });
    if (found == around.end())
      return Status(StatusCode::not_found,
                    "there is no artifact '" + path + "': `mlops artifacts ls` shows what is there");
    if (!found->is_dir) return std::vector<store::Entry>{*found};
  }
  std::vector<store::Entry> out;
  std::vector<std::string> open{path};
  while (!open.empty()) {
    const std::string dir = std::move(open.back());
    open.pop_back();
    std::vector<store::Entry> entries;
    if (Status s = list_folder(store, dir, &patience, &entries); !s.ok()) return s;
    for (store::Entry& entry : entries) {
      if (recursive && entry.is_dir) {
        if (static_cast<std::size_t>(std::count(entry.path.begin(), entry.path.end(), '/')) > kDeepest)
          return Status(StatusCode::failed_precondition, "folders are nested more than 100 deep below '" + path + "'");
        open.push_back(entry.path);
      }
      out.push_back(std::move(entry));
    }
  }
  std::sort(out.begin(), out.end(), [](const store::Entry& a, const store::Entry& b) { return a.path < b.path; });
  return out;
}

}  // namespace mlops::client
