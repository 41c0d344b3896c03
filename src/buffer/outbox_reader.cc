// The outbox, read from another node: an index of its files in memory, their bytes read when they are scanned.
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "base/base.h"
#include "base/file.h"
#include "buffer/envelope.h"
#include "buffer/outbox.h"

namespace mlops::buffer {
namespace {

constexpr std::int64_t kLookMs = 100;

struct Place {
  std::uint64_t seq = 0, count = 1;
  std::size_t at = 0, size = 0;  // in the file's bytes
};
/// A file without its records' bytes: where they are in it.
struct Indexed {
  std::uint64_t number = 0;
  std::string seal;                        // its first bytes: mark, version, checksum
  OutboxFile file;                         // parts without records
  std::vector<std::vector<Place>> places;  // of each part
};
using IndexedFile = std::shared_ptr<const Indexed>;
struct Part {
  const Indexed* in = nullptr;
  const std::vector<Place>* places = nullptr;
  std::uint64_t from = 0, until = 0;
};
struct Run {
  model::RunRow row;
  std::map<std::uint32_t, MetricRow> metrics;
  std::vector<Part> parts;
};
using Runs = std::unordered_map<Uid, Run, base::UidHash>;

/// Everything known at one moment; replaced whole by refresh, so that a scan sees one.
struct State {
  Identity identity;
  std::uint64_t newest = 0;
  std::map<std::uint64_t, IndexedFile> files;
  std::vector<model::Op> experiments;
  Runs runs;
  std::unordered_map<Uid, FileRow, base::UidHash> artifacts;  // by name
};

void take_metric(const MetricRow& metric, Run* run) {
  MetricRow& kept = run->metrics[metric.metric];
  if (kept.name.empty() || metric.summary.count >= kept.summary.count) kept = metric;
}

class Reading final : public OutboxReader {
 public:
  Reading(std::string slot_dir, bool gaps_are_damage)
      : slot_dir_(std::move(slot_dir)), folder_(slot_dir_ + "/outbox"), gaps_are_damage_(gaps_are_damage) {}

  std::uint64_t newest() const override { return state()->newest; }
  Identity identity() const override { return state()->identity; }

  Status refresh() override {
    const std::lock_guard one_at_a_time(refresh_);
    // Asked for with every request, it looks at most so often; and reads only when something is there to be read.
    const std::int64_t now = base::steady_ms();
    if (looked_ != 0 && now - looked_ < kLookMs) return {};
    std::string seen = what_is_there();
    if (looked_ != 0 && seen == seen_) {
      looked_ = now;
      return {};
    }
    for (int tries = 0;; ++tries) {
      bool vanished = false;
      auto next = std::make_shared<State>();
      if (Status s = load(next.get(), &vanished); !s.ok()) return s;
      if (vanished && tries < 20) continue;  // removed between the listing and the reading: list again
      looked_ = now;
      seen_ = vanished ? std::string() : std::move(seen);
      const std::unique_lock lock(mutex_);
      state_ = std::move(next);
      return {};
    }
  }

  Result<std::vector<model::RunRow>> runs() const override {
    const auto now = state();
    std::vector<model::RunRow> rows;
    rows.reserve(now->runs.size());
    for (const auto& [uid, run] : now->runs) rows.push_back(run.row);
    std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.uid < b.uid; });
    return rows;
  }

  Result<model::RunRow> run(const Uid& uid) const override {
    const auto now = state();
    const auto it = now->runs.find(uid);
    if (it == now->runs.end()) return Status(StatusCode::not_found, "no run " + uid.hex() + " is published");
    return it->second.row;
  }

  Result<std::vector<MetricRow>> metrics(const Uid& uid) const override {
    const auto now = state();
    std::vector<MetricRow> rows;
    const auto it = now->runs.find(uid);
    if (it == now->runs.end()) return rows;
    for (const auto& [number, row] : it->second.metrics) rows.push_back(row);
    return rows;
  }

