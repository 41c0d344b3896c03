// Artifact: what the record of one (OpKind::artifact) may say, and which paths MLflow's servers keep as they are.
//
// key: path below the artifact root of the run (or of the logged model `parent`), value: name of the bytes in the
// spool (a uid in hex), number: their size; pairs: below.
#pragma once

#include <cstdint>
#include <string_view>

#include "mlops/status.h"

namespace mlops::model {

/// The file is not in the spool yet: the drain's spooler reads it from `source` (absolute), if it is still the same.
inline constexpr std::string_view kSource = "source", kSourceDevice = "device", kSourceInode = "inode",
                                  kSourceMtime = "mtime_ns", kSourceCtime = "ctime_ns";

inline constexpr std::size_t kArtifactPathBytes = 900, kArtifactNameBytes = 255;

/// A path that every server stores under exactly this name: relative, plain (as a metric's key must be), UTF-8 without
/// control characters, at most 900 bytes and 255 between slashes; no '#' and no '\' (refused there), no %XX (decoded
/// there), no start that reads as a URL's scheme or a drive, no '?' or ';' at the end (cut there). Spaces, '%' and
/// other characters of any script are fine.
Status check_artifact_path(std::string_view path);

}  // namespace mlops::model
