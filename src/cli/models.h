// Models: what the verbs of `mlops models` share.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/json_out.h"
#include "mlops/mlops.h"

namespace mlops::cli {

/// --to, for every verb that asks or changes a server.
Option to_option(std::string* into);
Result<Registry> open_registry(const Common& common, const std::string& to);

/// Writes through a client of this process and waits for the result as long as `seconds`, where there is a server to
/// deliver to. Prints what became of it; the exit code says whether it was accepted and not refused.
int write_model(const Common& common, const std::string& to, double seconds,
                const std::function<Result<Pending>(const Registry&)>& write);
void put(const PendingStatus& status, JsonOut* out);
extern const char* const kPendingJson;

std::vector<Command> model_reads();   // ls, show, history, pick, pending
std::vector<Command> model_writes();  // create, register, alias, promote, …
Command model_pull();
Command model_gate(const std::string& name);  // "gate": below `mlops models`, and alone

}  // namespace mlops::cli
