// An MLflow server in memory, with its rules about repeated batches as measured on 2.22, 3.10 and 3.17, and a script of
// faults by request index. And a buffer and a ledger in memory beside it, which survive the engine.
#pragma once

#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "fake_models.h"
#include "fake_registry.h"
#include "sync/core.h"

namespace mlops::sync::fake {

using mlflow::Answer;
using mlflow::Verdict;

enum class Fault {
  none,
  offline,        // certainly not sent
  request_lost,   // a reset: not executed, unknown to the client
  response_lost,  // executed, unknown to the client
  http_500,       // not executed, answered 500
  half_done,      // the metrics of a batch are committed, its tag is not; answered 500
  html_200,       // executed by nobody: a login page
  throttled,      // 429 with Retry-After
  unauthorized,   // 401
  kill_before,    // the process dies before the request
  kill_after,     // the process dies after it was executed
  forbidden,      // 403
};

inline Answer answer(Verdict verdict, StatusCode code, int http, std::string words) {
  Answer a;
  a.verdict = verdict;
  a.http_status = http;
  a.status = Status(code, std::move(words));
  return a;
}
inline Answer rejected(std::string words) {
  return answer(Verdict::rejected, StatusCode::invalid_argument, 400, std::move(words));
}
inline Answer duplicate() {
  return answer(Verdict::duplicate, StatusCode::already_exists, 400, "UNIQUE constraint failed: metrics");
}
inline Answer gone() { return answer(Verdict::run_gone, StatusCode::not_found, 404, "no such run"); }

inline Answer no_permission() { return answer(Verdict::auth, StatusCode::permission_denied, 403, "Permission denied"); }

/// The server's key of a point.
using Stored = std::tuple<std::string, std::int64_t, std::int64_t, double, bool>;
inline Stored stored(std::string_view key, const model::Point& p) {
  const bool nan = std::isnan(p.value);
  double v = nan ? 0 : p.value;
  if (std::isinf(v)) v = v > 0 ? 1.7976931348623157e308 : -1.7976931348623157e308;
  return {std::string(key), p.time_ms, p.step, v == 0 ? 0.0 : v, nan};
}

struct ServerRun {
  std::string id, experiment, name, status = "RUNNING";
  std::int64_t end_ms = 0;
  bool deleted = false;
  std::map<std::string, std::string> tags, params;
  std::set<Stored> points;
};

class Server {
 public:
  enum class Age { v2_22, v3_10, v3_17 };
  explicit Server(Age age) : age_(age) { logged.has_models = age != Age::v2_22; }

  // The script.
  void fault_at(std::uint64_t index, Fault fault) { faults_[index] = fault; }
  void always(Fault fault) {
    std::lock_guard<std::mutex> lock(mu_);
    always_ = fault;
  }
  /// A run of another client's, while engines run.
  void add(const ServerRun& run, const std::string& experiment) {
    std::lock_guard<std::mutex> lock(mu_);
    runs[run.id] = run;
    experiments[experiment] = run.experiment;
  }
  void heal() {
    std::lock_guard<std::mutex> lock(mu_);
    models.sick.clear();
  }
  void allow() {
    std::lock_guard<std::mutex> lock(mu_);
    denied.clear();
  }
  std::function<void()> on_kill;
  std::uint64_t requests() const {
    std::lock_guard<std::mutex> lock(mu_);
    return requests_;
  }
  std::vector<std::string> calls() const {
    std::lock_guard<std::mutex> lock(mu_);
    return calls_;
  }
  std::size_t body_limit = 0;           // 413 above it
  std::string poison_prefix = "bad!";   // keys of this kind are refused
  std::set<std::uint64_t> dead_epochs;  // of killed processes
  std::map<std::string, ServerRun> runs;
  std::map<std::string, std::string> experiments;  // name -> id
  std::size_t largest_batch = 0;
  std::size_t refused_batches = 0;  // of several points, as duplicates: a resend in a form this server cannot take

  bool file_store = false;  // appends what is repeated
  std::size_t repeated = 0;
  std::set<std::string> denied;  // ids of experiments and runs that this user may not use: 403

  std::string artifact_root = "fake:/";
  FakeModels models;  // fake_registry.h
  FakeLogged logged;  // fake_models.h

