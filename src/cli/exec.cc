// mlops exec: a run around any program. The program is this process's child in the same process group, with the same
// files and terminal; it gets the signals we get, and its end is ours.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/text.h"

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX leaves it to us

namespace mlops::cli {
namespace {

constexpr int kNotRun = 125, kNotExecutable = 126, kNoSuchProgram = 127, kSignalled = 128;
constexpr int kForwarded[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

struct Arguments {
  std::vector<std::string> command, params, tags;
  std::string experiment, name;
  double grace_seconds = 10;
  bool system_metrics = false, quiet = false;
};

int not_run(const Status& status) {
  fail(status);
  return kNotRun;
}

std::set<int> open_files() {
  std::set<int> out;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const std::string name = entry.path().filename().native();
    int fd = -1;
    std::from_chars(name.data(), name.data() + name.size(), fd);
    out.insert(fd);
  }
  return out;
}

/// What the program is to inherit: all as it was when we started.
struct Before {
  std::vector<std::string> environment;
  std::set<int> files = open_files();
  sigset_t mask{};

  Before() {
    for (char** e = environ; *e != nullptr; ++e) environment.emplace_back(*e);
    ::sigprocmask(SIG_SETMASK, nullptr, &mask);
  }
};

/// Blocks what is forwarded, in all threads that are made from here on.
sigset_t hold_signals() {
  ::signal(SIGCHLD, SIG_DFL);  // ignored, there would be no status to wait for
  sigset_t held;
  ::sigemptyset(&held);
  ::sigaddset(&held, SIGCHLD);
  for (const int number : kForwarded) ::sigaddset(&held, number);
  ::sigprocmask(SIG_BLOCK, &held, nullptr);
  return held;
}

/// One that came before there was a program, and would have ended it; 0 when none did.
int early_end() {
  sigset_t pending;
  ::sigpending(&pending);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
    struct sigaction action{};
    ::sigaction(number, nullptr, &action);
    if (::sigismember(&pending, number) == 1 && action.sa_handler != SIG_IGN) return number;
  }
  return 0;
}

/// The program, or -errno.
pid_t spawn(const Before& before, const std::vector<std::string>& command, const Pairs& variables) {
  for (const int fd : open_files()) {  // a library may have forgotten it
    if (before.files.count(fd) == 0) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  std::vector<std::string> environment;
  for (const std::string& entry : before.environment) {
    const std::string name = entry.substr(0, entry.find('='));
    bool ours = false;
    for (const auto& [key, value] : variables) ours = ours || key == name;
    if (!ours) environment.push_back(entry);
  }
  for (const auto& [key, value] : variables) environment.push_back(key + "=" + value);
  const auto pointers = [](const std::vector<std::string>& words) {
    std::vector<char*> out;
    for (const std::string& word : words) out.push_back(const_cast<char*>(word.c_str()));
    out.push_back(nullptr);
    return out;
  };
  std::vector<char*> argv = pointers(command), envp = pointers(environment);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setsigmask(&attributes, &before.mask);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, argv[0], nullptr, &attributes, argv.data(), envp.data());
  ::posix_spawnattr_destroy(&attributes);
  return error == 0 ? pid : -error;
}

/// Until the program has ended; its wait status.
int wait_for(pid_t pid, const sigset_t& held, const Client& client) {
  for (;;) {
    siginfo_t info{};
    const int number = ::sigwaitinfo(&held, &info);
    if (number < 0) continue;
    if (number == SIGCHLD) {
      int status = 0;
      if (::waitpid(pid, &status, WNOHANG) == pid) return status;
      continue;
    }
    // The terminal's own signals (Ctrl-C, a hang-up) go to the whole foreground group: the program has them already.
    if (info.si_code != SI_KERNEL) ::kill(pid, number);
    if (number == SIGTERM || number == SIGINT || number == SIGHUP) {
      client.flush(Level::durable, Millis(1'000)).ignore();  // the next one may be SIGKILL
    }
  }
}

std::string seconds_text(std::chrono::steady_clock::duration time) {
  char out[32];
  std::snprintf(out, sizeof out, "%.3f", std::chrono::duration<double>(time).count());
  return out;
}

std::string signal_text(int number) {
  constexpr std::array kNames = {"HUP",  "INT",    "QUIT", "ILL",   "TRAP", "ABRT", "BUS",  "FPE",
                                 "KILL", "USR1",   "SEGV", "USR2",  "PIPE", "ALRM", "TERM", "STKFLT",
                                 "CHLD", "CONT",   "STOP", "TSTP",  "TTIN", "TTOU", "URG",  "XCPU",
                                 "XFSZ", "VTALRM", "PROF", "WINCH", "IO",   "PWR",  "SYS"};  // 1 to 31 of Linux
  static_assert(kNames.size() == SIGSYS);
  const bool known = number >= 1 && number <= SIGSYS;
  return known ? std::string("SIG") + kNames[static_cast<std::size_t>(number - 1)] : std::to_string(number);
}

int run_program(const Common& common, const Arguments& arguments) {
  Result<Pairs> params = read_pairs(arguments.params, "param"), tags = read_pairs(arguments.tags, "tag");
  if (!params.ok()) return fail(params.status());
  if (!tags.ok()) return fail(tags.status());
  const Before before;
  const sigset_t held = hold_signals();

  RunOptions run_options;
  run_options.name = arguments.name;
  run_options.tags = {{"mlflow.source.name", arguments.command.front()},
                      {"mlops.exec.command", shell_quoted(arguments.command)}};
  for (auto& tag : *tags) run_options.tags.push_back(std::move(tag));
  if (const char* outer = std::getenv("MLOPS_RUN"); outer != nullptr) {
    run_options.per_job = outer == std::string_view("job");
    if (!run_options.per_job) run_options.parent_id = outer;
  }
  start_afresh();
  Options options;
  options.root = common.root;
  if (arguments.system_metrics) options.system_metrics.enabled = true;
  options.exit_deadline = Millis(static_cast<std::int64_t>(arguments.grace_seconds * 1000));
  Result<Client> client = Client::open(options);
  if (!client.ok()) return not_run(client.status());
  Result<mlops::Run> run = client->start_run(arguments.experiment, run_options);
  if (!run.ok()) return not_run(run.status());
  Status ready = run->log_params(*params);
  if (ready.ok()) ready = client->flush();  // the program is to find the run
  if (!ready.ok()) {
    run->end(RunStatus::failed).ignore();
    client->close().ignore();
    return not_run(ready);
  }
  if (!arguments.quiet) std::fprintf(stderr, "mlops: run %s (%s)\n", run->id().c_str(), run->name().c_str());

  if (const int early = early_end(); early != 0) {
    run->end(RunStatus::killed).ignore();
    client->close().ignore();
    return kSignalled + early;
  }
  const auto start = std::chrono::steady_clock::now();
  const pid_t pid = spawn(before, arguments.command, {{"MLOPS_RUN", run->id()}, {"MLOPS_HOME", client->root()}});
  const int status = pid < 0 ? 0 : wait_for(pid, held, *client);
  int code = 0;
  RunStatus outcome = RunStatus::finished;
  if (pid < 0) {
    code = -pid == ENOENT ? kNoSuchProgram : kNotExecutable;
    outcome = RunStatus::failed;
    std::fprintf(stderr, "mlops: %s: %s\n", arguments.command.front().c_str(), std::strerror(-pid));
  } else if (WIFSIGNALED(status)) {
    code = kSignalled + WTERMSIG(status);
    outcome = RunStatus::killed;
    run->set_tag("mlops.exec.signal", signal_text(WTERMSIG(status))).ignore();
  } else {
    code = WEXITSTATUS(status);
    if (code != 0) outcome = RunStatus::failed;
  }
  run->set_tags({{"mlops.exec.exit_code", Value(code)},
                 {"mlops.exec.seconds", Value(seconds_text(std::chrono::steady_clock::now() - start))}})
      .ignore();
  run->end(outcome).ignore();
  ::sigprocmask(SIG_SETMASK, &before.mask, nullptr);  // the program is gone: they are ours again
  if (Status closed = client->close(); !closed.ok()) {
    std::fprintf(stderr, "mlops: %s; `mlops sync` goes on\n", std::string(closed.message()).c_str());
  }
  return code;
}

}  // namespace

Command exec_command() {
  auto a = std::make_shared<Arguments>();
  Command command{"exec", "Start a run around any program"};
  command.options = {
      {"command", "The program and its arguments, behind --", &a->command, true},
      {"--experiment", "Experiment [MLFLOW_EXPERIMENT_NAME; Default]", &a->experiment, false, Takes::experiment},
      {"--name", "Run name [MLFLOW_RUN_NAME; two words and a number]", &a->name},
      {"--param", "key=value", &a->params},
      {"--tag", "key=value", &a->tags},
      {"--grace", "Seconds for delivery after the program's end [10]", &a->grace_seconds},
      {"--system-metrics", "Log CPU, memory, disk, network and GPUs meanwhile", &a->system_metrics},
      {"-q,--quiet", "Do not name the run on stderr", &a->quiet},
  };
  command.about =
      "The program gets MLOPS_RUN and MLOPS_HOME: the SDK inside, and `mlops log`, attach to the run. Run tags: "
      "mlops.exec.command (all its arguments, the first 8,000 characters), mlops.exec.exit_code, mlops.exec.seconds, "
      "mlops.exec.signal when "
      "one ended it; mlflow.source.name is the program. The run ends FINISHED for exit code 0, FAILED for another, "
      "KILLED for a signal. Inside another run (MLOPS_RUN is set) it is nested below that; with MLOPS_RUN=job the "
      "ranks of a job share one run.\n"
      "SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are forwarded to the program, but for those that the "
      "terminal sends to both; whoever signals the whole process group reaches the program twice. When exec itself is "
      "killed, the program goes on, and its run ends KILLED after it.\n"
      "Exits as the program does: its code, 128 + signal; 127 when it is not found, 126 when it cannot be executed, "
      "125 when no run can be started (the program is not run then).";
  command.examples = {
      {"mlops exec --experiment digits -- ./train --lr 0.1", "a run around a program"},
      {"mlops exec --grace 25 -- ./train", "in a batch job that gets 30 s between SIGTERM and SIGKILL"}};
  command.run = [a](const Common& common) { return run_program(common, *a); };
  return command;
}

}  // namespace mlops::cli
