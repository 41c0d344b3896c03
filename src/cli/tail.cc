// mlops tail: reads a program's log and logs what matches. What comes in goes out unchanged, byte for byte, at once;
// lines of any length and any bytes are survived.
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/json_out.h"
#include "cli/pattern.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

constexpr std::size_t kChunk = 64 * 1024;
constexpr std::size_t kLongest = 64 * 1024;          // of a line, what is matched
constexpr int kQuietMs = 200, kLastWordsMs = 2'000;  // after a signal: what is on its way is read

std::atomic<int> stop_signal{0};
static_assert(std::atomic<int>::is_always_lock_free);

/// SIGINT, SIGTERM and SIGHUP come during poll only; the second of a kind ends the command the hard way.
class Signals {
 public:
  Signals() {
    sigset_t ours;
    ::sigemptyset(&ours);
    struct sigaction action{};
    action.sa_handler = [](int number) { stop_signal.store(number); };
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
      struct sigaction before{};
      ::sigaction(number, nullptr, &before);
      if (before.sa_handler == SIG_IGN) continue;  // nohup
      ::sigaddset(&ours, number);
      ::sigaction(number, &action, nullptr);
    }
    action.sa_handler = SIG_IGN;  // whoever reads our output may go: the run goes on
    ::sigaction(SIGPIPE, &action, nullptr);
    ::sigprocmask(SIG_BLOCK, &ours, &open_);
  }
  ~Signals() { ::sigprocmask(SIG_SETMASK, &open_, nullptr); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  enum class Answer { ready, late, signal };
  /// Until the file can be read or written (or its other end is gone); milliseconds < 0: however long.
  Answer wait(int fd, short events, int milliseconds) const {
    pollfd file{fd, events, 0};
    const timespec limit{milliseconds / 1000, (milliseconds % 1000) * 1'000'000L};
    const int n = ::ppoll(&file, 1, milliseconds < 0 ? nullptr : &limit, &open_);
    return n > 0 ? Answer::ready : n == 0 ? Answer::late : Answer::signal;
  }

 private:
  sigset_t open_{};
};

struct Arguments {
  std::vector<std::string> expressions, params, tags;
  std::string run, experiment, name;
  bool quiet = false;
};

struct Counts {
  std::uint64_t lines = 0, matched = 0, points = 0, not_numbers = 0, cut = 0, refused = 0;
};

/// Lines out of chunks; '\r' ends one too: progress bars.
class Lines {
 public:
  template <typename Take>
  void feed(std::string_view bytes, const Take& take) {
    while (!bytes.empty()) {
      const std::size_t end = bytes.find_first_of("\r\n");
      const std::string_view part = bytes.substr(0, end);
      line_.append(part.substr(0, kLongest - line_.size()));
      size_ += part.size();
      if (end == std::string_view::npos) return;
      finish(take);
      bytes.remove_prefix(end + 1);
    }
  }
  template <typename Take>
  void finish(const Take& take) {
    if (size_ != 0) take(std::string_view(line_), size_ > line_.size());
    line_.clear();
    size_ = 0;
  }

 private:
  std::string line_;
  std::size_t size_ = 0;  // with what was cut
};

// What people write behind a number.
std::string_view without_punctuation(std::string_view text) {
  const std::size_t last = text.find_last_not_of(",;:)]}\"'");
  return last == std::string_view::npos ? text : text.substr(0, last + 1);
}

class Tail {
 public:
  Tail(mlops::Run run, std::vector<Pattern> patterns, bool fresh)
      : run_(std::move(run)), patterns_(std::move(patterns)), fresh_(fresh) {}

  void line(std::string_view text, bool cut) {
    ++counts_.lines;
    if (cut) ++counts_.cut;
    found_.clear();
    bool matched = false;
    std::int64_t when_ms =
        std::chrono::duration_cast<Millis>(std::chrono::system_clock::now().time_since_epoch()).count();
    for (const Pattern& pattern : patterns_) {
      if (!pattern.match(text, &groups_)) continue;
      matched = true;
      for (std::size_t i = 0; i < groups_.size(); ++i) {
        if (groups_[i] && !groups_[i]->empty()) take(pattern.names()[i], without_punctuation(*groups_[i]), &when_ms);
      }
    }
    if (matched) ++counts_.matched;
    const std::chrono::system_clock::time_point when{Millis(when_ms)};
    for (const auto& [name, value] : found_) {
      const std::int64_t step = step_ ? *step_ : next_step(name);
      const Status s = run_.log_metric(name, value, step, when);
      if (s.ok()) {
        ++counts_.points;
      } else if (counts_.refused++ == 0) {
        std::fprintf(stderr, "mlops: %s: %.*s\n", name.c_str(), static_cast<int>(s.message().size()),
                     s.message().data());
      }
    }
  }

