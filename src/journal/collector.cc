// Collector: reads chains in the order of publication.
//
// One collect takes a consistent piece. Pass 1 takes points whose keys were defined before it began, and ops; a budget
// never stops it before an op that is published. If it saw ops, pass 2 reads everything once more up to their highest
// ticket T: whatever was published before one of those ops was, has a ticket below T, or a key whose definition has,
// and so comes along; and whatever pass 2 takes beyond that has its own predecessors below T too.
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/base.h"
#include "journal/segments.h"

namespace mlops::journal {
namespace {

constexpr std::uint64_t kAnyTicket = ~0ull;

struct Spot {
  std::uint64_t segment = 0;
  std::uint32_t cell = 0;
  friend bool operator<(const Spot& a, const Spot& b) {
    return a.segment != b.segment ? a.segment < b.segment : a.cell < b.cell;
  }
};

struct Thread {
  std::uint32_t id = 0;
  std::map<std::uint64_t, SegmentHeader*> segments;  // not released, by position
  Spot at;                                           // next cell to take
  Spot clear;                                        // no op lies between `at` and here
  bool started = false;                              // `at` is known
  bool first = true;                                 // `at` came from outside: its segment may be gone by right
  bool broken = false;                               // given up (a dead writer's, damaged)
  bool garbled = false;                              // a living writer's: nothing more of this segment is readable
  std::uint64_t missing_since = 0;                   // number of the scan that showed `at` missing and later ones there
};

/// What one cell says. cells == 0: not readable.
struct Parsed {
  std::uint8_t kind = 0;
  std::uint32_t key = 0;
  std::uint32_t cells = 0;
  std::uint64_t ticket = 0;
  std::string_view payload;
};

class SegmentCollector final : public Collector {
 public:
  explicit SegmentCollector(LocalWriter* writer)
      : writer_(writer), uid_(writer->uid()), segments_(writer), own_(writer->open_chains()) {
    dictionary_.started = true;
  }
  SegmentCollector(const std::string& dir, const base::Uid& uid, const std::vector<Cursor>& cursors)
      : uid_(uid), segments_(dir) {
    dictionary_.started = true;
    verify_ = !segments_.alive();
    rewind(cursors);
  }

  const base::Uid& writer() const override { return uid_; }
  bool collect(Batch* out, std::size_t max_points) override;
  std::uint64_t pending() const override;
  std::vector<Cursor> cursors() const override;
  void release(const std::vector<Cursor>& upto) override;
  void rewind(const std::vector<Cursor>& to) override;
  /// Whether there are segments that this version cannot read. Whatever their check is: it may be another one.
  bool newer() {
    segments_.refresh();
    bool found = false;
    segments_.each_used([&found](const SegmentHeader* h) {
      found = found || (h->magic == kSegmentMagic && h->version > kSegmentVersion);
    });
    return found;
  }
  bool finished() const override { return done_ && (own_ == nullptr || !own_->other_threads_live()); }

 private:
  struct Pass {
    Batch* out;
    std::size_t points_left;
    std::uint64_t max_ticket;
    std::uint64_t highest = 0;  // ticket of an op taken
    bool any = false;
  };

  // False: not all of the journal could be mapped now.
  bool scan() const;
  bool refresh() const;
  SegmentHeader* segment_at(Thread& t) const;
  Parsed parse(const SegmentHeader* h, std::uint32_t cell, std::uint64_t head) const;
  bool op_ahead(Thread& t, Spot* op) const;
  void take(Thread& t, Pass& pass);
  void read_dictionary(Batch* out, std::uint64_t max_ticket);
  void damage(Thread& t, Batch* out, const SegmentHeader* h, std::uint32_t cell, const char* what);

