#include "drain/outlet.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/base.h"
#include "base/file.h"
#include "buffer/outbox.h"

namespace mlops::drain {
namespace {

constexpr std::int64_t kLookMs = 1'000, kLookShare = 100;  // a look that took t is not repeated before 100 t
constexpr std::int64_t kStuckMs = 30'000, kLeftOutMs = 60'000;

std::string folder_of(const std::string& slot_dir) { return slot_dir + "/outbox"; }

/// An op record of an artifact; docs/format.md: envelope, seq, beat, version, kind.
bool is_artifact(std::string_view record) {
  if (record.empty() || record.front() != 'O') return false;
  std::size_t at = 10;
  for (int varints = 0; varints < 2 && at < record.size(); ++at) {
    if ((static_cast<unsigned char>(record[at]) & 0x80u) == 0) ++varints;
  }
  return at + 1 < record.size() && record[at + 1] == static_cast<char>(model::OpKind::artifact);
}

}  // namespace

Outlet::Outlet(std::string slot_dir, OutletLimits limits)
    : slot_dir_(std::move(slot_dir)), folder_(folder_of(slot_dir_)), limits_(limits) {}

void Outlet::clear(const std::string& slot_dir) {
  const std::string folder = folder_of(slot_dir);
  if (!base::exists(folder)) return;
  MLOPS_POINT("outbox.clear");
  if (Status s = base::remove_tree(folder); !s.ok()) {
    base::log(base::LogLevel::warn, "emptying an outbox: " + s.to_string());
  }
}

void Outlet::restart(const Runs& runs, const buffer::Identity& identity, std::uint64_t beat) {
  clear(slot_dir_);
  identity_ = identity;
  spans_.clear();
  waiting_.clear();
  rows_waiting_.clear();
  files_.clear();
  bytes_ = 0;
  newest_ = told_ = std::max(newest_, beat);
  stamp_ = "?";
  paces_.clear();
  left_out_.clear();
  // What was there before is published when somebody wants it.
  for (const auto& run : runs.all()) spans_[run->row.uid] = {run->row.next_seq, run->row.next_seq, 0};
}

void Outlet::publish(const buffer::Buffer& buffer, Runs& runs, std::uint64_t beat) {
  while (waits() && make_room() && publish_one(buffer, runs, beat)) {
  }
}

/// One file of what waits. False: nothing came of it.
bool Outlet::publish_one(const buffer::Buffer& buffer, Runs& runs, std::uint64_t beat) {
  buffer::OutboxFile file;
  file.identity = identity_;
  auto experiments = buffer.experiments();
  if (!experiments.ok()) return false;
  file.experiments = std::move(*experiments);
  std::deque<std::string> kept;  // the records' bytes
  std::size_t size = 0;
  std::vector<Uid> done;
  std::vector<std::pair<Uid, Span>> spans;
  Sealed sealed;
  for (const Uid& uid : waiting_) {
    RunState* run = runs.find(uid);
    if (run == nullptr) {
      done.push_back(uid);
      continue;
    }
    const auto known = spans_.try_emplace(uid, Span{1, 1, 0}).first;
    Span span = known->second;
    buffer::OutboxPart& part = file.parts.emplace_back();
    part.row = run->row;
    part.from = span.until;
    bool full = false, artifacts = false;
    Status s = buffer.copy(uid, span.until, [&](std::uint64_t seq, std::uint64_t count, std::string_view bytes) {
      if (size >= limits_.file_bytes) {
        full = true;
        return false;
      }
      size += bytes.size();
      artifacts = artifacts || is_artifact(bytes);
      kept.emplace_back(bytes);
      part.records.push_back({seq, count, kept.back()});
      span.until = seq + count;
      return true;
    });
    if (!s.ok()) {
      base::log(base::LogLevel::warn, "reading for the outbox: " + s.to_string());
      return false;
    }
    if (!full) span.until = std::max(span.until, run->row.next_seq);
    part.until = span.until;
    if (artifacts) {
      auto rows = buffer.artifacts(uid);
      if (!rows.ok()) return false;
      for (buffer::ArtifactRow& row : *rows) {
        const bool in_part = row.seq >= part.from && row.seq < part.until;
        if (in_part && row.file.beat != 0) file.files.push_back(std::move(row.file));
      }
    }
    for (; span.metrics < run->metrics.size(); ++span.metrics) {
      const MetricState& m = *run->metrics[span.metrics];
      part.metrics.push_back({m.number, m.name, m.summary});
    }
    spans.emplace_back(uid, span);
    sealed.pieces.push_back({uid, span.until});
    if (full) break;
    done.push_back(uid);
  }
  // Rows that came after their records.
  for (const buffer::FileRow& row : rows_waiting_) {
    file.files.push_back(row);
    sealed.pieces.push_back({row.run, row.seq + 1});
  }
  if (!file.parts.empty() || !file.files.empty()) {
    const std::string bytes = buffer::encode_outbox(file);
    sealed.number = std::max(newest_ + 1, beat);
    sealed.bytes = bytes.size();
    MLOPS_POINT("outbox.seal");
    Status s = base::make_dirs(folder_);
    if (s.ok()) s = base::replace_file(folder_ + "/" + buffer::outbox_name(sealed.number), bytes, true);
    if (!s.ok()) {
      base::log(base::LogLevel::warn, "publishing for other nodes: " + s.to_string());
      return false;
    }
    MLOPS_POINT("outbox.sealed");
    newest_ = sealed.number;
    bytes_ += sealed.bytes;
    files_.push_back(std::move(sealed));
  }
  rows_waiting_.clear();
  for (const auto& [uid, span] : spans) spans_[uid] = span;
  for (const Uid& uid : done) waiting_.erase(uid);
  return true;
}

/// Where the ledger's deliverer goes on.
std::uint64_t Outlet::need(const Needs& needs, const Uid& run) const {
  if (left_out_.contains(run)) return UINT64_MAX;
  const auto it = needs.from.find(run);
  return it == needs.from.end() ? 1 : it->second;
}

bool Outlet::passed(const Sealed& file, bool by_active_only) const {
  for (const Needs& needs : needs_) {
    if (by_active_only && !needs.active) continue;
    for (const Piece& piece : file.pieces) {
      if (need(needs, piece.run) < piece.until) return false;
    }
  }
  return true;
}

std::deque<Outlet::Sealed>::iterator Outlet::remove(const std::deque<Sealed>::iterator& file) {
  for (const Piece& piece : file->pieces) {
    Span& span = spans_[piece.run];
    span.from = std::max(span.from, std::min(piece.until, span.until));
  }
  MLOPS_POINT("outbox.remove");
  const std::string path = folder_ + "/" + buffer::outbox_name(file->number);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    base::log(base::LogLevel::warn,
              "what other nodes have read stays: " + base::errno_status(errno, "remove", path).to_string());
  }
  MLOPS_POINT("outbox.removed");
  bytes_ -= file->bytes;
  return files_.erase(file);
}

