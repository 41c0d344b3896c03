#include "view/view.h"

#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <system_error>

#include "base/base.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/place.h"
#include "buffer/outbox.h"
#include "buffer/spool.h"
#include "ledger/remotes.h"
#include "view/curve.h"
#include "view/merge.h"
#include "view/models.h"
#include "view/points.h"
#include "view/search.h"
#include "view/slots.h"

namespace mlops::view {
namespace {

using Uid = base::Uid;

constexpr std::size_t kShortestPrefix = 4;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

/// What a given id, or the start of one, can mean.
class Wanted {
 public:
  explicit Wanted(std::string_view given) : id_(lower(given)) { exact_ = Uid::parse(id_, &uid_); }
  bool too_short() const { return id_.size() < kShortestPrefix; }
  bool is(const Uid& uid) const { return exact_ ? uid == uid_ : !too_short() && starts(uid.hex()); }
  bool is_server_id(const std::string& id) const { return !id.empty() && !too_short() && starts(lower(id)); }

 private:
  bool starts(std::string_view text) const { return text.substr(0, id_.size()) == id_; }
  std::string id_;
  Uid uid_;
  bool exact_ = false;
};

class ViewImpl : public View {
 public:
  explicit ViewImpl(std::string root) : root_(std::move(root)) {}

  Result<std::vector<RunSummary>> runs(const RunQuery& query) override {
    Result<Search> search = Search::parse(query);
    if (!search.ok()) return search.status();
    Merger merger;
    problems_.clear();
    Status s = each_slot(root_, [&](SlotState& slot) {
      if (!slot.damaged.ok()) note_problem(slot);
      for (Part& part : slot.parts) {
        std::string server_id = slot.server_id(part.row.uid);
        merger.add(std::move(part), std::move(server_id));
      }
    });
    if (!s.ok()) return s;
    std::vector<RunSummary> out = merger.take();
    out.erase(std::remove_if(out.begin(), out.end(), [&](const RunSummary& run) { return !search->matches(run); }),
              out.end());
    const auto before = [&](const RunSummary& a, const RunSummary& b) { return search->before(a, b); };
    if (query.limit != 0 && query.limit < out.size()) {
      const auto end = out.begin() + static_cast<std::ptrdiff_t>(query.limit);
      std::partial_sort(out.begin(), end, out.end(), before);
      out.erase(end, out.end());
    } else {
      std::sort(out.begin(), out.end(), before);
    }
    return out;
  }

  Result<std::vector<Part>> parts(std::string_view id) override {
    Result<Found> found = find(id);
    if (!found.ok()) return found.status();
    return std::move(found->parts);
  }

  Result<RunSummary> run(std::string_view id) override {
    Result<Found> found = find(id);
    if (!found.ok()) return found.status();
    Merger merger;
    for (Part& part : found->parts) merger.add(std::move(part), found->server_id);
    return std::move(merger.take().front());
  }

  Result<Uid> newest_named(std::string_view experiment, std::string_view name) override {
    Uid best;
    std::optional<std::int64_t> start;
    Status s = each_slot(root_, [&](const SlotState& slot) {
      for (const Part& part : slot.parts) {
        const model::RunRow& row = part.row;
        if (row.attached || row.deleted || row.experiment != experiment || row.name != name) continue;
        if (start && row.start_ms <= *start) continue;
        best = row.uid;
        start = row.start_ms;
      }
    });
    if (!s.ok()) return s;
    if (!start) return Status(StatusCode::not_found, "no run of that name in this root");
    return best;
  }

  Result<Damage> scan(std::string_view run_id, const std::function<bool(const PointBatch&)>& take) override {
    Result<Found> found = find(run_id);
    if (!found.ok()) return found.status();
    return scan_parts(*found, 0, take);
  }

  Result<Series> series(std::string_view run_id, std::string_view metric) override;
  Result<std::vector<Curve>> curves(std::string_view run_id, const CurveOptions& options, Damage* damage) override;
  Result<std::vector<ArtifactInfo>> artifacts(std::string_view run_id) override;
  Result<std::vector<ModelSummary>> models() override { return models_of(root_); }
  Result<Health> health() override;

