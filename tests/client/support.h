// Tools of the client's tests: folders that vanish, counts of what a root holds, and programs, functions of the test
// that run in a process of their own (the test binary again, by fork and exec), so that they may crash, fork and exit.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "mlops/mlops.h"

namespace mlops::test {

class TempDir {
 public:
  TempDir();
  ~TempDir();
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// A client that never delivers, of a root that is closed again at the end.
Options offline(const std::string& root);

using Arguments = std::vector<std::string>;
/// A program is registered by name: MLOPS_PROGRAM(name) { ... args ... return exit status; }
struct Program {
  Program(const char* name, int (*body)(const Arguments&));
};
#define MLOPS_PROGRAM(name)                                              \
  int program_##name(const ::mlops::test::Arguments& args);              \
  const ::mlops::test::Program registered_##name(#name, program_##name); \
  int program_##name([[maybe_unused]] const ::mlops::test::Arguments& args)

/// Starts it; returns the pid.
int spawn(const std::string& program, const Arguments& args);
/// Its exit status, or 1000 + the signal that killed it; 2000 when it did not end in time (it is killed then).
int wait_for(int pid, int seconds = 60);
inline int run_program(const std::string& program, const Arguments& args, int seconds = 60) {
  return wait_for(spawn(program, args), seconds);
}

/// Takes the root's free slots over, collects what is there, and says what it holds.
std::vector<RunSummary> settled_runs(const std::string& root);
std::uint64_t settled_points(const std::string& root);
bool wait_until(const std::function<bool()>& condition, int milliseconds);

}  // namespace mlops::test
