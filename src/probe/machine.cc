#include "probe/machine.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <numeric>
#include <string_view>

#include "probe/text.h"

namespace mlops::probe {
namespace {

double cores_of(const std::string& stat) {
  double cores = 0;
  std::string_view rest = stat;
  while (!rest.empty()) {
    const std::string_view line = next_line(&rest);
    cores += line.size() > 3 && line.substr(0, 3) == "cpu" && line[3] >= '0' && line[3] <= '9' ? 1 : 0;
  }
  return cores;
}

std::uint64_t memory_of(const std::string& meminfo) { return field(meminfo, "MemTotal").value_or(0) * 1024; }

double mega(std::uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

}  // namespace

Machine::Machine(std::string proc, const std::string& cgroup, std::string disk, std::int64_t now_ms)
    : proc_(std::move(proc)),
      disk_(std::move(disk)),
      cgroup_(proc_, cgroup, cores_of(slurp(proc_ + "/stat")), memory_of(slurp(proc_ + "/meminfo"))),
      cpu_(cpu_times()),
      group_cpu_(cgroup_.cpu()),
      group_cpu_ms_(now_ms),
      network_(network()) {}

void Machine::collect(std::int64_t now_ms, Samples* out) {
  collect_cpu(now_ms, out);
  collect_memory(out);
  collect_disk(out);
  collect_network(out);
}

std::optional<Machine::CpuTimes> Machine::cpu_times() const {
  const std::string stat = slurp(proc_ + "/stat");
  std::string_view line(stat);
  line = next_line(&line);
  if (next_word(&line) != "cpu") return std::nullopt;
  CpuTimes times{};
  for (std::uint64_t& time : times) time = number(next_word(&line)).value_or(0);
  return times;
}

// Time spent in guests is in user and nice already; waiting for a disk is idle, as psutil and htop count it. Some
// kernels' counters step back: a field that does counts as unchanged.
void Machine::collect_cpu(std::int64_t now_ms, Samples* out) {
  constexpr const char* kName = "cpu_utilization_percentage";
  if (const std::optional<Cgroup::Cpu> group = cgroup_.cpu()) {
    const double passed_us = static_cast<double>(now_ms - group_cpu_ms_) * 1'000;
    if (group_cpu_ && passed_us > 0) {
      const std::uint64_t used = std::max(group->usage_us, group_cpu_->usage_us) - group_cpu_->usage_us;
      out->mean(kName, 100 * static_cast<double>(used) / (passed_us * group->cores));
    }
    group_cpu_ = group;
    group_cpu_ms_ = now_ms;
    return;
  }
  const std::optional<CpuTimes> now = cpu_times();
  if (now && cpu_) {
    CpuTimes passed{};
    for (std::size_t i = 0; i < passed.size(); ++i) passed[i] = std::max((*now)[i], (*cpu_)[i]) - (*cpu_)[i];
    const std::uint64_t all = std::accumulate(passed.begin(), passed.end(), std::uint64_t{0});
    const std::uint64_t busy = all - passed[3] - passed[4];
    out->mean(kName, all == 0 ? 0 : 100 * static_cast<double>(busy) / static_cast<double>(all));
  }
  cpu_ = now;
}

void Machine::collect_memory(Samples* out) const {
  std::uint64_t used = 0, total = 0;
  if (const std::optional<Cgroup::Memory> group = cgroup_.memory()) {
    used = group->used;
    total = group->limit;
  } else {
    const std::string text = slurp(proc_ + "/meminfo");
    total = memory_of(text);
    const std::uint64_t free = field(text, "MemFree").value_or(0) * 1024;
    std::uint64_t available = field(text, "MemAvailable").value_or(0) * 1024;
    if (available == 0 || available > total) available = free;  // kernels before 3.14; some containers
    used = total - std::min(available, total);
  }
  if (total == 0) return;
  out->mean("system_memory_usage_megabytes", mega(used));
  out->mean("system_memory_usage_percentage", 100 * static_cast<double>(used) / static_cast<double>(total));
}

// The percentage is of what an ordinary user can have: blocks kept for root are neither used nor available.
void Machine::collect_disk(Samples* out) const {
  struct statvfs fs{};
  if (::statvfs(disk_.c_str(), &fs) != 0 || fs.f_blocks == 0) return;
  const std::uint64_t used = (fs.f_blocks - fs.f_bfree) * fs.f_frsize, available = fs.f_bavail * fs.f_frsize;
  const std::uint64_t whole = used + available;
  out->mean("disk_usage_percentage", whole == 0 ? 0 : 100 * static_cast<double>(used) / static_cast<double>(whole));
  out->mean("disk_usage_megabytes", mega(used));
  out->mean("disk_available_megabytes", mega(available));
}

std::optional<Machine::Network> Machine::network() const {
  const std::string text = slurp(proc_ + "/net/dev");
  if (text.empty()) return std::nullopt;
  std::string_view rest = text;
  next_line(&rest);
  next_line(&rest);  // two lines of headings
  Network sum;
  while (!rest.empty()) {
    std::string_view line = next_line(&rest);
    const std::size_t colon = line.rfind(':');
    if (colon == std::string_view::npos) continue;
    line.remove_prefix(colon + 1);
    for (int column = 0; column < 9; ++column) {
      const std::uint64_t value = number(next_word(&line)).value_or(0);
      if (column == 0) sum.received += value;
      if (column == 8) sum.sent += value;
    }
  }
  return sum;
}

void Machine::collect_network(Samples* out) const {
  const std::optional<Network> now = network();
  if (!now || !network_) return;
  out->last("network_receive_megabytes", mega(now->received) - mega(network_->received));
  out->last("network_transmit_megabytes", mega(now->sent) - mega(network_->sent));
}

}  // namespace mlops::probe
