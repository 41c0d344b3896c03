// What the probe makes of /proc, and of the machine it runs on.
#include "probe/probe.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <set>
#include <thread>

#include "base/base.h"
#include "probe/fixture.h"

namespace mlops::probe {
namespace {

const std::set<std::string> kOfMlflow{"cpu_utilization_percentage",     "system_memory_usage_megabytes",
                                      "system_memory_usage_percentage", "disk_usage_percentage",
                                      "disk_usage_megabytes",           "disk_available_megabytes",
                                      "network_receive_megabytes",      "network_transmit_megabytes"};
const std::set<std::string> kOurs{"process_cpu_utilization_percentage", "process_memory_usage_megabytes",
                                  "process_disk_read_megabytes", "process_disk_write_megabytes"};

TEST(Samples, MeansAreRoundedToATenthAndTotalsAreAsTheyAre) {
  Samples samples;
  samples.mean("b", 1.0);
  samples.last("a", 0.123);
  samples.mean("b", 1.5);
  samples.last("a", 0.456);
  const std::vector<Reading> taken = samples.take();
  ASSERT_EQ(taken.size(), 2u);
  EXPECT_EQ(taken[0].name, "b");
  EXPECT_EQ(taken[0].value, 1.2);  // of 1.25, to even
  EXPECT_EQ(taken[1].name, "a");
  EXPECT_EQ(taken[1].value, 0.456);
  EXPECT_TRUE(samples.take().empty());
}

TEST(Probe, WhatProcSays) {
  Fixture files;
  Probe probe(files.sources());
  files.ms += 10'000;
  // Of 2,000 ticks 600 were busy; guest time (the last two) is in user already, and 100 waited for a disk.
  files.write("proc/stat", "cpu  1400 100 600 9300 600 0 0 0 300 50\ncpu0 0\ncpu1 0\n");
  files.write("proc/net/dev",
              "Inter-|   Receive\n face |bytes\n"
              "    lo: 1500000 1 0 0 0 0 0 0 1500000 1 0 0 0 0 0 0\n"
              "  eth0:7000000 2 0 0 0 0 0 0 3250000 2 0 0 0 0 0 0\n");
  files.write("proc/self/stat", "42 (a) b (c) S 1 1 1 0 -1 4194560 100 0 0 0 400 300 0 0 20 0 4 0 100 1000 250\n");
  files.write("proc/self/io", "read_bytes: 2004096\nwrite_bytes: 508192\n");
  probe.collect();
  auto got = by_name(probe.take());
  EXPECT_DOUBLE_EQ(got.at("cpu_utilization_percentage"), 30.0);
  EXPECT_DOUBLE_EQ(got.at("system_memory_usage_megabytes"), 4096.0);
  EXPECT_DOUBLE_EQ(got.at("system_memory_usage_percentage"), 25.0);
  EXPECT_NEAR(got.at("network_receive_megabytes"), 2.5, 1e-9);
  EXPECT_NEAR(got.at("network_transmit_megabytes"), 0.75, 1e-9);
  const double ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  EXPECT_DOUBLE_EQ(got.at("process_cpu_utilization_percentage"), std::nearbyint(500 / ticks / 10 * 1000) / 10);
  EXPECT_DOUBLE_EQ(got.at("process_memory_usage_megabytes"), 51.2);
  EXPECT_DOUBLE_EQ(got.at("process_disk_read_megabytes"), 2.0);
  EXPECT_DOUBLE_EQ(got.at("process_disk_write_megabytes"), 0.5);

  // Two samples become one point: the mean, and of totals since the beginning the newest.
  files.ms += 10'000;
  files.write("proc/stat", "cpu  1500 100 600 10200 600 0 0 0 300 50\n");  // 10 %
  probe.collect();
  files.ms += 10'000;
  files.write("proc/stat", "cpu  1700 100 600 11000 600 0 0 0 300 50\n");  // 20 %
  files.write("proc/self/io", "read_bytes: 3004096\nwrite_bytes: 508192\n");
  probe.collect();
  got = by_name(probe.take());
  EXPECT_DOUBLE_EQ(got.at("cpu_utilization_percentage"), 15.0);
  EXPECT_DOUBLE_EQ(got.at("process_disk_read_megabytes"), 3.0);
}

TEST(Probe, ACounterThatStepsBackIsNoNegativeLoad) {
  Fixture files;
  Probe probe(files.sources());
  files.ms += 1'000;
  files.write("proc/stat", "cpu  1100 0 500 8100 400 0 0 0 0 0\n");  // iowait went back
  files.write("proc/self/stat", "42 (a) S 1 1 1 0 -1 4194560 100 0 0 0 10 5 0 0 20 0 4 0 100 1000 250\n");
  probe.collect();
  const auto got = by_name(probe.take());
  EXPECT_DOUBLE_EQ(got.at("cpu_utilization_percentage"), 50.0);
  EXPECT_DOUBLE_EQ(got.at("process_cpu_utilization_percentage"), 0.0);
}

TEST(Probe, MemoryOfOldKernelsAndOddContainers) {
  Fixture files;
  files.write("proc/meminfo", "MemTotal:       1000000 kB\nMemFree:         250000 kB\nMemAvailable:   9000000 kB\n");
  Probe probe(files.sources());
  probe.collect();
  EXPECT_DOUBLE_EQ(by_name(probe.take()).at("system_memory_usage_percentage"), 75.0);
  files.write("proc/meminfo", "MemTotal:       1000000 kB\nMemFree:         500000 kB\n");
  probe.collect();
  EXPECT_DOUBLE_EQ(by_name(probe.take()).at("system_memory_usage_percentage"), 50.0);
}

TEST(Probe, WhatCannotBeReadIsLeftOut) {
  Fixture files;
  Sources sources = files.sources();
  files.remove("proc");
  sources.disk = files / "nowhere";
  Probe probe(std::move(sources));
  files.ms += 1'000;
  probe.collect();
  EXPECT_TRUE(probe.take().empty());
  files.write("proc/stat", "");
  files.write("proc/meminfo", "MemTotal: lots kB\n");
  files.write("proc/net/dev", "\n\n\n:\n");
  files.write("proc/self/stat", "42 (a");
  files.write("proc/self/io", "read_bytes: \n");
  files.write("proc/self/status", "VmRSS");
  probe.collect();
  EXPECT_TRUE(probe.take().empty());
}

// True of every machine: the names are all there, and the numbers agree with what the system calls say.
TEST(Probe, ThisMachine) {
  Probe probe({});
  volatile double work = 1;
  for (const std::int64_t end = base::steady_ms() + 300; base::steady_ms() < end;) work = work * 1.0000001;
  probe.collect();
  struct statvfs fs{};
  ASSERT_EQ(::statvfs("/", &fs), 0);
  const auto got = by_name(probe.take());
  std::set<std::string> names, wanted(kOfMlflow);
  wanted.insert(kOurs.begin(), kOurs.end());
  for (const auto& [name, value] : got) {
    names.insert(name);
    EXPECT_TRUE(std::isfinite(value)) << name;
    EXPECT_GE(value, 0) << name;
  }
  if (::access("/proc/self/io", R_OK) != 0) {
    wanted.erase("process_disk_read_megabytes");
    wanted.erase("process_disk_write_megabytes");
  }
  EXPECT_EQ(names, wanted);
  EXPECT_GT(got.at("process_cpu_utilization_percentage"), 5);  // one thread of ours was busy all the time
  EXPECT_GT(got.at("cpu_utilization_percentage"), 0);
  EXPECT_LE(got.at("system_memory_usage_percentage"), 100);
  EXPECT_LE(got.at("disk_usage_percentage"), 100);
  EXPECT_GT(got.at("process_memory_usage_megabytes"), 1);
  EXPECT_LE(got.at("process_memory_usage_megabytes"),
            static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1e6);
  const double disk = static_cast<double>(fs.f_blocks) * static_cast<double>(fs.f_frsize) / 1e6;
  EXPECT_LE(got.at("disk_usage_megabytes") + got.at("disk_available_megabytes"), disk + 1);
}

}  // namespace
}  // namespace mlops::probe
