// Lane, its second half: a window goes to the server. Kinds are not mixed in a request, but for the watermark tag
// beside points. A record that the server refuses is found by halving and buried; the others go on.
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/base.h"
#include "model/limits.h"
#include "sync/answers.h"
#include "sync/run_lane.h"

namespace mlops::sync {

using mlflow::MetricPoint;
using mlflow::Verdict;

namespace {

std::string point_words(const MetricPoint& p) {
  return "metric " + std::string(p.key) + " step " + std::to_string(p.point.step) + " value " +
         model::format_double(p.point.value);
}

}  // namespace

/// A 413 teaches the largest body; one that is about a single record says nothing about the others.
void RunLane::learn_cap(const Pairs& pairs) {
  std::size_t bytes = 0;
  for (const auto& pair : pairs) bytes += pair.first.size() + pair.second.size() + 40;
  if (pairs.size() > 1) shared_->halve_body(bytes);
}

bool RunLane::resending() const {
  return resend_points_ > 0 || (state_.in_flight != 0 && window_.begin < state_.in_flight);
}

RunLane::Answer RunLane::send(Remote& remote) {
  if (window_.alone) return send_alone(remote);
  if (!window_.points.empty()) {
    Answer answer = send_points(remote);
    if (answer.verdict != Verdict::ok) return answer;
    state_.watermark = std::max(state_.watermark, window_.end);  // should a later part fail: these are done
  }
  if (!window_.params.empty()) {
    Answer answer = send_params(remote, window_.params, false);
    if (answer.verdict != Verdict::ok) return answer;
  }
  if (!window_.tags.empty()) {
    Answer answer = send_tags(remote, window_.tags);
    if (answer.verdict != Verdict::ok) return answer;
  }
  for (const Text& t : window_.deletes) {
    Answer answer = call(0, [&] { return remote.delete_tag(state_.server_id, t.key); });
    if (answer.verdict == Verdict::rejected) {
      Status status = bury(t.seq, 1, 0, "deletion of tag " + t.key, std::string(answer.status.message()));
      if (!status.ok()) return local_failure(std::move(status));
    } else if (answer.verdict != Verdict::ok) {
      return answer;
    }
  }
  if (!window_.model_metrics.empty()) {
    Answer answer = send_model_metrics(remote);
    if (answer.verdict != Verdict::ok) return answer;
  }
  return send_state(remote);
}

RunLane::Answer RunLane::send_state(Remote& remote) {
  auto update = [&](RunStatus status, std::int64_t end_ms, const std::string& name, std::uint64_t seq,
                    const std::string& what) {
    Answer answer = call(0, [&] { return remote.update_run(state_.server_id, status, end_ms, name); });
    if (answer.verdict == Verdict::rejected) {
      Status buried = bury(seq, 1, 0, what, std::string(answer.status.message()));
      answer = buried.ok() ? Answer() : local_failure(std::move(buried));
    }
    return answer;
  };
  if (!window_.name.value.empty()) {
    Answer answer =
        update(RunStatus::running, 0, window_.name.value, window_.name.seq, "run name " + window_.name.value);
    if (answer.verdict != Verdict::ok) return answer;
  }
  if (window_.ends) {
    MLOPS_POINT("sync.before_end");
    return update(window_.end_status, window_.end_ms, std::string(), window_.end_seq, "end of the run");
  }
  if (window_.lifecycle) {
    MLOPS_POINT("sync.before_lifecycle");
    Answer answer = call(0, [&] { return remote.set_deleted(state_.server_id, window_.deleted); });
    if (answer.verdict == Verdict::ok) deleted_there_ = window_.deleted;
    if (answer.verdict != Verdict::rejected) return answer;
    Status buried = bury(window_.lifecycle_seq, 1, 0, window_.deleted ? "deletion of the run" : "restoring of the run",
                         std::string(answer.status.message()));
    return buried.ok() ? Answer() : local_failure(std::move(buried));
  }
  if (window_.reopen) {
    return update(RunStatus::running, 0, std::string(), window_.start_seq, "restart of the run");
  }
  return Answer();
}

RunLane::Answer RunLane::send_points(Remote& remote) {
  const mlflow::Server server = shared_->server();
  const std::string value = watermark_value(shared_->reader->identity(), window_.end);
  const std::size_t n = window_.points.size();
  const bool again = resending();
  bool nan = false;
  if (again && !server.nan_resend_ok) {
    for (const MetricPoint& p : window_.points) nan = nan || std::isnan(p.point.value);
  }
  MLOPS_POINT("sync.before_points");
  Answer answer;
  if (!again || (server.whole_resend_ok && !nan)) {
    answer = call(n, [&] {
      return remote.log_metrics(state_.server_id, window_.points.data(), n, shared_->watermark_key, value);
    });
    MLOPS_POINT("sync.after_points");
    if (waits(answer)) return answer;  // ok, too
    std::vector<std::size_t> all(n);
    for (std::size_t i = 0; i < n; ++i) all[i] = i;
    if (answer.verdict == Verdict::duplicate) {
      answer = split_points(remote, all, model::kResendPoints);
    } else {
      if (answer.verdict == Verdict::too_large && n > 1) {
        std::size_t bytes = 512;
        for (const MetricPoint& p : window_.points) bytes += mlflow::encoded_size(p);
        shared_->halve_body(bytes);
      }
      if (n == 1) {
        Status status =
            bury(window_.seqs[0], 1, 1, point_words(window_.points[0]), std::string(answer.status.message()));
        answer = status.ok() ? Answer() : local_failure(std::move(status));
      } else {
        answer = split_points(remote, all, (n + 1) / 2);
      }
    }
  } else {
    std::vector<std::size_t> all(n);
    for (std::size_t i = 0; i < n; ++i) all[i] = i;
    if (server.store_type == "FileStore") answer = leave_out_known(remote, &all);
    if (answer.verdict != Verdict::ok) return answer;
    answer = split_points(remote, all, server.whole_resend_ok ? n : model::kResendPoints);
  }
  if (answer.verdict != Verdict::ok) return answer;
  // The watermark by itself, once all the parts are there.
  answer = call(0, [&] { return remote.set_tags(state_.server_id, Pairs{{shared_->watermark_key, value}}); });
  MLOPS_POINT("sync.after_watermark");
  return answer;
}

/// A server that appends what is repeated: what it has of these is not sent.
RunLane::Answer RunLane::leave_out_known(Remote& remote, std::vector<std::size_t>* which) {
  histories_.clear();
  for (const std::size_t index : *which) {
    const std::string key(window_.points[index].key);
    if (histories_.count(key) != 0) continue;
    Answer answer = call(0, [&] { return remote.metric_history(state_.server_id, key, &histories_[key]); });
    if (answer.verdict != Verdict::ok) return answer;
  }
  std::erase_if(*which, [this](std::size_t index) {
    const MetricPoint& p = window_.points[index];
    std::vector<model::Point>& there = histories_.at(std::string(p.key));
    const auto same = std::find_if(there.begin(), there.end(),
                                   [&p](const model::Point& point) { return model::same_on_server(point, p.point); });
    if (same == there.end()) return false;
    *same = there.back();  // it stands for one of ours
    there.pop_back();
    return true;
  });
  histories_.clear();
  return Answer();
}

/// In parts of at most `most` points, each NaN alone where the server cannot take one twice.
RunLane::Answer RunLane::split_points(Remote& remote, const std::vector<std::size_t>& which, std::size_t most) {
  const bool nan_alone = !shared_->server().nan_resend_ok;
  std::vector<std::size_t> part;
  auto flush = [&]() {
    Answer answer = part.empty() ? Answer() : send_some(remote, part, std::string_view(), std::string_view());
    part.clear();
    return answer;
  };
  for (std::size_t index : which) {
    if (nan_alone && std::isnan(window_.points[index].point.value)) continue;
    part.push_back(index);
    if (part.size() < most) continue;
    Answer answer = flush();
    if (answer.verdict != Verdict::ok) return answer;
  }
  Answer answer = flush();
  if (answer.verdict != Verdict::ok || !nan_alone) return answer;
  for (std::size_t index : which) {
    if (!std::isnan(window_.points[index].point.value)) continue;
    part.push_back(index);
    answer = flush();
    if (answer.verdict != Verdict::ok) return answer;
  }
  return answer;
}

/// These points in one request; what the answer demands is done until they are there or buried.
RunLane::Answer RunLane::send_some(Remote& remote, const std::vector<std::size_t>& which, std::string_view tag_key,
                                   std::string_view tag_value) {
  std::vector<MetricPoint> points;
  points.reserve(which.size());
  for (std::size_t index : which) points.push_back(window_.points[index]);
  Answer answer = call(points.size(), [&] {
    return remote.log_metrics(state_.server_id, points.data(), points.size(), tag_key, tag_value);
  });
  if (waits(answer)) return answer;
  if (answer.verdict == Verdict::too_large && which.size() > 1) {
    std::size_t bytes = 512;
    for (const MetricPoint& p : points) bytes += mlflow::encoded_size(p);
    shared_->halve_body(bytes);
  }
  if (which.size() > 1) return split_points(remote, which, (which.size() + 1) / 2);
  if (answer.verdict == Verdict::duplicate) return prove_point(remote, which.front());
  const MetricPoint& p = window_.points[which.front()];
  Status status = bury(window_.seqs[which.front()], 1, 1, point_words(p), std::string(answer.status.message()));
  return status.ok() ? Answer() : local_failure(std::move(status));
}

/// A single point that the server says it has: read back.
RunLane::Answer RunLane::prove_point(Remote& remote, std::size_t index) {
  const MetricPoint& p = window_.points[index];
  auto it = histories_.find(std::string(p.key));
  if (it == histories_.end()) {
    std::vector<model::Point> history;
    Answer answer = call(0, [&] { return remote.metric_history(state_.server_id, p.key, &history); });
    if (answer.verdict != Verdict::ok) return answer;
    it = histories_.emplace(std::string(p.key), std::move(history)).first;
  }
  for (const model::Point& there : it->second) {
    if (model::same_on_server(there, p.point)) return Answer();
  }
  histories_.erase(it);
  Answer answer;  // refused and not there: another writer's transaction, perhaps; once more, later
  answer.verdict = Verdict::ambiguous;
  answer.status = Status(StatusCode::unavailable,
                         "the server refuses " + point_words(p) + " as a duplicate but does not show it; trying again");
  return answer;
}

RunLane::Answer RunLane::send_params(Remote& remote, std::vector<Text> params, bool reread) {
  Pairs pairs;
  pairs.reserve(params.size());
  for (const Text& t : params) pairs.emplace_back(t.key, t.value);
  MLOPS_POINT("sync.before_params");
  Answer answer = call(0, [&] { return remote.log_params(state_.server_id, pairs); });
  if (waits(answer)) return answer;
  if (answer.verdict == Verdict::too_large) {
    learn_cap(pairs);
  } else if (!reread) {
    // A conflict, or a race with another writer: the server says what it has.
    mlflow::RemoteRun run;
    Answer read = call(0, [&] { return remote.get_run(state_.server_id, &run); });
    if (read.verdict != Verdict::ok) return read;
    std::map<std::string_view, std::string_view> there;
    for (const auto& pair : run.params) there.emplace(pair.first, pair.second);
    std::vector<Text> rest;
    for (Text& t : params) {
      auto it = there.find(t.key);
      if (it == there.end()) {
        rest.push_back(std::move(t));
      } else if (it->second != t.value) {
        Status status = bury(t.seq, 1, 0, "param " + t.key + " = " + std::string(model::cut_chars(t.value, 200)),
                             "the server has another value for it: " + std::string(model::cut_chars(it->second, 200)));
        if (!status.ok()) return local_failure(std::move(status));
      }
    }
    return rest.empty() ? Answer() : send_params(remote, std::move(rest), true);
  }
  if (params.size() == 1) {
    if (answer.verdict == Verdict::duplicate) {  // the race again
      answer.verdict = Verdict::ambiguous;
      return answer;
    }
    Status status = bury(params[0].seq, 1, 0, "param " + params[0].key, std::string(answer.status.message()));
    return status.ok() ? Answer() : local_failure(std::move(status));
  }
  const auto middle = params.begin() + static_cast<std::ptrdiff_t>(params.size() / 2);
  Answer left = send_params(remote, std::vector<Text>(params.begin(), middle), true);
  if (left.verdict != Verdict::ok) return left;
  return send_params(remote, std::vector<Text>(middle, params.end()), true);
}

RunLane::Answer RunLane::send_tags(Remote& remote, std::vector<Text> tags) {
  Pairs pairs;
  pairs.reserve(tags.size());
  for (const Text& t : tags) pairs.emplace_back(t.key, t.value);
  MLOPS_POINT("sync.before_tags");
  Answer answer = call(0, [&] { return remote.set_tags(state_.server_id, pairs); });
  if (waits(answer)) return answer;
  if (answer.verdict == Verdict::duplicate) {  // two first writers of a tag: the repetition goes through
    answer.verdict = Verdict::ambiguous;
    return answer;
  }
  if (answer.verdict == Verdict::too_large) learn_cap(pairs);
  if (tags.size() == 1) {
    Status status = bury(tags[0].seq, 1, 0, "tag " + tags[0].key, std::string(answer.status.message()));
    return status.ok() ? Answer() : local_failure(std::move(status));
  }
  const auto middle = tags.begin() + static_cast<std::ptrdiff_t>(tags.size() / 2);
  Answer left = send_tags(remote, std::vector<Text>(tags.begin(), middle));
  if (left.verdict != Verdict::ok) return left;
  return send_tags(remote, std::vector<Text>(middle, tags.end()));
}

}  // namespace mlops::sync
