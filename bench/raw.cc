#include "raw.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>

namespace mlops::bench {

RawConnection::RawConnection(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd_ < 0 || ::connect(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0)
    throw std::runtime_error("no server on port " + std::to_string(port));
  const int on = 1;
  (void)::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  in_.resize(64 * 1024);
}

RawConnection::~RawConnection() { ::close(fd_); }

std::string RawConnection::post(const std::string& endpoint, const std::string& body) {
  return "POST /api/2.0/mlflow/" + endpoint +
         " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string RawConnection::exchange(const std::string& request) {
  for (std::size_t sent = 0; sent < request.size();) {
    const ssize_t n = ::send(fd_, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) throw std::runtime_error("raw generator: the server closed the connection");
    sent += static_cast<std::size_t>(n);
  }
  std::size_t have = 0, whole = std::string::npos, head = 0;
  while (have < whole) {
    const int on = 1;
    (void)::setsockopt(fd_, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
    if (have == in_.size()) throw std::runtime_error("raw generator: the answer is too long");
    const ssize_t n = ::recv(fd_, in_.data() + have, in_.size() - have, 0);
    if (n <= 0) throw std::runtime_error("raw generator: no answer");
    have += static_cast<std::size_t>(n);
    if (whole != std::string::npos) continue;
    const std::string_view text(in_.data(), have);
    const std::size_t end = text.find("\r\n\r\n"), length = text.find("content-length: ");
    if (end == text.npos) continue;
    if (text.substr(0, 13) != "HTTP/1.1 200 " || length > end)
      throw std::runtime_error("raw generator: " + std::string(text.substr(0, 300)));
    head = end + 4;
    whole = head + static_cast<std::size_t>(std::atoi(in_.c_str() + length + 16));
  }
  return in_.substr(head, whole - head);
}

std::vector<std::string> raw_runs(int port, int count) {
  RawConnection connection(port);
  std::vector<std::string> ids;
  const std::string mark = "\"run_id\": \"";
  for (int i = 0; i < count; ++i) {
    const std::string answer =
        connection.exchange(RawConnection::post("runs/create", R"({"experiment_id":"0","start_time":1790000000000})"));
    const std::size_t at = answer.find(mark);
    if (at == std::string::npos) throw std::runtime_error("raw generator: no run in " + answer);
    ids.push_back(answer.substr(at + mark.size(), 32));
  }
  return ids;
}

}  // namespace mlops::bench
