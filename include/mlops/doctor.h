// Doctor: what stands between this process and its runs, looked at piece by piece (`mlops doctor`).
#pragma once

#include <string>
#include <vector>

#include "mlops/options.h"
#include "mlops/status.h"

MLOPS_NAMESPACE_BEGIN

/// One thing that was looked at.
struct Check {
  std::string name;  ///< "disk.free", "server.tls", …: stable; docs/doctor.md has all
  bool ok = true;
  std::string found;  ///< what it is like, in words; never a secret
  std::string mend;   ///< what to do; empty when ok
};

struct DoctorOptions {
  std::string root{};         ///< as in Options; it need not be there
  std::string to{};           ///< tracking URI; default MLFLOW_TRACKING_URI, else every destination of the root
  Credentials credentials{};  ///< completed from the environment as in Client::open
  Millis deadline{10'000};    ///< for a server to answer, twice: whether it is there, and what it is
};

/// Looks at root, file system, disk, limits, clock, slots, database library, servers and what waits for them. A fault
/// that it finds is a Check; it fails only where there is no root to speak of (the current folder is gone).
///
/// Writes nothing but a probe file of 64 KiB in the root, which has no name where the file system can do that and is
/// removed before the call returns; takes no lock that anybody else waits for. Reads from servers, changes nothing
/// there. Blocks.
MLOPS_API Result<std::vector<Check>> examine(const DoctorOptions& options = {});

MLOPS_NAMESPACE_END
