#include "drain/sources.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/base.h"
#include "base/file.h"

namespace mlops::drain {
namespace {

constexpr std::int64_t kTickNs = 20'000'000;  // coarser than any file system clock's tick

std::vector<journal::Cursor> of_writer(const std::vector<model::JournalCursor>& all, const base::Uid& writer) {
  std::vector<journal::Cursor> mine;
  std::copy_if(all.begin(), all.end(), std::back_inserter(mine), [&](const auto& c) { return c.writer == writer; });
  return mine;
}

}  // namespace

Sources::Sources(const Slot* slot, journal::Writer* own)
    : homes_(slot->homes), predecessors_(slot->predecessors), far_(!slot->far.empty()), own_writer_(own) {}

Source* Sources::add(std::unique_ptr<journal::Collector> collector, std::string dir, bool own, bool dead) {
  auto source = std::make_unique<Source>();
  source->writer = collector->writer();
  source->collector = std::move(collector);
  source->dir = std::move(dir);
  source->own = own;
  source->dead_at_open = dead;
  source->taken = of_writer(persisted_, source->writer);
  sources_.push_back(std::move(source));
  return sources_.back().get();
}

Status Sources::restart(const buffer::Reader& reader) {
  auto cursors = reader.cursors();
  if (!cursors.ok()) return cursors.status();
  persisted_ = std::move(*cursors);
  const bool first = sources_.empty();
  if (first && own_writer_ != nullptr) {
    own_ =
        add(journal::Collector::of(own_writer_), homes_.front() + "/journal/" + own_writer_->uid().hex(), true, false);
  } else {
    for (const auto& source : sources_) {
      source->keys.forget_runs();
      source->taken = of_writer(persisted_, source->writer);
      source->moved = source->unsynced = false;
      source->collector->rewind(source->taken);
    }
    gone_.insert(gone_.end(), going_.begin(), going_.end());
    going_.clear();
  }
  find_all(first);
  if (first && !far_) {
    // Cursors whose folder is gone: the process died between the removal and the beat that was to delete them. Not
    // while another node may have it: collected there without its cursors, all of it would come a second time.
    for (const model::JournalCursor& c : persisted_) {
      if (holds(c.writer) || std::find(gone_.begin(), gone_.end(), c.writer) != gone_.end()) continue;
      const auto has = [&](const std::string& home) { return base::exists(home + "/journal/" + c.writer.hex()); };
      if (std::none_of(homes_.begin(), homes_.end(), has)) gone_.push_back(c.writer);
    }
  }
  return {};
}

bool Sources::holds(const base::Uid& writer) const {
  return std::any_of(sources_.begin(), sources_.end(), [&](const auto& s) { return s->writer == writer; });
}

void Sources::find_all(bool first) {
  for (const std::string& home : homes_) find_in(home, first);
}

void Sources::find_in(const std::string& home, bool first) {
  const auto found = journal::find_journals(home);
  if (!found.ok()) {
    base::log(base::LogLevel::warn, "looking for journals: " + found.status().to_string());
    return;
  }
  for (const journal::Found& f : *found) {
    if (holds(f.writer) || std::find(broken_.begin(), broken_.end(), f.writer) != broken_.end()) continue;
    auto collector = journal::Collector::open(f.dir, of_writer(persisted_, f.writer));
    if (!collector.ok()) {
      const Status& why = collector.status();
      base::log(base::LogLevel::error, "journal " + f.dir + " is left alone: " + why.to_string());
      if (broken_.empty()) {
        why_broken_ = Status(why.code(), "journal " + f.dir + " is left alone: " + std::string(why.message()));
      }
      broken_.push_back(f.writer);
      continue;
    }
    MLOPS_POINT("drain.journal.found");
    // A child of ours that is dead already is no predecessor: its runs may have been started in our journal.
    const bool theirs = std::find(predecessors_.begin(), predecessors_.end(), f.writer) != predecessors_.end();
    add(std::move(*collector), f.dir, false, first && !f.alive && theirs);
  }
}

bool Sources::folder_changed() {
  struct stat st{};
  if (::stat((homes_.front() + "/journal").c_str(), &st) != 0) return false;
  const std::int64_t mtime = std::int64_t{st.st_mtim.tv_sec} * 1'000'000'000 + st.st_mtim.tv_nsec;
  if (mtime == seen_mtime_ns_ && base::now_ms() * 1'000'000 - mtime > kTickNs) return false;
  seen_mtime_ns_ = mtime;
  return true;
}

bool Sources::look() {
  const std::size_t before = sources_.size();
  find_all(false);
  return sources_.size() > before;
}

bool Sources::recovering() const {
  return std::any_of(sources_.begin(), sources_.end(), [](const auto& s) { return s->dead_at_open; });
}

std::uint64_t Sources::pending() const {
  std::uint64_t n = 0;
  for (const auto& source : sources_) n += source->collector->pending();
  return n;
}

void Sources::describe(buffer::Beat* beat) {
  for (const auto& source : sources_) {
    if (!source->moved) continue;
    const auto cursors = source->collector->cursors();
    beat->cursors.insert(beat->cursors.end(), cursors.begin(), cursors.end());
  }
  beat->writers_gone = gone_;
  going_.swap(gone_);
  gone_.clear();
}

void Sources::written(bool pressure, std::uint64_t others_points) {
  going_.clear();
  for (const auto& source : sources_) {
    if (!source->moved) continue;
    source->moved = false;
    source->taken = source->collector->cursors();
    source->unsynced = true;
    if (source->own ? pressure : source->since_sync > others_points) source->collector->release(source->taken);
  }
}

bool Sources::synced() {
  bool removed = false;
  for (std::size_t i = 0; i < sources_.size();) {
    Source& source = *sources_[i];
    if (source.unsynced) {
      source.collector->release(source.taken);
      source.since_sync = 0;
      source.unsynced = false;
    }
    if (source.moved || !source.collector->finished()) {
      ++i;
      continue;
    }
    MLOPS_POINT("drain.journal.finished");
    // Whoever may still write holds it, whatever we saw before.
    const Result<base::FileLock> lock = base::FileLock::try_lock(source.dir + "/lock");
    if (lock.status().code() == StatusCode::unavailable || lock.status().code() == StatusCode::resource_exhausted) {
      ++i;
      continue;
    }
    if (Status s = journal::remove_journal(source.dir); !s.ok()) {
      base::log(base::LogLevel::warn, "removing a finished journal: " + s.to_string());
      ++i;
      continue;
    }
    MLOPS_POINT("drain.journal.removed");
    gone_.push_back(source.writer);
    if (own_ == &source) own_ = nullptr;
    sources_.erase(sources_.begin() + static_cast<std::ptrdiff_t>(i));
    removed = true;
  }
  return removed;
}

}  // namespace mlops::drain
