// LoggedModel::Impl: which model of which run.
#pragma once

#include <memory>
#include <string>

#include "client/core.h"
#include "mlops/model.h"

MLOPS_NAMESPACE_BEGIN

struct LoggedModel::Impl {
  std::shared_ptr<client::RunState> run;
  base::Uid uid;
  std::string id, name;
  bool made_here = true;  // by this process
};

MLOPS_NAMESPACE_END

namespace mlops::client {

/// Files and end of a model go the way of the slot that has its run: failed_precondition elsewhere.
Status check_files_here(const LoggedModel::Impl& model);

}  // namespace mlops::client
