// Raw: the least that gets log-batch bodies to an MLflow server, as the limit of what a client can reach: bodies built
// beforehand, one blocking keep-alive socket and one thread per connection, nothing read of a response but its end. No
// code of the SDK runs while it sends.
#pragma once

#include <string>
#include <vector>

namespace mlops::bench {

class RawConnection {
 public:
  explicit RawConnection(int port);  // on loopback; throws when nobody listens
  ~RawConnection();
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;
  /// Head and body, ready to send.
  static std::string post(const std::string& endpoint, const std::string& body);
  /// Sends and waits for the whole response; its body. Throws on anything but a 200.
  std::string exchange(const std::string& request);

 private:
  int fd_ = -1;
  std::string in_;
};

/// The ids of new runs in the experiment "Default".
std::vector<std::string> raw_runs(int port, int count);

}  // namespace mlops::bench
