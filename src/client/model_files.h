// The digest of a model's file before it is taken into the spool, and whether it is still that file afterwards.
#pragma once

#include "client/model_dir.h"

namespace mlops::client {

/// Sets size, sha256 and what `unchanged` compares with.
Status digest_file(ModelEntry* entry);
/// failed_precondition: the file is not what its digest was taken of.
Status unchanged(const ModelEntry& entry);

}  // namespace mlops::client