  Status scan(const Uid& uid, std::uint64_t from_seq, const std::function<bool(const Record&)>& take,
              const std::function<void(std::uint64_t, std::uint64_t, const Status&)>& damaged) const override {
    const auto now = state();
    const auto it = now->runs.find(uid);
    if (it == now->runs.end()) return {};
    const Run& run = it->second;
    std::uint64_t at = std::max<std::uint64_t>(from_seq, 1);
    if (gaps_are_damage_) at = std::max(at, run.row.evicted_before);
    bool any = false;
    for (;;) {
      const Part* part = nullptr;    // covers `at`, and reaches furthest
      const Part* beyond = nullptr;  // the first one behind a hole
      for (const Part& p : run.parts) {
        if (p.from <= at && at < p.until && (part == nullptr || p.until > part->until)) part = &p;
        if (p.from > at && (beyond == nullptr || p.from < beyond->from)) beyond = &p;
      }
      if (part == nullptr) {
        if (beyond == nullptr) {  // the end of what is published so far
          if (gaps_are_damage_ && run.parts.empty() && at < run.row.next_seq && damaged) {
            damaged(at, run.row.next_seq - at, not_here(uid, at, run.row.next_seq));
          }
          return {};
        }
        const Status hole = not_here(uid, at, beyond->from);
        if (!gaps_are_damage_) return any ? Status() : hole;
        if (damaged) damaged(at, beyond->from - at, hole);
        at = beyond->from;
        continue;
      }
      Result<std::shared_ptr<const std::string>> bytes = bytes_of(*part->in);
      if (!bytes.ok()) return any ? Status() : bytes.status();
      for (const Place& place : *part->places) {
        if (place.seq + place.count <= at) continue;
        Record record;
        const Status decoded =
            decode_record(std::string_view(**bytes).substr(place.at, place.size), place.seq, &record);
        any = true;
        if (!decoded.ok()) {
          if (damaged) damaged(place.seq, place.count, decoded);
        } else if (!take(record)) {
          return {};
        }
        at = place.seq + place.count;
      }
      at = std::max(at, part->until);
    }
  }

  Result<std::vector<model::Op>> experiments() const override { return state()->experiments; }
  Result<FileRow> file(const Uid& name) const override {
    const auto now = state();
    const auto it = now->artifacts.find(name);
    if (it == now->artifacts.end()) return Status(StatusCode::not_found, "no file " + name.hex() + " is published");
    return it->second;
  }
  Result<std::vector<ArtifactRow>> artifacts(const Uid& run) const override {
    std::vector<ArtifactRow> rows;
    const auto take = [&](const Record& record) {
      Uid name;
      if (record.is_block || record.op.kind != model::OpKind::artifact) return true;
      ArtifactRow& row = rows.emplace_back();
      row.seq = record.seq;
      row.beat = record.beat;
      row.op = record.op;
      if (!Uid::parse(record.op.value, &name)) return true;
      if (Result<FileRow> known = file(name); known.ok()) row.file = std::move(*known);
      return true;
    };
    const Status s = scan(run, 0, take, {});
    if (!s.ok()) return s;
    return rows;
  }
  Result<std::vector<Record>> models() const override {
    const Result<std::vector<model::RunRow>> rows = runs();
    if (!rows.ok()) return rows.status();
    std::vector<Record> out;
    for (const model::RunRow& row : *rows) {
      const auto take = [&](const Record& record) {
        if (!record.is_block && tells_of_model(record.op.kind)) out.push_back(record);
        return true;
      };
      scan(row.uid, 0, take, {}).ignore();  // what is not published is not known
    }
    return out;
  }
  Result<std::vector<model::JournalCursor>> cursors() const override { return std::vector<model::JournalCursor>(); }

 private:
  std::shared_ptr<const State> state() const {
    const std::shared_lock lock(mutex_);
    return state_;
  }

  Status not_here(const Uid& run, std::uint64_t from, std::uint64_t until) const {
    return Status(StatusCode::unavailable, "records " + std::to_string(from) + " to " + std::to_string(until - 1) +
                                               " of run " + run.hex() + " are in the database of their node; " +
                                               folder_ + " does not have them (now)");
  }

  std::string what_is_there() const {
    std::string seen;
    const Result<std::vector<std::string>> names = base::list_dir(folder_);
    for (std::size_t i = 0; names.ok() && i < names->size(); ++i) seen += (*names)[i] + "\n";
    struct stat st{};
    if (::stat((slot_dir_ + "/summary").c_str(), &st) == 0) {
      seen += std::to_string(st.st_ino) + " " + std::to_string(st.st_size) + " " + std::to_string(st.st_mtim.tv_sec) +
              "." + std::to_string(st.st_mtim.tv_nsec);
    }
    return seen;
  }

  /// The files first, the summary after them: the owner removes a file only when the summary says what it said.
  Status load(State* next, bool* vanished) {
    const Result<std::vector<std::string>> names = base::list_dir(folder_);
    if (!names.ok() && names.status().code() != StatusCode::not_found) return names.status();
    const auto before = state();
    for (std::size_t i = 0; names.ok() && i < names->size(); ++i) {
      std::uint64_t number = 0;
      if (!parse_outbox_name((*names)[i], &number)) continue;
      if (Status s = index(number, *before, next, vanished); !s.ok()) return s;
    }
    const Result<std::string> summary = base::read_file(slot_dir_ + "/summary");
    if (next->files.empty() && !summary.ok()) {
      return Status(StatusCode::not_found, slot_dir_ + ": nothing is published there yet");
    }
    if (!next->files.empty()) {
      const auto& [number, newest] = *next->files.rbegin();
      next->newest = number;
      next->identity = newest->file.identity;
      next->experiments = newest->file.experiments;
    }
    if (summary.ok()) take_summary(*summary, next);
    for (const auto& [number, file] : next->files) {
      const Identity& identity = file->file.identity;
      if (identity.uid == next->identity.uid && identity.generation == next->identity.generation) take(*file, next);
    }
    next->newest = std::max(next->newest, before->newest);
    return {};
  }

