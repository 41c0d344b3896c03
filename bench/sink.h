// Sink: a server on loopback that takes everything and answers at once, in MLflow's shapes: what the sync engine costs
// where no server does. It has a thread per connection and keeps nothing; the points of a batch are thrown away unread.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace mlops::bench {

class Sink {
 public:
  /// reads: reads the time every point bears, for lags(). Throws when there is no port.
  explicit Sink(bool reads = false);
  ~Sink();
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  std::string uri() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::uint64_t batches() const { return batches_; }  // requests with points
  /// For each point that came since the last call: seconds from its time to its arrival.
  std::vector<double> lags();

 private:
  void listen();
  void serve(int fd);
  std::string answer(const std::string& head);
  void read_times(const std::string& body);

  const bool reads_;
  int listener_ = -1, port_ = 0;
  std::atomic<std::uint64_t> batches_{0}, runs_{0};
  std::mutex mu_;
  std::vector<double> lags_;
  std::vector<int> open_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
  std::thread accepting_;
};

}  // namespace mlops::bench