  /// Everything a user can see, but for the watermark tags and the server's own ids.
  std::string dump() const {
    std::lock_guard<std::mutex> lock(mu_);
    std::map<std::string, std::string> by_uid;
    for (const auto& [id, run] : runs) {
      std::string text = "run " + run.name + " " + run.status + " end " + std::to_string(run.end_ms) + "\n";
      for (auto [key, value] : run.tags) {
        if (key.rfind("mlops.sync.", 0) == 0) continue;
        if (key == "mlflow.parentRunId") {
          auto parent = runs.find(value);
          value = parent == runs.end() ? "?" : parent->second.tags.at("mlops.uid");
        }
        text += "  tag " + key + "=" + value + "\n";
      }
      for (const auto& [key, value] : run.params) text += "  param " + key + "=" + value + "\n";
      for (const auto& [key, ms, step, value, nan] : run.points) {
        text += "  " + key + " " + std::to_string(ms) + " " + std::to_string(step) + " " +
                (nan ? "nan" : model::format_double(value)) + "\n";
      }
      auto uid = run.tags.find("mlops.uid");
      by_uid[(uid == run.tags.end() ? "-" : uid->second) + "/" + (by_uid.count(uid->second) ? id : "")] += text;
    }
    std::string out;
    for (const auto& [name, id] : experiments) out += "experiment " + name + "\n";
    for (const auto& [uid, text] : by_uid) out += uid + " " + text;
    return out + models.dump() + logged.dump();
  }

 private:
  friend class Client;
  template <typename Do>
  Answer exchange(std::uint64_t epoch, const char* what, Do&& run) {
    std::unique_lock<std::mutex> lock(mu_);
    if (dead_epochs.count(epoch) != 0) return lost();
    calls_.push_back(what);
    const std::uint64_t index = requests_++;
    auto it = faults_.find(index);
    const Fault fault = it == faults_.end() ? always_ : it->second;
    half_ = false;
    auto kill = [&] {
      dead_epochs.insert(epoch);
      if (on_kill) on_kill();
      return lost();
    };
    switch (fault) {
      case Fault::none:
        return run();
      case Fault::offline:
        return answer(Verdict::offline, StatusCode::unavailable, 0, "connection refused");
      case Fault::request_lost:
        return lost();
      case Fault::response_lost:
        run();
        return lost();
      case Fault::http_500:
        return answer(Verdict::ambiguous, StatusCode::unavailable, 500, "internal");
      case Fault::half_done:
        half_ = true;
        run();
        half_ = false;
        return answer(Verdict::ambiguous, StatusCode::unavailable, 500, "internal");
      case Fault::html_200:
        return answer(Verdict::ambiguous, StatusCode::unavailable, 200, "a login page");
      case Fault::throttled: {
        Answer a = answer(Verdict::throttled, StatusCode::resource_exhausted, 429, "slow down");
        a.retry_after_ms = 5;
        return a;
      }
      case Fault::unauthorized:
        return answer(Verdict::auth, StatusCode::permission_denied, 401, "credentials");
      case Fault::forbidden:
        return no_permission();
      case Fault::kill_before:
        return kill();
      case Fault::kill_after:
        run();
        return kill();
    }
    return lost();
  }
  static Answer lost() { return answer(Verdict::ambiguous, StatusCode::unavailable, 0, "connection reset"); }

  Answer insert(ServerRun& run, const mlflow::MetricPoint* points, std::size_t n) {
    std::vector<Stored> all;
    for (std::size_t i = 0; i < n; ++i) all.push_back(stored(points[i].key, points[i].point));
    auto insert_all = [&](const std::vector<Stored>& rows) {  // one transaction
      std::set<Stored> seen;
      for (const Stored& row : rows) {
        if (run.points.count(row) != 0 || !seen.insert(row).second) return false;
      }
      run.points.insert(rows.begin(), rows.end());
      return true;
    };
    if (file_store) {
      for (const Stored& row : all) repeated += run.points.insert(row).second ? 0 : 1;
      return Answer();
    }
    if (age_ == Age::v3_17) {
      run.points.insert(all.begin(), all.end());
      return Answer();
    }
    std::vector<Stored> unique;  // equal points of one request: one row, but NaN is never equal to anything
    for (const Stored& row : all) {
      if (std::get<4>(row) || std::find(unique.begin(), unique.end(), row) == unique.end()) unique.push_back(row);
    }
    if (insert_all(unique)) return Answer();
    auto missing = [&](const std::set<std::string>* keys) {
      std::vector<Stored> rows;
      for (const Stored& row : unique) {
        const bool looked_at = keys == nullptr || keys->count(std::get<0>(row)) != 0;
        if (looked_at && !std::get<4>(row) && run.points.count(row) != 0) continue;
        rows.push_back(row);
      }
      return rows;
    };
    if (age_ == Age::v3_10) return insert_all(missing(nullptr)) ? Answer() : duplicate();
    for (std::size_t from = 0; from < all.size(); from += 100) {
      std::set<std::string> keys;
      for (std::size_t i = from; i < std::min(all.size(), from + 100); ++i) keys.insert(std::get<0>(all[i]));
      if (!insert_all(missing(&keys))) return duplicate();
    }
    return Answer();
  }

