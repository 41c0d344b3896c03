// find_target: from what a caller, the environment and the root say.
#include "client/delivery_target.h"

#include <utility>
#include <vector>

#include "base/base.h"
#include "client/core.h"
#include "client/remotes.h"

namespace mlops::client {

Result<Target> find_target(const std::string& given_root, const std::string& to, const Credentials& credentials,
                           Purpose purpose, const char* option) {
  const Environment environment = read_environment();
  Target target;
  Result<std::string> root = resolve_root(given_root, environment);
  if (!root.ok()) return root.status();
  target.root = *root;
  if (!base::exists(target.root)) {
    return Status(StatusCode::not_found, "there is no buffer at " + target.root + ": give --root, or set MLOPS_HOME");
  }
  Result<std::string> uri = resolve_uri(to, environment, target.root);
  if (!uri.ok()) return uri.status();
  if (uri->empty()) {
    Result<std::vector<KnownDestination>> known = known_destinations(target.root);
    if (!known.ok()) return known.status();
    std::string words;
    const KnownDestination* one = only_one(*known, purpose == Purpose::delivers, &words);
    if (one == nullptr) {
      return Status(StatusCode::invalid_argument,
                    words + ": give " + option + " URI or NAME, or set MLFLOW_TRACKING_URI");
    }
    target.destination = one->destination;
  } else {
    target.destination = destination_of(target.root, *uri);
  }
  target.credentials = credentials_from_environment(credentials);
  return target;
}

}  // namespace mlops::client
