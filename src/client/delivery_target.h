// Target: which root, which server, as whom; shared by deliver and verify.
#pragma once

#include <string>

#include "ledger/ledger.h"
#include "mlops/options.h"
#include "mlops/status.h"

namespace mlops::client {

struct Target {
  std::string root;
  ledger::Destination destination;
  Credentials credentials;
};

/// Resolves what the caller left empty: `to` is the environment's tracking URI, else the root's only destination; for
/// who only reads, the only one that ever answered (only_one in remotes.h). `option`: what a person would give.
enum class Purpose { delivers, reads };
Result<Target> find_target(const std::string& root, const std::string& to, const Credentials& credentials,
                           Purpose purpose, const char* option = "--to");

}  // namespace mlops::client