  Age age_;
  mutable std::mutex mu_;
  std::map<std::uint64_t, Fault> faults_;
  Fault always_ = Fault::none;
  std::uint64_t requests_ = 0;
  std::vector<std::string> calls_;
  bool half_ = false;
};

/// A connection of the process `epoch`.
class Client : public Remote {
 public:
  Client(Server* server, std::uint64_t epoch) : s_(server), epoch_(epoch), root_of_(server->artifact_root) {}

  Answer probe(mlflow::Server* out) override {
    return s_->exchange(epoch_, "probe", [&] {
      out->whole_resend_ok = s_->age_ != Server::Age::v2_22;
      out->nan_resend_ok = s_->age_ == Server::Age::v3_17;
      if (s_->file_store) {
        out->store_type = "FileStore";
        out->whole_resend_ok = out->nan_resend_ok = false;
      }
      return Answer();
    });
  }
  Answer experiment_by_name(std::string_view name, std::string* id) override {
    return s_->exchange(epoch_, "experiment_by_name", [&] {
      auto it = s_->experiments.find(std::string(name));
      if (it == s_->experiments.end()) return gone();
      *id = it->second;
      return Answer();
    });
  }
  Answer create_experiment(const model::Op& spec, std::string* id) override {
    return s_->exchange(epoch_, "create_experiment", [&] {
      if (s_->experiments.count(spec.key) != 0) {
        return answer(Verdict::exists, StatusCode::already_exists, 400, "RESOURCE_ALREADY_EXISTS");
      }
      *id = s_->experiments[spec.key] = std::to_string(s_->experiments.size() + 1);
      return Answer();
    });
  }
  Answer find_run(std::string_view experiment, std::string_view uid, mlflow::RemoteRun* out, bool* found) override {
    return s_->exchange(epoch_, "find_run", [&] {
      *found = false;
      for (const auto& [id, run] : s_->runs) {
        auto tag = run.tags.find("mlops.uid");
        if (run.experiment != experiment || tag == run.tags.end() || tag->second != uid) continue;
        show(run, out);
        *found = true;
        break;
      }
      return Answer();
    });
  }
  Answer create_run(std::string_view experiment, const model::Op& start, const Pairs& tags, std::string* id) override {
    return s_->exchange(epoch_, "create_run", [&] {
      if (s_->denied.count(std::string(experiment)) != 0) return no_permission();
      ServerRun run;
      run.id = "r" + std::to_string(s_->runs.size() + 100);
      run.experiment = std::string(experiment);
      run.name = start.value;
      for (const auto& [key, value] : tags) run.tags[key] = value;
      *id = run.id;
      s_->runs[run.id] = run;
      return Answer();
    });
  }
  Answer get_run(std::string_view id, mlflow::RemoteRun* out) override {
    return s_->exchange(epoch_, "get_run", [&] {
      if (s_->denied.count(std::string(id)) != 0) return no_permission();
      auto it = s_->runs.find(std::string(id));
      if (it == s_->runs.end()) return gone();
      show(it->second, out);
      return Answer();
    });
  }
  Answer log_metrics(std::string_view id, const mlflow::MetricPoint* points, std::size_t n, std::string_view tag_key,
                     std::string_view tag_value) override {
    return s_->exchange(epoch_, "log_metrics", [&] {
      if (s_->denied.count(std::string(id)) != 0) return no_permission();
      ServerRun* run = writable(id);
      if (run == nullptr) return gone();
      s_->largest_batch = std::max(s_->largest_batch, n);
      if (n + (tag_key.empty() ? 0 : 1) > 1000) return rejected("more than 1000 entities");
      std::size_t bytes = 512;
      for (std::size_t i = 0; i < n; ++i) bytes += mlflow::encoded_size(points[i]);
      if (s_->body_limit != 0 && bytes > s_->body_limit) return too_large();
      for (std::size_t i = 0; i < n; ++i) {
        if (points[i].key.substr(0, s_->poison_prefix.size()) == s_->poison_prefix) return rejected("bad key");
      }
      Answer done = s_->insert(*run, points, n);
      if (done.verdict == Verdict::duplicate && n > 1) ++s_->refused_batches;
      if (done.verdict != Verdict::ok) return done;
      if (!tag_key.empty() && !s_->half_) run->tags[std::string(tag_key)] = std::string(tag_value);
      return Answer();
    });
  }
  Answer log_params(std::string_view id, const Pairs& params) override {
    return s_->exchange(epoch_, "log_params", [&] {
      ServerRun* run = writable(id);
      if (run == nullptr) return gone();
      std::set<std::string> keys;
      for (const auto& [key, value] : params) {
        if (key.rfind(s_->poison_prefix, 0) == 0) return rejected("bad key");
        if (!keys.insert(key).second) return rejected("duplicate parameter keys");
        auto it = run->params.find(key);
        if (it != run->params.end() && it->second != value) return rejected("Changing param values is not allowed");
      }
      for (const auto& [key, value] : params) run->params.emplace(key, value);
      return Answer();
    });
  }
  Answer set_tags(std::string_view id, const Pairs& tags) override {
    return s_->exchange(epoch_, "set_tags", [&] {
      ServerRun* run = writable(id);
      if (run == nullptr) return gone();
      for (const auto& [key, value] : tags) {
        if (key.rfind(s_->poison_prefix, 0) == 0) return rejected("bad key");
      }
      for (const auto& [key, value] : tags) run->tags[key] = value;
      return Answer();
    });
  }
  Answer delete_tag(std::string_view id, std::string_view key) override {
    return s_->exchange(epoch_, "delete_tag", [&] {
      ServerRun* run = writable(id);
      if (run == nullptr) return gone();
      run->tags.erase(std::string(key));
      return Answer();
    });
  }
  Answer update_run(std::string_view id, RunStatus status, std::int64_t end_ms, std::string_view name) override {
    return s_->exchange(epoch_, "update_run", [&] {
      ServerRun* run = writable(id);
      if (run == nullptr) return gone();
      if (!name.empty()) run->name = std::string(name);
      if (status == RunStatus::running && end_ms == 0 && !name.empty()) return Answer();
      run->status = run_status_name(status);
      if (end_ms != 0) run->end_ms = end_ms;
      return Answer();
    });
  }
  Answer set_deleted(std::string_view id, bool deleted) override {
    return s_->exchange(epoch_, deleted ? "delete_run" : "restore_run", [&] {
      auto run = s_->runs.find(std::string(id));
      if (run == s_->runs.end()) return gone();
      run->second.deleted = deleted;
      return Answer();
    });
  }
  Answer metric_history(std::string_view id, std::string_view key, std::vector<model::Point>* out) override {
    return s_->exchange(epoch_, "metric_history", [&] {
      out->clear();
      for (const auto& [k, ms, step, value, nan] : s_->runs.at(std::string(id)).points) {
        if (k == key) out->push_back(model::Point{step, ms, nan ? std::nan("") : value});
      }
      return Answer();
    });
  }
  mlflow::Registry& registry() override { return registry_; }
  mlflow::Models& models() override { return models_; }
  void cancel() override {}
  std::uint64_t bytes_sent() const override { return 0; }

