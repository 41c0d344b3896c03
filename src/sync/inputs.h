// Inputs: a dataset as the run's record has it, with what the spool holds of it.
#pragma once

#include "buffer/buffer.h"
#include "mlflow/models.h"
#include "sync/shared.h"

namespace mlops::sync {

/// unavailable: bytes of it are not named yet, ask again; anything else: they never will be there.
Result<mlflow::DatasetInput> read_dataset(const Shared& shared, const model::Op& input);

}  // namespace mlops::sync
