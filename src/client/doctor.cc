// examine: what is looked at, and in which order.
#include "mlops/doctor.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <set>

#include "base/file.h"
#include "client/checks.h"
#include "client/env.h"
#include "client/masked.h"
#include "client/remotes.h"
#include "mlops/settings.h"

namespace mlops::client {
namespace {

// Where this root delivers to, as far as anybody has said.
std::set<std::string> known_uris(const std::string& root) {
  std::set<std::string> known;
  const Result<std::vector<KnownDestination>> destinations = known_destinations(root);
  for (std::size_t i = 0; destinations.ok() && i < destinations->size(); ++i) {
    known.insert((*destinations)[i].destination.uri);
  }
  return known;
}

// The settings that cannot be used, as Client::open would refuse them.
void check_settings(const std::vector<Setting>& all, Findings* findings) {
  bool good = true;
  for (const Setting& setting : all) {
    if (setting.problem.empty()) continue;
    good = false;
    findings->mend("settings", setting.name + " = " + setting.value, setting.problem);
  }
  if (good) findings->ok("settings", "all can be used; `mlops config` shows them");
}

std::string how_found(const Setting& root) {
  switch (root.origin) {
    case Origin::code:
      return "as given";
    case Origin::environment:
      return "by " + root.source;
    case Origin::found:
      return "found in " + root.source;
    default:
      return "where one is made by default";
  }
}

void check_servers(const DoctorOptions& options, const std::string& root, const Environment& environment,
                   Findings* findings) {
  const Result<std::string> uri = resolve_uri(options.to, environment, root);
  if (!uri.ok()) {
    const std::string given = options.to.empty() ? environment.tracking_uri : options.to;
    findings->mend("server.uri", masked_uri(given), std::string(uri.status().message()));
    return;
  }
  std::set<std::string> uris = uri->empty() ? known_uris(root) : std::set<std::string>{*uri};
  if (uris.empty()) {
    findings->ok("server.uri", "none: runs stay here; `mlops sync --to URI` delivers them");
    return;
  }
  const Credentials credentials = credentials_from_environment(options.credentials);
  for (const std::string& one : uris) {
    findings->ok("server.uri", one);
    const bool reached = check_server(one, credentials, options.deadline, findings);
    check_waiting(root, one, reached, findings);
  }
}

}  // namespace

std::string size_words(std::uint64_t bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit < 4; ++unit) value /= 1024;
  char out[48];
  std::snprintf(out, sizeof out, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return out;
}

std::string time_words(double seconds) {
  const auto whole = static_cast<long long>(std::ceil(seconds));
  if (whole < 120) return std::to_string(whole) + " s";
  if (whole < 7'200) return std::to_string((whole + 30) / 60) + " min";
  return std::to_string((whole + 1'800) / 3'600) + " h";
}

}  // namespace mlops::client

MLOPS_NAMESPACE_BEGIN

Result<std::vector<Check>> examine(const DoctorOptions& options) {
  const client::Environment environment = client::read_environment();
  Options given;
  given.root = options.root;
  given.tracking_uri = options.to;
  const Result<std::vector<Setting>> all = settings(given);
  if (!all.ok()) return all.status();
  std::string root, how;
  std::uint64_t journal_mib = given.journal_mib;
  for (const Setting& setting : *all) {
    if (setting.name == "root") {
      root = setting.value;
      how = client::how_found(setting);
    }
    std::uint64_t number = 0;
    const char* end = setting.value.data() + setting.value.size();
    if (setting.name != "journal_mib" || !setting.problem.empty()) continue;
    if (std::from_chars(setting.value.data(), end, number).ptr == end) journal_mib = number;
  }
  client::Findings findings;
  client::check_settings(*all, &findings);
  client::check_folder(root, how, journal_mib, environment, &findings);
  client::check_limits(&findings);
  client::check_slots(root, &findings);
  client::check_servers(options, root, environment, &findings);
  return findings.take();
}

MLOPS_NAMESPACE_END
