// Uid and the small random numbers. Both are right in a forked child: nothing random is inherited.
#include "base/uid.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>

#include "base/base.h"
#include "base/hex.h"

namespace mlops::base {
namespace {

// Fills from the kernel; a kernel that has neither getrandom nor /dev/urandom (a broken sandbox) gives clock and pid.
void fill_random(std::uint8_t* out, std::size_t size) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t n = ::getrandom(out + done, size - done, 0);
    if (n > 0) done += static_cast<std::size_t>(n);
    if (n < 0 && errno != EINTR) break;
  }
  if (done == size) return;
  const int fd = ::open("/dev/urandom", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    const ssize_t n = ::read(fd, out + done, size - done);
    if (n > 0) done += static_cast<std::size_t>(n);
    ::close(fd);
  }
  std::uint64_t state = static_cast<std::uint64_t>(now_ms()) * 0x9E3779B97F4A7C15ull ^
                        static_cast<std::uint64_t>(steady_ms()) << 20 ^ static_cast<std::uint64_t>(::getpid()) << 40;
  for (; done < size; ++done) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    out[done] = static_cast<std::uint8_t>(state >> 56);
  }
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::uint64_t random_u64() {
  struct State {
    pid_t pid;
    std::uint64_t word;
  };
  static thread_local State state{0, 0};
  const pid_t pid = ::getpid();
  if (state.pid != pid) {
    fill_random(reinterpret_cast<std::uint8_t*>(&state.word), sizeof state.word);
    state.pid = pid;
  }
  std::uint64_t z = (state.word += 0x9E3779B97F4A7C15ull);  // splitmix64
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

Uid Uid::random() {
  Uid uid;
  do {
    fill_random(uid.bytes.data(), uid.bytes.size());
  } while (uid.zero());
  return uid;
}

bool Uid::parse(std::string_view hex, Uid* out) {
  Uid uid;
  if (hex.size() != 2 * uid.bytes.size()) return false;
  for (std::size_t i = 0; i < uid.bytes.size(); ++i) {
    const int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    uid.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  *out = uid;
  return true;
}

std::string Uid::hex() const { return to_hex(bytes.data(), bytes.size()); }

}  // namespace mlops::base
