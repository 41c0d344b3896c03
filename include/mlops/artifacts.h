// Artifacts that are on a server, or where it keeps them: list and download; with no server known, what of them lies in
// the root. A trainer needs none of it; what it logs is in run.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "mlops/options.h"
#include "mlops/status.h"

MLOPS_NAMESPACE_BEGIN

struct RemoteArtifact {
  std::string path;  ///< relative to the run's (or the root's) artifacts, '/' between folders
  bool is_dir = false;
  std::uint64_t bytes = 0;  ///< of a file
  bool in_buffer = false;   ///< it lies in the root: no server is known
};

struct DownloadProgress {
  std::uint64_t files = 0, files_done = 0;
  std::uint64_t bytes = 0, bytes_done = 0;  ///< of all files; with what was there from a try before
};

struct DownloadOptions {
  std::string root{};         ///< as in Options: where ids of ours and names of servers are known; need not exist
  std::string from{};         ///< tracking URI, or a remote's name; MLFLOW_TRACKING_URI; the root's only destination
  Credentials credentials{};  ///< for the tracking server, completed from the environment as in Client::open
  std::uint32_t connections = 4;  ///< files at once, 1..16
  Millis patience{60'000};        ///< tries go on as long as something arrived within this, 0..1 day
  std::function<void(const DownloadProgress&)> on_progress{};  ///< on the calling thread, about 10 times a second
  const std::atomic<bool>* stop = nullptr;                     ///< set it to leave early: deadline_exceeded
};

struct DownloadReport {
  std::uint64_t files = 0, bytes = 0;
  std::uint64_t resumed_bytes = 0;  ///< of them, there from a try before
  std::uint64_t retries = 0;
  bool in_buffer = false;  ///< they lie in the root: no server is known
};

/// What is directly in `path` ("": the run's artifacts themselves), by name; all below it when `recursive`. `run`: an
/// id (ours, the server's, a prefix of ours), or the URI of a place: runs:/ID/path, mlflow-artifacts:/…, s3://…, file:…
/// A path that names a file gives that file. Of an id while no server is known, neither given nor by the environment
/// nor to the root: what lies in the root, logged models' files apart. Blocks; asks the server. not_found; unavailable;
/// permission_denied; failed_precondition: the run is not delivered yet, or the server names a path that leads out of
/// its folder; unimplemented: nothing here can read such a place.
MLOPS_API Result<std::vector<RemoteArtifact>> list_artifacts(std::string_view run, std::string_view path = {},
                                                             bool recursive = false,
                                                             const DownloadOptions& options = {});

/// Downloads a file, a folder, or ("") all artifacts of a run into `folder`, which is made; paths below it are as in
/// the run. A file has its name only when all of it is there and on the disk: its size is what the server lists.
/// What is there under that name is replaced. What was broken off goes on where it was when the server takes ranges and
/// the file is still the same. Nothing is written outside of `folder`, and no link in it is followed. Blocks. Failures
/// as of list_artifacts; data_loss: what arrives is not what is listed; already done files stay.
MLOPS_API Result<DownloadReport> download_artifacts(std::string_view run, std::string_view path,
                                                    const std::string& folder, const DownloadOptions& options = {});

MLOPS_NAMESPACE_END
