// Trust: which authorities a server's certificate is verified against, where nobody names them.
#pragma once

#include <string>
#include <string_view>

namespace mlops::http {

/// PEM file, folder of PEM files under OpenSSL's hashed names, or neither: then libcurl's own place serves, unless
/// there is `none`: no certificate is accepted.
struct Trust {
  std::string file, folder;
  bool none = false;
};

/// What is `named` (a file, or a folder as REQUESTS_CA_BUNDLE allows), whether it is there or not; else nothing when
/// `built_in`, the file that libcurl was built with, is there; else where Debian, RHEL and Fedora, SUSE, Alpine, … keep
/// theirs, below `root`; else `fallback` when it is there.
Trust find_trust(const std::string& named, const char* built_in, const std::string& fallback,
                 const std::string& root = "");

}  // namespace mlops::http
