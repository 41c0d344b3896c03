// trainer: a program on the public API whose words compose a scenario, for tests/servers and scripts/chaos.
//
// It promises that what it logs can be computed outside: every value comes from (seed, lane, index), and after each
// call that returned it raises a word of a shared file, so "accepted" is counted outside the SDK and survives SIGKILL.
// A lane is one such word and one sequence of indexes; a thread owns its lane. It starts at the lane's count; whoever
// restarts a killed trainer raises the count by one first (the index in flight may be there or not) and notes it.
//
//   trainer counter=FILE [option=value]... [verb [argument]...]...
// Options: root= uri= seed= deliver=0|1 retention_mib= journal_mib= full_wait_ms= beat_ms= exit_ms= end_ms= finite=1
// (no NaN or Inf) Verbs: see `kVerbs`. Exit status: 0, that of exit/_exit, 3 when a call failed (message on stderr), 2
// on misuse.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "mlops/mlops.h"

namespace {

constexpr char kVerbs[] =
    "start EXP NAME | resume ID | resume-name EXP NAME | attach ID | nested EXP NAME | pop | id FILE\n"
    "points LANE THREADS N RATE METRICS  handles; each thread logs up to index N of its lane, RATE calls/s (0: all it "
    "can)\n"
    "named LANE N | many LANE N WIDTH | stamped LANE N T0_MS | brief LANE N (a thread per point)\n"
    "params LANE N | tags LANE N | param KEY VALUE | tag KEY VALUE | delete-tag KEY | note TEXT | rename NAME\n"
    "special METRIC | same METRIC TIMES T_MS | closed METRIC (log through a handle after end)\n"
    "file FILE FOLDER | files FOLDER  artifacts: one, below FOLDER (. : the root); all below FOLDER\n"
    "artifacts LANE N | large LANE N FILE  texts; FILE again and again, each in a folder of its own\n"
    "register MODEL COUNT  versions of it, offline too\n"
    "versions LANE N MODEL  each promoted to champion\n"
    "model NAME FILE REGISTERED  a logged model of one file, a version of it, aliases candidate and (promoted) "
    "champion\n"
    "flush buffered|durable|delivered MS | sleep MS | await FILE (until it is there) | health FILE | end STATUS | "
    "close\n"
    "detach-thread LANE N\n"
    "fork exit|_exit|abort ... endfork | wait | exec WORDS... | unwind | exit CODE | _exit CODE | abort | kill\n";

constexpr int kLanes = 512;
std::atomic<std::uint64_t>* counters = nullptr;
std::uint64_t seed = 1;
bool finite = false;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "trainer: %s\n", what.c_str());
  _exit(3);
}
void check(const mlops::Status& status, const std::string& doing) {
  if (!status.ok()) fail(doing + ": " + status.to_string());
}
[[noreturn]] void misuse(const std::string& what) {
  std::fprintf(stderr, "trainer: %s\n%s", what.c_str(), kVerbs);
  std::exit(2);
}

