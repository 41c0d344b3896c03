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
  bool reached = false;                // it has once answered as an MLflow server
  std::vector<std::string> slot_dirs;  // that have a ledger of it
};
/// Named ones and those that some slot has a ledger of, by name. A missing root has none.
Result<std::vector<KnownDestination>> known_destinations(const std::string& root);
/// The only one; else, when `even_unreached` is false, the only one that ever answered among such as nobody named.
/// Null: there is no such one, and *words says what there is instead.
const KnownDestination* only_one(const std::vector<KnownDestination>& known, bool even_unreached, std::string* words);

/// After a delivery that made the ledgers of a destination in `slot_dirs` itself, and in vain: they go again, so that a
/// mistyped URI is no destination for ever. One that tells of an answer stays, as does one that somebody has taken, and
/// all of them when the destination has a name by now. True: all are gone. Who stands by for one makes it anew.
bool forget_unreached(const std::string& root, const std::string& name, const std::vector<std::string>& slot_dirs);

/// Who holds a lock file, in words; "" when nobody does.
std::string holder_of(const std::string& lock_path);

}  // namespace mlops::client
