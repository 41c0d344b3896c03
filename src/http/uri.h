// Uri: a tracking URI taken apart, and what may be said about it in public. Private to http.
#pragma once

#include <string>
#include <string_view>

#include "mlops/status.h"

namespace mlops::http {

struct Uri {
  std::string scheme;  // "http" or "https"
  std::string host;    // lower case; IPv6 in brackets
  std::string port;    // digits, empty when not named
  std::string path;    // "" or "/a/b", no trailing slash
  std::string text() const;
  std::string authority() const;  // host[:port]
};

/// invalid_argument names the fault and the mend; a password in the URI is not repeated.
Result<Uri> parse_uri(const std::string& uri);
/// localhost, 127.0.0.0/8, [::1].
bool is_loopback(std::string_view host);

}  // namespace mlops::http
