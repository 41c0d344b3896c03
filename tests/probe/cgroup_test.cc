// Limits: of version 2 and 1, on the process's own group, on one above it, and as a container sees them.
#include "probe/cgroup.h"

#include "probe/fixture.h"

namespace mlops::probe {
namespace {

constexpr std::uint64_t kMachine = 16'000'000'000;

TEST(Cgroup, Version2) {
  const Fixture files;
  files.write("proc/self/cgroup", "0::/jobs/one/step\n");
  files.write("cgroup/jobs/one/step/cpu.max", "max 100000\n");
  files.write("cgroup/jobs/one/step/memory.max", "max\n");
  files.write("cgroup/jobs/one/cpu.max", "150000 100000\n");
  files.write("cgroup/jobs/one/cpu.stat", "usage_usec 7000000\nuser_usec 1\n");
  files.write("cgroup/jobs/one/memory.max", "8000000000\n");
  files.write("cgroup/jobs/cpu.max", "400000 100000\n");
  files.write("cgroup/jobs/memory.max", "4000000000\n");
  files.write("cgroup/jobs/memory.current", "3000000000\n");
  files.write("cgroup/jobs/memory.stat", "anon 5\ninactive_file 1000000000\nactive_file 7\n");
  const Cgroup cgroup(files / "proc", files / "cgroup", 8, kMachine);
  ASSERT_TRUE(cgroup.cpu());
  EXPECT_DOUBLE_EQ(cgroup.cpu()->cores, 1.5);  // of the group in the middle: the tightest
  EXPECT_EQ(cgroup.cpu()->usage_us, 7'000'000u);
  ASSERT_TRUE(cgroup.memory());
  EXPECT_EQ(cgroup.memory()->limit, 4'000'000'000u);
  EXPECT_EQ(cgroup.memory()->used, 2'000'000'000u);
  files.write("cgroup/jobs/one/cpu.max", "max 100000\n");  // lifted while it runs
  files.write("cgroup/jobs/memory.max", "max\n");
  EXPECT_FALSE(cgroup.cpu());
  EXPECT_FALSE(cgroup.memory());
}

TEST(Cgroup, ALimitAboveTheMachineIsNone) {
  const Fixture files;
  files.write("cgroup/cpu.max", "800000 100000\n");
  files.write("cgroup/cpu.stat", "usage_usec 1\n");
  files.write("cgroup/memory.max", "16000000000\n");
  files.write("cgroup/memory.current", "1\n");
  const Cgroup cgroup(files / "proc", files / "cgroup", 8, kMachine);
  EXPECT_FALSE(cgroup.cpu());
  EXPECT_FALSE(cgroup.memory());
  const Cgroup none(files / "proc", files / "nowhere", 8, kMachine);
  EXPECT_FALSE(none.cpu());
  EXPECT_FALSE(none.memory());
}

// A container without a cgroup namespace: the path is the machine's, the mount shows the group itself.
TEST(Cgroup, Version2OfAContainer) {
  const Fixture files;
  files.write("proc/self/cgroup", "0::/system.slice/docker-abc.scope\n");
  files.write("cgroup/cpu.max", "50000 100000\n");
  files.write("cgroup/cpu.stat", "usage_usec 123\n");
  files.write("cgroup/memory.max", "1000000000\n");
  files.write("cgroup/memory.current", "400000000\n");
  const Cgroup cgroup(files / "proc", files / "cgroup", 8, kMachine);
  ASSERT_TRUE(cgroup.cpu());
  EXPECT_DOUBLE_EQ(cgroup.cpu()->cores, 0.5);
  ASSERT_TRUE(cgroup.memory());
  EXPECT_EQ(cgroup.memory()->used, 400'000'000u);
}

TEST(Cgroup, Version1) {
  const Fixture files;
  files.write("proc/self/cgroup",
              "12:memory:/slurm/uid_7/job_9\n4:cpu,cpuacct:/slurm/uid_7/job_9\n1:name=systemd:/\n0::/\n");
  const std::string cpu = "cgroup/cpu,cpuacct/slurm/uid_7/job_9/";
  files.write(cpu + "cpu.cfs_quota_us", "200000\n");
  files.write(cpu + "cpu.cfs_period_us", "100000\n");
  files.write(cpu + "cpuacct.usage", "5000000000\n");
  files.write("cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  files.write("cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  const std::string memory = "cgroup/memory/slurm/uid_7/job_9/";
  files.write(memory + "memory.limit_in_bytes", "2000000000\n");
  files.write(memory + "memory.usage_in_bytes", "1500000000\n");
  files.write(memory + "memory.stat", "inactive_file 1\ntotal_inactive_file 500000000\n");
  files.write("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  const Cgroup cgroup(files / "proc", files / "cgroup", 8, kMachine);
  ASSERT_TRUE(cgroup.cpu());
  EXPECT_DOUBLE_EQ(cgroup.cpu()->cores, 2);
  EXPECT_EQ(cgroup.cpu()->usage_us, 5'000'000u);
  ASSERT_TRUE(cgroup.memory());
  EXPECT_EQ(cgroup.memory()->limit, 2'000'000'000u);
  EXPECT_EQ(cgroup.memory()->used, 1'000'000'000u);
}

TEST(Cgroup, TheMachineIsWhatTheLimitLeavesOfIt) {
  Fixture files;  // two cores, 16.384 GB
  files.write("cgroup/cpu.max", "50000 100000\n");
  files.write("cgroup/cpu.stat", "usage_usec 1000000\n");
  files.write("cgroup/memory.max", "1000000000\n");
  files.write("cgroup/memory.current", "600000000\n");
  files.write("cgroup/memory.stat", "inactive_file 100000000\n");
  Probe probe(files.sources());
  files.ms += 10'000;
  files.write("cgroup/cpu.stat", "usage_usec 3000000\n");  // 2 s of CPU time of the 5 s there were
  probe.collect();
  const auto got = by_name(probe.take());
  EXPECT_DOUBLE_EQ(got.at("cpu_utilization_percentage"), 40.0);
  EXPECT_DOUBLE_EQ(got.at("system_memory_usage_megabytes"), 500.0);
  EXPECT_DOUBLE_EQ(got.at("system_memory_usage_percentage"), 50.0);
}

}  // namespace
}  // namespace mlops::probe
