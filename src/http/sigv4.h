// AWS Signature Version 4, made here: libcurl's own (7.88) signs `Expect`, which is not sent, and does not sort
// queries. Private to http.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/http.h"

namespace mlops::http {

/// The headers that sign a request at that time: X-Amz-Date, X-Amz-Security-Token when there is one, Authorization.
/// Signed are Host, which must be `host` as it is sent, the x-amz-* ones of `headers` and those made here; the body by
/// its hash. `path` and `query` are as in the request line, percent-encoded by escape(), without the '?'. Of the path
/// each segment is encoded once more, as every service but S3 wants it.
std::vector<std::pair<std::string, std::string>> sign_v4(
    const AwsKeys& keys, std::string_view method, std::string_view host, std::string_view path, std::string_view query,
    const std::vector<std::pair<std::string, std::string>>& headers, std::string_view body, std::int64_t now_ms);

}  // namespace mlops::http
