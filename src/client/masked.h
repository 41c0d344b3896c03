// Masked: URIs as they may be shown, whatever somebody wrote into them.
#pragma once

#include <string>

namespace mlops::client {

/// The URI with user, password, query and fragment as "***", control characters out. Of text that is no URI too.
std::string masked_uri(const std::string& uri);
/// Credentials::proxy as http::complete_credentials leaves it, in words: "http://***@proxy:3128", or "https: …, http:
/// …, none for …" of the environment's variables. Empty: none.
std::string masked_proxy(const std::string& proxy);

}  // namespace mlops::client
