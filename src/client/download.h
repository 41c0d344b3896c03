// Download: files of one place into a folder: over a few connections, tried again while bytes arrive, resumed, checked,
// and renamed into place when they are whole and on the disk.
//
// Beside a file that is on its way lie .mlops-part-<hash of its path> and, from 4 MiB on, the same with ".of": which
// version of the file it is (ETag and size) and since which boot. A part is continued when the store says that the file
// is still that version, and its bytes are known to be on the disk or cannot have been lost since.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "http/http.h"
#include "mlops/artifacts.h"
#include "mlops/options.h"
#include "mlops/status.h"
#include "store/store.h"

namespace mlops::client {

struct WantedFile {
  std::string path;  // relative to the place, and to the folder
  std::uint64_t size = 0;
  std::string sha256;  // hex; empty: not known. When known, a file that is there with this content is kept
};

struct Download {
  store::Place place;
  std::function<Result<std::unique_ptr<store::Store>>()> open{};  // instead of the place; called for each connection
  std::vector<WantedFile> files;
  std::string folder;
  std::uint32_t connections = 4;
  Millis patience{60'000};
  std::function<void(const DownloadProgress&)> on_progress{};
  const std::atomic<bool>* stop = nullptr;
};

/// The first failure ends it, and names the file; what is whole by then stays. Blocks.
Result<DownloadReport> download(const Download& what, const http::Env& env);

/// `path` itself if it is a file; what is in it if it is a folder, all below it when `recursive`; "" is the place.
/// Tried again while somebody answers within `patience`. Every path is checked.
Result<std::vector<store::Entry>> find_artifacts(const store::Place& place, const std::string& path, bool recursive,
                                                 Millis patience, const std::atomic<bool>* stop, const http::Env& env);
Result<std::vector<store::Entry>> find_artifacts(store::Store* store, const std::string& path, bool recursive,
                                                 Millis patience, const std::atomic<bool>* stop);

}  // namespace mlops::client
