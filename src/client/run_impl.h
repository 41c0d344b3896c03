// Run::Impl: one Run object's hold on a run.
#pragma once

#include <memory>

#include "client/core.h"
#include "mlops/run.h"

MLOPS_NAMESPACE_BEGIN

struct Run::Impl {
  std::shared_ptr<client::RunState> state;
  int uncaught = 0;  // exceptions in flight when the object was made: more of them at its end mean FAILED
};

MLOPS_NAMESPACE_END
