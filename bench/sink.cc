#include "sink.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace mlops::bench {
namespace {

bool begins(std::string_view text, std::string_view with) { return text.substr(0, with.size()) == with; }

}  // namespace

Sink::Sink(bool reads) : reads_(reads), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (listener_ < 0 || ::bind(listener_, reinterpret_cast<sockaddr*>(&at), size) != 0 ||
      ::listen(listener_, 512) != 0 || ::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size) != 0)
    throw std::runtime_error("sink: no port on loopback");
  port_ = ntohs(at.sin_port);
  accepting_ = std::thread([this] { listen(); });
}

Sink::~Sink() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    stopping_ = true;
    for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
  }
  ::shutdown(listener_, SHUT_RDWR);
  accepting_.join();
  for (std::thread& t : threads_) t.join();
  for (const int fd : open_) ::close(fd);
  ::close(listener_);
}

void Sink::listen() {
  for (;;) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    std::lock_guard<std::mutex> lock(mu_);
    if (stopping_ || fd < 0) {
      if (fd >= 0) ::close(fd);
      return;
    }
    const int on = 1;
    (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    open_.push_back(fd);
    threads_.emplace_back([this, fd] { serve(fd); });
  }
}

void Sink::serve(int fd) {
  std::string in;
  std::vector<char> piece(256 * 1024);
  for (;;) {
    std::size_t head = 0;
    while ((head = in.find("\r\n\r\n")) == in.npos) {
      const ssize_t n = ::recv(fd, piece.data(), piece.size(), 0);
      if (n <= 0) return;
      in.append(piece.data(), static_cast<std::size_t>(n));
    }
    head += 4;
    const std::size_t length = in.find("Content-Length: ");
    std::size_t left = length == in.npos || length > head ? 0 : std::strtoull(in.c_str() + length + 16, nullptr, 10);
    const std::string first = in.substr(0, in.find("\r\n"));
    const bool batch = first.find("/runs/log-batch") != first.npos;
    std::string body = in.substr(head, left);
    in.erase(0, head + body.size());
    left -= body.size();
    while (left > 0) {  // of a batch nobody reads: dropped in the kernel
      const bool drop = batch && !reads_;
      const ssize_t n =
          ::recv(fd, drop ? nullptr : piece.data(), drop ? left : std::min(left, piece.size()), drop ? MSG_TRUNC : 0);
      if (n <= 0) return;
      if (!drop) body.append(piece.data(), static_cast<std::size_t>(n));
      left -= static_cast<std::size_t>(n);
    }
    if (batch) ++batches_;
    if (batch && reads_) read_times(body);
    const std::string text = batch ? "{}" : answer(first);
    const std::string reply =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(text.size()) +
        "\r\n\r\n" + text;
    if (::send(fd, reply.data(), reply.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(reply.size())) return;
  }
}

std::string Sink::answer(const std::string& head) {
  const std::string_view path = std::string_view(head).substr(head.find('/'));
  if (begins(path, "/version")) return "3.17.2";
  if (begins(path, "/api/3.0/mlflow/server-info")) return R"({"store_type":"SqlStore"})";
  if (path.find("experiments/get-by-name") != path.npos)
    return R"({"experiment":{"experiment_id":"1","lifecycle_stage":"active"}})";
  if (path.find("runs/create") != path.npos) {
    char id[40];
    std::snprintf(id, sizeof id, "%032llx", static_cast<unsigned long long>(++runs_));
    return R"({"run":{"info":{"experiment_id":"1","status":"RUNNING","lifecycle_stage":"active","run_id":")" +
           std::string(id) + "\"},\"data\":{}}}";
  }
  if (const std::size_t at = path.find("runs/get?run_id="); at != path.npos)
    return R"({"run":{"info":{"experiment_id":"1","status":"RUNNING","lifecycle_stage":"active","run_id":")" +
           std::string(path.substr(at + 16, 32)) + "\"},\"data\":{}}}";
  return "{}";
}

void Sink::read_times(const std::string& body) {
  timespec t;
  ::clock_gettime(CLOCK_REALTIME, &t);
  const double now = static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  constexpr std::string_view kMark = "\"timestamp\":";
  std::lock_guard<std::mutex> lock(mu_);
  for (std::size_t at = body.find(kMark); at != body.npos; at = body.find(kMark, at)) {
    at += kMark.size();
    std::int64_t ms = 0;
    std::from_chars(body.data() + at, body.data() + body.size(), ms);
    lags_.push_back(now - 1e-3 * static_cast<double>(ms));
  }
}

std::vector<double> Sink::lags() {
  std::lock_guard<std::mutex> lock(mu_);
  return std::exchange(lags_, {});
}

}  // namespace mlops::bench
