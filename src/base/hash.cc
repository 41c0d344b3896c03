// Hashes: the only file that knows xxHash and OpenSSL. XXH3-64 is a disk format here: its output is stable since 0.8.
#define XXH_INLINE_ALL
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <xxhash.h>

#include "base/base.h"
#include "base/hex.h"

namespace mlops::base {

std::uint64_t hash64(std::string_view bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::string hmac_sha256(std::string_view key, std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (!HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
            text.size(), digest, &size))
    return {};
  return {reinterpret_cast<const char*>(digest), size};
}

std::string sha256_hex(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) != 1) return {};
  return to_hex(digest, size);
}

}  // namespace mlops::base
