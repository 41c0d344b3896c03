#include "view/merge.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <tuple>

#include "base/file.h"

namespace mlops::view {
namespace {

// MLflow's "latest": greatest (step, time, value).
bool later(const model::Point& a, const model::Point& b) {
  if (a.step != b.step) return a.step > b.step;
  if (a.time_ms != b.time_ms) return a.time_ms > b.time_ms;
  return a.value > b.value;
}

void join(const model::Summary& from, model::Summary* into) {
  if (from.count == 0) return;
  if (into->count == 0) {
    *into = from;
    return;
  }
  if (later(from.last, into->last)) into->last = from.last;
  if (std::isnan(into->min) || from.min < into->min) {
    into->min = from.min;
    into->min_step = from.min_step;
  }
  if (std::isnan(into->max) || from.max > into->max) {
    into->max = from.max;
    into->max_step = from.max_step;
  }
  into->count += from.count;
}

void join(const Pairs& from, Pairs* into) {
  for (const auto& pair : from) {
    const bool known = std::any_of(into->begin(), into->end(), [&](const auto& p) { return p.first == pair.first; });
    if (!known) into->push_back(pair);
  }
}

std::uint64_t number(const std::string& text) {
  std::uint64_t out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

}  // namespace

RunSummary merge_run(const std::vector<const Part*>& parts, std::string server_id) {
  const model::RunRow& owner = parts.front()->row;
  RunSummary out;
  out.id = owner.uid.hex();
  out.server_id = std::move(server_id);
  out.experiment = owner.experiment;
  out.name = owner.name;
  if (!owner.parent.zero()) out.parent_id = owner.parent.hex();
  out.status = owner.status;
  out.start_ms = owner.start_ms;
  out.end_ms = owner.status == RunStatus::running ? 0 : owner.end_ms;
  std::map<std::string, model::Summary> metrics;
  std::int64_t lifecycle_ms = 0;  // the newest word wins, whoever said it
  for (const Part* part : parts) {
    if (part->row.lifecycle_ms > lifecycle_ms) {
      lifecycle_ms = part->row.lifecycle_ms;
      out.deleted = part->row.deleted;
    }
    out.points += part->row.points;
    out.live = out.live || (part->alive && part->row.status == RunStatus::running);
    join(part->row.params, &out.params);
    join(part->row.tags, &out.tags);
    for (const buffer::MetricRow& m : part->metrics) join(m.summary, &metrics[m.name]);
  }
  for (const auto& [name, s] : metrics) {
    if (s.count == 0) continue;
    MetricSummary m;
    m.name = name;
    m.count = s.count;
    m.last = s.last.value;
    m.last_step = s.last.step;
    m.last_time_ms = s.last.time_ms;
    m.min = s.min;
    m.max = s.max;
    m.min_step = s.min_step;
    m.max_step = s.max_step;
    out.metrics.push_back(std::move(m));
  }
  return out;
}

void add_counters(const buffer::SlotCounters& counters, Health* out) {
  out->accepted += counters.accepted;
  out->merged += counters.merged;
  out->buffered += counters.buffered;
  out->durable += counters.durable;
  for (const auto& [reason, count] : counters.dropped) {
    if (const std::uint64_t n = number(count); n != 0) out->dropped[reason] += n;
  }
}

void add_ledger(const ledger::Ledger::Snapshot& snapshot, const std::vector<const model::RunRow*>& rows,
                DestinationHealth* out) {
  out->name = snapshot.destination.name;
  out->uri = snapshot.destination.uri;
  for (const model::RunRow* row : rows) {
    const auto lane = snapshot.lanes.find(row->uid);
    std::uint64_t done = 0;
    if (lane != snapshot.lanes.end()) {
      done = lane->second.delivered + lane->second.dead_points;
      if (!lane->second.parked.empty() && out->last_error.ok()) {
        out->last_error = Status(StatusCode::failed_precondition, lane->second.parked);
        out->state = LaneState::parked;
      }
    }
    if (row->points > done) out->waiting += row->points - done;
  }
  for (const auto& [uid, lane] : snapshot.lanes) {
    out->delivered += lane.delivered;
    out->dead_letters += lane.dead;
    out->dropped += lane.dead_points;
  }
  out->retries += snapshot.live.retries;
  out->requests += snapshot.live.requests;
  out->bytes_sent += snapshot.live.bytes_sent;
  out->lag_seconds = std::max(out->lag_seconds, snapshot.live.lag_seconds);
  if (snapshot.held) {
    const auto state = static_cast<LaneState>(snapshot.live.state);
    if (state > out->state) out->state = state;
  }
  if (out->last_error.ok() && snapshot.live.error_code != 0) {
    out->last_error = Status(static_cast<StatusCode>(snapshot.live.error_code), snapshot.live.error);
  }
}

Status read_points(const std::string& slot_dir, const base::Uid& run, std::string_view metric,
                   std::vector<model::Point>* out) {
  Result<std::string> scratch = make_scratch();
  if (!scratch.ok()) return scratch.status();
  Result<std::unique_ptr<buffer::Reader>> reader = buffer::open_secondary(slot_dir, *scratch);
  if (!reader.ok()) {
    base::remove_tree(*scratch).ignore();
    return reader.status();
  }
  Status result;
  Result<std::vector<buffer::MetricRow>> metrics = (*reader)->metrics(run);
  if (!metrics.ok()) {
    result = metrics.status().code() == StatusCode::not_found ? Status() : metrics.status();
  } else {
    for (const buffer::MetricRow& row : *metrics) {
      if (row.name != metric) continue;
      Status damaged;
      result = (*reader)->scan(
          run, 0,
          [&](const buffer::Record& record) {
            if (!record.is_block) return true;
            const buffer::Block& b = record.block;
            for (std::size_t i = 0; i < b.size(); ++i) {
              if (b.metric[i] == row.metric) out->push_back({b.step[i], b.time_ms[i], b.value[i]});
            }
            return true;
          },
          [&](std::uint64_t, std::uint64_t, const Status& why) { damaged = why; });
      if (result.ok()) result = damaged;
      break;
    }
  }
  reader->reset();
  base::remove_tree(*scratch).ignore();
  return result;
}

}  // namespace mlops::view
