// SpoolStore: a run's files that lie in the buffer, read as a server's would be: for who has no server.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "mlops/reader.h"
#include "store/store.h"

namespace mlops::client {

/// The run's own files (no logged model's) whose bytes are here, of two with one path the newer. Read only: whatever
/// writes is unsupported. A file that leaves the spool meanwhile is not_found.
std::unique_ptr<store::Store> open_spool(const std::vector<ArtifactInfo>& artifacts);

}  // namespace mlops::client
