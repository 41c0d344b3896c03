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

Digest::Digest(Kind kind) : state_(EVP_MD_CTX_new()) {
  auto* context = static_cast<EVP_MD_CTX*>(state_);
  if (context && EVP_DigestInit_ex(context, kind == Kind::md5 ? EVP_md5() : EVP_sha256(), nullptr) != 1) {
    EVP_MD_CTX_free(context);
    state_ = nullptr;  // finish() is empty then, and equals no digest
  }
}
Digest::~Digest() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(state_)); }
void Digest::update(std::string_view bytes) {
  if (state_) EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(state_), bytes.data(), bytes.size());
}
std::string Digest::finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (!state_ || EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(state_), digest, &size) != 1) return {};
  return {reinterpret_cast<const char*>(digest), size};
}
std::string Digest::finish_hex() {
  const std::string raw = finish();
  return to_hex(reinterpret_cast<const unsigned char*>(raw.data()), raw.size());
}

std::string to_base64(std::string_view bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');  // OpenSSL ends it with a zero
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

}  // namespace mlops::base
