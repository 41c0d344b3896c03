// Names for runs that got none: two words and a number, as MLflow's client makes them ("steady-otter-412").
#pragma once

#include <string>

#include "base/uid.h"

namespace mlops::client {

/// The same uid gives the same name; 64 x 64 x 1,000 of them.
std::string make_run_name(const base::Uid& uid);

}  // namespace mlops::client
