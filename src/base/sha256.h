// Sha256: a digest taken in pieces (OpenSSL, which uses what the processor has).
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace mlops::base {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(std::string_view bytes);
  std::string finish();  // 32 bytes; empty when the library failed. Once

 private:
  struct Rep;
  std::unique_ptr<Rep> rep_;
};

}  // namespace mlops::base