  const Counts& counts() const { return counts_; }
  mlops::Run& run() { return run_; }

 private:
  void take(const std::string& name, std::string_view text, std::int64_t* when_ms) {
    if (name == "step") {
      if (const std::optional<std::int64_t> step = read_whole(text)) {
        step_ = step;
      } else {
        no_number(name, text);
      }
    } else if (name == "time") {
      if (const std::optional<std::int64_t> ms = read_time_ms(text); ms && *ms >= 0) {
        *when_ms = *ms;
      } else {
        no_number(name, text);
      }
    } else if (const std::optional<double> value = read_number(text)) {
      found_.emplace_back(name, *value);
    } else {
      no_number(name, text);
    }
  }

  void no_number(const std::string& name, std::string_view text) {
    if (counts_.not_numbers++ != 0) return;
    std::fprintf(stderr, "mlops: line %llu: %s is \"%s\", which is no %s; such values are left out and counted\n",
                 static_cast<unsigned long long>(counts_.lines), name.c_str(), one_line(text, 40).c_str(),
                 name == "step"   ? "whole number"
                 : name == "time" ? "time"
                                  : "number");
  }

  // Of a metric whose lines say no step: it counts on from the last one in the run.
  std::int64_t next_step(const std::string& name) {
    const auto [at, first] = steps_.try_emplace(name, 0);
    if (first && !fresh_) at->second = run_.auto_step(name).next_step();
    return at->second++;
  }

  mlops::Run run_;
  std::vector<Pattern> patterns_;
  const bool fresh_;
  std::optional<std::int64_t> step_;  // the newest that was named
  std::map<std::string, std::int64_t> steps_;
  std::vector<std::pair<std::string, double>> found_;
  std::vector<std::optional<std::string_view>> groups_;
  Counts counts_;
};

/// False when nobody reads it any more, or nobody did for a while after a signal.
bool pass_on(const Signals& signals, std::string_view bytes) {
  while (!bytes.empty()) {
    const bool stopping = stop_signal.load() != 0;
    const Signals::Answer answer = signals.wait(STDOUT_FILENO, POLLOUT, stopping ? kQuietMs : -1);
    if (answer == Signals::Answer::late) return false;
    if (answer == Signals::Answer::signal) continue;
    // So much fits into a pipe that is ready: a write never blocks with the signals held back.
    const ssize_t n = ::write(STDOUT_FILENO, bytes.data(), std::min<std::size_t>(bytes.size(), PIPE_BUF));
    if (n >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno != EINTR && errno != EAGAIN) {
      return false;
    }
  }
  return true;
}

// To the end of the input, or for a moment after a signal.
void read_all(const Signals& signals, bool pass, Tail* tail) {
  Lines lines;
  const auto take = [tail](std::string_view line, bool cut) { tail->line(line, cut); };
  std::array<char, kChunk> chunk;
  std::chrono::steady_clock::time_point last_words;
  for (bool stopping = false;;) {
    const Signals::Answer answer = signals.wait(STDIN_FILENO, POLLIN, stopping ? kQuietMs : -1);
    if (stop_signal.load() != 0 && !stopping) {
      stopping = true;
      last_words = std::chrono::steady_clock::now() + Millis(kLastWordsMs);
    }
    if (answer == Signals::Answer::late || (stopping && std::chrono::steady_clock::now() > last_words)) break;
    if (answer != Signals::Answer::ready) continue;
    const ssize_t n = ::read(STDIN_FILENO, chunk.data(), chunk.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) break;
    const std::string_view bytes(chunk.data(), static_cast<std::size_t>(n));
    pass = pass && pass_on(signals, bytes);
    lines.feed(bytes, take);
  }
  lines.finish(take);
}

