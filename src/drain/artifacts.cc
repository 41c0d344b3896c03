#include "drain/artifacts.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/base.h"
#include "base/file.h"

namespace mlops::drain {
namespace {

/// Nobody is about to publish a record of this file: whoever makes one holds its lock until then.
bool unlocked(const std::string& path) {
  const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  return fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0;
}

std::uint64_t size_of(const std::string& path) {
  struct stat st{};
  return ::lstat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) ? static_cast<std::uint64_t>(st.st_size) : 0;
}

}  // namespace

Artifacts::Artifacts(Slot* slot, std::uint64_t most_bytes, std::function<void()> ring)
    : slot_(slot), spool_(slot->dir), most_bytes_(most_bytes), ring_(std::move(ring)) {}

Spooler* Artifacts::spooler() {
  if (spooler_ == nullptr) spooler_ = std::make_unique<Spooler>(slot_->dir, slot_->control(), most_bytes_, ring_);
  return spooler_.get();
}

void Artifacts::hash(buffer::ArtifactRow artifact) {
  if (!waiting_.insert(artifact.file.name).second) return;
  ++given_;
  publish();
  spooler()->hash(std::move(artifact));
}

Status Artifacts::opened(const buffer::Buffer& buffer, bool known_runs) {
  // After a failed write: rows that were written before it are durable now, or they are written once more.
  for (buffer::FileRow& row : written_) {
    if (buffer.file(row.name).ok()) {
      if (row.lost.empty()) spooler()->name(row);
      waiting_.erase(row.name);
      ++done_;
    } else {
      hashed_.push_back(std::move(row));
    }
  }
  written_.clear();
  if (!std::exchange(looked_, true)) look(buffer, known_runs);
  if (known_runs && !std::exchange(swept_, true)) sweep_contents(buffer);
  lost_ = 0;
  auto unnamed = buffer.unnamed(&lost_);
  if (!unnamed.ok()) return unnamed.status();
  for (buffer::ArtifactRow& artifact : *unnamed) hash(std::move(artifact));
  publish();
  return {};
}

/// Once: finishes names whose rows a predecessor wrote, notes what may be left over.
void Artifacts::look(const buffer::Buffer& buffer, bool known_runs) {
  slot_->control()->spool_wanted.store(0);
  const auto incoming = base::list_dir(spool_.in());
  if (!incoming.ok()) return;
  for (const std::string& name : *incoming) {
    const std::string path = spool_.in() + "/" + name;
    base::Uid uid;
    if (!base::Uid::parse(name, &uid)) {  // a copy that its spooler did not finish
      const std::uint64_t bytes = size_of(path);
      if (::unlink(path.c_str()) == 0) slot_->control()->spool_bytes.fetch_sub(bytes);
      continue;
    }
    const auto row = buffer.file(uid);
    if (row.ok()) {
      if (row->lost.empty()) spooler()->name(*row);
    } else if (known_runs) {
      orphans_.push_back(uid);
    }
  }
}

/// A process died between taking the last name from bytes and removing them.
void Artifacts::sweep_contents(const buffer::Buffer& buffer) {
  const auto names = base::list_dir(spool_.dir());
  if (!names.ok() || names->size() <= 1) return;
  const auto blobs = buffer.blobs();
  if (!blobs.ok()) return;
  absl::flat_hash_set<std::string> known{"in"};
  for (const buffer::BlobRow& blob : *blobs) known.insert(spool_.content(blob.sha256).substr(spool_.dir().size() + 1));
  for (const std::string& name : *names) {
    if (known.contains(name)) continue;
    const std::string path = spool_.dir() + "/" + name;
    const std::uint64_t bytes = size_of(path);
    if (::unlink(path.c_str()) == 0) slot_->control()->spool_bytes.fetch_sub(bytes);
  }
}

void Artifacts::recovered(const buffer::Buffer& buffer, bool whole) {
  if (orphans_.empty()) return;
  if (!std::exchange(unlocked_, true)) {  // only now: a file is there before its maker has locked it
    const auto being_made = [this](const base::Uid& name) { return !unlocked(spool_.incoming(name)); };
    orphans_.erase(std::remove_if(orphans_.begin(), orphans_.end(), being_made), orphans_.end());
    return;
  }
  buffer::Freed left;
  for (const base::Uid& name : orphans_) {
    if (whole && !waiting_.contains(name) && unlocked(spool_.incoming(name)) &&
        buffer.file(name).status().code() == StatusCode::not_found) {
      left.incoming.push_back(name);
    }
  }
  orphans_.clear();
  if (left.empty()) return;
  base::log(base::LogLevel::info, std::to_string(left.incoming.size()) +
                                      " files were left in the spool by processes that died before they said so");
  freed(std::move(left));
}

void Artifacts::take() {
  if (spooler_ == nullptr) return;
  for (buffer::FileRow& row : spooler_->take()) hashed_.push_back(std::move(row));
}

void Artifacts::describe(buffer::Beat* beat) {
  for (buffer::FileRow& row : hashed_) row.beat = beat->beat;
  beat->files = hashed_;
}

void Artifacts::written(const buffer::Beat& beat) {
  for (buffer::FileRow& row : hashed_) {
    if (!row.lost.empty()) ++lost_;
    written_.push_back(std::move(row));
  }
  hashed_.clear();
  for (const buffer::Beat::RunPart& part : beat.runs) {
    for (const buffer::Record& record : part.ops) {
      if (record.op.kind != model::OpKind::artifact) continue;
      buffer::ArtifactRow artifact;
      if (!base::Uid::parse(record.op.value, &artifact.file.name)) continue;
      artifact.seq = artifact.file.seq = record.seq;
      artifact.file.run = part.row.uid;
      artifact.file.size = static_cast<std::uint64_t>(record.op.number);
      artifact.op = record.op;
      hash(std::move(artifact));
    }
  }
}

void Artifacts::synced() {
  for (const buffer::FileRow& row : written_) {
    if (row.lost.empty()) spooler()->name(row);
    waiting_.erase(row.name);
    ++done_;
  }
  written_.clear();
  publish();
}

void Artifacts::publish() {
  slot_->control()->artifacts_waiting.store(given_ - done_, std::memory_order_relaxed);
  slot_->control()->artifacts_lost.store(lost_, std::memory_order_relaxed);
}

void Artifacts::freed(buffer::Freed freed) {
  if (!freed.empty()) spooler()->remove(std::move(freed));
}
void Artifacts::answer_wish() { spooler()->answer_wish(); }

void Artifacts::wind_down() {
  if (spooler_ != nullptr) spooler_->wind_down();
}

void Artifacts::stop() {
  if (spooler_ != nullptr) spooler_->stop();
}

}  // namespace mlops::drain