std::uint64_t mix(std::uint64_t lane, std::uint64_t index) {
  std::uint64_t z = seed * 0x9E3779B97F4A7C15ull + (lane << 40) + index + 0x632BE59BD9B4E019ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

/// The value of an index: float32-origin, four decimals, float64 noise and small integers; 1 in 16 is not ordinary.
double value_of(std::uint64_t lane, std::uint64_t index) {
  const std::uint64_t h = mix(lane, index);
  const unsigned kind = h & 63;
  if (!finite && kind == 0) return std::numeric_limits<double>::quiet_NaN();
  if (!finite && kind == 1) return std::numeric_limits<double>::infinity();
  if (!finite && kind == 2) return -std::numeric_limits<double>::infinity();
  if (!finite && kind == 3) return -0.0;
  switch (kind & 3) {
    case 0:
      return static_cast<double>(static_cast<float>(h >> 40) * 0x1p-24f);
    case 1:
      return static_cast<double>(static_cast<std::int64_t>((h >> 20) % 20001) - 10000) / 10000.0;
    case 2:
      return static_cast<double>(h >> 11) * 0x1p-53 * 1000.0;
    default:
      return static_cast<double>((h >> 33) % 1000);
  }
}

std::string metric_name(std::uint64_t lane, std::uint64_t metric) {
  return "lane" + std::to_string(lane) + "/m" + std::to_string(metric);
}

void raise_to(std::uint64_t lane, std::uint64_t count) { counters[lane].store(count, std::memory_order_release); }
std::uint64_t count_of(std::uint64_t lane) { return counters[lane].load(std::memory_order_relaxed); }

struct Pace {
  explicit Pace(double per_second) : each(per_second > 0 ? 1e9 / per_second : 0) {}
  void next() {
    if (each <= 0) return;
    due += each;
    const double ahead = due - static_cast<double>((std::chrono::steady_clock::now() - start).count());
    if (ahead > 200'000) std::this_thread::sleep_for(std::chrono::nanoseconds(static_cast<std::int64_t>(ahead)));
  }
  double each, due = 0;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
};

void log_points(mlops::Run* run, std::uint64_t lane, std::uint64_t n, double rate, std::uint64_t metrics) {
  if (metrics == 0) misuse("points: METRICS must not be 0");
  std::vector<mlops::Metric> handles;
  for (std::uint64_t m = 0; m < metrics; ++m) handles.push_back(run->metric(metric_name(lane, m)));
  Pace pace(rate);
  for (std::uint64_t i = count_of(lane); i < n; ++i) {
    handles[i % metrics].log(value_of(lane, i), static_cast<std::int64_t>(i));
    raise_to(lane, i + 1);
    pace.next();
  }
}

/// A full journal waits, so that nothing this program counts is dropped.
mlops::Options patient() {
  mlops::Options options;
  options.full_wait = std::chrono::seconds(60);
  return options;
}

class Trainer {
 public:
  Trainer(std::vector<std::string> words, char** argv) : words_(std::move(words)), argv_(argv) {}

  int run() {
    while (at_ < words_.size() && words_[at_].find('=') != std::string::npos) option(words_[at_++]);
    if (counters == nullptr) misuse("counter=FILE is missing");
    auto client = mlops::Client::open(options_);
    check(client.status(), "open");
    client_.emplace(*std::move(client));
    while (at_ < words_.size())
      if (std::optional<int> code = verb(words_[at_++])) return *code;
    return 0;
  }

 private:
  const std::string& next() {
    if (at_ >= words_.size()) misuse("a word is missing after " + words_.back());
    return words_[at_++];
  }
  std::uint64_t number() { return std::stoull(next()); }
  mlops::Run& current() {
    if (runs_.empty()) misuse("no run");
    return runs_.back();
  }
  static std::chrono::system_clock::time_point at_ms(std::uint64_t ms) {
    return std::chrono::system_clock::time_point(std::chrono::milliseconds(ms));
  }

  void option(const std::string& word) {
    const std::size_t eq = word.find('=');
    const std::string name = word.substr(0, eq), value = word.substr(eq + 1);
    if (name == "counter")
      map_counters(value);
    else if (name == "root")
      options_.root = value;
    else if (name == "uri")
      options_.tracking_uri = value;
    else if (name == "seed")
      seed = std::stoull(value);
    else if (name == "deliver")
      options_.deliver = value != "0";
    else if (name == "finite")
      finite = value != "0";
    else if (name == "journal_mib")
      options_.journal_mib = static_cast<std::uint32_t>(std::stoul(value));
    else if (name == "retention_mib")
      options_.retention_mib = std::stoull(value);
    else if (name == "full_wait_ms")
      options_.full_wait = mlops::Millis(std::stoll(value));
    else if (name == "beat_ms")
      options_.beat = mlops::Millis(std::stoll(value));
    else if (name == "exit_ms")
      options_.exit_deadline = mlops::Millis(std::stoll(value));
    else if (name == "end_ms")
      end_ = mlops::Millis(std::stoll(value));
    else
      misuse("unknown option " + name);
  }

  static void map_counters(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const std::size_t bytes = kLanes * sizeof(std::uint64_t);
    if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(bytes)) != 0) fail("counter file " + path);
    void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) fail("cannot map " + path);
    counters = static_cast<std::atomic<std::uint64_t>*>(p);
    ::close(fd);
  }

  void start(const std::string& experiment, mlops::RunOptions options) {
    options.end_deadline = end_;
    auto run = client_->start_run(experiment, options);
    check(run.status(), "start_run");
    runs_.push_back(*std::move(run));
  }

  /// Nothing: go on; else the exit status.
  std::optional<int> verb(const std::string& v) {
    mlops::RunOptions o;
    if (v == "start") {
      const std::string e = next();
      o.name = next();
      start(e, o);
    } else if (v == "resume") {
      o.resume_id = next();
      start({}, o);
    } else if (v == "resume-name") {
      const std::string e = next();
      o.resume_name = next();
      start(e, o);
    } else if (v == "attach") {
      o.attach_id = next();
      start({}, o);
    } else if (v == "nested") {
      const std::string e = next();
      o.name = next();
      o.parent_id = current().id();
      start(e, o);
    } else if (v == "pop") {
      current();
      runs_.pop_back();
    } else if (v == "id")
      write_file(next(), current().id());
    else if (v == "points")
      points();
    else if (v == "named")
      named();
    else if (v == "many")
      many();
    else if (v == "stamped")
      stamped();
    else if (v == "brief")
      brief();
    else if (v == "detach-thread")
      detach_thread();
    else if (v == "params")
      params();
    else if (v == "tags")
      tags();
    else if (v == "param") {
      const std::string k = next();
      check(current().log_param(k, next()), "log_param " + k);
    } else if (v == "tag") {
      const std::string k = next();
      check(current().set_tag(k, next()), "set_tag " + k);
    } else if (v == "delete-tag")
      check(current().delete_tag(next()), "delete_tag");
    else if (v == "note")
      check(current().set_note(next()), "set_note");
    else if (v == "rename")
      check(current().set_name(next()), "set_name");
    else if (v == "special")
      special();
    else if (v == "same")
      same();
    else if (v == "closed")
      closed();
    else if (v == "artifacts")
      artifacts();
    else if (v == "large")
      large();
    else if (v == "versions")
      versions();
    else if (v == "register")
      register_versions();
    else if (v == "model")
      log_model();
    else if (v == "file") {
      const std::string file = next(), below = next();
      check(current().log_artifact(file, below == "." ? "" : below), "log_artifact");
    } else if (v == "files")
      check(current().log_artifacts(next()), "log_artifacts");
    else if (v == "flush")
      flush();
    else if (v == "sleep")
      std::this_thread::sleep_for(std::chrono::milliseconds(number()));
    else if (v == "await") {
      for (const std::string file = next(); ::access(file.c_str(), F_OK) != 0;)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    } else if (v == "health")
      health();
    else if (v == "end")
      end();
    else if (v == "close")
      check(client_->close(), "close");
    else if (v == "fork")
      fork_child();
    else if (v == "endfork")
      leave(child_mode_, 0);
    else if (v == "wait")
      wait_children();
    else if (v == "exec")
      exec();
    else if (v == "unwind")
      unwind();
    else if (v == "exit" || v == "_exit")
      leave(v, static_cast<int>(number()));
    else if (v == "abort")
      leave(v, 0);
    else if (v == "kill")
      ::kill(::getpid(), SIGKILL);
    else
      misuse("unknown verb " + v);
    return std::nullopt;
  }

  void points() {
    const std::uint64_t lane = number(), threads = number(), n = number(), rate = number(), metrics = number();
    mlops::Run* run = &current();
    if (threads <= 1) return log_points(run, lane, n, static_cast<double>(rate), metrics);
    std::vector<std::thread> all;
    for (std::uint64_t t = 0; t < threads; ++t)
      all.emplace_back([=] { log_points(run, lane + t, n, static_cast<double>(rate), metrics); });
    for (std::thread& t : all) t.join();
  }

  void named() {
    const std::uint64_t lane = number(), n = number();
    for (std::uint64_t i = count_of(lane); i < n; ++i) {
      check(current().log_metric(metric_name(lane, 0), value_of(lane, i), static_cast<std::int64_t>(i)), "log_metric");
      raise_to(lane, i + 1);
    }
  }

  /// One call per step with WIDTH metrics; the lane counts calls.
  void many() {
    const std::uint64_t lane = number(), n = number(), width = number();
    std::vector<std::string> names;
    for (std::uint64_t m = 0; m < width; ++m) names.push_back(metric_name(lane, m));
    std::vector<mlops::Run::MetricPair> pairs(width);
    for (std::uint64_t i = count_of(lane); i < n; ++i) {
      for (std::uint64_t m = 0; m < width; ++m) pairs[m] = {names[m], value_of(lane, i * width + m)};
      check(current().log_metrics(pairs.data(), width, static_cast<std::int64_t>(i)), "log_metrics");
      raise_to(lane, i + 1);
    }
  }

  void stamped() {
    const std::uint64_t lane = number(), n = number(), t0 = number();
    mlops::Metric metric = current().metric(metric_name(lane, 0));
    for (std::uint64_t i = count_of(lane); i < n; ++i) {
      metric.log(value_of(lane, i), static_cast<std::int64_t>(i), at_ms(t0 + i));
      raise_to(lane, i + 1);
    }
  }

  void brief() {
    const std::uint64_t lane = number(), n = number();
    mlops::Metric metric = current().metric(metric_name(lane, 0));
    for (std::uint64_t i = count_of(lane); i < n; ++i) {
      std::thread([&] { metric.log(value_of(lane, i), static_cast<std::int64_t>(i)); }).join();
      raise_to(lane, i + 1);
    }
  }

  /// A thread nobody joins logs on while the process exits; counts only what was accepted before `end`.
  void detach_thread() {
    const std::uint64_t lane = number(), n = number();
    mlops::Metric metric = current().metric(metric_name(lane, 0));
    std::thread([=]() mutable {
      for (std::uint64_t i = 0; i < n; ++i) metric.log(value_of(lane, i), static_cast<std::int64_t>(i));
    }).detach();
  }

  void params() {
    const std::uint64_t lane = number(), n = number();
    for (std::uint64_t i = count_of(lane); i < n; ++i) {
      const std::string at = std::to_string(lane) + "_" + std::to_string(i);
      check(current().log_param("p" + at, "v" + std::to_string(mix(lane, i))), "log_param");
      raise_to(lane, i + 1);
    }
  }

  void tags() {
    const std::uint64_t lane = number(), n = number();
    for (std::uint64_t i = count_of(lane); i < n; ++i) {
      const std::string at = std::to_string(lane) + "_" + std::to_string(i);
      check(current().set_tag("t" + at, "v" + std::to_string(mix(lane, i))), "set_tag");
      raise_to(lane, i + 1);
    }
  }

  /// Of 1 to 200 lines.
  void artifacts() {
    const std::uint64_t lane = number(), n = number();
    for (std::uint64_t i = count_of(lane); i < n; ++i) {
      const std::uint64_t h = mix(lane, i);
      const std::string line = "v" + std::to_string(h) + "\n";
      std::string text;
      for (std::uint64_t times = 1 + h % 200; times > 0; --times) text += line;
      check(current().log_text(text, "f" + std::to_string(lane) + "/" + std::to_string(i) + ".txt"), "log_text");
      raise_to(lane, i + 1);
    }
  }

  void large() {
    const std::uint64_t lane = number(), n = number();
    const std::string file = next();
    for (std::uint64_t i = count_of(lane); i < n; ++i) {
      check(current().log_artifact(file, "large" + std::to_string(lane) + "/" + std::to_string(i)), "log_artifact");
      raise_to(lane, i + 1);
    }
  }

  /// The index of each is its tag.
  void versions() {
    const std::uint64_t lane = number(), n = number();
    const std::string model = next();
    const mlops::Registry registry = client_->registry();
    for (std::uint64_t i = count_of(lane); i < n; ++i) {
      mlops::VersionOptions options;
      options.tags = {{"index", std::to_string(i)}};
      const auto version = registry.create_version(model, "s3://bucket/" + std::to_string(i), options);
      check(version.ok() ? mlops::Status() : version.status(), "create_version");
      const auto promoted = registry.promote(model, *version, "champion");
      check(promoted.ok() ? mlops::Status() : promoted.status(), "promote");
      raise_to(lane, i + 1);
    }
  }

  /// Every kind of double, at the steps' ends too.
  void special() {
    mlops::Metric metric = current().metric(next());
    using Limits = std::numeric_limits<double>;
    const double values[] = {Limits::quiet_NaN(),
                             Limits::infinity(),
                             -Limits::infinity(),
                             -0.0,
                             0.0,
                             Limits::denorm_min(),
                             Limits::min(),
                             Limits::max(),
                             Limits::lowest(),
                             Limits::epsilon(),
                             0.1,
                             1.0 / 3,
                             -1e-300};
    std::int64_t step = 0;
    for (double v : values) metric.log(v, step++);
    metric.log(1.5, std::numeric_limits<std::int64_t>::max());
    metric.log(2.5, std::numeric_limits<std::int64_t>::min());
  }

  void same() {
    const std::string name = next();
    const std::uint64_t times = number(), ms = number();
    mlops::Metric metric = current().metric(name);
    for (std::uint64_t i = 0; i < times; ++i) metric.log(0.25, 7, at_ms(ms));
  }

  void closed() {
    mlops::Metric metric = current().metric(next());
    current().end().ignore();
    metric.log(1.0, 1);
  }

  /// COUNT versions of one model, of sources that tell their order.
  void register_versions() {
    const std::string name = next();
    const std::uint64_t count = number();
    const mlops::Registry registry = client_->registry();
    for (std::uint64_t i = 1; i <= count; ++i) {
      const mlops::Result<mlops::Pending> made = registry.create_version(name, "s3://bucket/" + std::to_string(i));
      check(made.ok() ? mlops::Status() : made.status(), "create_version");
    }
  }

  void log_model() {
    const std::string name = next(), file = next(), registered = next();
    const auto must = [](const auto& result, const char* what) {
      check(result.ok() ? mlops::Status() : result.status(), what);
      return *result;
    };
    const mlops::LoggedModel model = must(current().log_model(name, {{file}}), "log_model");
    mlops::RegisterOptions options;
    options.logged_model = model.id();
    const mlops::Pending version = must(current().register_model("", registered, options), "register_model");
    const mlops::Registry registry = client_->registry();
    must(registry.set_alias(registered, "candidate", version), "set_alias");
    must(registry.promote(registered, version, "champion"), "promote");
  }

  void flush() {
    const std::string level = next();
    const mlops::Millis deadline(number());
    check(client_->flush(level == "buffered"  ? mlops::Level::buffered
                         : level == "durable" ? mlops::Level::durable
                                              : mlops::Level::delivered,
                         deadline),
          "flush " + level);
  }

  void end() {
    const std::string s = next();
    check(current().end(s == "FAILED"   ? mlops::RunStatus::failed
                        : s == "KILLED" ? mlops::RunStatus::killed
                                        : mlops::RunStatus::finished),
          "end");
  }

  void health() {
    const mlops::Health h = client_->health();
    std::string text = "{\"accepted\": " + std::to_string(h.accepted) + ", \"merged\": " + std::to_string(h.merged) +
                       ", \"buffered\": " + std::to_string(h.buffered) + ", \"durable\": " + std::to_string(h.durable) +
                       ", \"buffer\": \"" + mlops::status_code_name(h.buffer.code()) + "\", \"buffer_message\": \"" +
                       std::string(h.buffer.message()) + "\", \"dropped\": {";
    bool first = true;
    for (const auto& [reason, count] : h.dropped) {
      text += std::string(first ? "" : ", ") + "\"" + reason + "\": " + std::to_string(count);
      first = false;
    }
    text += "}, \"destinations\": [";
    first = true;
    for (const mlops::DestinationHealth& d : h.destinations) {
      text += std::string(first ? "" : ", ") + "{\"delivered\": " + std::to_string(d.delivered) +
              ", \"waiting\": " + std::to_string(d.waiting) + ", \"dead_letters\": " + std::to_string(d.dead_letters) +
              "}";
      first = false;
    }
    write_file(next(), text + "]}");
  }

  void fork_child() {
    const std::string mode = next();
    const pid_t child = ::fork();
    if (child < 0) fail("fork");
    if (child == 0) {
      child_mode_ = mode;  // the child goes on with the next word, up to endfork
      return;
    }
    children_.push_back(child);
    int depth = 1;
    while (depth > 0) {
      const std::string& w = next();
      depth += w == "fork" ? 1 : w == "endfork" ? -1 : 0;
    }
  }

  void wait_children() {
    for (pid_t child : children_) {
      int status = 0;
      ::waitpid(child, &status, 0);
      // A child that was told to die at a named point (MLOPS_KILL_AT) is as told, too.
      const int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
      const bool as_told = (WIFEXITED(status) && WEXITSTATUS(status) == 0) || sig == SIGABRT ||
                           (sig == SIGKILL && std::getenv("MLOPS_KILL_AT") != nullptr);
      if (!as_told) fail("child ended with wait status " + std::to_string(status));
    }
    children_.clear();
  }

  /// The rest of the words in a fresh image of this program, with the same pid.
  void exec() {
    std::vector<char*> argv = {argv_[0]};
    for (; at_ < words_.size(); ++at_) argv.push_back(words_[at_].data());
    argv.push_back(nullptr);
    ::execv("/proc/self/exe", argv.data());
    fail("exec");
  }

  /// An exception leaves the scope of the run: it ends FAILED.
  void unwind() {
    try {
      mlops::Run run = std::move(current());
      runs_.pop_back();
      throw std::runtime_error("as told");
    } catch (const std::runtime_error&) {  // NOLINT(bugprone-empty-catch): the run has ended FAILED
    }
  }

  [[noreturn]] static void leave(const std::string& mode, int code) {
    if (mode == "_exit") ::_exit(code);
    if (mode == "abort") std::abort();
    std::exit(code);
  }

  static void write_file(const std::string& path, const std::string& text) {
    const std::string beside = path + "." + std::to_string(::getpid());
    FILE* f = std::fopen(beside.c_str(), "w");
    if (f == nullptr || std::fwrite(text.data(), 1, text.size(), f) != text.size() || std::fclose(f) != 0 ||
        std::rename(beside.c_str(), path.c_str()) != 0)
      fail("cannot write " + path);
  }

  std::vector<std::string> words_;
  char** argv_;
  std::size_t at_ = 0;
  mlops::Options options_ = patient();
  mlops::Millis end_{5'000};
  std::optional<mlops::Client> client_;
  std::vector<mlops::Run> runs_;
  std::vector<pid_t> children_;
  std::string child_mode_;
};

}  // namespace

int main(int argc, char** argv) {
  Trainer trainer(std::vector<std::string>(argv + 1, argv + argc), argv);
  return trainer.run();
}
