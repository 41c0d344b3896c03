// Settings: what is in force here, and where each of it comes from (`mlops config`). Reads the environment and
// ~/.mlflow/credentials; opens nothing, makes nothing, asks nobody.
#pragma once

#include <string>
#include <vector>

#include "mlops/options.h"
#include "mlops/status.h"

MLOPS_NAMESPACE_BEGIN

/// Where a setting comes from, strongest first.
enum class Origin { code, environment, file, found, standard };

/// "option", "environment", "file", "found", "default". Stable.
MLOPS_API const char* origin_name(Origin origin) noexcept;

struct Setting {
  std::string name;   ///< "root", "journal_mib", "credentials.username", …: stable
  std::string value;  ///< as in force; "***" for a secret that is set; empty when there is none
  Origin origin = Origin::standard;
  std::string source;   ///< the variable, file or folder it comes from; for a default the variable that would set it
  std::string problem;  ///< why it cannot be used and what to do; empty when all is well
};

/// What Client::open(given) would work with, in the order of Options, then what start_run takes from the environment.
/// A value that cannot be used is no failure: its `problem` says so. Fails only when the current folder is gone.
MLOPS_API Result<std::vector<Setting>> settings(const Options& given = {});

MLOPS_NAMESPACE_END
