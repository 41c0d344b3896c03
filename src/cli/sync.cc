// mlops sync: delivers a root, with a progress bar and the estimated time on stderr. Ctrl-C (and SIGTERM) end it in
// order: what is delivered is written down, the rest waits for the next time.
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/text.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace mlops::cli {
namespace {

// The engine's threads take turns with the same blocks: with a heap each, each would keep what one alone needs.
void share_heaps() {
#ifdef __GLIBC__
  ::mallopt(M_ARENA_MAX, 2);
#endif
}

std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void request_stop(int) { stop_requested.store(true); }

void listen_to_signals() {
  struct sigaction action{};
  action.sa_handler = request_stop;
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // a second Ctrl-C ends it the hard way
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

void draw(const DeliverProgress& p) {
  constexpr int kWidth = 30;
  const double share = p.total == 0 ? 1.0 : static_cast<double>(p.delivered) / static_cast<double>(p.total);
  const int filled = static_cast<int>(share * kWidth);
  std::string bar(static_cast<std::size_t>(filled), '#');
  bar.append(static_cast<std::size_t>(kWidth - filled), '.');
  std::string line = "[" + bar + "] " + count_text(p.delivered) + "/" + count_text(p.total) + " points, " +
                     std::to_string(p.runs_done) + "/" + std::to_string(p.runs_total) + " runs";
  if (p.delivered < p.total && p.points_per_second > 0) {
    line += ", " + count_text(static_cast<std::uint64_t>(p.points_per_second)) + "/s";
    if (p.seconds_left >= 0) line += ", " + duration_text(static_cast<std::int64_t>(p.seconds_left * 1000)) + " left";
  }
  if (p.files_delivered < p.files_total) {
    line += ", " + count_text(p.files_delivered) + "/" + count_text(p.files_total) + " files (" +
            bytes_text(p.file_bytes_delivered) + "/" + bytes_text(p.file_bytes_total) + ")";
  }
  if (!p.last_error.ok()) line += "  (" + one_line(p.last_error.message(), 60) + ")";
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  std::fflush(stderr);
}

/// Where no bar shows it: trouble that stays is said once, while the delivery goes on trying.
class InPipe {
 public:
  void see(const DeliverProgress& p) {
    const auto now = std::chrono::steady_clock::now();
    if (p.last_error.message() != words_) {
      words_ = p.last_error.message();
      since_ = now;
    }
    if (words_.empty() || words_ == told_ || now - since_ < std::chrono::seconds(2)) return;
    told_ = words_;
    std::fprintf(stderr, "mlops: %s; trying on\n", told_.c_str());
  }
  std::string less_what_was_told(std::string message) const {
    const std::size_t at = told_.empty() ? std::string::npos : message.find(": " + told_);
    if (at != std::string::npos) message.erase(at, told_.size() + 2);
    return message;
  }

 private:
  std::string words_, told_;
  std::chrono::steady_clock::time_point since_;
};

void print_json(const DeliverReport& report, bool dry_run) {
  JsonOut out;
  out.begin_object().field("dry_run", dry_run).field("runs", report.runs).field("points", report.points);
  out.field("requests", report.requests).field("retries", report.retries);
  out.field("dead_letters", report.dead_letters).field("waiting", report.waiting).field("parked", report.parked);
  out.field("files", report.files).field("file_bytes", report.file_bytes);
  out.field("files_waiting", report.files_waiting).field("file_bytes_waiting", report.file_bytes_waiting);
  out.field("intents_waiting", report.intents_waiting);
  out.field("status", status_code_name(report.status.code())).field("message", report.status.message());
  out.end_object();
  std::printf("%s\n", out.text().c_str());
}

struct Arguments {
  std::string to;
  bool follow = false;
  bool dry_run = false;
  bool keep_dead = false;  // runs of dead processes stay RUNNING
  double deadline_seconds = 0;
};

int sync(const Common& common, const Arguments& arguments) {
  listen_to_signals();
  share_heaps();
  const bool bar = is_terminal(2) && !common.json && !arguments.dry_run;
  DeliverOptions options;
  options.root = common.root;
  options.to = arguments.to;
  options.follow = arguments.follow;
  options.dry_run = arguments.dry_run;
  options.end_dead_runs = !arguments.keep_dead;
  options.deadline = Millis(static_cast<std::int64_t>(arguments.deadline_seconds * 1000));
  options.stop = &stop_requested;
  InPipe pipe;
  options.log_trouble = arguments.follow;
  if (bar) {
    options.on_progress = draw;
  } else if (!arguments.follow) {
    options.on_progress = [&pipe](const DeliverProgress& p) { pipe.see(p); };
  }
  Result<DeliverReport> report = deliver(options);
  if (bar) std::fprintf(stderr, "\n");
  if (!report.ok()) return fail(report.status());
  if (common.json) {
    print_json(*report, arguments.dry_run);
  } else if (arguments.dry_run) {
    std::printf("%s of %s would be delivered\n", counted(report->waiting, "point").c_str(),
                counted(report->runs, "run").c_str());
    if (report->files_waiting != 0) {
      std::printf("%s (%s) would be delivered\n", counted(report->files_waiting, "file").c_str(),
                  bytes_text(report->file_bytes_waiting).c_str());
    }
    if (report->intents_waiting != 0) {
      std::printf("%s would be delivered\n", counted(report->intents_waiting, "registry write").c_str());
    }
  } else {
    std::string points = "delivered " + counted(report->points, "point") + " (" + counted(report->runs, "run") + ", " +
                         counted(report->requests, "request") + ", " + count_text(report->retries) +
                         (report->retries == 1 ? " retry)" : " retries)");
    if (report->waiting != 0) points += "; " + count_text(report->waiting) + " wait";
    std::printf("%s\n", points.c_str());
    if (report->files != 0 || report->files_waiting != 0) {
      std::string files = "delivered " + counted(report->files, "file") + " (" + bytes_text(report->file_bytes) + ")";
      if (report->files_waiting != 0) {
        files += "; " + count_text(report->files_waiting) + " wait (" + bytes_text(report->file_bytes_waiting) + ")";
      }
      std::printf("%s\n", files.c_str());
    }
    if (report->dead_letters != 0) {
      std::printf("refused by the server for good: %s; `mlops stuck` says why\n",
                  counted(report->dead_letters, "record").c_str());
    }
  }
  if (arguments.dry_run) return kOk;
  if (!report->status.ok() && !(arguments.follow && stop_requested.load())) {
    std::fprintf(stderr, "mlops: %s\n", pipe.less_what_was_told(report->status.to_string()).c_str());
    return report->status.code() == StatusCode::unavailable ? kUnavailable : kDifferences;
  }
  return kOk;
}

}  // namespace

Command sync_command() {
  auto a = std::make_shared<Arguments>();
  Command command{"sync", "Deliver a root to a server"};
  command.options = {
      {"--to", "Tracking URI or remote [MLFLOW_TRACKING_URI; the root's only one]", &a->to, false, Takes::uri},
      {"--follow", "Stay and deliver live, beside trainers, until Ctrl-C", &a->follow},
      {"--dry-run", "Count what waits; send nothing, lock nothing", &a->dry_run},
      {"--keep-dead-runs", "Do not end runs whose process died (they are ended KILLED)", &a->keep_dead},
      {"--deadline", "Give up after so many seconds [never]", &a->deadline_seconds},
  };
  command.about =
      "Credentials come from MLflow's environment variables and ~/.mlflow/credentials.\n"
      "Exits with 1 when points are left, 4 when the server is out of reach.";
  command.json =
      R"({"dry_run", "runs", "points", "requests", "retries", "dead_letters", "waiting", "parked", "files", )"
      R"("file_bytes", "files_waiting", "file_bytes_waiting", "intents_waiting", "status", "message"})";
  command.examples = {{"mlops sync --to http://localhost:5000", "deliver what waits"},
                      {"mlops sync --follow", "deliver live, beside a trainer without network"}};
  command.run = [a](const Common& common) { return sync(common, *a); };
  return command;
}

}  // namespace mlops::cli
