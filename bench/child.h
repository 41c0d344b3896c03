// Child: another program beside the benchmark, spoken to by its standard input and output, looked at from outside.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace mlops::bench {

/// What a process holds of the machine's memory, in MB (1e6 bytes).
struct Memory {
  double own = 0;  // anonymous and shared memory, and dirty pages of mapped files: nobody else's, not to be given back
  double rss = 0;  // all that is resident, the program's own text among it
};

class Child {
 public:
  /// Throws when there is no process. What cannot be executed ends with status 127.
  explicit Child(const std::vector<std::string>& command);
  ~Child() { wait(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  /// The next line of its output; "" at the end.
  std::string line();
  /// A line to its input.
  void say(const std::string& text) const;
  /// Throws when it is gone.
  Memory memory() const;
  double cpu_seconds() const;
  void send_signal(int number) const;
  /// Its input ends here; its wait status.
  int wait();

 private:
  pid_t pid_ = -1;
  int in_ = -1, out_ = -1, status_ = -1;
};

/// What one life of a program took, measured from outside (bench/outside.cc: posix_spawn and wait4).
struct Life {
  double wall_ms = 0, cpu_ms = 0, peak_mb = 0;  // peak_mb: the most that was resident at once, in MB
};
/// `times` lives, one after the other, output to nowhere. Throws when one ends with another status than 0.
std::vector<Life> lives(const std::vector<std::string>& command, int times);

/// A program that was built beside this one: mlops_bench_fill, mlops (the command), ...
std::string beside(const std::string& program);

}  // namespace mlops::bench
