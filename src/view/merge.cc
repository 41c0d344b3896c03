#include "view/merge.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace mlops::view {
namespace {

// MLflow's "latest": greatest (step, time, value).
bool later(const model::Point& a, const model::Point& b) {
  if (a.step != b.step) return a.step > b.step;
  if (a.time_ms != b.time_ms) return a.time_ms > b.time_ms;
  return a.value > b.value;
}

MetricSummary summary_of(buffer::MetricRow&& row) {
  MetricSummary m;
  m.name = std::move(row.name);
  m.count = row.summary.count;
  m.last = row.summary.last.value;
  m.last_step = row.summary.last.step;
  m.last_time_ms = row.summary.last.time_ms;
  m.min = row.summary.min;
  m.max = row.summary.max;
  m.min_step = row.summary.min_step;
  m.max_step = row.summary.max_step;
  return m;
}

void join(const MetricSummary& from, MetricSummary* into) {
  if (later({from.last_step, from.last_time_ms, from.last}, {into->last_step, into->last_time_ms, into->last})) {
    into->last = from.last;
    into->last_step = from.last_step;
    into->last_time_ms = from.last_time_ms;
  }
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

// By name, both of them.
void join(std::vector<MetricSummary> from, std::vector<MetricSummary>* into) {
  std::vector<MetricSummary> out;
  out.reserve(into->size() + from.size());
  auto a = into->begin(), b = from.begin();
  while (a != into->end() || b != from.end()) {
    if (b == from.end() || (a != into->end() && a->name < b->name)) {
      out.push_back(std::move(*a++));
    } else if (a == into->end() || b->name < a->name) {
      out.push_back(std::move(*b++));
    } else {
      join(*b++, &*a);
      out.push_back(std::move(*a++));
    }
  }
  *into = std::move(out);
}

void join(Pairs&& from, Pairs* into) {
  const std::size_t known = into->size();
  for (auto& pair : from) {
    const auto end = into->begin() + static_cast<std::ptrdiff_t>(known);
    const bool there = std::any_of(into->begin(), end, [&](const auto& p) { return p.first == pair.first; });
    if (!there) into->push_back(std::move(pair));
  }
}

RunSummary run_of(Part&& part) {
  model::RunRow& row = part.row;
  RunSummary out;
  out.id = row.uid.hex();
  out.experiment = std::move(row.experiment);
  out.name = std::move(row.name);
  if (!row.parent.zero()) out.parent_id = row.parent.hex();
  out.status = row.status;
  out.left_open = row.left_open;
  out.deleted = row.deleted;
  // A run that was left open is nobody's, whoever has its slot now.
  out.live = part.alive && row.status == RunStatus::running && !row.left_open;
  out.start_ms = row.start_ms;
  out.end_ms = row.status == RunStatus::running ? 0 : row.end_ms;
  out.points = row.points;
  out.params = std::move(row.params);
  out.tags = std::move(row.tags);
  out.metrics.reserve(part.metrics.size());
  for (buffer::MetricRow& m : part.metrics) {
    if (m.summary.count != 0) out.metrics.push_back(summary_of(std::move(m)));
  }
  std::sort(out.metrics.begin(), out.metrics.end(),
            [](const MetricSummary& a, const MetricSummary& b) { return a.name < b.name; });
  return out;
}

// What is the owner's stays; what adds up is added.
void join(RunSummary&& from, RunSummary* into) {
  into->points += from.points;
  into->live = into->live || from.live;
  join(std::move(from.params), &into->params);
  join(std::move(from.tags), &into->tags);
  join(std::move(from.metrics), &into->metrics);
  if (into->server_id.empty()) into->server_id = std::move(from.server_id);
}

std::uint64_t number(const std::string& text) {
  std::uint64_t out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

}  // namespace

void Merger::add(Part part, std::string server_id) {
  const bool owner = !part.row.attached;
  const std::int64_t lifecycle_ms = part.row.lifecycle_ms;
  RunSummary run = run_of(std::move(part));
  run.server_id = std::move(server_id);
  const auto [place, fresh] = places_.emplace(run.id, runs_.size());
  if (fresh) {
    runs_.push_back({std::move(run), owner, lifecycle_ms});
    return;
  }
  Merged& known = runs_[place->second];
  const bool deleted = lifecycle_ms > known.lifecycle_ms ? run.deleted : known.run.deleted;
  known.lifecycle_ms = std::max(known.lifecycle_ms, lifecycle_ms);
  if (owner && !known.owned) {
    std::swap(known.run, run);
    known.owned = true;
  }
  join(std::move(run), &known.run);
  known.run.deleted = deleted;
}

std::vector<RunSummary> Merger::take() {
  std::vector<RunSummary> out;
  out.reserve(runs_.size());
  for (Merged& merged : runs_) out.push_back(std::move(merged.run));
  runs_.clear();
  places_.clear();
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
  out->reached = out->reached || snapshot.answered();
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
  for (const auto& [uid, place] : snapshot.artifacts) {
    out->files_delivered += place.files;
    out->file_bytes_delivered += place.bytes;
    out->dead_letters += place.dead;
  }
  out->files_waiting += snapshot.live.files_waiting;  // as of the last deliverer
  out->file_bytes_waiting += snapshot.live.file_bytes_waiting;
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

}  // namespace mlops::view
