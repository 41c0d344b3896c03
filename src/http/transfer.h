// Transfer: the moving parts of one exchange with large bodies: the file that is read, and the watch that notices when
// nothing moves. Private to http.
#pragma once

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "base/base.h"
#include "http/http.h"

namespace mlops::http {

class FileReader {
 public:
  FileReader() = default;
  explicit FileReader(const FileRange& range) : range_(range) {}
  /// Bytes read (0 at the end), or -1: error() says why.
  long read(char* to, std::size_t most) {
    const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(most, range_.size - at_));
    if (wanted == 0) return 0;
    ssize_t got = 0;
    do {
      got = ::pread(range_.fd, to, wanted, static_cast<off_t>(range_.offset + at_));
    } while (got < 0 && errno == EINTR);
    if (got <= 0) {
      error_ = got < 0 ? Status(StatusCode::data_loss, std::string("the file cannot be read: ") + std::strerror(errno))
                       : Status(StatusCode::data_loss, "the file got shorter while it was sent: it ends at byte " +
                                                           std::to_string(range_.offset + at_));
      return -1;
    }
    at_ += static_cast<std::uint64_t>(got);
    return got;
  }
  bool seek(std::uint64_t at) {
    if (at > range_.size) return false;
    at_ = at;
    return true;
  }
  std::uint64_t at() const { return at_; }
  bool done() const { return at_ == range_.size; }
  const Status& error() const { return error_; }

 private:
  FileRange range_;
  std::uint64_t at_ = 0;
  Status error_;
};

/// How long nothing has moved. What is still in the socket's queue moves, too: on a slow line the last megabytes of an
/// upload are there for minutes.
class StallWatch {
 public:
  StallWatch(Millis stall, Millis answer) : stall_(stall.count()), answer_(answer.count()) {}
  bool on() const { return stall_ > 0; }
  /// `sent` and `received`: bytes of the bodies so far; `waiting`: all is sent, and no byte of an answer is there. The
  /// milliseconds of rest that were too many, or 0.
  std::int64_t check(std::uint64_t sent, std::uint64_t received, bool waiting, const std::vector<int>& sockets) {
    std::uint64_t queued = 0;
    for (const int fd : sockets) {
      int bytes = 0;
      if (::ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0) queued += static_cast<std::uint64_t>(bytes);
    }
    const std::int64_t now = base::steady_ms();
    if (sent != sent_ || received != received_ || queued != queued_ || waiting != waiting_ || since_ == 0) since_ = now;
    sent_ = sent;
    received_ = received;
    queued_ = queued;
    waiting_ = waiting;
    const std::int64_t limit = waiting && queued == 0 ? answer_ : stall_;
    return now - since_ > limit ? limit : 0;
  }

 private:
  std::int64_t stall_, answer_, since_ = 0;
  std::uint64_t sent_ = 0, received_ = 0, queued_ = 0;
  bool waiting_ = false;
};

}  // namespace mlops::http
