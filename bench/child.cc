#include "child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace mlops::bench {

Child::Child(const std::vector<std::string>& command) {
  int in[2], out[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(in[0], STDIN_FILENO);
    ::dup2(out[1], STDOUT_FILENO);
    ::execvp(words[0], words.data());
    ::_exit(127);
  }
  ::close(in[0]);
  ::close(out[1]);
  in_ = in[1];
  out_ = out[0];
  if (pid_ < 0) throw std::runtime_error("no process");
}

std::string Child::line() {
  std::string text;
  for (char c; ::read(out_, &c, 1) == 1 && c != '\n';) text += c;
  return text;
}

void Child::say(const std::string& text) const {
  const std::string whole = text + "\n";
  if (::write(in_, whole.data(), whole.size()) != static_cast<ssize_t>(whole.size()))
    throw std::runtime_error("process " + std::to_string(pid_) + " does not listen");
}

Memory Child::memory() const {
  std::ifstream in("/proc/" + std::to_string(pid_) + "/smaps_rollup");
  double rss = 0, dirty = 0, anonymous = 0, shared = 0;  // kB
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name;
    double kb = 0;
    words >> name >> kb;
    if (name == "Rss:") rss = kb;
    if (name == "Anonymous:") anonymous = kb;
    if (name == "Pss_Shmem:") shared = kb;
    if (name == "Shared_Dirty:" || name == "Private_Dirty:") dirty += kb;
  }
  if (rss == 0) throw std::runtime_error("process " + std::to_string(pid_) + " is gone");
  // Anonymous memory and shared memory are dirty as a rule; what is dirty beyond them are mapped files.
  return {std::max(dirty, anonymous + shared) * 1024e-6, rss * 1024e-6};
}

double Child::cpu_seconds() const {
  clockid_t clock;
  timespec t{};
  if (::clock_getcpuclockid(pid_, &clock) != 0 || ::clock_gettime(clock, &t) != 0)
    throw std::runtime_error("process " + std::to_string(pid_) + " is gone");
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

void Child::send_signal(int number) const { ::kill(pid_, number); }

int Child::wait() {
  if (pid_ <= 0) return status_;
  ::close(in_);
  while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
  }
  ::close(out_);
  pid_ = -1;
  return status_;
}

std::vector<Life> lives(const std::vector<std::string>& command, int times) {
  std::vector<std::string> words = {beside("mlops_bench_outside"), std::to_string(times)};
  words.insert(words.end(), command.begin(), command.end());
  Child outside(words);
  std::vector<Life> all;
  for (int i = 0; i < times; ++i) {
    std::istringstream line(outside.line());
    Life life;
    int status = -1;
    line >> life.wall_ms >> life.cpu_ms >> life.peak_mb >> status;
    if (!line || status != 0)
      throw std::runtime_error(command.front() + " " + (command.size() > 1 ? command[1] : "") +
                               " failed: " + line.str());
    all.push_back(life);
  }
  if (outside.wait() != 0) throw std::runtime_error("mlops_bench_outside failed");
  return all;
}

std::string beside(const std::string& program) {
  const auto folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  return (program == "mlops" ? folder.parent_path() / "src" / "cli" / program : folder / program).string();
}

}  // namespace mlops::bench
