#include "support.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fstream>
#include <regex>
#include <stdexcept>
#include <utility>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace mlops::bench {
namespace {

struct Entry {
  std::string name;
  std::function<void(Report&)> measure;
};

std::vector<Entry>& entries() {
  static std::vector<Entry> all;
  return all;
}

std::string g_filter;

std::string number(double v) {
  char text[40];
  const double a = std::fabs(v);
  if (!std::isfinite(v)) return "null";
  if (a >= 1e6)
    std::snprintf(text, sizeof text, "%.3e", v);
  else if (a >= 100)
    std::snprintf(text, sizeof text, "%.0f", v);
  else
    std::snprintf(text, sizeof text, "%.3g", v);
  return text;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out + "\"";
}

std::string exact(double v) {
  char text[40];
  if (!std::isfinite(v)) return "null";
  std::snprintf(text, sizeof text, "%.9g", v);
  return text;
}

bool write_json(const std::string& path, const std::vector<Row>& rows) {
  std::ofstream out(path);
  out << "[";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& r = rows[i];
    const auto met = r.met();
    out << (i == 0 ? "\n" : ",\n") << "  {\"name\": " << quoted(r.name) << ", \"value\": " << exact(r.value)
        << ", \"unit\": " << quoted(r.unit) << ", \"limit_or_peer\": " << (r.peer.empty() ? "null" : quoted(r.peer))
        << ", \"limit_or_peer_value\": " << (r.peer.empty() ? "null" : exact(r.peer_value))
        << ", \"ratio\": " << (r.ratio() ? exact(*r.ratio()) : "null")
        << ", \"goal\": " << (r.goal ? quoted(r.goal_text()) : "null")
        << ", \"met\": " << (met ? (*met ? "true" : "false") : "null") << "}";
  }
  out << "\n]\n";
  out.close();
  return !out.fail();
}

// Between our own binaries: one field per line.
bool write_rows(const std::string& path, const std::vector<Row>& rows) {
  std::ofstream out(path);
  for (const Row& r : rows) {
    out << r.name << '\n'
        << exact(r.value) << '\n'
        << r.unit << '\n'
        << r.peer << '\n'
        << exact(r.peer_value) << '\n'
        << (r.better == Better::more) << '\n'
        << (r.goal ? exact(*r.goal) : "") << '\n'
        << (r.goal_of == Goal::ratio) << '\n';
  }
  return !out.fail();
}

double parse_number(const std::string& text) { return text == "null" ? std::nan("") : std::atof(text.c_str()); }

std::vector<Row> read_rows(const std::string& path) {
  std::ifstream in(path);
  std::vector<Row> rows;
  for (std::string f[8];;) {
    for (std::string& field : f) {
      if (!std::getline(in, field)) return rows;
    }
    Row r{f[0], parse_number(f[1]), f[2], f[3], parse_number(f[4]), f[5] == "1" ? Better::more : Better::less};
    if (!f[6].empty()) r.goal = parse_number(f[6]);
    r.goal_of = f[7] == "1" ? Goal::ratio : Goal::value;
    rows.push_back(std::move(r));
  }
}

void print_machine() {
  std::ifstream info("/proc/cpuinfo");
  std::string line, cpu = "unknown CPU";
  while (std::getline(info, line)) {
    if (line.rfind("model name", 0) == 0) {
      cpu = line.substr(line.find(':') + 2);
      break;
    }
  }
  double load[3] = {};
  if (::getloadavg(load, 3) < 1) load[0] = -1;
  std::printf("machine: %s, %ld CPUs, load %.1f (others' work beside it: p99.9 then holds their preemption)\n\n",
              cpu.c_str(), ::sysconf(_SC_NPROCESSORS_ONLN), load[0]);
  std::printf("%-78s %12s %-9s %-30s %12s %7s  %s\n", "what", "value", "unit", "limit or peer", "its value", "ratio",
              "goal");
}

void print(const Row& r) {
  const auto met = r.met();
  std::printf("%-78s %12s %-9s %-30s %12s %7s  %s%s\n", r.name.c_str(), number(r.value).c_str(), r.unit.c_str(),
              r.peer.c_str(), r.peer.empty() ? "" : number(r.peer_value).c_str(),
              r.ratio() ? number(*r.ratio()).c_str() : "", r.goal_text().c_str(),
              met ? (*met ? "  met" : "  NOT MET") : "");
  std::fflush(stdout);
}

int usage(const char* program) {
  std::fprintf(stderr,
               "usage: %s [--filter REGEX] [--json FILE] [--list]\n"
               "  --filter REGEX  only groups whose name contains a match\n"
               "  --json FILE     all rows, as a JSON list\n"
               "  --list          the groups' names\n",
               program);
  return 2;
}

}  // namespace

std::optional<double> Row::ratio() const {
  if (peer.empty() || peer_value == 0) return std::nullopt;
  return value / peer_value;
}

