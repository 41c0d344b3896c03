// The harness of the benchmarks. A file registers groups of rows at namespace scope:
//
//   mlops::bench::Group g("drain.float32", [](mlops::bench::Report& report) {
//     report.add({"drain, 20 metrics, float32-origin", 1.2e7, "points/s", "", 0, Better::more, 1e7});
//   });
//
// A row with a peer carries the ratio value / peer, both measured in the same run; its goal is on the value or, with
// Goal::ratio, on that ratio. `--filter REGEX` picks groups by name, `--json FILE` writes all rows as
// [{"name","value","unit","limit_or_peer","limit_or_peer_value","ratio","goal","met"}]; met is null where no goal is
// set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mlops::bench {

enum class Better { less, more };  // than the goal
enum class Goal { value, ratio };

struct Row {
  std::string name;  // with the pacing
  double value = 0;
  std::string unit;
  std::string peer{};     // the limit or peer; empty: none
  double peer_value = 0;  // in the same unit, of the same run
  Better better = Better::less;
  std::optional<double> goal{};
  Goal goal_of = Goal::value;

  std::optional<double> ratio() const;
  std::optional<bool> met() const;
  std::string goal_text() const;  // "<= 5", "ratio >= 0.95", ""
};

class Report {
 public:
  void add(Row row);                                       // printed at once
  void take(Row row) { rows_.push_back(std::move(row)); }  // printed already
  void note(const std::string& text);                      // a line of prose: what could not be measured and why
  const std::vector<Row>& rows() const { return rows_; }

 private:
  std::vector<Row> rows_;
};

class Group {
 public:
  Group(std::string name, std::function<void(Report&)> measure);
};

/// Parses the arguments, prints the machine, runs what the filter picks, writes the JSON. 0; 2 on wrong use; 3 when a
/// group failed to run (a figure below its goal is a figure, not a failure).
int run(int argc, char** argv);
/// Runs another benchmark binary beside this one (by its file name) with the same filter; its rows become rows here.
/// For what has to be measured in a process of its own. Throws when it cannot run.
void run_sibling(Report& report, const std::string& program);

// ---- measuring
// -------------------------------------------------------------------------------------------------------
std::uint64_t now_ns();         // CLOCK_MONOTONIC
std::uint64_t thread_cpu_ns();  // CLOCK_THREAD_CPUTIME_ID
/// CPU time of this process's living threads whose name begins so, by their own clocks.
std::uint64_t threads_cpu_ns(const std::string& prefix);
double median(std::vector<double> values);
/// p in 0..1, nearest rank.
double percentile(std::vector<double>& values, double p);
/// Cheap time stamps for intervals of some ns: rdtsc where it is constant, else now_ns.
std::uint64_t ticks();
double ns_per_tick();
/// A folder for one benchmark, removed by the destructor.
class TempFolder {
 public:
  explicit TempFolder(const std::string& parent = "");  // default: the system's folder for such
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Keeps the compiler from throwing a result away.
template <typename T>
inline void keep(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

}  // namespace mlops::bench
