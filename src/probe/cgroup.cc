#include "probe/cgroup.h"

#include <initializer_list>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "probe/text.h"

namespace mlops::probe {
namespace {

struct Place {
  bool v2 = true;
  std::string path;  // of the process, below its hierarchy
};

/// Lines are `number:controllers:path`; version 2 has no controllers in its line, and all that are in no other one.
Place place_of(std::string_view groups, std::string_view controller) {
  Place place;
  while (!groups.empty()) {
    const std::string_view line = next_line(&groups);
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    std::string_view names = line.substr(first + 1, second - first - 1);
    const std::string path(line.substr(second + 1));
    if (names.empty() && place.v2) place.path = path;
    while (!names.empty()) {
      const std::size_t comma = names.find(',');
      if (names.substr(0, comma) == controller) place = {false, path};
      names.remove_prefix(comma == std::string_view::npos ? names.size() : comma + 1);
    }
  }
  return place;
}

/// The process's group and all above it. A container may see its own group as the root of the mount, but the path of
/// the machine in /proc: then the root is what there is.
std::vector<std::string> chain(const std::string& mount, std::string path) {
  while (!path.empty() && path.back() == '/') path.pop_back();
  std::vector<std::string> out;
  if (base::exists(mount + path)) {
    for (; !path.empty(); path.erase(path.rfind('/'))) out.push_back(mount + path);
  }
  out.push_back(mount);
  return out;
}

std::string first_of(const std::string& root, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (base::exists(root + name)) return root + name;
  }
  return root + *names.begin();
}

}  // namespace

Cgroup::Cgroup(const std::string& proc, const std::string& root, double machine_cores, std::uint64_t machine_bytes)
    : machine_cores_(machine_cores), machine_bytes_(machine_bytes) {
  const std::string groups = slurp(proc + "/self/cgroup");
  const Place cpu = place_of(groups, "cpu"), account = place_of(groups, "cpuacct");
  const Place memory = place_of(groups, "memory");
  cpu_v2_ = cpu.v2;
  memory_v2_ = memory.v2;
  const std::string cpu_mount = cpu.v2 ? root : first_of(root, {"/cpu", "/cpu,cpuacct", "/cpuacct,cpu"});
  const std::string account_mount = cpu.v2 ? root : first_of(root, {"/cpuacct", "/cpu,cpuacct", "/cpuacct,cpu"});
  std::optional<double> least;
  for (const std::string& group : chain(cpu_mount, cpu.path)) {
    const std::optional<double> here = cores(group);
    if (!here || *here >= least.value_or(machine_cores_)) continue;
    // The time is counted by another controller: only a group of the same name says what this one used.
    const std::string counted = account_mount + group.substr(cpu_mount.size());
    if (!cpu.v2 && account.path != cpu.path && group != cpu_mount) continue;
    least = here;
    cpu_ = group;
    cpu_account_ = counted;
  }
  std::optional<std::uint64_t> smallest;
  for (const std::string& group : chain(memory.v2 ? root : root + "/memory", memory.path)) {
    const std::optional<std::uint64_t> here = bytes(group);
    if (!here || *here >= smallest.value_or(machine_bytes_)) continue;
    smallest = here;
    memory_ = group;
  }
}

std::optional<double> Cgroup::cores(const std::string& group) const {
  std::optional<std::uint64_t> quota, period;
  if (cpu_v2_) {
    const std::string text = slurp(group + "/cpu.max");
    std::string_view rest = text;
    quota = number(next_word(&rest));
    period = number(rest);
  } else {
    quota = number(slurp(group + "/cpu.cfs_quota_us"));
    period = number(slurp(group + "/cpu.cfs_period_us"));
  }
  if (!quota || !period || *quota == 0 || *period == 0) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

std::optional<std::uint64_t> Cgroup::bytes(const std::string& group) const {
  return number(slurp(group + (memory_v2_ ? "/memory.max" : "/memory.limit_in_bytes")));
}

std::optional<Cgroup::Cpu> Cgroup::cpu() const {
  if (cpu_.empty()) return std::nullopt;
  const std::optional<double> limit = cores(cpu_);
  std::optional<std::uint64_t> usage =
      cpu_v2_ ? field(slurp(cpu_account_ + "/cpu.stat"), "usage_usec") : number(slurp(cpu_account_ + "/cpuacct.usage"));
  if (!limit || *limit >= machine_cores_ || !usage) return std::nullopt;
  return Cpu{*limit, cpu_v2_ ? *usage : *usage / 1'000};
}

std::optional<Cgroup::Memory> Cgroup::memory() const {
  if (memory_.empty()) return std::nullopt;
  const std::optional<std::uint64_t> limit = bytes(memory_);
  const std::optional<std::uint64_t> usage =
      number(slurp(memory_ + (memory_v2_ ? "/memory.current" : "/memory.usage_in_bytes")));
  if (!limit || *limit == 0 || *limit >= machine_bytes_ || !usage) return std::nullopt;
  const std::uint64_t idle =
      field(slurp(memory_ + "/memory.stat"), memory_v2_ ? "inactive_file" : "total_inactive_file").value_or(0);
  return Memory{*limit, *usage > idle ? *usage - idle : 0};
}

}  // namespace mlops::probe
