// Quill, the fastest C++ logger: built only when MLOPS_BENCH_QUILL names a folder with its headers.
#include <quill/Backend.h>
#include <quill/Frontend.h>
#include <quill/LogMacros.h>
#include <quill/Logger.h>
#include <quill/sinks/FileSink.h>

#include "pacing.h"

namespace mlops::bench {

bool pace_quill(const Pacing& p, int rounds, Paced* out, std::string*) {
  const TempFolder folder;
  quill::Backend::start();
  auto sink = quill::Frontend::create_or_get_sink<quill::FileSink>(folder.path() + "/log");
  quill::Logger* logger = quill::Frontend::create_or_get_logger("bench", std::move(sink));
  *out = pace(
      p, rounds, [&] { logger->flush_log(); }, [&](std::int64_t i) { LOG_INFO(logger, "loss {} {}", noise(i), i); })[0];
  quill::Backend::stop();
  return true;
}

}  // namespace mlops::bench
