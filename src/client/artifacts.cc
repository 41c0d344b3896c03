// artifacts: which place a run's artifacts are in, and what is in it.
#include "mlops/artifacts.h"

#include <algorithm>
#include <memory>

#include "base/base.h"
#include "base/file.h"
#include "client/delivery_target.h"
#include "client/download.h"
#include "client/env.h"
#include "client/lifecycle.h"
#include "client/remotes.h"
#include "client/spool_store.h"
#include "client/within.h"
#include "ledger/ledger.h"
#include "mlflow/mlflow.h"
#include "store/store.h"
#include "view/view.h"

namespace mlops::client {
namespace {

using mlflow::Verdict;

struct From {
  std::string root, uri;
  std::string destination;  // its name in the root; empty: the root does not know the server
  Credentials credentials;
};

Result<From> find_server(const DownloadOptions& options) {
  const Environment environment = read_environment();
  From from;
  Result<std::string> root = resolve_root(options.root, environment);
  if (!root.ok()) return root.status();
  from.root = *root;
  if (base::exists(from.root)) {
    Result<Target> target = find_target(options.root, options.from, options.credentials, Purpose::reads, "--from");
    if (!target.ok()) return target.status();
    return From{target->root, target->destination.uri, target->destination.name, target->credentials};
  }
  Result<std::string> uri = resolve_uri(options.from, environment, from.root);
  if (!uri.ok()) return uri.status();
  if (uri->empty())
    return Status(StatusCode::invalid_argument,
                  "which server has the artifacts? Give --from URI, or set MLFLOW_TRACKING_URI");
  from.uri = *uri;
  from.credentials = credentials_from_environment(options.credentials);
  return from;
}

/// The server's id of a run: by the ledger when the root has the run, else as given.
Result<std::string> server_id(const From& from, const std::string& run) {
  if (from.destination.empty()) return run;
  Result<std::unique_ptr<view::View>> view = view::View::open(from.root);
  if (!view.ok()) return run;
  Result<std::vector<view::Part>> parts = (*view)->parts(run);
  if (!parts.ok()) {
    if (parts.status().code() == StatusCode::invalid_argument) return parts.status();  // a prefix of several
    return run;
  }
  for (const view::Part& part : *parts) {
    Result<ledger::Ledger::Snapshot> snapshot = ledger::Ledger::read(part.slot_dir, from.destination);
    if (!snapshot.ok()) continue;
    const auto lane = snapshot->lanes.find(part.row.uid);
    if (lane != snapshot->lanes.end() && !lane->second.server_id.empty()) return lane->second.server_id;
  }
  return Status(StatusCode::failed_precondition,
                "run " + run + " is not on " + from.uri + " yet, where its files are read: `mlops sync` delivers it");
}

bool is_uri(const std::string& text) {
  const auto colon = text.find(':');
  return colon != std::string::npos && colon >= 2 && text.find('/') == colon + 1;
}

/// `run` as a place; what stands behind the id in runs:/ID/path goes in front of `path`.
Result<store::Place> find_place(std::string run, std::string* path, const DownloadOptions& options) {
  store::Place place;
  place.writing = false;
  if (run.compare(0, 8, "models:/") == 0)
    return Status(StatusCode::invalid_argument,
                  run + " is a model of the registry: `mlops models pull` (Registry::pull) brings its files");
  if (is_uri(run) && run.compare(0, 6, "runs:/") != 0) {
    place.artifact_uri = run;
    if (run.compare(0, 17, "mlflow-artifacts:") == 0 || run.compare(0, 4, "http") == 0) {
      Result<From> from = find_server(options);
      if (!from.ok()) return from.status();
      place.tracking_uri = from->uri;
      place.credentials = from->credentials;
    }
    return place;
  }
  if (run.compare(0, 6, "runs:/") == 0) {
    run.erase(0, run.find_first_not_of('/', 5));
    const auto slash = run.find('/');
    if (slash != std::string::npos) {
      const std::string inside = run.substr(slash + 1);
      if (!inside.empty()) *path = path->empty() ? inside : inside + "/" + *path;
      run.resize(slash);
    }
  }
  if (run.empty()) return Status(StatusCode::invalid_argument, "name a run: its id, ours or the server's");
  Result<From> from = find_server(options);
  if (!from.ok()) return from.status();
  Result<std::string> id = server_id(*from, run);
  if (!id.ok()) return id.status();
  Result<std::unique_ptr<mlflow::Api>> api = mlflow::Api::connect(from->uri, from->credentials);
  if (!api.ok()) return api.status();
  mlflow::RemoteRun remote;
  mlflow::Server server;
  mlflow::Answer answer;
  const bool in_time = within(std::max(options.patience, Millis(1'000)), api->get(), [&] {
    answer = (*api)->get_run(*id, &remote);
    if (answer.verdict == Verdict::ok) (*api)->probe(&server);
  });
  if (answer.verdict == Verdict::run_gone)
    return Status(StatusCode::not_found, "run " + run + ": " + std::string(answer.status.message()));
  if (answer.verdict != Verdict::ok) return answer.status;
  if (!in_time) return Status(StatusCode::unavailable, from->uri + " did not answer in time");
  if (remote.artifact_uri.empty())
    return Status(StatusCode::unimplemented, from->uri + " does not say where the artifacts of run " + run + " are");
  place.artifact_uri = remote.artifact_uri;
  place.tracking_uri = from->uri;
  place.credentials = from->credentials;
  place.run_id = remote.run_id;
  place.abilities = {server.multipart_uploads, server.multipart_downloads, server.major, server.minor};
  return place;
}

/// With no server at all the buffer is the store: this run's files in it, all of them.
Result<std::vector<ArtifactInfo>> files_here(const std::string& root, const std::string& run) {
  Result<std::unique_ptr<view::View>> view = view::View::open(root);
  if (!view.ok()) return view.status();
  return (*view)->artifacts(run);
}

/// `run` is an id, and nobody has named a server: neither the caller nor the environment, nor does the root know one.
/// The root then; else empty.
Result<std::string> root_without_server(std::string_view run, const DownloadOptions& options) {
  if (is_uri(std::string(run))) return std::string();
  const Environment environment = read_environment();
  Result<std::string> root = resolve_root(options.root, environment);
  if (!root.ok() || !base::exists(*root)) return root.ok() ? Result<std::string>(std::string()) : root;
  Result<std::string> uri = resolve_uri(options.from, environment, *root);
  if (!uri.ok() || !uri->empty()) return uri.ok() ? Result<std::string>(std::string()) : uri;
  Result<std::vector<KnownDestination>> known = known_destinations(*root);
  if (!known.ok()) return known.status();
  return known->empty() ? root : Result<std::string>(std::string());
}

std::string plain(std::string_view path) {  // "model/" is "model", "." the place
  while (!path.empty() && path.back() == '/') path.remove_suffix(1);
  return path == "." ? std::string() : std::string(path);
}

Status check(const DownloadOptions& options) {
  if (options.connections < 1 || options.connections > 16)
    return {StatusCode::invalid_argument, "connections must be 1..16"};
  if (options.patience.count() < 0 || options.patience > std::chrono::hours(24))
    return {StatusCode::invalid_argument, "patience must be 0..24 h"};
  return {};
}

}  // namespace
}  // namespace mlops::client

MLOPS_NAMESPACE_BEGIN

Result<std::vector<RemoteArtifact>> list_artifacts(std::string_view run, std::string_view path, bool recursive,
                                                   const DownloadOptions& options) {
  client::install_delivery_lifecycle();
  if (Status s = client::check(options); !s.ok()) return s;
  std::string inside = client::plain(path);
  const Result<std::string> local = client::root_without_server(run, options);
  if (!local.ok()) return local.status();
  const auto from_server = [&]() -> Result<std::vector<store::Entry>> {
    Result<store::Place> place = client::find_place(std::string(run), &inside, options);
    if (!place.ok()) return place.status();
    return client::find_artifacts(*place, inside, recursive, options.patience, options.stop,
                                  client::environment_variable);
  };
  const auto from_buffer = [&]() -> Result<std::vector<store::Entry>> {
    Result<std::vector<ArtifactInfo>> files = client::files_here(*local, std::string(run));
    if (!files.ok()) return files.status();
    return client::find_artifacts(client::open_spool(*files).get(), inside, recursive, options.patience, options.stop);
  };
  Result<std::vector<store::Entry>> entries = local->empty() ? from_server() : from_buffer();
  if (!entries.ok()) return entries.status();
  std::vector<RemoteArtifact> out;
  out.reserve(entries->size());
  for (store::Entry& e : *entries) out.push_back({std::move(e.path), e.is_dir, e.size, !local->empty()});
  return out;
}

Result<DownloadReport> download_artifacts(std::string_view run, std::string_view path, const std::string& folder,
                                          const DownloadOptions& options) {
  client::install_delivery_lifecycle();
  if (Status s = client::check(options); !s.ok()) return s;
  if (folder.empty()) return Status(StatusCode::invalid_argument, "name a folder to download to");
  std::string inside = client::plain(path);
  client::Download what;
  const Result<std::string> local = client::root_without_server(run, options);
  if (!local.ok()) return local.status();
  Result<std::vector<store::Entry>> entries(std::vector<store::Entry>{});
  if (local->empty()) {
    Result<store::Place> place = client::find_place(std::string(run), &inside, options);
    if (!place.ok()) return place.status();
    entries =
        client::find_artifacts(*place, inside, true, options.patience, options.stop, client::environment_variable);
    what.place = std::move(*place);
  } else {
    Result<std::vector<ArtifactInfo>> files = client::files_here(*local, std::string(run));
    if (!files.ok()) return files.status();
    entries = client::find_artifacts(client::open_spool(*files).get(), inside, true, options.patience, options.stop);
    what.open = [files = std::move(*files)] {
      return Result<std::unique_ptr<store::Store>>(client::open_spool(files));
    };
  }
  if (!entries.ok()) return entries.status();
  for (store::Entry& e : *entries)
    if (!e.is_dir) what.files.push_back({std::move(e.path), e.size, {}});
  what.folder = folder;
  what.connections = options.connections;
  what.patience = options.patience;
  what.on_progress = options.on_progress;
  what.stop = options.stop;
  Result<DownloadReport> report = client::download(what, client::environment_variable);
  if (report.ok()) report->in_buffer = !local->empty();
  return report;
}

MLOPS_NAMESPACE_END