  std::vector<Status> problems() const override { return problems_; }

 private:
  struct Found {
    std::vector<Part> parts;  // the owner's first
    std::string server_id;
  };

  void note_problem(const SlotState& slot) {
    problems_.emplace_back(slot.damaged.code(), "the runs in " + slot.dir +
                                                    " cannot be listed: " + std::string(slot.damaged.message()) +
                                                    "; `mlops sync`, or the next process that starts here, writes its "
                                                    "summary anew");
  }

  Result<Found> find(std::string_view given) const {
    const Wanted wanted(given);
    std::set<Uid> hits;
    Found found;
    const auto collect = [&](SlotState& slot, auto&& wants) {
      for (Part& part : slot.parts) {
        if (!wants(part.row.uid)) continue;
        if (found.server_id.empty()) found.server_id = slot.server_id(part.row.uid);
        hits.insert(part.row.uid);
        found.parts.push_back(std::move(part));
      }
    };
    Status s =
        each_slot(root_, [&](SlotState& slot) { collect(slot, [&](const Uid& uid) { return wanted.is(uid); }); });
    if (s.ok() && hits.empty()) {  // the server's id then; one slot may know it, and others hold parts of the run
      std::set<Uid> by_server;
      s = each_slot(root_, [&](const SlotState& slot) {
        for (const auto& snapshot : slot.ledgers) {
          for (const auto& [uid, lane] : snapshot.lanes) {
            if (wanted.is_server_id(lane.server_id)) by_server.insert(uid);
          }
        }
      });
      if (s.ok() && !by_server.empty()) {
        s = each_slot(
            root_, [&](SlotState& slot) { collect(slot, [&](const Uid& uid) { return by_server.count(uid) != 0; }); });
      }
    }
    if (!s.ok()) return s;
    const std::string shown(given.substr(0, 80));
    if (hits.empty()) {
      return Status(StatusCode::not_found, "no run \"" + shown + "\" in " + root_ +
                                               (wanted.too_short() ? " (an id's prefix must have at least 4 characters)"
                                                                   : "; `mlops runs` lists what there is"));
    }
    if (hits.size() > 1) {
      std::string words = "\"" + shown + "\" is the start of " + std::to_string(hits.size()) + " runs:";
      std::size_t listed = 0;
      for (auto uid = hits.begin(); uid != hits.end() && listed < 5; ++uid, ++listed) words += " " + uid->hex();
      return Status(StatusCode::invalid_argument, words + "; give more characters");
    }
    std::stable_sort(found.parts.begin(), found.parts.end(),
                     [](const Part& a, const Part& b) { return a.row.attached < b.row.attached; });
    return found;
  }

  Result<Damage> scan_parts(const Found& found, std::uint64_t most_points,
                            const std::function<bool(const PointBatch&)>& take) const {
    std::uint64_t all = 0;
    for (const Part& part : found.parts) all += part.row.points;
    Damage damage;
    bool stopped = false;
    for (std::size_t i = 0; i < found.parts.size() && !stopped; ++i) {
      const Part& part = found.parts[i];
      if (part.row.points == 0) continue;
      // Each part gives its share of what may be read.
      const double share = static_cast<double>(part.row.points) / static_cast<double>(all);
      const auto most = most_points == 0 ? 0 : 1 + static_cast<std::uint64_t>(share * static_cast<double>(most_points));
      const auto of_part = [&](PointBatch& batch) {
        batch.part = i;
        return take(batch);
      };
      if (Status s = scan_part(part, most, of_part, &stopped, &damage); !s.ok()) return s;
    }
    return damage;
  }

  // not_found names the metrics there are.
  Status check_metric(const Found& found, std::string_view metric) const {
    std::set<std::string_view> names;
    for (const Part& part : found.parts) {
      for (const buffer::MetricRow& m : part.metrics) names.insert(m.name);
    }
    if (names.count(metric) != 0) return {};
    std::string words =
        "run " + found.parts.front().row.uid.hex() + " has no metric \"" + std::string(metric.substr(0, 80)) + "\"";
    words += names.empty() ? "; it has none yet" : "; it has:";
    std::size_t listed = 0;
    for (auto name = names.begin(); name != names.end() && listed < 50; ++name, ++listed) {
      words += " " + std::string(*name);
    }
    return Status(StatusCode::not_found, words);
  }

