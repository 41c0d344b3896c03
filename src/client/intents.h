// Intents: the registry writes of a root, and what became of them, read from its slots' buffers and ledgers. No lock is
// taken, nothing changed.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/uid.h"
#include "ledger/ledger.h"
#include "mlops/registry.h"

namespace mlops::client {

PendingStatus status_of(const ledger::IntentResult& result, const std::string& destination);

/// What the ledgers of a root say of one intent; `destination` first, when it is named. Nothing: no ledger has it.
std::optional<PendingStatus> find_result(const std::string& root, const base::Uid& uid, const std::string& destination);
/// Every intent that is in a buffer, by the time it was accepted: with a destination's result, or waiting there.
Result<std::vector<PendingStatus>> list_intents(const std::string& root);

}  // namespace mlops::client
