// Manage: what `mlops remote`, `stuck`, `delete`, `restore`, `gc` and `roots` do, as calls. Each takes the root as in
// Options (empty: MLOPS_HOME, else `.mlops` found upwards) and works beside live trainers. A trainer needs none of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mlops/options.h"
#include "mlops/status.h"

MLOPS_NAMESPACE_BEGIN

/// A server this root delivers to: a name for a URI. The name stands for the URI wherever one is asked for
/// (Options::tracking_uri, MLFLOW_TRACKING_URI, `mlops sync --to NAME`).
struct Remote {
  std::string name;
  std::string uri;     ///< without credentials
  bool named = false;  ///< somebody named it; else the name was made from the URI at its first delivery
};

/// All servers the root knows, by name: those that were named, and those it was delivered to.
MLOPS_API Result<std::vector<Remote>> remotes(const std::string& root);
/// Names a server; makes the root when there is none. The same again is OK. already_exists: the name has another URI
/// (set_remote_url), or the URI another name (rename_remote); invalid_argument: no name, no http(s) URI, or one with
/// credentials in it.
MLOPS_API Status add_remote(const std::string& root, std::string_view name, const std::string& uri);
/// What was delivered stays known. failed_precondition while somebody delivers there: it names who.
MLOPS_API Status rename_remote(const std::string& root, std::string_view name, std::string_view to);
/// The same server at another address: what was delivered stays known, and the next delivery reads one run back before
/// it sends anything, so that a server that is another one is noticed. Processes that deliver to the old address go on
/// until they end; their words come back, one for each.
MLOPS_API Result<std::vector<std::string>> set_remote_url(const std::string& root, std::string_view name,
                                                          const std::string& uri);
/// Forgets a server and what it has; what is on it stays. failed_precondition: somebody delivers there; or points wait
/// for it, or it refused some, and `even_waiting` is false.
MLOPS_API Status remove_remote(const std::string& root, std::string_view name, bool even_waiting);

MLOPS_NAMESPACE_END
