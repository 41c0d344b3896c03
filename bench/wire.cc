#include "wire.h"

#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>

#include "support.h"

namespace mlops::bench {
namespace {

std::atomic<bool> g_recording{false}, g_keep{false};
std::mutex g_mu;
std::map<int, Exchange> g_open;  // by socket: the latest exchange
std::vector<Exchange> g_whole;

std::int64_t nanoseconds(const timespec& t) { return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec; }

std::int64_t real_ns() {
  timespec t;
  ::clock_gettime(CLOCK_REALTIME, &t);
  return nanoseconds(t);
}

ssize_t plain_send(int fd, const void* data, std::size_t size, int flags) {
  return ::sendto(fd, data, size, flags, nullptr, 0);
}

void finish(int fd) {
  auto it = g_open.find(fd);
  if (it == g_open.end()) return;
  if (it->second.last_in != 0) g_whole.push_back(it->second);
  g_open.erase(it);
}

ssize_t timed_send(int fd, const void* data, std::size_t size, int flags) {
  const std::int64_t begin = real_ns();
  const ssize_t sent = plain_send(fd, data, size, flags);
  const std::int64_t end = real_ns();
  if (sent <= 0) return sent;
  std::lock_guard<std::mutex> lock(g_mu);
  if (auto it = g_open.find(fd); it == g_open.end() || it->second.last_in != 0) {
    finish(fd);  // an answered exchange: this is the next one
    g_open[fd].socket = fd;
    g_open[fd].first_out = begin;
    const int on = 1;
    (void)::setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
  }
  Exchange& e = g_open[fd];
  e.bytes_out += static_cast<std::size_t>(sent);
  e.last_out = end;
  if (g_keep.load(std::memory_order_relaxed))
    e.request.append(static_cast<const char*>(data), static_cast<std::size_t>(sent));
  return sent;
}

ssize_t timed_recv(int fd, void* data, std::size_t size, int flags) {
  iovec piece{data, size};
  alignas(cmsghdr) char control[128];
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = ::recvmsg(fd, &message, flags);
  if (got <= 0) return got;
  std::int64_t at = real_ns();
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS) continue;
    timespec t;
    std::memcpy(&t, CMSG_DATA(c), sizeof t);
    at = nanoseconds(t);
  }
  timespec cpu;
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
  std::lock_guard<std::mutex> lock(g_mu);
  if (auto it = g_open.find(fd); it != g_open.end()) {
    it->second.last_in = at;
    it->second.cpu = static_cast<std::uint64_t>(nanoseconds(cpu));
  }
  return got;
}

bool recording(int flags) { return (flags & MSG_PEEK) == 0 && g_recording.load(std::memory_order_relaxed); }

}  // namespace

// Under the names of libc's own: the program's definition comes before libc's for every library in it.
__attribute__((visibility("default"))) ssize_t wire_send(int, const void*, std::size_t, int) __asm__("send");
__attribute__((visibility("default"))) ssize_t wire_recv(int, void*, std::size_t, int) __asm__("recv");

ssize_t wire_send(int fd, const void* data, std::size_t size, int flags) {
  return recording(flags) ? timed_send(fd, data, size, flags) : plain_send(fd, data, size, flags);
}

ssize_t wire_recv(int fd, void* data, std::size_t size, int flags) {
  return recording(flags) ? timed_recv(fd, data, size, flags) : ::recvfrom(fd, data, size, flags, nullptr, nullptr);
}

Wire::Wire(bool keep_requests) {
  std::lock_guard<std::mutex> lock(g_mu);
  g_open.clear();
  g_whole.clear();
  g_keep.store(keep_requests);
  g_recording.store(true);
}

Wire::~Wire() { g_recording.store(false); }

std::vector<Exchange> Wire::take() {
  g_recording.store(false);
  std::lock_guard<std::mutex> lock(g_mu);
  while (!g_open.empty()) finish(g_open.begin()->first);
  std::sort(g_whole.begin(), g_whole.end(), [](const Exchange& a, const Exchange& b) { return a.last_in < b.last_in; });
  return std::move(g_whole);
}

}  // namespace mlops::bench
