// RunLane: inputs, the points of its models, and which window is about what. Each is sent as often as it takes: a
// server takes a dataset and a model's points twice, and for the others what is there is read first.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/base.h"
#include "model/dataset.h"
#include "model/limits.h"
#include "sync/answers.h"
#include "sync/inputs.h"
#include "sync/run_lane.h"

namespace mlops::sync {

using mlflow::Verdict;

namespace {

constexpr std::int64_t kInputPollMs = 50;

double value_of(const model::Op& op) {
  double v = std::nan("");
  std::from_chars(op.value.data(), op.value.data() + op.value.size(), v);
  return v;
}

std::string_view find(const Pairs& pairs, std::string_view key) {
  for (const auto& pair : pairs) {
    if (pair.first == key) return pair.second;
  }
  return {};
}

}  // namespace

RunLane::Answer RunLane::send_alone(Remote& remote) {
  const model::Op& op = *window_.alone;
  switch (op.kind) {
    case model::OpKind::input:
      return op.key.empty() ? send_model_input(remote, op) : send_input(remote, op);
    case model::OpKind::model:
      return send_model(remote, op);
    case model::OpKind::model_change:
      return send_model_change(remote, op);
    case model::OpKind::output:
      return send_output(remote, op);
    default:
      return send_model_end(op);
  }
}

/// Not a word of the server's: this lane comes back in a while.
RunLane::Answer RunLane::later(std::int64_t ms) {
  wait_ms_ = ms;
  Answer answer;
  answer.verdict = Verdict::ambiguous;
  return answer;
}

/// The server would not take a record that is not counted in points.
RunLane::Answer RunLane::refuse(std::uint64_t seq, std::string what, std::string why) {
  Status status = bury(seq, 1, 0, std::move(what), std::move(why));
  return status.ok() ? Answer() : local_failure(std::move(status));
}

RunLane::Answer RunLane::send_input(Remote& remote, const model::Op& input) {
  const std::string what = "dataset " + input.key;
  Result<mlflow::DatasetInput> dataset = read_dataset(*shared_, input);
  if (!dataset.ok()) {
    if (dataset.status().code() == StatusCode::unavailable) return later(kInputPollMs);
    return refuse(window_.alone_seq, what, std::string(dataset.status().message()));
  }
  MLOPS_POINT("sync.before_input");
  Answer answer = call(0, [&] { return remote.models().log_dataset(state_.server_id, *dataset); });
  if (answer.verdict == Verdict::duplicate) {  // two first writers: it may be this run's by now, or be sent again
    mlflow::RunLinks links;
    Answer read = call(0, [&] { return remote.models().run_links(state_.server_id, &links); });
    if (read.verdict != Verdict::ok) return read;
    const auto same = [&](const auto& have) { return have.first == dataset->name && have.second == dataset->digest; };
    if (std::any_of(links.datasets.begin(), links.datasets.end(), same)) return Answer();
    answer.verdict = Verdict::ambiguous;
    return answer;
  }
  if (answer.verdict == Verdict::ok || (waits(answer) && answer.verdict != Verdict::unsupported)) return answer;
  return refuse(window_.alone_seq, what, std::string(answer.status.message()));
}

RunLane::Answer RunLane::send_model_input(Remote& remote, const model::Op& input) {
  std::string id = input.value;
  if (id.empty()) {
    Named named;
    Answer answer = name_model(remote, input.parent, &named);
    if (answer.verdict != Verdict::ok) return answer;
    if (!named.refused.empty()) return refuse(window_.alone_seq, "a model as an input", named.refused);
    if (named.server_id.empty()) return Answer();
    id = named.server_id;
  }
  Answer answer = call(0, [&] { return remote.models().log_model_input(state_.server_id, id); });
  if (answer.verdict == Verdict::unsupported) return Answer();
  if (answer.verdict == Verdict::ok || waits(answer)) return answer;
  return refuse(window_.alone_seq, "model " + id + " as an input", std::string(answer.status.message()));
}

/// NaN apart: servers before 3.17.2 refuse the whole request when it is there already.
RunLane::Answer RunLane::send_model_metrics(Remote& remote) {
  std::vector<std::size_t> together;
  std::vector<std::vector<std::size_t>> requests;
  model_ids_.clear();
  for (std::size_t i = 0; i < window_.model_metrics.size(); ++i) {
    const model::Op& op = window_.model_metrics[i];
    Named named;
    Answer answer = name_model(remote, op.parent, &named);
    if (answer.verdict != Verdict::ok) return answer;
    if (!named.refused.empty() && !shared_->ledger->model(op.parent)) {  // of another slot, and nobody delivers it
      answer = refuse(window_.model_metric_seqs[i], "metric " + op.key + " of a logged model", named.refused);
      if (answer.verdict != Verdict::ok) return answer;
    }
    model_ids_.push_back(named.server_id);
    if (model_ids_.back().empty()) continue;  // refused, or no such thing here: the run has the point
    if (std::isnan(value_of(op))) {
      requests.push_back({i});
    } else {
      together.push_back(i);
    }
  }
  if (!together.empty()) requests.push_back(std::move(together));
  for (const std::vector<std::size_t>& which : requests) {
    Answer answer = send_model_points(remote, which);
    if (answer.verdict != Verdict::ok) return answer;
  }
  return Answer();
}

RunLane::Answer RunLane::send_model_points(Remote& remote, const std::vector<std::size_t>& which) {
  std::vector<mlflow::ModelPoint> points;
  for (const std::size_t i : which) {
    const model::Op& op = window_.model_metrics[i];
    mlflow::ModelPoint& p = points.emplace_back();
    p.key = op.key;
    p.point = {op.number, op.time_ms, value_of(op)};
    p.model_id = model_ids_[i];
    p.dataset_name = find(op.pairs, model::kDatasetName);
    p.dataset_digest = find(op.pairs, model::kDatasetDigest);
  }
  MLOPS_POINT("sync.before_model_metrics");
  Answer answer = call(0, [&] { return remote.models().log_model_metrics(state_.server_id, points); });
  if (answer.verdict == Verdict::ok || waits(answer)) return answer;
  if (which.size() > 1) {
    const auto middle = which.begin() + static_cast<std::ptrdiff_t>(which.size() / 2);
    Answer left = send_model_points(remote, {which.begin(), middle});
    if (left.verdict != Verdict::ok) return left;
    return send_model_points(remote, {middle, which.end()});
  }
  if (answer.verdict == Verdict::duplicate) {
    std::vector<model::Point> history;
    Answer read = call(0, [&] { return remote.metric_history(state_.server_id, points[0].key, &history); });
    if (read.verdict != Verdict::ok) return read;
    const auto same = [&](const model::Point& p) { return model::same_on_server(p, points[0].point); };
    if (std::any_of(history.begin(), history.end(), same)) return Answer();
    answer.verdict = Verdict::ambiguous;
    return answer;
  }
  return refuse(window_.model_metric_seqs[which[0]], "metric " + std::string(points[0].key) + " of a logged model",
                std::string(answer.status.message()));
}

}  // namespace mlops::sync