  LocalWriter* writer_ = nullptr;
  const base::Uid uid_;
  mutable Segments segments_;
  Chains* own_ = nullptr;
  bool verify_ = false;  // the writer is dead: trust nothing but checksums
  bool done_ = false;
  std::uint32_t known_ = 0;  // keys 1..known_ were given
  mutable std::uint64_t scans_ = 0;
  mutable Thread dictionary_;
  mutable std::unordered_map<std::uint32_t, std::unique_ptr<Thread>> by_id_;
  mutable std::vector<Thread*> threads_;
  std::size_t turn_ = 0;
};

// A header that does not check is left alone: it is being written, or was never ours.
bool SegmentCollector::scan() const {
  ++scans_;
  const bool whole = segments_.refresh();
  segments_.each_used([&](SegmentHeader* h) {
    if (!header_valid(*h, uid_)) return;
    if (h->thread == kDictionaryThread) {
      dictionary_.segments[h->position] = h;
      return;
    }
    auto& slot = by_id_[h->thread];
    if (slot == nullptr) {
      slot = std::make_unique<Thread>();
      slot->id = h->thread;
      threads_.push_back(slot.get());
    }
    if (slot->started && h->position < slot->at.segment) return;  // consumed; released, or kept for a rewind
    slot->segments[h->position] = h;
  });
  return whole;
}

bool SegmentCollector::refresh() const {
  if (!scan()) return false;  // what begins a chain may be missing
  const bool fresh = std::any_of(threads_.begin(), threads_.end(), [](const Thread* t) { return !t->started; });
  if (!fresh) return true;
  if (!scan()) return false;  // a chain's first segment may have been taken behind the first scan's back
  for (Thread* t : threads_) {
    if (t->started) continue;
    t->started = true;
    t->at = t->clear = {t->segments.empty() ? 0 : t->segments.begin()->first, 0};
  }
  return true;
}

SegmentHeader* SegmentCollector::segment_at(Thread& t) const {
  const auto it = t.segments.lower_bound(t.at.segment);
  if (it == t.segments.end()) return nullptr;
  if (it->first == t.at.segment) {
    t.missing_since = 0;
    return it->second;
  }
  // Later ones are there, this one is not. A scan can miss a segment that is taken while it runs, but not twice.
  if (!verify_) {
    if (t.missing_since == 0) t.missing_since = scans_;
    if (t.missing_since == scans_) return nullptr;
  } else if (!t.first) {
    return nullptr;  // a gap: the caller gives the thread up
  }
  t.missing_since = 0;
  t.at = t.clear = {it->first, 0};
  return it->second;
}

Parsed SegmentCollector::parse(const SegmentHeader* h, std::uint32_t cell, std::uint64_t head) const {
  const Cell* c = cells_of(h) + cell;
  Parsed p;
  p.kind = static_cast<std::uint8_t>(head);
  p.key = static_cast<std::uint32_t>(head >> 8) & kMaxKey;
  if (verify_ && !cell_valid(*c, head, h->seed)) return p;
  if (p.kind == detail::kCellMetric) {
    p.cells = p.key == 0 ? 0 : 1;
  } else if (p.kind == detail::kCellSkip) {
    p.cells = static_cast<std::uint32_t>(kCellsPerSegment - cell);
  } else if (p.kind == detail::kCellRecord || p.kind == detail::kCellKey) {
    const std::int64_t size = c->step;
    if (size < 0 || size > static_cast<std::int64_t>(kMaxRecord)) return p;
    const std::size_t cells = record_cells(static_cast<std::size_t>(size));
    if (cells > kCellsPerSegment - cell) return p;
    p.payload = {reinterpret_cast<const char*>(c + 1), static_cast<std::size_t>(size)};
    p.ticket = bits_ticket(c->value);
    if (verify_ && static_cast<std::int64_t>(base::hash64(p.payload, h->seed)) != c->time_ms) return p;
    p.cells = static_cast<std::uint32_t>(cells);
  }
  return p;
}

void SegmentCollector::damage(Thread& t, Batch* out, const SegmentHeader* h, std::uint32_t cell, const char* what) {
  std::uint64_t lost = 0;
  for (std::uint32_t i = cell; i < kCellsPerSegment; ++i) lost += load_head(cells_of(h) + i) != 0;
  if (verify_) {
    for (auto it = t.segments.upper_bound(h->position); it != t.segments.end(); ++it) {
      for (std::uint32_t i = 0; i < kCellsPerSegment; ++i) lost += load_head(cells_of(it->second) + i) != 0;
    }
    t.broken = true;
  } else {
    t.garbled = true;
  }
  out->damaged += std::max<std::uint64_t>(lost, 1);
  base::log(base::LogLevel::error, "journal " + uid_.hex() + ": thread " + std::to_string(h->thread) + ", segment " +
                                       std::to_string(h->position) + ", cell " + std::to_string(cell) + ": " + what +
                                       "; about " + std::to_string(lost) + " cells are given up");
}

void SegmentCollector::read_dictionary(Batch* out, std::uint64_t max_ticket) {
  Thread& t = dictionary_;
  while (!t.broken) {
    const auto it = t.segments.find(t.at.segment);
    if (it == t.segments.end()) return;
    const SegmentHeader* h = it->second;
    while (t.at.cell < kCellsPerSegment) {
      const std::uint64_t head = load_head(cells_of(h) + t.at.cell);
      if (head == 0) return;
      const Parsed p = parse(h, t.at.cell, head);
      const bool key = p.kind == detail::kCellKey && p.payload.size() >= 16 && p.key == known_ + 1;
      if (p.cells == 0 || (!key && p.kind != detail::kCellSkip)) {
        damage(t, out, h, t.at.cell, "a key's definition is damaged");
        t.broken = true;
        return;
      }
      if (key) {
        if (p.ticket > max_ticket) return;
        KeyDef def;
        def.key = p.key;
        std::memcpy(def.run.bytes.data(), p.payload.data(), 16);
        def.name.assign(p.payload.substr(16));
        out->keys.push_back(std::move(def));
        known_ = p.key;
      }
      t.at.cell += p.cells;
    }
    t.at = {t.at.segment + 1, 0};
  }
}

// Each cell is looked at once: `clear` remembers how far.
bool SegmentCollector::op_ahead(Thread& t, Spot* op) const {
  Spot s = t.clear < t.at ? t.at : t.clear;
  bool found = false;
  for (auto it = t.segments.find(s.segment); it != t.segments.end() && !found; it = t.segments.find(s.segment)) {
    bool stop = false;
    while (s.cell < kCellsPerSegment) {
      const std::uint64_t head = load_head(cells_of(it->second) + s.cell);
      if (head != 0 && static_cast<std::uint8_t>(head) == detail::kCellMetric) {
        ++s.cell;
        continue;
      }
      const Parsed p = head == 0 ? Parsed() : parse(it->second, s.cell, head);
      found = p.cells != 0 && p.kind == detail::kCellRecord;
      stop = p.cells == 0 || found;
      if (stop) break;
      s.cell += p.cells;
    }
    if (stop) break;
    s = {s.segment + 1, 0};
  }
  t.clear = *op = s;
  return found;
}

void SegmentCollector::take(Thread& t, Pass& pass) {
  Batch* out = pass.out;
  Spot forced;  // points before it are taken whatever the budget
  while (!t.broken) {
    if (t.garbled) {
      if (t.segments.upper_bound(t.at.segment) == t.segments.end()) return;
      t.garbled = false;
      t.at = {t.segments.upper_bound(t.at.segment)->first, 0};
    }
    SegmentHeader* h = segment_at(t);
    if (h == nullptr) {
      const auto later = t.segments.upper_bound(t.at.segment);
      if (verify_ && later != t.segments.end()) {
        damage(t, out, later->second, 0, "segments before this one are missing");
      }
      return;
    }
    t.first = false;
    Cell* const cells = cells_of(h);
    std::uint32_t i = t.at.cell;
    while (i < kCellsPerSegment) {
      const Cell* c = cells + i;
      const std::uint64_t head = load_head(c);
      const std::uint32_t key = static_cast<std::uint32_t>(head >> 8) & kMaxKey;
      if (static_cast<std::uint8_t>(head) == detail::kCellMetric && key != 0) [[likely]] {
        if (key > known_ || (verify_ && !cell_valid(*c, head, h->seed))) [[unlikely]] {
          t.at.cell = i;
          if (verify_)
            damage(t, out, h, i, key > known_ ? "a point has an unknown key" : "a point's checksum is wrong");
          return;
        }
        if (pass.points_left == 0) [[unlikely]] {
          t.at.cell = i;
          if (!(t.at < forced)) {
            Spot op;
            if (!op_ahead(t, &op)) return;
            forced = op;
          }
        } else {
          --pass.points_left;
        }
        out->points.push_back({key, {c->step, c->time_ms, c->value}});
        pass.any = true;
        ++i;
        continue;
      }
      t.at.cell = i;
      if (head == 0) {
        const auto later = t.segments.upper_bound(t.at.segment);
        if (verify_ && later != t.segments.end() && load_head(cells_of(later->second)) != 0) {
          damage(t, out, later->second, 0, "the segment before this one is cut off");
        }
        return;
      }
      const Parsed p = parse(h, i, head);
      if (p.kind == detail::kCellRecord && p.cells != 0) {
        if (p.ticket > pass.max_ticket) return;
        auto op = model::decode_op(p.payload);
        if (!op.ok()) {
          damage(t, out, h, i, "a record is damaged");
          break;
        }
        op->ticket = p.ticket;
        pass.highest = std::max(pass.highest, p.ticket);
        out->ops.push_back(std::move(*op));
        pass.any = true;
      } else if (p.kind != detail::kCellSkip || p.cells == 0) {
        damage(t, out, h, i, "a cell is damaged");
        break;
      }
      i += p.cells;
    }
    if (t.broken || t.garbled) continue;
    t.at = {t.at.segment + 1, 0};
  }
}

bool SegmentCollector::collect(Batch* out, std::size_t max_points) {
  const bool alive = segments_.alive();
  if (own_ == nullptr) verify_ = !alive;
  out->writer = uid_;
  const std::size_t points_before = out->points.size(), keys_before = out->keys.size();
  if (!refresh()) {  // nothing rather than a part: a missing beginning would look like damage, or like the end
    done_ = false;
    return false;
  }
  read_dictionary(out, kAnyTicket);
  // What was appended before those keys were defined may lie in segments that were taken since the scan.
  if (out->keys.size() != keys_before) refresh();
  Pass pass{out, std::max<std::size_t>(max_points, 1), kAnyTicket, 0, false};
  const std::size_t count = threads_.size();
  for (std::size_t n = 0; n < count; ++n) take(*threads_[(turn_ + n) % count], pass);
  if (pass.points_left == 0) ++turn_;
  bool any = pass.any;
  if (pass.highest != 0) {
    refresh();
    read_dictionary(out, pass.highest);
    Pass again{out, ~std::size_t{0}, pass.highest, 0, false};
    for (Thread* t : threads_) take(*t, again);
  }
  if (writer_ != nullptr) writer_->add_collected(out->points.size() - points_before);
  any = any || out->keys.size() != keys_before;
  done_ = !alive && !any;
  return any;
}

std::uint64_t SegmentCollector::pending() const {
  refresh();
  std::uint64_t sum = 0;
  for (const Thread* t : threads_) {
    if (t->broken) continue;
    for (auto it = t->segments.lower_bound(t->at.segment); it != t->segments.end(); ++it) {
      std::uint32_t low = it->first == t->at.segment ? t->at.cell : 0;
      const std::uint32_t from = low;
      std::uint32_t high = kCellsPerSegment;
      const auto next = std::next(it);
      const bool last = next == t->segments.end() || load_head(cells_of(next->second)) == 0;  // later ones: taken ahead
      if (last) {
        while (low < high) {  // published cells come first
          const std::uint32_t middle = low + (high - low) / 2;
          if (load_head(cells_of(it->second) + middle) != 0)
            low = middle + 1;
          else
            high = middle;
        }
      }
      sum += high - from;
      if (last) break;
    }
  }
  return sum;
}

std::vector<Cursor> SegmentCollector::cursors() const {
  std::vector<Cursor> all;
  all.reserve(threads_.size());
  for (const Thread* t : threads_) all.push_back({uid_, t->id, t->at.segment, t->at.cell});
  return all;
}

void SegmentCollector::release(const std::vector<Cursor>& upto) {
  const bool give_back = !verify_ && (own_ == nullptr || !own_->closed());
  std::size_t freed = 0;
  for (const Cursor& c : upto) {
    const auto found = by_id_.find(c.thread);
    if (found == by_id_.end() || c.writer != uid_) continue;
    auto& segments = found->second->segments;
    for (auto it = segments.begin(); it != segments.end() && it->first < c.segment;) {
      if (give_back) {
        MLOPS_POINT("journal.release");
        free_segment(it->second);
        ++freed;
      }
      it = segments.erase(it);
    }
  }
  if (own_ == nullptr || !give_back) return;
  own_->pool().note_freed(freed);
  for (const Cursor& next : own_->retire_idle(upto)) {
    Thread& t = *by_id_.at(next.thread);
    t.segments.erase(t.segments.begin(), t.segments.lower_bound(next.segment));
    t.at = t.clear = {next.segment, next.cell};
  }
}

void SegmentCollector::rewind(const std::vector<Cursor>& to) {
  for (Thread* t : threads_) {
    t->first = true;
    t->garbled = t->broken = false;
    t->missing_since = 0;
    t->started = !t->segments.empty();
    if (t->started) t->at = t->clear = {t->segments.begin()->first, 0};
  }
  for (const Cursor& c : to) {
    if (c.writer != uid_) continue;
    auto& slot = by_id_[c.thread];
    if (slot == nullptr) {
      slot = std::make_unique<Thread>();
      slot->id = c.thread;
      threads_.push_back(slot.get());
    }
    slot->started = true;
    slot->at = slot->clear = {c.segment, c.cell};
  }
  dictionary_.at = {};
  dictionary_.broken = false;
  known_ = 0;
  done_ = false;
}

}  // namespace

std::unique_ptr<Collector> Collector::of(Writer* writer) {
  auto* handle = dynamic_cast<WriterHandle*>(writer);
  return handle == nullptr ? nullptr : std::make_unique<SegmentCollector>(handle->local());
}

Result<std::unique_ptr<Collector>> Collector::open(const std::string& journal_dir, const std::vector<Cursor>& cursors) {
  base::Uid uid;
  const std::string name = journal_dir.substr(journal_dir.find_last_of('/') + 1);
  if (!base::Uid::parse(name, &uid)) {
    return Status(StatusCode::invalid_argument, journal_dir + " is not a journal: its name is no writer's id");
  }
  if (!base::exists(journal_dir)) return Status(StatusCode::not_found, "no journal at " + journal_dir);
  auto collector = std::make_unique<SegmentCollector>(journal_dir, uid, cursors);
  if (collector->newer()) {  // else it would count as empty, and be removed
    return Status(StatusCode::failed_precondition,
                  "the journal was written by a newer version of mlops; use that version, and it is delivered");
  }
  return std::unique_ptr<Collector>(std::move(collector));
}

}  // namespace mlops::journal