  Status index(std::uint64_t number, const State& before, State* next, bool* vanished) {
    if (const auto known = before.files.find(number); known != before.files.end()) {
      next->files.emplace(number, known->second);
      return {};
    }
    const std::string path = folder_ + "/" + outbox_name(number);
    const Result<std::string> bytes = base::read_file(path);
    if (!bytes.ok()) {
      if (bytes.status().code() != StatusCode::not_found) return bytes.status();
      *vanished = true;
      return {};
    }
    auto indexed = std::make_shared<Indexed>();
    Status decoded = decode_outbox(*bytes, &indexed->file);
    if (decoded.code() == StatusCode::failed_precondition) return decoded;
    if (!decoded.ok()) {  // read again at the next look: what a node sees of another's file may be late
      base::log(base::LogLevel::warn, path + " is not whole, it is read again: " + std::string(decoded.message()));
      return {};
    }
    indexed->number = number;
    indexed->seal = bytes->substr(0, kEnvelopeBytes);
    for (OutboxPart& part : indexed->file.parts) {
      std::vector<Place>& into = indexed->places.emplace_back();
      into.reserve(part.records.size());
      for (const OutboxRecord& record : part.records) {
        into.push_back({record.seq, record.count, static_cast<std::size_t>(record.bytes.data() - bytes->data()),
                        record.bytes.size()});
      }
      part.records = {};
    }
    next->files.emplace(number, std::move(indexed));
    return {};
  }

  static void take(const Indexed& file, State* next) {
    for (std::size_t i = 0; i < file.file.parts.size(); ++i) {
      const OutboxPart& part = file.file.parts[i];
      Run& run = next->runs[part.row.uid];
      if (run.row.uid.zero() || part.row.next_seq > run.row.next_seq) run.row = part.row;
      for (const MetricRow& metric : part.metrics) take_metric(metric, &run);
      if (part.from < part.until) run.parts.push_back({&file, &file.places[i], part.from, part.until});
    }
    for (const FileRow& row : file.file.files) {
      FileRow& kept = next->artifacts[row.name];
      if (kept.beat <= row.beat) kept = row;
    }
  }

  static void take_summary(const std::string& bytes, State* next) {
    Identity identity;
    SlotCounters counters;
    std::vector<SummaryEntry> entries;
    if (!decode_summary(bytes, &identity, &counters, &entries).ok()) return;
    if (next->files.empty()) next->identity = identity;
    if (!(identity.uid == next->identity.uid) || identity.generation != next->identity.generation) return;
    for (SummaryEntry& entry : entries) {
      Run& run = next->runs[entry.row.uid];
      for (const MetricRow& metric : entry.metrics) take_metric(metric, &run);
      run.row = std::move(entry.row);
    }
  }

  /// A file's bytes; those of the last one are kept.
  Result<std::shared_ptr<const std::string>> bytes_of(const Indexed& file) const {
    const std::lock_guard lock(cache_mutex_);
    if (cached_ != nullptr && cached_number_ == file.number) return cached_;
    Result<std::string> bytes = base::read_file(folder_ + "/" + outbox_name(file.number));
    // Whole or not at all: a record that is damaged in a whole file is damaged in the database.
    ByteReader body{std::string_view()};
    if (!bytes.ok() || bytes->compare(0, kEnvelopeBytes, file.seal) != 0 || !unseal(kOutboxMark, *bytes, &body).ok()) {
      return Status(StatusCode::unavailable, folder_ + ": a file went while it was to be read; it is looked for again");
    }
    cached_ = std::make_shared<const std::string>(std::move(*bytes));
    cached_number_ = file.number;
    return cached_;
  }

  const std::string slot_dir_, folder_;
  const bool gaps_are_damage_;
  std::mutex refresh_;
  std::int64_t looked_ = 0;  // under refresh_, as is
  std::string seen_;
  mutable std::shared_mutex mutex_;
  std::shared_ptr<const State> state_ = std::make_shared<State>();
  mutable std::mutex cache_mutex_;
  mutable std::shared_ptr<const std::string> cached_;
  mutable std::uint64_t cached_number_ = 0;
};

}  // namespace

Result<std::unique_ptr<OutboxReader>> open_outbox(const std::string& slot_dir, bool gaps_are_damage) {
  auto reader = std::make_unique<Reading>(slot_dir, gaps_are_damage);
  if (Status s = reader->refresh(); !s.ok()) return s;
  return std::unique_ptr<OutboxReader>(std::move(reader));
}

}  // namespace mlops::buffer
