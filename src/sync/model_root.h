// Where a logged model and its files are at one destination, for those who deliver the files and make versions of it.
#pragma once

#include <string>

#include "sync/shared.h"

namespace mlops::sync {

/// As Shared::model_root and Shared::model_place promise.
Result<std::string> model_root(const ledger::Ledger& ledger, const base::Uid& model);
ModelPlace model_place(const ledger::Ledger& ledger, const base::Uid& model);

}  // namespace mlops::sync