std::optional<bool> Row::met() const {
  if (!goal) return std::nullopt;
  const std::optional<double> measured = goal_of == Goal::ratio ? ratio() : std::optional<double>(value);
  if (!measured || !std::isfinite(*measured)) return false;
  return better == Better::less ? *measured <= *goal : *measured >= *goal;
}

std::string Row::goal_text() const {
  if (!goal) return "";
  return std::string(goal_of == Goal::ratio ? "ratio " : "") + (better == Better::less ? "<= " : ">= ") + number(*goal);
}

void Report::add(Row row) {
  print(row);
  rows_.push_back(std::move(row));
}

void Report::note(const std::string& text) {
  std::printf("  (%s)\n", text.c_str());
  std::fflush(stdout);
}

Group::Group(std::string name, std::function<void(Report&)> measure) {
  entries().push_back({std::move(name), std::move(measure)});
}

int run(int argc, char** argv) {
  std::string json, rows;
  bool list = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--list")
      list = true;
    else if (word == "--filter" && i + 1 < argc)
      g_filter = argv[++i];
    else if (word == "--json" && i + 1 < argc)
      json = argv[++i];
    else if (word == "--rows" && i + 1 < argc)
      rows = argv[++i];
    else
      return usage(argv[0]);
  }
  std::regex pattern;
  try {
    pattern = std::regex(g_filter, std::regex::ECMAScript);
  } catch (const std::regex_error& e) {
    std::fprintf(stderr, "--filter %s is no regular expression: %s\n", g_filter.c_str(), e.what());
    return 2;
  }
  std::sort(entries().begin(), entries().end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
  if (rows.empty() && !list) print_machine();
  Report report;
  bool failed = false;
  for (const Entry& e : entries()) {
    // A sibling's group picks its own; its name is the prefix of theirs.
    if (!std::regex_search(e.name, pattern) && e.name.back() != '.') continue;
    if (list) {
      std::printf("%s\n", e.name.c_str());
      continue;
    }
    try {
      e.measure(report);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s: %s\n", e.name.c_str(), error.what());
      failed = true;
    }
  }
  if (!json.empty() && !write_json(json, report.rows())) {
    std::fprintf(stderr, "cannot write %s\n", json.c_str());
    return 3;
  }
  if (!rows.empty() && !write_rows(rows, report.rows())) return 3;
  return failed ? 3 : 0;
}

void run_sibling(Report& report, const std::string& program) {
  const TempFolder folder;
  const std::string rows = folder.path() + "/rows";
  const auto self = std::filesystem::read_symlink("/proc/self/exe");
  const std::string path = (self.parent_path() / program).string();
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl(path.c_str(), path.c_str(), "--filter", g_filter.c_str(), "--rows", rows.c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw std::runtime_error(path + " failed");
  }
  // It has printed them already.
  for (Row& r : read_rows(rows)) report.take(std::move(r));
}

std::uint64_t now_ns() {
  timespec t;
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(t.tv_nsec);
}

std::uint64_t thread_cpu_ns() {
  timespec t;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(t.tv_nsec);
}

std::uint64_t threads_cpu_ns(const std::string& prefix) {
  std::uint64_t sum = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::ifstream(task.path() / "comm") >> name;
    std::uint64_t ns = 0;
    if (name.rfind(prefix, 0) == 0 && std::ifstream(task.path() / "schedstat") >> ns) sum += ns;
  }
  return sum;
}

double median(std::vector<double> values) { return percentile(values, 0.5); }

double percentile(std::vector<double>& values, double p) {
  if (values.empty()) return std::nan("");
  const auto rank = static_cast<std::size_t>(std::ceil(p * static_cast<double>(values.size())));
  const std::size_t index = std::min(values.size() - 1, rank == 0 ? 0 : rank - 1);
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(index), values.end());
  return values[index];
}

std::uint64_t ticks() {
#if defined(__x86_64__)
  unsigned aux;
  return __rdtscp(&aux);  // waits for what came before
#else
  return now_ns();
#endif
}

double ns_per_tick() {
#if defined(__x86_64__)
  static const double ns = [] {
    const std::uint64_t t0 = now_ns(), c0 = ticks();
    while (now_ns() - t0 < 50'000'000) {
    }
    const std::uint64_t t1 = now_ns(), c1 = ticks();
    return static_cast<double>(t1 - t0) / static_cast<double>(c1 - c0);
  }();
  return ns;
#else
  return 1;
#endif
}

TempFolder::TempFolder(const std::string& parent) {
  const std::filesystem::path where =
      parent.empty() ? std::filesystem::temp_directory_path() : std::filesystem::path(parent);
  std::string pattern = (where / "mlops-bench-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no folder in " + where.string());
  path_ = pattern;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace mlops::bench

int main(int argc, char** argv) { return mlops::bench::run(argc, argv); }
