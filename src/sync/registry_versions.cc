// RegistryLane: versions: where their files are, and how one is made once.
#include <algorithm>
#include <utility>

#include "base/base.h"
#include "base/hex.h"
#include "model/logged_model.h"
#include "sync/call.h"
#include "sync/registry_lane.h"

namespace mlops::sync {

using mlflow::Verdict;
using model::Verb;

namespace {

constexpr std::string_view kRuns = "runs:/", kManifestTag = "mlops.manifest";

bool absent(const mlflow::Answer& answer) { return answer.status.code() == StatusCode::not_found; }

std::string folder(const std::string& uri, const std::string& path) {
  if (path.empty()) return uri;
  return uri + (uri.empty() || uri.back() != '/' ? "/" : "") + path;
}

}  // namespace

/// Where the version's files are. Only `ready` goes on: `out->source` is set then.
RegistryLane::Tried RegistryLane::place_of(Remote& remote, Entry* entry, mlflow::NewVersion* out) {
  const model::Intent& i = entry->intent;
  if (i.source.compare(0, kRuns.size(), kRuns) == 0) return place_of_run(remote, entry, out);
  if (!i.source.empty()) {
    out->source = i.source;
    return {};
  }
  if (!i.run.zero() || !i.logged_model.zero()) {
    const bool there =
        shared_->artifacts_delivered ? shared_->artifacts_delivered(i.run, i.logged_model, i.ticket) : [&] {
          bool none = true;
          shared_->reader
              ->scan(i.run, 0,
                     [&](const buffer::Record& record) {
                       if (record.is_block || record.op.kind != model::OpKind::artifact) return true;
                       if (record.op.ticket <= i.ticket && record.op.parent == i.logged_model) none = false;
                       return none;
                     },
                     {})
              .ignore();
          return none;
        }();
    if (!there) return later("its files are not all delivered yet");
  }
  if (!i.logged_model.zero()) {
    const ModelPlace place = shared_->model_place ? shared_->model_place(i.logged_model) : ModelPlace();
    if (place.state == ModelPlace::State::refused) {
      return refuse(entry, Status(StatusCode::failed_precondition, place.why));
    }
    if (place.state == ModelPlace::State::waiting) return later(place.why);
    out->source = place.source;
    out->run_id = place.run_id;
    out->model_id = place.model_id;
    return {};
  }
  const ParentState run = shared_->parent_of ? shared_->parent_of(i.run) : ParentState();
  if (!run.known && shared_->reader->run(i.run).status().code() == StatusCode::not_found) {
    return refuse(entry, Status(StatusCode::not_found, "its run " + i.run.hex() + " is not in this buffer"));
  }
  if (run.server_id.empty()) return later(run.parked.empty() ? "its run is not on the server yet" : run.parked);
  std::string& uri = artifact_uris_[i.run];
  if (uri.empty()) {
    mlflow::RemoteRun remote_run;
    const Answer answer = call([&] { return remote.get_run(run.server_id, &remote_run); });
    if (answer.verdict != Verdict::ok) return settle(entry, answer);
    if (remote_run.artifact_uri.empty()) {
      return refuse(entry, Status(StatusCode::unimplemented, "the server does not say where the run's artifacts are"));
    }
    uri = remote_run.artifact_uri;
  }
  out->source = folder(uri, i.path);
  out->run_id = run.server_id;
  return {};
}

/// "runs:/<server's run id>/<path>": what loaders get is what is stored, so it is resolved here, as MLflow's client
/// does.
RegistryLane::Tried RegistryLane::place_of_run(Remote& remote, Entry* entry, mlflow::NewVersion* out) {
  const std::string rest = entry->intent.source.substr(kRuns.size());
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  const std::string id = rest.substr(0, slash);
  mlflow::RemoteRun run;
  const Answer answer = call([&] { return remote.get_run(id, &run); });
  if (answer.verdict != Verdict::ok) return settle(entry, answer);
  if (run.artifact_uri.empty()) {
    return refuse(entry, Status(StatusCode::unimplemented, "the server does not say where the run's artifacts are"));
  }
  out->source = folder(run.artifact_uri, slash == rest.size() ? std::string() : rest.substr(slash + 1));
  out->run_id = id;
  return {};
}

/// The SHA-256, in hex, of the manifest among the files of a model directory of this slot; empty when there is none.
mlops::Result<std::string> RegistryLane::manifest_of(const model::Intent& i) const {
  if (i.run.zero()) return std::string();
  const std::string name(model::kManifestFile);
  const std::string path = !i.logged_model.zero() || i.path.empty() ? name : folder(i.path, name);
  const mlops::Result<std::vector<buffer::ArtifactRow>> rows = shared_->reader->artifacts(i.run);
  if (!rows.ok()) return rows.status();
  std::string sha256;
  for (const buffer::ArtifactRow& row : *rows) {  // of two with one path the newer one's bytes are there
    if (row.op.parent == i.logged_model && row.op.key == path) sha256 = row.file.sha256;
  }
  return base::to_hex(reinterpret_cast<const unsigned char*>(sha256.data()), sha256.size());
}

RegistryLane::Tried RegistryLane::create_version(Remote& remote, Entry* entry) {
  const model::Intent& i = entry->intent;
  mlflow::NewVersion version;
  version.name = i.model;
  version.description = i.description;
  version.tags = i.tags;
  Tried placed = place_of(remote, entry, &version);
  if (version.source.empty()) return placed;
  const auto is_manifest = [](const auto& tag) { return tag.first == kManifestTag; };
  if (std::none_of(version.tags.begin(), version.tags.end(), is_manifest)) {
    mlops::Result<std::string> digest = manifest_of(i);
    if (!digest.ok()) return local(digest.status());
    if (!digest->empty()) version.tags.emplace_back(kManifestTag, std::move(*digest));
  }
  return make_version(remote, entry, version);
}

RegistryLane::Tried RegistryLane::copy_version(Remote& remote, Entry* entry) {
  const model::Intent& i = entry->intent;
  std::string number;
  Tried named = find_version_of(remote, entry, i.from_model, &number);
  if (number.empty()) return named;
  mlflow::RemoteVersion from;
  const Answer answer = call([&] { return remote.registry().get_version(i.from_model, number, &from); });
  if (answer.verdict != Verdict::ok) return settle(entry, answer);
  mlflow::NewVersion version;
  version.name = i.model;
  version.source = "models:/" + i.from_model + "/" + number;
  version.run_id = from.run_id;
  version.description = from.description;
  for (const auto& [key, value] : from.tags) {  // its own story stays with it
    if (key != "mlops.uid" && key.compare(0, mlflow::kPromotionTag.size(), mlflow::kPromotionTag) != 0) {
      version.tags.emplace_back(key, value);
    }
  }
  return make_version(remote, entry, version);
}

RegistryLane::Tried RegistryLane::make_version(Remote& remote, Entry* entry, const mlflow::NewVersion& wanted) {
  const model::Intent& i = entry->intent;
  mlflow::Registry& registry = remote.registry();
  mlflow::RemoteVersion made;
  while (entry->maybe_sent && entry->lookups_left > 0) {
    bool found = false;
    const Answer answer = call([&] { return registry.find_version(i.model, i.uid.hex(), &made, &found); });
    if (answer.verdict != Verdict::ok) return settle(entry, answer);
    if (found) return done(entry, made.version);
    // A create whose answer was lost may still be at work on the server.
    if (--entry->lookups_left > 0) {
      Tried tried = later("looked for on the server");
      tried.looked = true;
      return tried;
    }
  }
  mlflow::NewVersion version = wanted;
  version.tags.emplace_back("mlops.uid", i.uid.hex());
  if (Tried marked = mark(entry, false); marked.how != Tried::How::settled) return marked;
  Answer answer = call([&] { return registry.create_version(version, &made); });
  if (absent(answer) && (i.create_model || i.verb == Verb::copy_version)) {
    const Answer model = call([&] { return registry.create_model(i.model, {}, {}); });
    if (model.verdict != Verdict::ok && model.verdict != Verdict::exists) return settle(entry, model);
    answer = call([&] { return registry.create_version(version, &made); });
  }
  if (answer.verdict == Verdict::ok) return done(entry, made.version);
  entry->maybe_sent = true;
  entry->lookups_left = answer.verdict == Verdict::offline ? 1 : 3;
  return settle(entry, answer);
}

}  // namespace mlops::sync
