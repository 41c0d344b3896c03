#include "cli/text.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

namespace mlops::cli {
namespace {

// Columns a UTF-8 text takes, near enough: one per code point.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

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
  std::fprintf(stderr, "mlops: %.*s\n", static_cast<int>(status.message().size()), status.message().data());
  return exit_code(status);
}

bool is_terminal(int fd) { return ::isatty(fd) == 1; }

void Table::print(bool terminal) const {
  if (!terminal) {
    for (const auto& row : rows_) {
      for (std::size_t i = 0; i < row.size(); ++i) std::printf("%s%s", i == 0 ? "" : "\t", row[i].c_str());
      std::printf("\n");
    }
    return;
  }
  std::vector<std::size_t> widths;
  widths.reserve(head_.size());
  for (const std::string& head : head_) widths.push_back(width(head));
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  const auto line = [&widths](const std::vector<std::string>& row) {
    std::string out;
    for (std::size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 != row.size()) out.append(widths[i] - width(row[i]) + 2, ' ');
    }
    std::printf("%s\n", out.c_str());
  };
  line(head_);
  for (const auto& row : rows_) line(row);
}

std::string count_text(std::uint64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
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

std::string one_line(std::string_view text, std::size_t chars) {
  std::string out;
  std::size_t taken = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) != 0x80 && taken++ == chars) return out + "…";
    out.push_back(byte < 0x20 || byte == 0x7f ? ' ' : c);
  }
  return out;
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
