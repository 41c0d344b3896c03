// The log: the only file that knows spdlog. A logger of our own that spdlog's registry never hears of, so that a host
// that uses spdlog sees nothing of us; never destroyed, so that threads may log while the process exits.
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "base/base.h"

namespace mlops::base {
namespace {

constexpr std::int64_t kWindowMs = 60'000;
constexpr std::size_t kDistinct = 512;          // distinct messages remembered
constexpr std::uint64_t kLinesPerWindow = 300;  // of all messages together

struct Seen {
  std::int64_t window_start = 0;
  std::uint64_t suppressed = 0;
};

spdlog::level::level_enum level_from_environment() {
  const char* text = std::getenv("MLOPS_LOG");
  const std::string_view word = text == nullptr ? std::string_view() : std::string_view(text);
  if (word == "off") return spdlog::level::off;
  if (word == "error") return spdlog::level::err;
  if (word == "info") return spdlog::level::info;
  if (word == "debug") return spdlog::level::debug;
  return spdlog::level::warn;
}

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warn:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

class Log {
 public:
  Log() : logger_("mlops", std::make_shared<spdlog::sinks::stderr_sink_st>()) {
    logger_.set_level(level_from_environment());
    logger_.set_formatter(std::make_unique<spdlog::pattern_formatter>("[%Y-%m-%d %H:%M:%S.%e] mlops %l: %v"));
    logger_.flush_on(spdlog::level::trace);
    logger_.set_error_handler([](const std::string&) {});  // stderr is closed: nobody to tell
  }

  void write(LogLevel level, std::string_view message) {
    const auto at = level_of(level);
    if (!logger_.should_log(at)) return;
    // In a child forked while another thread logged, the mutex stays locked for good: a line is lost, never the child.
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    for (int tries = 0; !lock.owns_lock(); ++tries) {
      if (tries == 200) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      (void)lock.try_lock();
    }
    const std::int64_t now = steady_ms();
    if (now - window_start_ >= kWindowMs) {
      window_start_ = now;
      lines_ = 0;
    }
    if (seen_.size() >= kDistinct) seen_.clear();
    const auto [it, fresh] = seen_.try_emplace(hash64(message, static_cast<std::uint64_t>(level)));
    Seen& seen = it->second;
    if ((!fresh && now - seen.window_start < kWindowMs) || lines_ >= kLinesPerWindow) {
      if (fresh) seen.window_start = now;
      ++seen.suppressed;
      return;
    }
    ++lines_;
    const std::uint64_t repeated = seen.suppressed;
    seen = {now, 0};
    if (repeated > 0) {
      logger_.log(at, "{} ({} times more since)", message, repeated);
    } else {
      logger_.log(at, "{}", message);
    }
  }

 private:
  std::mutex mutex_;
  spdlog::logger logger_;
  std::unordered_map<std::uint64_t, Seen> seen_;
  std::int64_t window_start_ = -kWindowMs;
  std::uint64_t lines_ = 0;
};

}  // namespace

void log(LogLevel level, std::string_view message) {
  static Log* const the_log = new Log();
  try {
    the_log->write(level, message);
  } catch (...) {  // NOLINT(bugprone-empty-catch): a log line is never worth the host
  }
}

}  // namespace mlops::base
