// Loopback: a tiny HTTP server for tests, raw sockets and one thread, that answers a script: whole, cut, late, garbage
// or not at all.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace mlops::test {

struct Seen {
  std::string head;  // request line and headers
  std::string body;
  int connection = 0;  // number of the connection it came on, 1 first
};

/// What to do with one request.
struct Act {
  enum Kind { answer, reset_after_request, close_after_request, hang } kind = answer;
  std::string bytes;      // the raw answer, whole or cut
  bool close = false;     // after the answer
  int delay_ms = 0;       // before the answer
  std::size_t split = 0;  // > 0: so many bytes in a packet of their own, the rest when they are acknowledged
  bool slowly = false;    // closed not before the peer has, as servers do that answer early
};

inline std::string http_answer(int status, const std::string& body, const std::string& type = "application/json",
                               const std::string& extra = "") {
  return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Type: " + type + "\r\n" + extra +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

class Loopback {
 public:
  /// `script` is asked for each request, in order of arrival (0 first).
  /// `early`, if set, is asked once `early_bytes` of a request's body are there; an act that it returns is done
  /// instead.
  explicit Loopback(std::function<Act(int index, const Seen&)> script,
                    std::function<std::optional<Act>(const Seen&)> early = {}, std::size_t early_bytes = 0)
      : script_(std::move(script)), early_(std::move(early)), early_bytes_(early_bytes) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::listen(listener_, 16);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { run(); });
  }
  ~Loopback() {
    stop_ = true;
    thread_.join();
    ::close(listener_);
  }
  std::string uri() const { return "http://127.0.0.1:" + std::to_string(port_); }
  int port() const { return port_; }
  std::vector<Seen> seen() {
    std::lock_guard lock(mutex_);
    return seen_;
  }

 private:
  struct Peer {
    int fd, number;
    std::string data;
  };

  static void reset(int fd) {
    const linger hard{1, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    ::close(fd);
  }

  void run() {
    std::vector<Peer> peers;
    int connections = 0;
    while (!stop_) {
      std::vector<pollfd> polls{{listener_, POLLIN, 0}};
      for (const Peer& p : peers) polls.push_back({p.fd, POLLIN, 0});
      if (::poll(polls.data(), polls.size(), 20) <= 0) continue;
      for (std::size_t i = peers.size(); i-- > 0;)
        if (polls[i + 1].revents && !serve(&peers[i])) peers.erase(peers.begin() + static_cast<long>(i));
      if (polls[0].revents) {
        const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd >= 0) peers.push_back({fd, ++connections, {}});
      }
    }
    for (const Peer& p : peers) ::close(p.fd);
  }

  /// Reads what is there; answers when a request is whole. False: the connection is gone.
  bool serve(Peer* peer) {
    char buffer[65536];
    const ssize_t got = ::recv(peer->fd, buffer, sizeof buffer, 0);
    if (got <= 0) return ::close(peer->fd), false;
    peer->data.append(buffer, static_cast<std::size_t>(got));
    const auto end = peer->data.find("\r\n\r\n");
    if (end == std::string::npos) return true;
    std::size_t length = 0;
    if (const auto at = peer->data.find("Content-Length: "); at != std::string::npos && at < end)
      length = std::stoul(peer->data.substr(at + 16));
    if (early_ && peer->data.size() >= end + 4 + early_bytes_ && peer->data.size() < end + 4 + length) {
      if (const auto act = early_({peer->data.substr(0, end + 2), peer->data.substr(end + 4), peer->number}))
        return perform(peer, *act);
    }
    if (peer->data.size() < end + 4 + length) return true;
    const Seen seen{peer->data.substr(0, end + 2), peer->data.substr(end + 4, length), peer->number};
    peer->data.erase(0, end + 4 + length);
    int index = 0;
    {
      std::lock_guard lock(mutex_);
      index = static_cast<int>(seen_.size());
      seen_.push_back(seen);
    }
    return perform(peer, script_(index, seen));
  }

  /// Closes as servers do that answer before a body is there: an answer followed at once by a reset would be lost.
  static void close_slowly(int fd) {
    ::shutdown(fd, SHUT_WR);
    char rest[65536];
    pollfd more{fd, POLLIN, 0};
    while (::poll(&more, 1, 1'000) > 0 && ::recv(fd, rest, sizeof rest, 0) > 0) {
    }
    ::close(fd);
  }

  bool perform(Peer* peer, const Act& act) {
    for (int waited = 0; waited < act.delay_ms && !stop_; waited += 10)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    switch (act.kind) {
      case Act::answer:
        if (act.split > 0) (void)!::send(peer->fd, act.bytes.data(), act.split, MSG_NOSIGNAL);
        (void)!::send(peer->fd, act.bytes.data() + act.split, act.bytes.size() - act.split, MSG_NOSIGNAL);
        if (act.close && act.slowly) {
          close_slowly(peer->fd);
        } else if (act.close) {
          ::close(peer->fd);
        }
        return !act.close;
      case Act::reset_after_request:
        return reset(peer->fd), false;
      case Act::close_after_request:
        return ::close(peer->fd), false;
      case Act::hang:
        return true;
    }
    return true;
  }

  std::function<Act(int, const Seen&)> script_;
  std::function<std::optional<Act>(const Seen&)> early_;
  std::size_t early_bytes_ = 0;
  int listener_ = -1, port_ = 0;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::vector<Seen> seen_;
  std::thread thread_;
};

}  // namespace mlops::test
