// verify: what the server holds of a run against what the buffer holds, point for point, param for param, tag for tag.
//
// Points are compared as multisets under the server's own view of them (model::same_on_server). What is not delivered
// yet is not missing, and what the server has of it already is not extra. Tags that only the server has are not
// differences: people set them in its user interface.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/base.h"
#include "buffer/buffer.h"
#include "client/delivery_target.h"
#include "client/env.h"
#include "client/lifecycle.h"
#include "http/http.h"
#include "ledger/ledger.h"
#include "mlflow/mlflow.h"
#include "mlops/delivery.h"
#include "model/limits.h"
#include "store/store.h"
#include "view/view.h"

namespace mlops::client {
namespace {

constexpr std::size_t kMostDifferences = 1'000;

// A point as the server tells it apart: equal keys are what model::same_on_server calls the same.
using PointKey = std::tuple<std::int64_t, std::int64_t, bool, double>;  // step, time, is NaN, value

PointKey key_of(const model::Point& p) {
  constexpr double kMost = std::numeric_limits<double>::max();
  if (std::isnan(p.value)) return {p.step, p.time_ms, true, 0.0};
  return {p.step, p.time_ms, false, std::clamp(p.value, -kMost, kMost) + 0.0};  // -0 + 0 is 0
}

struct Counted {
  std::int64_t expected = 0;  // accepted, and delivered by what the ledger says
  std::int64_t waiting = 0;   // accepted, not delivered yet
  std::int64_t server = 0;
};
using Points = std::map<PointKey, Counted>;

std::string words_of(const std::string& metric, const PointKey& key) {
  const auto& [step, time, nan, value] = key;
  return "metric " + metric + " step " + std::to_string(step) + " value " +
         (nan ? std::string("nan") : model::format_double(value)) + " time " + std::to_string(time);
}

std::string shorten(const std::string& text) {
  const std::string_view cut = model::cut_chars(text, 80);
  return std::string(cut) + (cut.size() < text.size() ? "…" : "");
}

class Verifier {
 public:
  Verifier(Target target, bool read_artifacts) : target_(std::move(target)), read_artifacts_(read_artifacts) {}

  Result<VerifyReport> run(std::string_view run_id) {
    Result<std::unique_ptr<view::View>> view = view::View::open(target_.root);
    if (!view.ok()) return view.status();
    Result<RunSummary> summary = (*view)->run(run_id);
    if (!summary.ok()) return summary.status();
    Result<std::vector<view::Part>> parts = (*view)->parts(run_id);
    if (!parts.ok()) return parts.status();
    report_.run_id = summary->id;
    for (const view::Part& part : *parts) {
      if (Status s = read_local(part); !s.ok()) return s;
    }
    if (report_.server_id.empty()) {
      return Status(StatusCode::not_found, "run " + report_.run_id + " is not on " + target_.destination.uri +
                                               " yet: `mlops sync` delivers it");
    }
    if (Status s = read_server(*summary); !s.ok()) return s;
    compare_points();
    return std::move(report_);
  }

 private:
  void differ(const char* kind, std::string what) {
    ++report_.differences_total;
    if (report_.differences.size() < kMostDifferences) report_.differences.push_back({kind, std::move(what)});
  }

