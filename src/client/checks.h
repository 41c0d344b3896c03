// Checks: the parts of mlops::examine, each in a file of its own.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "client/env.h"
#include "mlops/doctor.h"

namespace mlops::client {

/// What was found so far.
class Findings {
 public:
  void ok(const char* name, std::string found) { checks_.push_back({name, true, std::move(found), ""}); }
  void mend(const char* name, std::string found, std::string what) {
    checks_.push_back({name, false, std::move(found), std::move(what)});
  }
  std::vector<Check> take() { return std::move(checks_); }

 private:
  std::vector<Check> checks_;
};

/// The folder itself: owner, rights, file system, where journals go, a probe of mapping and locks, room on the disk.
void check_folder(const std::string& root, const std::string& found_how, std::uint64_t journal_mib,
                  const Environment& environment, Findings* findings);
/// What this process may do: open files, file size.
void check_limits(Findings* findings);
/// The slots of a root that is there, the clock against their files, the database library.
void check_slots(const std::string& root, Findings* findings);
/// One server: reached, TLS, proxy, version, credentials, its clock.
/// False: nothing answers there.
bool check_server(const std::string& uri, const Credentials& credentials, Millis deadline, Findings* findings);
/// What waits in the root for that server, and how long it will take.
void check_waiting(const std::string& root, const std::string& uri, bool reached, Findings* findings);

/// "1.5 GiB"; "3 min 20 s".
std::string size_words(std::uint64_t bytes);
std::string time_words(double seconds);

}  // namespace mlops::client