 private:
  static Answer too_large() { return answer(Verdict::too_large, StatusCode::resource_exhausted, 413, "too large"); }
  ServerRun* writable(std::string_view id) {
    auto it = s_->runs.find(std::string(id));
    return it == s_->runs.end() || it->second.deleted ? nullptr : &it->second;
  }
  void show(const ServerRun& run, mlflow::RemoteRun* out) const {
    out->run_id = run.id;
    out->experiment_id = run.experiment;
    out->name = run.name;
    out->status = run.status;
    out->lifecycle_stage = run.deleted ? "deleted" : "active";
    out->tags.assign(run.tags.begin(), run.tags.end());
    out->params.assign(run.params.begin(), run.params.end());
    out->artifact_uri = root_of_ + run.id + "/artifacts";
  }
  Server* s_;
  std::uint64_t epoch_;
  const std::string root_of_;
  FakeRegistry registry_{&s_->models, [this](const char* what, const std::function<Answer()>& run) {
                           return s_->exchange(epoch_, what, run);
                         }};
  FakeModelsApi models_{
      &s_->logged,
      [this](const char* what, const std::function<Answer()>& run) { return s_->exchange(epoch_, what, run); },
      [this](std::string_view id, const std::vector<mlflow::MetricPoint>& points) {
        ServerRun* run = writable(id);
        return run == nullptr ? gone() : s_->insert(*run, points.data(), points.size());
      }};
};

}  // namespace mlops::sync::fake
