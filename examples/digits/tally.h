// Tally: what was accepted, counted outside the SDK, in a shared mapping that survives the process.
//
// Every point is written down before its call (state `begun`) and marked after the call returned (state `accepted`,
// then the counter is raised). A process killed in between leaves at most one begun point per thread: the call had
// not returned, so the point may or may not have been accepted, and whoever checks looks for it. Not thread-safe.
//
// The file, little-endian: 64 bytes of header (8 magic "MLOPSTLY", u64 accepted, u64 begun, u32 names, rest 0), 128
// names of 64 bytes (NUL-padded; of runs and metrics alike), then 24 bytes per point in the order of the calls:
// u16 run name, u16 metric name, u32 state (1 begun, 2 accepted), i64 step, f64 value.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace digits {

class Tally {
 public:
  /// Makes the file or goes on in it. An empty path counts nothing.
  bool open(const std::string& path, std::string* error);
  /// The number of a name; the same name gives the same number, also in the next process.
  std::uint16_t name(std::string_view text);
  void begin(std::uint16_t run, std::uint16_t metric, std::int64_t step, double value);
  void accepted();

 private:
  struct Header;
  struct Record;
  Header* header_ = nullptr;
  char* names_ = nullptr;
  Record* records_ = nullptr;
};

}  // namespace digits
