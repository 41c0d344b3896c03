// The small tools every room uses: clocks, hashes, the log, random numbers, fault points.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mlops::base {

std::int64_t now_ms();       // CLOCK_REALTIME
std::int64_t steady_ms();    // CLOCK_MONOTONIC, never backwards
std::uint64_t random_u64();  // per-thread generator, not for secrets

std::uint64_t hash64(std::string_view bytes, std::uint64_t seed = 0);  // XXH3-64: checksums of our files
std::string hmac_sha256(std::string_view key, std::string_view text);  // the 32 raw bytes
std::string sha256_hex(std::string_view bytes);                        // OpenSSL EVP

/// A digest of bytes that come piece by piece.
class Digest {
 public:
  enum class Kind { sha256, md5 };  // md5 only where a protocol asks for it
  explicit Digest(Kind kind = Kind::sha256);
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;
  ~Digest();
  void update(std::string_view bytes);
  std::string finish();  // the raw bytes; once
  std::string finish_hex();

 private:
  void* state_;
};
std::string to_base64(std::string_view bytes);

/// The log: spdlog to stderr, level from MLOPS_LOG (off, error, warn, info, debug; default warn). Never to stdout.
/// One line per distinct message per minute, so that a broken network does not flood.
enum class LogLevel { debug, info, warn, error };
void log(LogLevel level, std::string_view message);

std::string host_name();
std::string boot_id();  // /proc/sys/kernel/random/boot_id, "" when unknown
/// Names the calling thread (15 characters) and blocks all signals in it: for our own threads. One that is `harmless`
/// may run while the process takes itself apart; the others are counted until they end.
void begin_own_thread(const char* name, bool harmless = false);
/// How many of our threads live and are not harmless. Of no meaning in a forked child.
int own_threads();

/// Named fault points for the crash tests: `MLOPS_POINT("drain.written")`. In builds with MLOPS_FAULTS,
/// MLOPS_KILL_AT=name:n kills the process with SIGKILL at the n-th pass of that point, and MLOPS_POINTS_FILE=path
/// appends every name passed once. Compiled to nothing otherwise.
void fault_point(const char* name);
#if defined(MLOPS_FAULTS)
#define MLOPS_POINT(name) ::mlops::base::fault_point(name)
#else
#define MLOPS_POINT(name) ((void)0)
#endif

}  // namespace mlops::base
