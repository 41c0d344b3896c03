// Points: numbered, merged, summed up and packed. What ops do to a row is in rows.cc.
#include "drain/runs.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/base.h"

namespace mlops::drain {
namespace {

constexpr std::uint64_t kHistory = 20'000;  // records looked back at for points that may merge, after a restart
constexpr std::size_t kFirstColumn = 1024;

/// Summary::add, inline: the drain's hot loop. tests/drain compares the two.
inline void add_to(model::Summary* s, const model::Point& p) {
  if (s->count == 0 || p.step > s->last.step) {
    s->last = p;
  } else if (p.step == s->last.step) {
    if (p.time_ms > s->last.time_ms ||
        (p.time_ms == s->last.time_ms && model::server_value(p.value) > model::server_value(s->last.value))) {
      s->last = p;
    }
  }
  ++s->count;
  if (!(p.value >= s->min) && !std::isnan(p.value)) {
    s->min = p.value;
    s->min_step = p.step;
  }
  if (!(p.value <= s->max) && !std::isnan(p.value)) {
    s->max = p.value;
    s->max_step = p.step;
  }
}

void resize(buffer::Block* block, std::size_t n) {
  block->metric.resize(n);
  block->step.resize(n);
  block->time_ms.resize(n);
  block->value.resize(n);
}

template <typename Insert>
void each_key(const buffer::Block& block, std::size_t n, const Insert& insert) {
  for (std::size_t i = 0; i < n; ++i)
    insert(key_of(block.metric[i], {block.step[i], block.time_ms[i], block.value[i]}));
}

}  // namespace

PointKey key_of(std::uint32_t metric, const model::Point& p) {
  PointKey key{metric, p.step, p.time_ms, 0x7ff8'0000'0000'0000};  // every NaN is one
  if (!std::isnan(p.value)) {
    const double value = model::server_value(p.value) + 0.0;  // -0 is 0
    std::memcpy(&key.value, &value, sizeof value);
  }
  return key;
}

void KeyTable::define(const journal::KeyDef& def) {
  if (slots.size() <= def.key) slots.resize(std::max<std::size_t>(def.key + 1, slots.size() * 2));
  KeySlot& slot = slots[def.key];
  if (slot.known) return;
  slot.run_uid = def.run;
  slot.name = def.name;
  slot.known = true;
}

void KeyTable::forget_runs() {
  for (KeySlot& slot : slots) {
    slot.run = nullptr;
    slot.metric = nullptr;
  }
}

Status Runs::load(const buffer::Reader& reader) {
  for (const auto& run : order_) {
    if (!run->owner.zero()) owners_[run->row.uid] = run->owner;
  }
  order_.clear();
  runs_.clear();
  touched_.clear();
  windowed_.clear();
  experiments_.clear();
  waiting_ = 0;
  totals_ = {};
  auto rows = reader.runs();
  if (!rows.ok()) return rows.status();
  for (model::RunRow& row : *rows) {
    auto metrics = reader.metrics(row.uid);
    if (!metrics.ok()) return metrics.status();
    RunState* run = make(row.uid);
    const std::uint64_t floor = run->row.next_seq;
    run->row = std::move(row);
    run->row.next_seq = std::max(run->row.next_seq, floor);
    run->seeded = run->row.points == 0;
    run->texts_changed = false;
    run->recovered = run->row.name == "recovered-" + run->row.uid.hex().substr(0, 8);
    index_texts(run);
    std::sort(metrics->begin(), metrics->end(), [](const auto& a, const auto& b) { return a.metric < b.metric; });
    for (buffer::MetricRow& m : *metrics) {
      // Numbers are given in order and written with their first point, so they are 0, 1, …
      if (m.metric != run->metrics.size()) {
        return Status(StatusCode::data_loss, "run " + run->row.uid.hex() + " lacks the row of a metric before \"" +
                                                 m.name + "\"; its database is damaged");
      }
      MetricState& state = *run->metrics.emplace_back(std::make_unique<MetricState>());
      state.number = m.metric;
      state.max_step = m.summary.last.step;
      state.max_time = run->row.last_ms;  // no point of the run is later
      state.summary = m.summary;
      state.name = std::move(m.name);
      run->by_name.emplace(state.name, m.metric);
    }
    totals_.accepted += run->row.points + run->row.merged + run->row.dropped;
    totals_.merged += run->row.merged;
    totals_.dropped += run->row.dropped;
    totals_.stored += run->row.points;
    rest(run);
  }
  return {};
}

RunState* Runs::find(const Uid& run) {
  const auto it = runs_.find(run);
  return it == runs_.end() ? nullptr : it->second;
}

RunState* Runs::make(const Uid& uid) {
  RunState* run = order_.emplace_back(std::make_unique<RunState>()).get();
  run->row.uid = uid;
  run->seeded = true;
  if (const auto owner = owners_.find(uid); owner != owners_.end()) run->owner = owner->second;
  if (const auto floor = floors_.find(uid); floor != floors_.end()) {
    run->row.next_seq = std::max(run->row.next_seq, floor->second);
  }
  runs_.emplace(uid, run);
  return run;
}

/// When it has ended.
void Runs::rest(RunState* run) {
  const bool open = run->row.status == RunStatus::running || run->row.status == RunStatus::scheduled;
  if (run->resting || open) return;
  run->resting = true;
  run->by_name = {};
  run->params = {};
  run->tags = {};
  run->now = {};
  run->full = {};
  run->head = {};
  run->ops = {};
  run->dirty = {};
  run->row.params.shrink_to_fit();
  run->row.tags.shrink_to_fit();
  run->metrics.shrink_to_fit();
}

void Runs::wake(RunState* run) {
  if (!run->resting) return;
  run->resting = false;
  index_texts(run);
  for (const auto& metric : run->metrics) run->by_name.emplace(metric->name, metric->number);
}

void Runs::touch(RunState* run) {
  if (run->touched) return;
  wake(run);
  run->touched = true;
  touched_.push_back(run);
}

MetricState* Runs::metric_of(RunState* run, const std::string& name) {
  wake(run);
  if (const auto it = run->by_name.find(name); it != run->by_name.end()) return run->metrics[it->second].get();
  MetricState& metric = *run->metrics.emplace_back(std::make_unique<MetricState>());
  metric.number = static_cast<std::uint32_t>(run->metrics.size() - 1);
  metric.name = name;
  metric.dirty = false;
  run->by_name.emplace(name, metric.number);
  return &metric;
}

bool Runs::resolve(KeySlot* slot, std::int64_t time_ms) {
  if (!slot->known) return false;
  slot->run = find(slot->run_uid);
  if (slot->run == nullptr) slot->run = recover(slot->run_uid, time_ms);
  slot->metric = metric_of(slot->run, slot->name);
  return true;
}

void Runs::index(RunState* run) {
  if (!run->before_indexed) {
    const auto remember = [run](const PointKey& key) { run->before.insert(key); };
    for (const buffer::Block& block : run->previous) each_key(block, block.size(), remember);
    if (!run->seeded && history_ != nullptr) {
      const std::uint64_t from = run->row.next_seq > kHistory ? run->row.next_seq - kHistory : 1;
      const Status s = history_->scan(run->row.uid, from,
                                      [&](const buffer::Record& record) {
                                        if (record.is_block) each_key(record.block, record.block.size(), remember);
                                        return true;
                                      },
                                      {});
      if (!s.ok()) base::log(base::LogLevel::warn, "looking back for merged points: " + s.to_string());
    }
    run->seeded = true;
    run->previous.clear();
    run->before_indexed = true;
  }
  const auto remember = [run](const PointKey& key) { run->now.insert(key); };
  for (const buffer::Block& block : run->full) each_key(block, block.size(), remember);
  each_key(run->open, run->filled, remember);
  run->indexed = true;
}

// NOLINTBEGIN(clang-analyzer-core.NullDereference): a slot that is resolved has its run and metric
bool Runs::merges(RunState* run, const MetricState& metric, const model::Point& p) {
  if (!run->indexed) index(run);
  const PointKey key = key_of(metric.number, p);
  return !run->now.insert(key).second || run->before.contains(key);
}

void Runs::grow(RunState* run) {
  if (run->filled == kBlockPoints) {
    run->full.push_back(std::move(run->open));
    run->open = {};
    run->filled = 0;
    resize(&run->open, kBlockPoints);
    return;
  }
  resize(&run->open, std::min(kBlockPoints, std::max(kFirstColumn, run->filled * 2)));
}

void Runs::add_points(const std::vector<journal::KeyedPoint>& points, KeyTable& keys, bool over_quota) {
  KeySlot* const slots = keys.slots.data();
  const std::size_t known = keys.slots.size();
  RunState* run = nullptr;
  std::uint64_t merged = 0, dropped = 0, invalid = 0, kept = 0;
  for (const journal::KeyedPoint& kp : points) {
    if (kp.key >= known || (slots[kp.key].metric == nullptr && !resolve(&slots[kp.key], kp.point.time_ms))) {
      ++invalid;
      continue;
    }
    const KeySlot& slot = slots[kp.key];
    if (slot.run != run) {
      run = slot.run;
      touch(run);
    }
    if (over_quota) [[unlikely]] {
      ++run->row.dropped;
      ++dropped;
      continue;
    }
    const model::Point& p = kp.point;
    MetricState& m = *slot.metric;
    const bool beyond = p.step > m.max_step || p.time_ms > m.max_time;
    if (!beyond || run->indexed) [[unlikely]] {
      if (merges(run, m, p)) {
        ++run->row.merged;
        ++merged;
        continue;
      }
    }
    if (p.step > m.max_step) m.max_step = p.step;
    if (p.time_ms > m.max_time) {
      m.max_time = p.time_ms;
      if (p.time_ms > run->row.last_ms) run->row.last_ms = p.time_ms;
    }
    add_to(&m.summary, p);
    if (!m.dirty) {
      m.dirty = true;
      run->dirty.push_back(&m);
    }
    buffer::Block& block = run->open;
    if (run->filled == block.metric.size()) [[unlikely]]
      grow(run);
    const std::size_t at = run->filled++;
    block.metric[at] = m.number;
    block.step[at] = p.step;
    block.time_ms[at] = p.time_ms;
    block.value[at] = p.value;
    ++kept;
  }
  waiting_ += kept;
  totals_.accepted += points.size() - invalid;
  totals_.merged += merged;
  totals_.dropped += dropped;
  dropped_quota_ += dropped;
  dropped_invalid_ += invalid;
}
// NOLINTEND(clang-analyzer-core.NullDereference)

void Runs::pack(std::uint64_t beat_number, buffer::Beat* beat) {
  beat->beat = beat_number;
  beat->experiments = std::move(experiments_);
  experiments_.clear();
  for (RunState* run : touched_) {
    if (run->filled > 0) {
      resize(&run->open, run->filled);
      run->full.push_back(std::move(run->open));
      run->open = {};
      run->filled = 0;
    }
    std::vector<buffer::Record> ops;
    ops.reserve(run->head.size() + run->ops.size());
    const auto number = [&](std::vector<model::Op>* from) {
      for (model::Op& op : *from) {
        buffer::Record record;
        record.seq = run->row.next_seq++;
        record.beat = beat_number;
        record.op = std::move(op);
        ops.push_back(std::move(record));
      }
      from->clear();
    };
    number(&run->head);
    run->had_points = !run->full.empty() || run->indexed;
    for (buffer::Block& block : run->full) {
      block.first_seq = run->row.next_seq;
      block.beat = beat_number;
      run->row.next_seq += block.size();
      run->row.points += block.size();
      totals_.stored += block.size();
    }
    number(&run->ops);
    const std::size_t parts = std::max<std::size_t>(1, run->full.size());
    for (std::size_t i = 0; i < parts; ++i) {
      buffer::Beat::RunPart& part = beat->runs.emplace_back();
      const bool last = i + 1 == parts;
      if (i < run->full.size()) part.block = std::move(run->full[i]);
      if (!last) {  // the row goes with the last part; the buffer writes what it is given, in order
        part.row = row_without_texts(run->row);
        part.texts_unchanged = true;
        continue;
      }
      part.texts_unchanged = !run->texts_changed;
      part.row = run->texts_changed ? run->row : row_without_texts(run->row);
      part.ops = std::move(ops);  // NOLINT(bugprone-use-after-move): the last part
      part.metrics.reserve(run->dirty.size());
      for (MetricState* m : run->dirty) {
        part.metrics.push_back({m->number, m->name, m->summary});
        m->dirty = false;
      }
      run->dirty.clear();
    }
    run->full.clear();
    run->texts_changed = false;
  }
  waiting_ = 0;
}

void Runs::written(buffer::Beat&& beat) {
  for (RunState* run : windowed_) {
    if (run->touched) continue;
    run->previous = {};
    run->before = {};
    run->before_indexed = false;
    rest(run);
  }
  windowed_.clear();
  for (RunState* run : touched_) {
    run->touched = false;
    windowed_.push_back(run);
    if (!run->had_points) continue;  // the window is that of the beat before
    run->had_points = false;
    run->previous.clear();
    run->before.clear();
    run->before_indexed = run->indexed;
    if (run->indexed) run->before.swap(run->now);
    run->now.clear();
    run->indexed = false;
    run->seeded = true;
  }
  touched_.clear();
  for (buffer::Beat::RunPart& part : beat.runs) {
    if (part.block.size() == 0) continue;
    RunState* run = find(part.row.uid);
    if (run != nullptr && !run->before_indexed) run->previous.push_back(std::move(part.block));
  }
}

}  // namespace mlops::drain
