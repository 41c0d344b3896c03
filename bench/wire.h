// Wire: when this process's HTTP exchanges passed its sockets. wire.cc defines send and recv for the whole process, so
// libcurl's and the raw generator's calls are seen alike, one level above the kernel. A response's bytes are dated by
// the kernel (SO_TIMESTAMPNS), so that the wait for a CPU after their arrival counts as the client's time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace mlops::bench {

struct Exchange {
  int socket = -1;
  std::size_t bytes_out = 0;                              // head and body of the request
  std::int64_t first_out = 0, last_out = 0, last_in = 0;  // ns of CLOCK_REALTIME; of the last byte so far
  std::uint64_t cpu = 0;                                  // ns of this process's CPU, when the response had been read
  std::string request;                                    // its bytes, where they are kept
};

/// Recording, from construction to take(). One at a time; any thread may send meanwhile.
class Wire {
 public:
  explicit Wire(bool keep_requests = false);
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;
  /// All whole exchanges, by last_in.
  std::vector<Exchange> take();
};

}  // namespace mlops::bench