int tail(const Common& common, const Arguments& arguments) {
  std::vector<Pattern> patterns;
  for (const std::string& expression : arguments.expressions) {
    Result<Pattern> pattern = Pattern::compile(expression);
    if (!pattern.ok()) return fail(pattern.status());
    patterns.push_back(std::move(*pattern));
  }
  Result<Pairs> params = read_pairs(arguments.params, "param"), tags = read_pairs(arguments.tags, "tag");
  if (!params.ok()) return fail(params.status());
  if (!tags.ok()) return fail(tags.status());
  const bool fresh = arguments.run.empty();
  if (fresh) {
    start_afresh();
  } else {
    Result<std::string> id = find_run(common, arguments.run);
    if (!id.ok()) return fail(id.status());
    attach_to(*id);
  }
  const Signals signals;
  Options options;
  options.root = common.root;
  Result<Client> client = Client::open(options);
  if (!client.ok()) return fail(client.status());
  RunOptions run_options;
  run_options.name = arguments.name;
  if (fresh) run_options.tags = *tags;
  Result<mlops::Run> run = client->start_run(arguments.experiment, run_options);
  if (!run.ok()) return fail(run.status());
  Status said = run->log_params(*params);
  if (said.ok() && !fresh) said = run->set_tags(*tags);
  if (!said.ok()) {
    run->end(RunStatus::failed).ignore();
    client->close().ignore();
    return fail(said);
  }
  const std::string id = run->id();
  if (!arguments.quiet) std::fprintf(stderr, "mlops: run %s (%s)\n", id.c_str(), run->name().c_str());

  Tail work(std::move(*run), std::move(patterns), fresh);
  read_all(signals, !arguments.quiet && !common.json, &work);
  const int stopped = stop_signal.load();
  work.run().end(stopped == 0 ? RunStatus::finished : RunStatus::killed).ignore();
  const Status closed = client->close();
  const Counts& counts = work.counts();
  if (common.json) {
    JsonOut out;
    out.begin_object().field("run", id).field("lines", counts.lines).field("matched", counts.matched);
    out.field("points", counts.points).field("not_numbers", counts.not_numbers);
    out.field("cut_lines", counts.cut).field("refused", counts.refused).end_object();
    std::printf("%s\n", out.text().c_str());
  }
  if (!closed.ok()) return fail(closed);
  if (counts.refused != 0) return kOther;
  return stopped == 0 ? kOk : 128 + stopped;
}

}  // namespace

Command tail_command() {
  auto a = std::make_shared<Arguments>();
  Command command{"tail", "Log what a program prints: numbers in the lines of stdin"};
  command.options = {
      {"--regex", "With named groups: a group's name is the metric's; can be given again", &a->expressions, true},
      {"--run", "Log to this run [a run of its own]", &a->run, false, Takes::run},
      {"--experiment", "Experiment of its own run [MLFLOW_EXPERIMENT_NAME; Default]", &a->experiment, false,
       Takes::experiment},
      {"--name", "Name of its own run [MLFLOW_RUN_NAME; two words and a number]", &a->name},
      {"--param", "key=value", &a->params},
      {"--tag", "key=value", &a->tags},
      {"-q,--quiet", "Do not pass stdin on to stdout, do not name the run", &a->quiet},
  };
  command.about =
      "The group `step` is the step, from its line on until another one is named; without any, each metric counts "
      "its own lines. The group `time` is the time: seconds or milliseconds since the epoch, or 2024-05-01 12:00:00; "
      "else it is now. Lines end at a newline or a carriage return; what follows a number of , ; : ) ] } and quotes "
      "is passed over; of a line the first 64 KiB are matched. Values that are no numbers are left out, counted, and "
      "said once.\n"
      "At the end of stdin a run of its own ends FINISHED; on Ctrl-C or SIGTERM what is on its way is still read, "
      "and the run ends KILLED (exit code 128 + signal). A run given by --run stays as it is. Delivers live when "
      "MLFLOW_TRACKING_URI is set.";
  command.json =
      R"({"run", "lines", "matched", "points", "not_numbers", "cut_lines", "refused"}, at the end; nothing is passed on)";
  command.examples = {{R"(./train | mlops tail --regex 'loss=(?P<loss>\S+)')", "a metric out of a program's output"},
                      {R"(mlops tail --run $RUN --regex 'step (?P<step>\d+).*loss=(?P<loss>\S+)' --quiet < train.log)",
                       "step and metric, to a run that is there; also behind tail -f"}};
  command.run = [a](const Common& common) { return tail(common, *a); };
  return command;
}

}  // namespace mlops::cli