  // One slot's points, split by the cursor of its lane.
  Status read_local(const view::Part& part) {
    std::uint64_t cursor = 1;
    Result<ledger::Ledger::Snapshot> snapshot = ledger::Ledger::read(part.slot_dir, target_.destination.name);
    if (snapshot.ok()) {
      const auto lane = snapshot->lanes.find(part.row.uid);
      if (lane != snapshot->lanes.end()) {
        cursor = lane->second.cursor;
        if (!lane->second.server_id.empty()) report_.server_id = lane->second.server_id;
      }
    } else if (snapshot.status().code() != StatusCode::not_found) {
      return snapshot.status();
    }
    Result<std::unique_ptr<buffer::Reader>> reader = view::open_beside(part.slot_dir);
    if (!reader.ok()) return reader.status();
    Result<model::RunRow> row = (*reader)->run(part.row.uid);
    if (!row.ok()) return row.status();
    report_.evicted += row->evicted_points;
    report_.points_local += row->evicted_points;
    if (Status s = read_files(**reader, part, snapshot.ok() ? &*snapshot : nullptr); !s.ok()) return s;
    Result<std::vector<buffer::MetricRow>> metrics = (*reader)->metrics(part.row.uid);
    if (!metrics.ok()) return metrics.status();
    std::map<std::uint32_t, Points*> columns;
    for (const buffer::MetricRow& m : *metrics) columns[m.metric] = &points_[m.name];
    Status damaged;
    Status scanned = (*reader)->scan(
        part.row.uid, 0,
        [&](const buffer::Record& record) {
          if (!record.is_block) return true;
          const buffer::Block& b = record.block;
          for (std::size_t i = 0; i < b.size(); ++i) {
            const auto column = columns.find(b.metric[i]);
            if (column == columns.end()) continue;
            Counted& counted = (*column->second)[key_of({b.step[i], b.time_ms[i], b.value[i]})];
            const bool delivered = b.first_seq + i < cursor;
            ++(delivered ? counted.expected : counted.waiting);
            ++report_.points_local;
            if (!delivered) ++report_.points_waiting;
          }
          return true;
        },
        [&](std::uint64_t seq, std::uint64_t count, const Status& why) {
          if (why.code() == StatusCode::unavailable) {  // its owner lives on another node
            damaged = Status(StatusCode::failed_precondition,
                             std::string(why.message()) + ": verify on that node, or when its process has ended");
            return;
          }
          damaged = Status(StatusCode::data_loss, std::to_string(count) + " records from " + std::to_string(seq) +
                                                      " on are damaged: " + std::string(why.message()));
        });
    return scanned.ok() ? damaged : scanned;
  }

  Status read_server(const RunSummary& local) {
    Result<std::unique_ptr<mlflow::Api>> connected = mlflow::Api::connect(target_.destination.uri, target_.credentials);
    if (!connected.ok()) return connected.status();
    mlflow::Api& api = **connected;
    mlflow::RemoteRun remote;
    const mlflow::Answer got = api.get_run(report_.server_id, &remote);
    if (got.verdict != mlflow::Verdict::ok) return got.status;
    for (auto& [name, points] : points_) {
      std::vector<model::Point> history;
      const mlflow::Answer answer = api.metric_history(report_.server_id, name, &history);
      if (answer.verdict != mlflow::Verdict::ok) return answer.status;
      report_.points_server += history.size();
      for (const model::Point& p : history) ++points[key_of(p)].server;
    }
    if (Status s = compare_files(remote.artifact_uri); !s.ok()) return s;
    const bool all_delivered = report_.points_waiting == 0;
    compare_pairs("param", local.params, remote.params, &report_.params_checked, all_delivered, true);
    compare_pairs("tag", local.tags, remote.tags, &report_.tags_checked, all_delivered, false);
    return {};
  }

  void compare_pairs(const std::string& what, const Pairs& local, const Pairs& remote, std::uint64_t* checked,
                     bool all_delivered, bool extras_count) {
    std::map<std::string, std::string> server(remote.begin(), remote.end());
    for (const auto& [key, value] : local) {
      ++*checked;
      const auto there = server.find(key);
      if (there == server.end()) {
        if (all_delivered) differ("missing", what + " " + key + " = \"" + shorten(value) + "\"");
        continue;
      }
      if (there->second != value) {
        differ("altered", what + " " + key + ": here \"" + shorten(value) + "\", on the server \"" +
                              shorten(there->second) + "\"");
      }
      server.erase(there);
    }
    if (!extras_count) return;
    for (const auto& [key, value] : server) differ("extra", what + " " + key + " = \"" + shorten(value) + "\"");
  }

  // Files below the run's root. Of two with one path the newer counts; a dead letter is not expected.
  Status read_files(const buffer::Reader& reader, const view::Part& part, const ledger::Ledger::Snapshot* ledger) {
    Result<std::vector<buffer::ArtifactRow>> rows = reader.artifacts(part.row.uid);
    if (!rows.ok()) return rows.status();
    ledger::ArtifactPlace place;
    std::set<std::uint64_t> dead;
    if (ledger != nullptr) {
      const auto found = ledger->artifacts.find(part.row.uid);
      if (found != ledger->artifacts.end()) place = found->second;
      for (const ledger::DeadLetter& letter : ledger->dead) {
        if (letter.artifact && letter.run == part.row.uid) dead.insert(letter.seq);
      }
    }
    for (const buffer::ArtifactRow& row : *rows) {
      if (!row.op.parent.zero() || dead.count(row.seq) != 0) continue;
      if (place.done(row.seq)) {
        files_[row.op.key] = row.file;
      } else {
        ++report_.files_waiting;
      }
    }
    return {};
  }

