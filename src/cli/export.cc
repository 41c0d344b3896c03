// mlops export: the points of runs as CSV or JSON Lines, straight from the blocks, in memory that does not grow. A file
// is there whole or not at all.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "cli/chosen.h"
#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct Arguments {
  std::vector<std::string> runs, metrics;
  RunQuery query;
  std::string format = "csv", output;
};

/// Collects lines and writes them in large pieces; the first failure stays. A named file is written beside its place
/// and renamed there by commit(); without that it is removed again, also by Ctrl-C.
class Sink {
 public:
  Status open(const std::string& path) {
    path_ = path;
    if (path.empty()) return {};
    struct stat there{};
    if (::stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode)) {  // a pipe or a device is not to be replaced
      fd_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
      return fd_ < 0 ? trouble("open") : Status();
    }
    part_ = path + ".part-" + std::to_string(::getpid());
    fd_ = ::open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd_ < 0) return trouble("make");
    std::snprintf(leftover.data(), leftover.size(), "%s", part_.c_str());
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) std::signal(number, remove_and_die);
    return {};
  }
  ~Sink() {
    if (fd_ >= 0 && fd_ != STDOUT_FILENO) ::close(fd_);
    if (!part_.empty()) ::unlink(part_.c_str());
    leftover[0] = '\0';
  }
  std::string& buffer() { return buffer_; }
  bool flush(bool all) {
    if (!status_.ok() || (!all && buffer_.size() < kPiece)) return status_.ok();
    for (std::size_t at = 0; at < buffer_.size();) {
      const ssize_t n = ::write(fd_, buffer_.data() + at, buffer_.size() - at);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        status_ = trouble("write");
        return false;
      }
      at += static_cast<std::size_t>(n);
    }
    buffer_.clear();
    return true;
  }
  Status commit() {
    if (!flush(true)) return status_;
    if (part_.empty()) return {};
    if (::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS) return trouble("write");
    if (::rename(part_.c_str(), path_.c_str()) != 0) return trouble("rename to its place");
    part_.clear();
    return {};
  }
  const Status& status() const { return status_; }

 private:
  static constexpr std::size_t kPiece = std::size_t{1} << 18;
  static inline std::array<char, 4096> leftover{};  // for a signal: what to remove

  static void remove_and_die(int number) {
    if (leftover[0] != '\0') ::unlink(leftover.data());
    std::signal(number, SIG_DFL);
    ::raise(number);
  }
  Status trouble(const char* what) const {
    const int error = errno;
    return Status(error == ENOENT ? StatusCode::not_found : StatusCode::internal,
                  std::string("cannot ") + what + " " + (path_.empty() ? "standard output" : path_) + ": " +
                      std::strerror(error));
  }

  std::string path_, part_, buffer_;
  int fd_ = STDOUT_FILENO;
  Status status_;
};

template <typename N>
void put(std::string* out, N number) {
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out->append(digits.data(), end);
}

// RFC 4180: quotes around a text that needs them, doubled inside.
std::string csv_text(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

std::string json_text(const std::string& text) {
  JsonOut out;
  out.value(text);
  return out.text();
}

void put_json_value(std::string* out, double value) {
  if (value - value == 0) {
    put(out, value);
  } else {
    JsonOut text;
    text.value(value);
    out->append(text.text());
  }
}

Result<Damage> write_run(const Reader& reader, const RunSummary& run, const Arguments& arguments, Sink* sink) {
  const bool csv = arguments.format == "csv";
  std::size_t part = SIZE_MAX;
  std::vector<std::string> starts;  // of a line, by metric number; empty: not asked for
  return reader.scan(run.id, [&](const PointBatch& b) {
    if (b.part != part) starts.clear();
    part = b.part;
    std::string& out = sink->buffer();
    for (std::size_t i = 0; i < b.size; ++i) {
      while (starts.size() <= b.metric[i]) {
        const std::string& name = b.names[starts.size()];
        const bool asked = arguments.metrics.empty() || std::find(arguments.metrics.begin(), arguments.metrics.end(),
                                                                  name) != arguments.metrics.end();
        if (!asked) {
          starts.emplace_back();
        } else if (csv) {
          starts.push_back(run.id + "," + csv_text(name) + ",");
        } else {
          starts.push_back("{\"run_id\":\"" + run.id + "\",\"metric\":" + json_text(name) + ",\"step\":");
        }
      }
      const std::string& start = starts[b.metric[i]];
      if (start.empty()) continue;
      out += start;
      put(&out, b.step[i]);
      out += csv ? "," : ",\"time_ms\":";
      put(&out, b.time_ms[i]);
      out += csv ? "," : ",\"value\":";
      csv ? put(&out, b.value[i]) : put_json_value(&out, b.value[i]);
      out += csv ? "\n" : "}\n";
    }
    return sink->flush(false);
  });
}

int write_all(const Common& common, const Arguments& arguments) {
  const Result<Reader> reader = Reader::open(common.root);
  if (!reader.ok()) return fail(reader.status());
  const Result<std::vector<RunSummary>> runs = choose_runs(*reader, arguments.runs, arguments.query);
  if (!runs.ok()) return fail(runs.status());
  Sink sink;
  if (Status s = sink.open(arguments.output); !s.ok()) return fail(s);
  if (arguments.format == "csv") sink.buffer() += "run_id,metric,step,time_ms,value\n";
  int code = kOk;
  for (const RunSummary& run : *runs) {
    const Result<Damage> damage = write_run(*reader, run, arguments, &sink);
    if (!damage.ok()) return fail(damage.status());
    if (!sink.status().ok()) return fail(sink.status());
    if (warn_of(*damage) != kOk) code = kDifferences;
  }
  if (Status s = sink.commit(); !s.ok()) return fail(s);
  return arguments.runs.empty() && warn_of(*reader) != kOk ? kDifferences : code;
}

}  // namespace

Command export_command() {
  auto a = std::make_shared<Arguments>();
  Command command{"export", "The points of runs as CSV or JSON Lines"};
  command.options = {
      {"runs", "Run ids, or prefixes [all runs of the root]", &a->runs, false, Takes::run},
      {"-f,--filter", "Instead of ids: the runs that match, as in `mlops runs`", &a->query.filter},
      {"-n,--limit", "At most so many of them", &a->query.limit},
      {"--experiment", "Only of this experiment", &a->query.experiment, false, Takes::experiment},
      {"--metric", "Only this metric; may be given again", &a->metrics, false, Takes::metric},
      {"--format", "csv or jsonl [csv]", &a->format, false, Takes::text, {"csv", "jsonl"}},
      {"--output", "Into this file, which is there whole or not at all [standard output]", &a->output, false,
       Takes::file},
  };
  command.about =
      "One line for each point: run_id, metric, step, time_ms, value, in the order in which they were buffered; memory "
      "does not grow with them. Params, tags and summaries: `mlops runs --json`. Values are the shortest decimals that "
      "read back the same; in JSON Lines NaN and infinities are the strings \"NaN\", \"Infinity\", \"-Infinity\".\n"
      "Exits with 1 when a damaged block was left out. With --output, an export that SIGKILL ends leaves "
      "FILE.part-PID, "
      "which can be removed.";
  command.examples = {
      {"mlops export $RUN --metric loss", "one metric of one run, as CSV"},
      {"mlops export --format jsonl --output points.jsonl && wc -l points.jsonl", "everything, into a file"}};
  command.run = [a](const Common& common) { return write_all(common, *a); };
  return command;
}

}  // namespace mlops::cli