bool Outlet::make_room() {
  while (bytes_ >= limits_.bytes || files_.size() >= limits_.files) {
    if (files_.empty() || files_.front().number > told_) return false;
    if (!passed(files_.front(), true)) leave_out(files_.front());
    if (!passed(files_.front(), true)) return false;
    remove(files_.begin());
  }
  return true;
}

/// Of the runs that keep the file there, those that stand still while others move.
void Outlet::leave_out(const Sealed& file) {
  const std::int64_t now = base::steady_ms();
  if (now - moved_ > kStuckMs) return;  // nothing moves: the server is away
  for (const Piece& piece : file.pieces) {
    const auto pace = paces_.find(piece.run);
    if (pace != paces_.end() && pace->second.need < piece.until && now - pace->second.moved > kStuckMs) {
      left_out_.emplace(piece.run, now);
    }
  }
}

/// Changes with every ledger and with who holds it.
std::string Outlet::ledger_stamp() const {
  std::string stamp;
  const auto names = ledger::Ledger::list(slot_dir_);
  for (std::size_t i = 0; names.ok() && i < names->size(); ++i) {
    const std::string folder = slot_dir_ + "/delivery/" + (*names)[i];
    struct stat st{};
    if (::stat((folder + "/ledger").c_str(), &st) != 0) continue;
    stamp += (*names)[i] + " " + std::to_string(st.st_size) + " " + std::to_string(st.st_mtim.tv_sec) + "." +
             std::to_string(st.st_mtim.tv_nsec) + " " + std::to_string(st.st_ino) +
             (ledger::Ledger::held_elsewhere(slot_dir_, (*names)[i]) ? " held\n" : "\n");
  }
  return stamp;
}

