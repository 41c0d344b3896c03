// Commands: one function per subcommand; each prints to stdout, complains to stderr and returns the exit code.
#pragma once

#include <cstdint>
#include <string>

namespace mlops::cli {

struct Common {
  std::string root;  // empty: MLOPS_HOME, .mlops upwards
  bool json = false;
};

struct RunsArguments {
  std::string experiment;
  std::uint64_t limit = 0;  // 0: all
};
int runs_command(const Common& common, const RunsArguments& arguments);

struct ShowArguments {
  std::string run;
  std::string metric;  // its points instead of the summary
};
int show_command(const Common& common, const ShowArguments& arguments);

int status_command(const Common& common);

struct SyncArguments {
  std::string to;
  bool follow = false;
  bool dry_run = false;
  bool keep_dead = false;  // runs of dead processes stay RUNNING
  double deadline_seconds = 0;
};
int sync_command(const Common& common, const SyncArguments& arguments);

struct VerifyArguments {
  std::string run;
  std::string to;
};
int verify_command(const Common& common, const VerifyArguments& arguments);

}  // namespace mlops::cli
