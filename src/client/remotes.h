// Remotes: which servers a root knows and what they are called; behind Client::open, deliver, verify and `mlops
// remote`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ledger/ledger.h"
#include "mlops/status.h"

namespace mlops::client {

/// Where a URI is delivered to from this root: under the name somebody gave it, else the one made from it. A damaged
/// list of names is logged and passed over: it must not stop a trainer.
ledger::Destination destination_of(const std::string& root, const std::string& uri);
/// The URI of a destination by its name; empty when the root knows none of that name.
std::string uri_of_name(const std::string& root, std::string_view name);

struct KnownDestination {
  ledger::Destination destination;
  bool named = false;                  // in the list of names; its URI is the one there
  std::vector<std::string> slot_dirs;  // that have a ledger of it
};
/// Named ones and those that some slot has a ledger of, by name. A missing root has none.
Result<std::vector<KnownDestination>> known_destinations(const std::string& root);

/// Who holds a lock file, in words; "" when nobody does.
std::string holder_of(const std::string& lock_path);

}  // namespace mlops::client
