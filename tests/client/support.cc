#include "client/support.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

namespace mlops::test {
namespace {

std::map<std::string, int (*)(const Arguments&)>& programs() {
  static auto* const all = new std::map<std::string, int (*)(const Arguments&)>;
  return *all;
}

}  // namespace

TempDir::TempDir() {
  path_ = testing::TempDir() + "mlops-client-XXXXXX";
  if (::mkdtemp(path_.data()) == nullptr) std::abort();
}

TempDir::~TempDir() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

Options offline(const std::string& root) {
  Options options;
  options.root = root;
  options.deliver = false;
  options.beat = Millis(50);
  options.full_wait = Millis(20'000);
  return options;
}

Program::Program(const char* name, int (*body)(const Arguments&)) { programs()[name] = body; }

int spawn(const std::string& program, const Arguments& args) {
  std::vector<std::string> environment{"MLOPS_TEST_PROGRAM=" + program};
  std::string joined;
  for (const std::string& arg : args) joined += (joined.empty() ? "" : "\n") + arg;
  environment.push_back("MLOPS_TEST_ARGUMENTS=" + joined);
  for (const char* name : {"PATH", "TMPDIR", "HOME", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS",
                           "LSAN_OPTIONS", "MLOPS_LOG"}) {
    const char* value = ::getenv(name);
    std::string text = value == nullptr ? "" : value;
    // They exit with everything open, on purpose.
    if (name == std::string_view("ASAN_OPTIONS")) text += ":detect_leaks=0";
    if (!text.empty()) environment.push_back(std::string(name) + "=" + text);
  }
  std::vector<char*> envp, argv;
  for (std::string& e : environment) envp.push_back(e.data());
  envp.push_back(nullptr);
  std::string words[] = {"test_client", "--gtest_also_run_disabled_tests", "--gtest_filter=Programs.DISABLED_Run"};
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int pid = ::fork();
  if (pid == 0) {
    ::execve("/proc/self/exe", argv.data(), envp.data());
    ::_exit(127);
  }
  return pid;
}

int wait_for(int pid, int seconds) {
  int status = 0;
  const bool ended = wait_until([&] { return ::waitpid(pid, &status, WNOHANG) == pid; }, seconds * 1000);
  if (!ended) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, 0);
    return 2000;
  }
  return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

std::vector<RunSummary> settled_runs(const std::string& root) {
  DeliverOptions options;  // nobody listens there: it collects what waits and gives up
  options.root = root;
  options.to = "http://127.0.0.1:9";
  options.end_dead_runs = true;
  options.deadline = Millis(1);
  (void)deliver(options);
  Result<Reader> reader = Reader::open(root);
  if (!reader.ok()) return {};
  return reader->runs().value_or({});
}

std::uint64_t settled_points(const std::string& root) {
  std::uint64_t points = 0;
  for (const RunSummary& run : settled_runs(root)) points += run.points;
  return points;
}

bool wait_until(const std::function<bool()>& condition, int milliseconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

// Not a test: the body of spawned processes.
TEST(Programs, DISABLED_Run) {
  const char* name = ::getenv("MLOPS_TEST_PROGRAM");
  if (name == nullptr) return;
  const auto program = programs().find(name);
  ASSERT_NE(program, programs().end()) << name;
  Arguments args;
  std::string rest = ::getenv("MLOPS_TEST_ARGUMENTS");
  for (std::size_t at = 0; at != std::string::npos && !rest.empty();) {
    at = rest.find('\n');
    args.push_back(rest.substr(0, at));
    rest = at == std::string::npos ? "" : rest.substr(at + 1);
  }
  std::exit(program->second(args));
}

}  // namespace mlops::test
