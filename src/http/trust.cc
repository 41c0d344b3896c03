// A libcurl that is built with another system's paths, or with none, as the one inside the Python wheel, looks here.
#include "http/trust.h"

#include <sys/stat.h>

#include <array>

namespace mlops::http {
namespace {

bool is_file(const std::string& path) {
  struct stat at{};
  return ::stat(path.c_str(), &at) == 0 && S_ISREG(at.st_mode) && at.st_size > 0;
}

bool is_folder(const std::string& path) {
  struct stat at{};
  return ::stat(path.c_str(), &at) == 0 && S_ISDIR(at.st_mode);
}

constexpr std::array kFiles = {
    "/etc/ssl/certs/ca-certificates.crt",                 // Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",                   // RHEL, Fedora
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // the same, where only the trust store is installed
    "/etc/ssl/ca-bundle.pem",                             // SUSE
    "/var/lib/ca-certificates/ca-bundle.pem",             // the same, where the link is missing
    "/etc/ssl/cert.pem",                                  // Alpine, the BSDs
};

}  // namespace

Trust find_trust(const std::string& named, const char* built_in, const std::string& fallback, const std::string& root) {
  if (!named.empty()) return is_folder(named) ? Trust{"", named, false} : Trust{named, "", false};
  if (built_in != nullptr && is_file(built_in)) return {};
  for (const char* file : kFiles)
    if (is_file(root + file)) return {root + file, "", false};
  if (!fallback.empty() && is_file(fallback)) return {fallback, "", false};
  if (is_folder(root + "/etc/ssl/certs")) return {"", root + "/etc/ssl/certs", false};
  return {"", "", true};
}

}  // namespace mlops::http
