// A folder of files as /proc and /sys/fs/cgroup have them, removed at the end.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "probe/probe.h"

namespace mlops::probe {

class Fixture {
 public:
  Fixture() {
    path_ = testing::TempDir() + "mlops-probe-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) std::abort();
    write("proc/stat",
          "cpu  1000 0 500 8000 500 0 0 0 0 0\ncpu0 500 0 250 4000 250 0 0 0 0 0\n"
          "cpu1 500 0 250 4000 250 0 0 0 0 0\nintr 12345\n");
    write("proc/meminfo", "MemTotal:       16000000 kB\nMemFree:         2000000 kB\nMemAvailable:   12000000 kB\n");
    write("proc/net/dev",
          "Inter-|   Receive\n face |bytes\n"
          "    lo: 1000000 1 0 0 0 0 0 0 1000000 1 0 0 0 0 0 0\n"
          "  eth0:5000000 2 0 0 0 0 0 0 3000000 2 0 0 0 0 0 0\n");
    write("proc/self/cgroup", "0::/\n");
    write("proc/self/stat", "42 (a) b (c) S 1 1 1 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 4 0 100 1000 250\n");
    write("proc/self/status", "Name:\ta\nVmRSS:\t   50000 kB\nThreads:\t4\n");
    write("proc/self/io", "rchar: 1\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n");
  }
  ~Fixture() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;

  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  void write(const std::string& name, const std::string& text) const {
    const std::filesystem::path path(path_ + "/" + name);
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  void remove(const std::string& name) const { std::filesystem::remove_all(path_ + "/" + name); }

  /// Reads this folder, by a clock that stands where `ms` is.
  Sources sources(const std::string& nvml = {}) {
    return {path_ + "/proc", path_ + "/cgroup", path_, nvml, [this] { return ms; }};
  }
  std::int64_t ms = 1'000;

 private:
  std::string path_;
};

inline std::map<std::string, double> by_name(const std::vector<Reading>& readings) {
  std::map<std::string, double> out;
  for (const Reading& reading : readings) out.emplace(reading.name, reading.value);
  EXPECT_EQ(out.size(), readings.size()) << "a name came twice";
  return out;
}

}  // namespace mlops::probe
