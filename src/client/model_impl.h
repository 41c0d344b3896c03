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
};

MLOPS_NAMESPACE_END
