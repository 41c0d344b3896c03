// Window: gathering. The cost per point is a copy of its columns and a sum of its size.
#include "sync/window.h"

#include <algorithm>
#include <charconv>

#include "model/limits.h"

namespace mlops::sync {
namespace {

constexpr std::size_t kStockPoints = 4'000;  // read ahead: a few windows
constexpr std::size_t kStockOps = 512;
constexpr std::size_t kDeletes = 20;        // one request each
constexpr std::uint64_t kStartWithin = 64;  // a run begins with its start; children may have slipped points in front
constexpr std::size_t kBodyFrame = 512;     // run id, field names, watermark

std::size_t text_size(const std::string& key, const std::string& value) {
  return key.size() + value.size() + value.size() / 8 + 40;  // a few escapes; the cap is far below any server's limit
}

}  // namespace

void Window::clear() {
  std::vector<mlflow::MetricPoint> kept_points = std::move(points);  // their memory serves the next window
  std::vector<std::uint64_t> kept_seqs = std::move(seqs);
  *this = Window{};
  kept_points.clear();
  kept_seqs.clear();
  points = std::move(kept_points);
  seqs = std::move(kept_seqs);
}

void Gatherer::release() { std::deque<Item>().swap(stock_); }

Status Gatherer::fill(std::uint64_t from, std::uint64_t durable_beat) {
  // What the cursor passed is no longer needed.
  while (!stock_.empty() && stock_.front().record.seq + stock_.front().record.count <= from) stock_.pop_front();
  std::size_t points = 0, ops = 0;
  for (const Item& item : stock_) {
    if (item.record.is_block) {
      points += item.record.seq < from ? item.record.seq + item.record.count - from : item.record.count;
    } else {
      ++ops;
    }
  }
  if (points >= model::kBatchPoints || ops >= model::kBatchParams) return Status();
  const std::uint64_t next = stock_.empty() ? from : stock_.back().record.seq + stock_.back().record.count;
  bool beyond = false;
  auto take = [&](const buffer::Record& record) {
    if (record.beat > durable_beat) {
      beyond = true;
      return false;
    }
    stock_.push_back(Item{record, false, std::string()});
    if (record.is_block) {
      points += record.count;
    } else {
      ++ops;
    }
    return points < kStockPoints && ops < kStockOps;
  };
  auto damaged = [&](std::uint64_t seq, std::uint64_t count, const Status& why) {
    if (beyond) return;
    Item item;
    item.record.seq = seq;
    item.record.count = std::max<std::uint64_t>(1, count);
    item.record.is_block = true;
    item.damaged = true;
    item.reason = std::string(why.message());
    stock_.push_back(std::move(item));
  };
  return reader_->scan(run_, next, take, damaged);
}

Status Gatherer::name_of(std::uint32_t metric, std::string_view* out) {
  if (metric >= known_.size() || !known_[metric]) {
    Result<std::vector<buffer::MetricRow>> rows = reader_->metrics(run_);
    if (!rows.ok()) return rows.status();
    for (const buffer::MetricRow& row : *rows) {
      if (row.metric >= (1u << 24)) continue;  // damaged: no run has that many
      while (names_.size() <= row.metric) names_.emplace_back();
      if (known_.size() <= row.metric) known_.resize(row.metric + 1, false);
      if (!known_[row.metric]) names_[row.metric] = row.name;  // never moved: windows point into it
      known_[row.metric] = true;
    }
  }
  if (metric >= known_.size() || !known_[metric]) {
    *out = std::string_view();
    return Status();
  }
  *out = names_[metric];
  return Status();
}

bool Gatherer::take_points(const Item& item, std::uint64_t from, const Limits& limits, const DeadMarks& dead,
                           Window* out, std::size_t* bytes, Status* status) {
  const buffer::Block& block = item.record.block;
  const std::size_t n = std::min<std::size_t>(block.size(), item.record.count);
  std::size_t i = from > item.record.seq ? static_cast<std::size_t>(from - item.record.seq) : 0;
  for (; i < n; ++i) {
    const std::uint64_t seq = item.record.seq + i;
    if (seq < limits.skip_points_below || (!dead.empty() && dead.count(seq) != 0)) {
      ++out->all_points;
      out->end = seq + 1;
      continue;
    }
    mlflow::MetricPoint point;
    *status = name_of(block.metric[i], &point.key);
    if (!status->ok()) return false;
    point.point.step = block.step[i];
    point.point.time_ms = block.time_ms[i];
    point.point.value = block.value[i];
    const std::size_t size = mlflow::encoded_size(point);
    if (out->points.size() >= limits.max_points || (!out->points.empty() && *bytes + size > limits.max_bytes)) {
      return false;
    }
    if (out->first_ms == 0) out->first_ms = point.point.time_ms;
    *bytes += size;
    out->points.push_back(point);
    out->seqs.push_back(seq);
    ++out->all_points;
    out->end = seq + 1;
  }
  out->end = item.record.seq + item.record.count;
  return true;
}

bool Gatherer::take_op(const Item& item, const Limits& limits, Window* out, std::size_t* bytes) {
  const model::Op& op = item.record.op;
  const std::uint64_t seq = item.record.seq;
  const std::uint64_t next = seq + item.record.count;
  auto room = [&](std::size_t size) {
    const bool first = out->params.empty() && out->tags.empty();
    if (!first && *bytes + size > limits.max_bytes) return false;
    *bytes += size;
    return true;
  };
  // The last word about a tag wins, wherever the earlier one stands in this window.
  auto set_tag = [&](const std::string& key, const std::string& value) {
    std::erase_if(out->deletes, [&](const Text& t) { return t.key == key; });
    std::erase_if(out->tags, [&](const Text& t) { return t.key == key; });
    out->tags.push_back(Text{seq, key, value});
  };
  switch (op.kind) {
    case model::OpKind::param:
      for (const Text& have : out->params) {
        if (have.key != op.key) continue;
        if (have.value != op.value)
          return false;  // the same key twice in one request is refused: let the server say which
        out->end = next;
        return true;
      }
      if (out->params.size() >= model::kBatchParams || !room(text_size(op.key, op.value))) return false;
      out->params.push_back(Text{seq, op.key, op.value});
      break;
    case model::OpKind::set_tag:
      if (out->tags.size() >= model::kBatchTags || !room(text_size(op.key, op.value))) return false;
      set_tag(op.key, op.value);
      break;
    case model::OpKind::delete_tag:
      if (out->deletes.size() >= kDeletes) return false;
      std::erase_if(out->tags, [&](const Text& t) { return t.key == op.key; });
      std::erase_if(out->deletes, [&](const Text& t) { return t.key == op.key; });
      out->deletes.push_back(Text{seq, op.key, std::string()});
      break;
    case model::OpKind::run_name:
      out->name = Text{seq, std::string(), op.value};
      break;
    case model::OpKind::run_start:
      if (op.number > 1 && !limits.attached) {  // the first one's tags travel in runs/create
        if (out->tags.size() + op.pairs.size() > model::kBatchTags && !out->tags.empty()) return false;
        std::size_t size = 0;
        for (const auto& pair : op.pairs) size += text_size(pair.first, pair.second);
        if (!room(size)) return false;
        for (const auto& pair : op.pairs) set_tag(pair.first, pair.second);
        out->reopen = true;
        out->start_seq = seq;
      }
      break;
    case model::OpKind::run_end: {
      std::uint64_t start = 0;
      std::from_chars(op.key.data(), op.key.data() + op.key.size(), start);
      if (!limits.attached && start == limits.starts) {
        if (limits.files_there && !limits.files_there(op.ticket)) {  // it ends on the server when its files are there
          out->held = true;
          return false;
        }
        out->ends = true;
        out->end_seq = seq;
        out->end_status = static_cast<RunStatus>(op.number);
        out->end_ms = op.time_ms;
      }
      break;
    }
    case model::OpKind::lifecycle:
      if (!out->empty()) return false;
      out->lifecycle = true;
      out->lifecycle_seq = seq;
      out->deleted = op.number != 0;
      break;
    case model::OpKind::input:
    case model::OpKind::model:
    case model::OpKind::model_end:
    case model::OpKind::model_change:
    case model::OpKind::output:
      if (!out->empty()) return false;
      out->alone = op;
      out->alone_seq = seq;
      break;
    case model::OpKind::model_metric:
      if (out->model_metrics.size() >= model::kResendPoints) return false;
      out->model_metrics.push_back(op);
      out->model_metric_seqs.push_back(seq);
      break;
    case model::OpKind::run_attach:
    case model::OpKind::run_detach:
    case model::OpKind::run_leave:
    case model::OpKind::experiment:
    case model::OpKind::artifact:
    case model::OpKind::registry:
      break;  // nothing on the server
  }
  if (out->first_ms == 0) out->first_ms = op.time_ms;
  out->end = next;
  return true;
}

Status Gatherer::gather(std::uint64_t from, const Limits& limits, const DeadMarks& dead, Window* out,
                        std::vector<Damage>* damaged) {
  out->clear();
  out->begin = out->end = from;
  Status status = fill(from, limits.durable_beat);
  if (!status.ok()) return status;
  std::size_t bytes = kBodyFrame, op_bytes = kBodyFrame;
  for (const Item& item : stock_) {
    if (item.record.seq + item.record.count <= from) continue;
    if (item.damaged) {
      if (dead.count(item.record.seq) == 0) {
        damaged->push_back(Damage{item.record.seq, item.record.count, item.reason});
      }
      out->all_points += item.record.count;
      out->end = item.record.seq + item.record.count;
      continue;
    }
    if (item.record.is_block) {
      if (!take_points(item, from, limits, dead, out, &bytes, &status)) break;
    } else if (dead.count(item.record.seq) != 0) {
      out->end = item.record.seq + item.record.count;
    } else if (!take_op(item, limits, out, &op_bytes)) {
      break;
    }
    if (out->ends || out->lifecycle || out->alone) break;
  }
  return status;
}

bool Gatherer::one(std::uint64_t seq, const Limits& limits, Window* out, std::string* reason) {
  out->clear();
  out->begin = out->end = seq;
  *reason = "the record is not in the buffer any more; `mlops stuck drop` gives it up for good";
  Item item;
  bool found = false;
  const Status scanned = reader_->scan(
      run_, seq,
      [&](const buffer::Record& record) {
        found = record.seq <= seq && seq < record.seq + record.count;
        if (found) item.record = record;
        return false;
      },
      [&](std::uint64_t, std::uint64_t, const Status& why) { *reason = std::string(why.message()); });
  if (!scanned.ok() || !found) return false;
  if (!item.record.is_block) {
    std::size_t bytes = 0;
    return take_op(item, limits, out, &bytes);
  }
  Limits single = limits;
  single.skip_points_below = 0;
  single.max_points = 1;
  single.max_bytes = SIZE_MAX;
  std::size_t bytes = 0;
  Status status;
  take_points(item, seq, single, {}, out, &bytes, &status);
  return status.ok() && !out->points.empty();
}

Status Gatherer::find_start(std::uint64_t durable_beat, model::Op* out, bool* found) const {
  *found = false;
  std::uint64_t seen = 0;
  auto take = [&](const buffer::Record& record) {
    if (record.beat > durable_beat || ++seen > kStartWithin) return false;
    if (!record.is_block &&
        (record.op.kind == model::OpKind::run_start || record.op.kind == model::OpKind::run_attach)) {
      *out = record.op;
      *found = true;
      return false;
    }
    return true;
  };
  return reader_->scan(run_, 0, take, [](std::uint64_t, std::uint64_t, const Status&) {});
}

}  // namespace mlops::sync
