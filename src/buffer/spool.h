// Spool: the bytes of artifacts, beside the database: `<slot>/spool`. `in/<name>` is a file as the logging call left
// it; `<sha256>` the same once the drain has hashed it and its rows are written, however many artifacts have these
// bytes. Names in hex. What is in it is never written again, only renamed or removed; a descriptor stays good.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/file.h"
#include "buffer/buffer.h"

namespace mlops::buffer {

class Spool {
 public:
  explicit Spool(const std::string& slot_dir) : dir_(slot_dir + "/spool") {}
  const std::string& dir() const { return dir_; }
  std::string in() const { return dir_ + "/in"; }
  std::string incoming(const Uid& name) const { return in() + "/" + name.hex(); }
  std::string content(std::string_view sha256) const;  // 32 bytes

  /// Where the bytes are now: under their content's name, else as they came. The path may be renamed away the moment
  /// after: ask again, or use open. not_found when they are nowhere (the row's own words when it says why), data_loss
  /// when another number of bytes is there. Thread-safe, in any process.
  Result<std::string> find(const FileRow& row) const;
  /// The same, open for reading.
  Result<base::Fd> open(const FileRow& row) const;
  /// Of all files in it, named or not, that were there before (nanoseconds of the system's coarse clock): each is
  /// looked at, a few microseconds a file.
  std::uint64_t bytes(std::int64_t before_ns = INT64_MAX) const;

 private:
  std::string dir_;
};

}  // namespace mlops::buffer
