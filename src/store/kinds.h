// Kinds: what makes each kind of store; open() chooses. Private to store.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "mlops/status.h"
#include "store/aws.h"
#include "store/store.h"

namespace mlops::store {

/// What MLflow's servers take of check_path: no '#', and no % with two hex digits behind it, which they would read as
/// another character, however it is encoded.
Status check_mlflow_path(std::string_view path);

/// %41 as A; what is no two hex digits behind a % stays.
std::string unescape(std::string_view text);

/// `base`: of the server that serves artifacts, which gets credentials only where it is the tracking server, or one
/// that MLOPS_ARTIFACT_HOSTS names (host or host:port, with commas); `root`: below it, decoded, without slashes at its
/// ends.
Result<std::unique_ptr<Store>> open_proxied(const Place& place, const std::string& base, std::string root,
                                            const http::Env& env);
/// `prefix`: of all keys, without slashes at its ends; may be empty.
Result<std::unique_ptr<Store>> open_s3(const Place& place, Aws aws, const std::string& bucket, std::string prefix);
/// `folder`: absolute.
Result<std::unique_ptr<Store>> open_folder(std::string folder);
/// Through the tracking server: reads what it can read, and puts where it hands out presigned URLs. `why_not` ends the
/// sentence of a refused put.
Result<std::unique_ptr<Store>> open_served(const Place& place, std::string why_not);

}  // namespace mlops::store
