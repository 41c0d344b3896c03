#include "probe/process.h"

#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "probe/text.h"

namespace mlops::probe {

Process::Process(std::string proc, std::int64_t now_ms)
    : self_(std::move(proc) + "/self"),
      ticks_per_ms_(static_cast<double>(::sysconf(_SC_CLK_TCK)) / 1'000),
      cpu_(cpu_ticks()),
      cpu_ms_(now_ms),
      traffic_(traffic()) {}

// The name of the program, in parentheses, may hold anything: what counts comes after the last one. utime and stime are
// fields 14 and 15.
std::optional<std::uint64_t> Process::cpu_ticks() const {
  const std::string text = slurp(self_ + "/stat");
  const std::size_t end = text.rfind(')');
  if (end == std::string::npos) return std::nullopt;
  std::string_view rest = std::string_view(text).substr(end + 1);
  for (int skipped = 3; skipped < 14; ++skipped) next_word(&rest);
  const std::optional<std::uint64_t> user = number(next_word(&rest)), system = number(next_word(&rest));
  if (!user || !system) return std::nullopt;
  return *user + *system;
}

// What reached the storage layer: reads that the page cache answered are none.
std::optional<Process::Traffic> Process::traffic() const {
  const std::string text = slurp(self_ + "/io");
  const std::optional<std::uint64_t> read = field(text, "read_bytes"), written = field(text, "write_bytes");
  if (!read || !written) return std::nullopt;
  return Traffic{*read, *written};
}

void Process::collect(std::int64_t now_ms, Samples* out) {
  const std::optional<std::uint64_t> cpu = cpu_ticks();
  if (cpu && cpu_ && now_ms > cpu_ms_) {
    const auto used = static_cast<double>(std::max(*cpu, *cpu_) - *cpu_);
    out->mean("process_cpu_utilization_percentage",
              100 * used / (static_cast<double>(now_ms - cpu_ms_) * ticks_per_ms_));
  }
  cpu_ = cpu;
  cpu_ms_ = now_ms;
  if (const std::optional<std::uint64_t> kib = field(slurp(self_ + "/status"), "VmRSS")) {
    out->mean("process_memory_usage_megabytes", static_cast<double>(*kib) * 1024 / 1e6);
  }
  if (const std::optional<Traffic> now = traffic(); now && traffic_) {
    out->last("process_disk_read_megabytes", static_cast<double>(now->read - traffic_->read) / 1e6);
    out->last("process_disk_write_megabytes", static_cast<double>(now->written - traffic_->written) / 1e6);
  }
}

}  // namespace mlops::probe