  Status compare_files(const std::string& root) {
    if (files_.empty()) return {};
    store::Place place;
    place.artifact_uri = root;
    place.tracking_uri = target_.destination.uri;
    place.run_id = report_.server_id;
    place.credentials = target_.credentials;
    place.writing = false;
    Result<std::unique_ptr<store::Store>> store = store::open(place, environment_variable);
    if (!store.ok()) return store.status();
    std::map<std::string, std::map<std::string, std::uint64_t>> listed;  // by folder: sizes by path
    for (const auto& [path, file] : files_) {
      const auto slash = path.rfind('/');
      const std::string folder = slash == std::string::npos ? std::string() : path.substr(0, slash);
      auto [sizes, fresh] = listed.try_emplace(folder);
      if (fresh) {
        std::vector<store::Entry> entries;
        const store::Answer answer = (*store)->list(folder, &entries);
        if (!answer.ok()) return answer.status;
        for (const store::Entry& entry : entries) {
          if (!entry.is_dir) sizes->second[entry.path] = entry.size;
        }
      }
      ++report_.files_checked;
      const auto there = sizes->second.find(path);
      if (there == sizes->second.end()) {
        differ("missing", "artifact " + path);
      } else if (there->second != file.size) {
        differ("altered", "artifact " + path + ": " + std::to_string(file.size) + " bytes here, " +
                              std::to_string(there->second) + " on the server");
      } else if (read_artifacts_ && file.sha256.size() == 32) {
        base::Digest digest(base::Digest::Kind::sha256);
        const auto sink = [&digest](std::uint64_t, std::string_view bytes) {
          digest.update(bytes);
          return true;
        };
        const store::Answer answer = (*store)->get(path, 0, nullptr, sink, {});
        if (!answer.ok()) return answer.status;
        if (digest.finish() != file.sha256) differ("altered", "artifact " + path + ": its bytes have another digest");
      }
    }
    return {};
  }

  void compare_points() {
    // Evicted points are no longer here to be compared: as many extras are theirs.
    std::uint64_t theirs = report_.evicted;
    for (const auto& [name, points] : points_) {
      std::vector<PointKey> missing, extra;
      for (const auto& [key, counted] : points) {
        std::int64_t lacking = counted.expected - counted.server;
        for (; lacking > 0; --lacking) missing.push_back(key);
        std::int64_t more = counted.server - counted.expected - counted.waiting;
        for (; more > 0; --more) {
          if (theirs > 0) {
            --theirs;
          } else {
            extra.push_back(key);
          }
        }
      }
      pair_up(name, missing, extra);
    }
    if (theirs > 0) {
      differ("missing", std::to_string(theirs) + " points that retention removed here (compared by count)");
    }
  }

  // The same step and time with another value is one altered point, not a missing and an extra one.
  void pair_up(const std::string& name, const std::vector<PointKey>& missing, std::vector<PointKey>& extra) {
    for (const PointKey& key : missing) {
      const auto other = std::find_if(extra.begin(), extra.end(), [&key](const PointKey& e) {
        return std::get<0>(e) == std::get<0>(key) && std::get<1>(e) == std::get<1>(key);
      });
      if (other == extra.end()) {
        differ("missing", words_of(name, key));
        continue;
      }
      const bool nan = std::get<2>(*other);
      differ("altered", words_of(name, key) + ", on the server value " +
                            (nan ? std::string("nan") : model::format_double(std::get<3>(*other))));
      extra.erase(other);
    }
    for (const PointKey& key : extra) differ("extra", words_of(name, key));
  }

  Target target_;
  VerifyReport report_;
  std::map<std::string, Points> points_;
  std::map<std::string, buffer::FileRow> files_;  // delivered ones, by path
  const bool read_artifacts_;
};

}  // namespace
}  // namespace mlops::client

MLOPS_NAMESPACE_BEGIN

Result<VerifyReport> verify(std::string_view run_id, const VerifyOptions& options) {
  client::install_delivery_lifecycle();
  Result<client::Target> target =
      client::find_target(options.root, options.to, options.credentials, client::Purpose::reads);
  if (!target.ok()) return target.status();
  return client::Verifier(std::move(*target), options.read_artifacts).run(run_id);
}

MLOPS_NAMESPACE_END