void Outlet::read_needs() {
  std::string stamp = ledger_stamp();
  if (stamp == stamp_) return;
  stamp_ = std::move(stamp);
  needs_.clear();
  const auto names = ledger::Ledger::list(slot_dir_);
  for (std::size_t i = 0; names.ok() && i < names->size(); ++i) {
    Needs& needs = needs_.emplace_back();
    needs.active = ledger::Ledger::held_elsewhere(slot_dir_, (*names)[i]);
    const auto snapshot = ledger::Ledger::read(slot_dir_, (*names)[i]);
    if (!snapshot.ok()) continue;  // then it may need everything
    for (const auto& [uid, lane] : snapshot->lanes) {
      const bool same = lane.buffer_uid == identity_.uid && lane.buffer_generation == identity_.generation;
      needs.from[uid] = !lane.parked.empty() ? UINT64_MAX : same ? lane.cursor : 1;
    }
    for (const ledger::DeadLetter& letter : snapshot->dead) {
      if (letter.state != ledger::DeadLetter::State::retrying) continue;
      std::uint64_t& from = needs.from.try_emplace(letter.run, 1).first->second;
      from = std::min(from, letter.seq);
    }
  }
  const std::int64_t now = base::steady_ms();
  for (const auto& [uid, span] : spans_) {
    std::uint64_t least = UINT64_MAX;
    for (const Needs& needs : needs_) {
      if (!needs.active) continue;
      const auto it = needs.from.find(uid);
      least = std::min(least, it == needs.from.end() ? 1 : it->second);
    }
    Pace& pace = paces_[uid];
    if (pace.need == least) continue;
    if (pace.need != 0) moved_ = now;
    pace = {least, now};
  }
}

void Outlet::look(Runs& runs, bool now) {
  const std::int64_t begin = base::steady_ms();
  if (!now && begin - looked_ < std::max(kLookMs, look_took_ * kLookShare)) return;
  read_needs();
  std::erase_if(left_out_, [&](const auto& run) { return begin - run.second > kLeftOutMs; });
  // What everybody has goes; while no ledger is there, only the bound says what.
  for (auto file = files_.begin(); !needs_.empty() && file != files_.end();) {
    file = file->number <= told_ && passed(*file, false) ? remove(file) : file + 1;
  }
  for (const auto& run : runs.all()) {
    Span& span = spans_.try_emplace(run->row.uid, Span{1, 1, 0}).first->second;
    std::uint64_t wanted = span.from;
    for (const Needs& needs : needs_) {
      if (needs.active) wanted = std::min(wanted, std::max(need(needs, run->row.uid), run->row.evicted_before));
    }
    if (wanted < span.from) {
      MLOPS_POINT("outbox.again");
      span = {wanted, wanted, 0};
      waiting_.insert(run->row.uid);
    }
  }
  looked_ = base::steady_ms();
  look_took_ = looked_ - begin;
}

}  // namespace mlops::drain
