#include "cli/text.h"

#include <cstdio>
#include <ctime>

namespace mlops::cli {
int exit_code(const Status& status) {
  switch (status.code()) {
    case StatusCode::ok:
      return kOk;
    case StatusCode::invalid_argument:
      return kUsage;
    case StatusCode::not_found:
      return kNotFound;
    case StatusCode::unavailable:
      return kUnavailable;
    case StatusCode::deadline_exceeded:
      return kDifferences;
    default:
      return kOther;
  }
}

int fail(const Status& status) {
  std::string words;
  for (const char c : status.message()) {  // a server's words may be in it: nothing that a terminal obeys
    const auto byte = static_cast<unsigned char>(c);
    char hex[8];
    std::snprintf(hex, sizeof hex, "\\x%02x", byte);
    words += (byte < 0x20 && c != '\n') || byte == 0x7f ? std::string(hex) : std::string(1, c);
  }
  std::fprintf(stderr, "mlops: %s\n", words.c_str());
  return exit_code(status);
}

int warn_of(const Damage& damage) {
  if (damage.blocks == 0) return kOk;
  std::fprintf(stderr, "mlops: %s damaged blocks (about %s points) were left out, the first: %s\n",
               count_text(damage.blocks).c_str(), count_text(damage.points).c_str(), damage.words.c_str());
  return kDifferences;
}

int warn_of(const Reader& reader) {
  const std::vector<Status> problems = reader.problems();
  for (const Status& problem : problems) fail(problem);
  return problems.empty() ? kOk : kDifferences;
}

std::string count_text(std::uint64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string counted(std::uint64_t count, const char* noun) {
  return count_text(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string bytes_text(std::uint64_t bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit < 4; ++unit) value /= 1024;
  char out[48];
  std::snprintf(out, sizeof out, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return out;
}

std::string number_text(double value) {
  char out[48];
  std::snprintf(out, sizeof out, "%.6g", value);
  return out;
}

std::string time_text(std::int64_t ms) {
  if (ms == 0) return "-";
  const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
  std::tm local{};
  ::localtime_r(&seconds, &local);
  char out[48];
  std::strftime(out, sizeof out, "%Y-%m-%d %H:%M:%S", &local);
  return out;
}

std::string duration_text(std::int64_t ms) {
  char out[64];
  const std::int64_t s = ms / 1000;
  if (ms < 0) {
    return "-";
  } else if (s < 60) {
    std::snprintf(out, sizeof out, "%.1f s", static_cast<double>(ms) / 1000);
  } else if (s < 3600) {
    std::snprintf(out, sizeof out, "%lld min %lld s", static_cast<long long>(s / 60), static_cast<long long>(s % 60));
  } else {
    std::snprintf(out, sizeof out, "%lld h %lld min", static_cast<long long>(s / 3600),
                  static_cast<long long>(s % 3600 / 60));
  }
  return out;
}

std::string status_text(const RunSummary& run) {
  const bool gone = run.status == RunStatus::running && !run.live && !run.left_open;
  return std::string(run_status_name(run.status)) + (gone ? " (process gone)" : "") + (run.deleted ? " (deleted)" : "");
}

const char* level_state_text(LaneState state) {
  switch (state) {
    case LaneState::idle:
      return "idle";
    case LaneState::sending:
      return "sending";
    case LaneState::waiting:
      return "waiting";
    case LaneState::auth_blocked:
      return "auth_blocked";
    case LaneState::parked:
      return "parked";
    case LaneState::offline:
      return "offline";
  }
  return "unknown";
}

std::string advice(const DestinationHealth& destination) {
  // Credentials that are refused, and a server that asks for patience, say that something is there.
  const bool away = destination.last_error.code() != StatusCode::permission_denied &&
                    destination.last_error.code() != StatusCode::resource_exhausted;
  if (!destination.reached && away && !destination.last_error.ok()) {
    return "never reached; a typo? `mlops remote remove " + destination.name +
           "` forgets it; else nothing is lost: delivery goes on when it is there, or with `mlops sync`";
  }
  switch (destination.last_error.code()) {
    case StatusCode::ok:
      return destination.waiting == 0 ? "" : "run `mlops sync`, or start the trainer again with the tracking URI set";
    case StatusCode::permission_denied:
      return "check the credentials: MLFLOW_TRACKING_USERNAME and _PASSWORD, MLFLOW_TRACKING_TOKEN, "
             "~/.mlflow/credentials";
    case StatusCode::unavailable:
    case StatusCode::deadline_exceeded:
      return "the server is out of reach; nothing is lost: delivery goes on when it is back, or with `mlops sync`";
    case StatusCode::resource_exhausted:
      return "the server asks for patience; delivery goes on by itself";
    default:
      return "see the message; then `mlops sync` tries again";
  }
}

}  // namespace mlops::cli