  std::string root_;
  std::vector<Status> problems_;  // of the last runs()
};

Result<Series> ViewImpl::series(std::string_view run_id, std::string_view metric) {
  Result<Found> found = find(run_id);
  if (!found.ok()) return found.status();
  if (Status s = check_metric(*found, metric); !s.ok()) return s;
  std::vector<model::Point> points;
  Result<Damage> damage = scan_parts(*found, 0, [&](const PointBatch& b) {
    for (std::size_t i = 0; i < b.size; ++i) {
      if (b.names[b.metric[i]] == metric) points.push_back({b.step[i], b.time_ms[i], b.value[i]});
    }
    return true;
  });
  if (!damage.ok()) return damage.status();
  std::stable_sort(points.begin(), points.end(), [](const model::Point& a, const model::Point& b) {
    return a.step != b.step ? a.step < b.step : a.time_ms < b.time_ms;
  });
  Series out;
  out.damage = std::move(*damage);
  out.step.reserve(points.size());
  out.time_ms.reserve(points.size());
  out.value.reserve(points.size());
  for (const model::Point& p : points) {
    out.step.push_back(p.step);
    out.time_ms.push_back(p.time_ms);
    out.value.push_back(p.value);
  }
  return out;
}

Result<std::vector<Curve>> ViewImpl::curves(std::string_view run_id, const CurveOptions& options, Damage* damage) {
  if (options.most_buckets < 2 || options.most_buckets > 65'536) {
    return Status(StatusCode::invalid_argument,
                  "CurveOptions::most_buckets must be 2..65536, not " + std::to_string(options.most_buckets));
  }
  Result<Found> found = find(run_id);
  if (!found.ok()) return found.status();
  for (const std::string& metric : options.metrics) {
    if (Status s = check_metric(*found, metric); !s.ok()) return s;
  }
  std::map<std::string, CurveBuilder> curves;
  std::vector<CurveBuilder*> by_number;  // of the part at hand; null: not asked for
  std::size_t part = SIZE_MAX;
  Result<Damage> met = scan_parts(*found, options.most_points, [&](const PointBatch& b) {
    if (b.part != part) {
      part = b.part;
      by_number.clear();
    }
    for (std::size_t i = 0; i < b.size; ++i) {
      const std::uint32_t number = b.metric[i];
      while (by_number.size() <= number) {
        const std::string& name = b.names[by_number.size()];
        const bool asked = options.metrics.empty() ||
                           std::find(options.metrics.begin(), options.metrics.end(), name) != options.metrics.end();
        by_number.push_back(asked ? &curves.try_emplace(name, options.most_buckets).first->second : nullptr);
      }
      if (CurveBuilder* curve = by_number[number]) curve->add(options.by_time ? b.time_ms[i] : b.step[i], b.value[i]);
    }
    return true;
  });
  if (!met.ok()) return met.status();
  if (damage != nullptr) *damage = std::move(*met);
  std::vector<Curve> out;
  for (auto& [name, builder] : curves) {
    Curve curve = builder.take();
    if (curve.x.empty()) continue;
    curve.metric = name;
    out.push_back(std::move(curve));
  }
  return out;
}

Result<std::vector<ArtifactInfo>> ViewImpl::artifacts(std::string_view run_id) {
  Result<Found> found = find(run_id);
  if (!found.ok()) return found.status();
  std::vector<ArtifactInfo> out;
  for (const Part& part : found->parts) {
    Result<std::unique_ptr<buffer::Reader>> reader = open_beside(part.slot_dir);
    if (!reader.ok()) return reader.status();
    Result<std::vector<buffer::ArtifactRow>> rows = (*reader)->artifacts(part.row.uid);
    if (!rows.ok()) return rows.status();
    const buffer::Spool spool(part.slot_dir);
    for (buffer::ArtifactRow& row : *rows) {
      ArtifactInfo& info = out.emplace_back();
      info.path = std::move(row.op.key);
      if (!row.op.parent.zero()) info.model_id = row.op.parent.hex();
      info.size = row.file.size;
      info.time_ms = row.op.time_ms;
      info.lost = row.file.lost;
      const auto* digest = reinterpret_cast<const unsigned char*>(row.file.sha256.data());
      info.sha256 = base::to_hex(digest, row.file.sha256.size());
      if (!info.lost.empty()) continue;
      Result<std::string> file = spool.find(row.file);
      if (file.ok()) info.file = std::move(*file);
    }
  }
  return out;
}

Result<Health> ViewImpl::health() {
  Health out;
  std::map<std::string, DestinationHealth> destinations;
  const ledger::Remotes remotes = ledger::Remotes::load(root_).value_or({});
  for (const ledger::Destination& remote : remotes.all()) destinations[remote.name].name = remote.name;
  struct Points {
    std::uint64_t points = 0;
    std::set<std::string> ledgers;
  };
  std::vector<Points> slots;
  Status s = each_slot(root_, [&](const SlotState& slot) {
    add_counters(slot.counters, &out);
    if (out.buffer.ok()) out.buffer = slot.damaged.ok() ? slot.unread : slot.damaged;
    std::vector<const model::RunRow*> rows;
    Points counted;
    for (const Part& part : slot.parts) {
      rows.push_back(&part.row);
      counted.points += part.row.points;
    }
    for (const auto& snapshot : slot.ledgers) {
      add_ledger(snapshot, rows, &destinations[snapshot.destination.name]);
      counted.ledgers.insert(snapshot.destination.name);
    }
    slots.push_back(std::move(counted));
  });
  if (!s.ok()) return s;
  for (auto& [name, destination] : destinations) {
    if (const ledger::Destination* remote = remotes.named(name)) destination.uri = remote->uri;
    for (const Points& slot : slots) {  // a slot that a destination has no ledger of yet waits in full
      if (slot.ledgers.count(name) == 0) destination.waiting += slot.points;
    }
    if (destination.dropped != 0) out.dropped["rejected"] += destination.dropped;
    out.destinations.push_back(destination);
  }
  out.disk_bytes = base::disk_usage(root_);
  return out;
}

}  // namespace

Result<std::unique_ptr<View>> View::open(const std::string& root) {
  Result<std::vector<std::string>> hosts = base::list_dir(root);
  if (!hosts.ok()) return each_slot(root, [](SlotState&) {});  // its words
  return std::unique_ptr<View>(std::make_unique<ViewImpl>(root));
}

// RocksDB writes a log of its own into the reader's folder, and 7.8 aborts the process when that meets a full disk: so
// a folder is taken only where there is room for it, and memory helps out.
Result<std::unique_ptr<buffer::Reader>> open_beside(const std::string& slot_dir) {
  // A living database of another node is not opened, on no file system: what is published of it is read.
  if (const Result<std::string> local = base::local_half(slot_dir); !local.ok()) {
    if (local.status().code() != StatusCode::unavailable) return local.status();
    if (base::is_slot_alive(slot_dir) && base::is_network_root(base::root_of_slot(slot_dir))) {
      Result<std::unique_ptr<buffer::OutboxReader>> outbox = buffer::open_outbox(slot_dir, true);
      if (!outbox.ok()) return outbox.status();
      return std::unique_ptr<buffer::Reader>(std::move(*outbox));
    }
  }
  constexpr std::uintmax_t kRoom = 2u << 20;
  std::error_code error;
  std::filesystem::path usual = std::filesystem::temp_directory_path(error);
  if (error) usual = "/tmp";
  int why = ENOSPC;
  for (const std::filesystem::path& folder :
       {usual, std::filesystem::path("/tmp"), std::filesystem::path("/dev/shm")}) {
    const std::filesystem::space_info space = std::filesystem::space(folder, error);
    if (error || space.available < kRoom) continue;
    std::string name = (folder / "mlops-reader-XXXXXX").native();
    if (::mkdtemp(name.data()) != nullptr) return buffer::open_secondary(slot_dir, name);
    why = errno;
  }
  return base::errno_status(why, "make a temporary folder of 2 MiB (TMPDIR names another place)", usual.native());
}

}  // namespace mlops::view
