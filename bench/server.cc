#include "server.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <stdexcept>

namespace mlops::bench {
namespace {

constexpr const char* kInherited = "MLOPS_BENCH_SERVER";  // "URI PYTHON", for siblings

class Child {
 public:
  explicit Child(const std::vector<std::string>& command) : name_(command.front()) {
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
  }
  ~Child() { wait(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// "" at the end of its output.
  std::string line() {
    std::string text;
    for (char c; ::read(out_, &c, 1) == 1 && c != '\n';) text += c;
    return text;
  }
  /// Its input ends here.
  int wait() {
    if (pid_ <= 0) return status_;
    ::close(in_);
    while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
    ::close(out_);
    pid_ = -1;
    return status_;
  }

 private:
  std::string name_;
  pid_t pid_ = -1;
  int in_ = -1, out_ = -1, status_ = -1;
};

Server parse(const std::string& line) {
  const std::size_t space = line.find(' '), colon = line.rfind(':', space);
  if (space == std::string::npos || colon == std::string::npos)
    throw std::runtime_error("bench/server.py did not bring up a server");
  return {line.substr(0, space), std::atoi(line.c_str() + colon + 1), line.substr(space + 1)};
}

}  // namespace

const Server& server() {
  static const Server found = [] {
    if (const char* inherited = std::getenv(kInherited)) return parse(inherited);
    static Child child({"python3", std::string(MLOPS_BENCH_SOURCE_DIR) + "/bench/server.py"});
    const std::string line = child.line();
    Server made = parse(line);
    ::setenv(kInherited, line.c_str(), 1);
    return made;
  }();
  return found;
}

std::string run_for_line(const std::vector<std::string>& command) {
  Child child(command);
  std::string line = child.line();
  if (child.wait() != 0) throw std::runtime_error(command.front() + " " + command[1] + " failed");
  return line;
}

}  // namespace mlops::bench
