// Segments: where a collector finds them: in this process's own pool, or in the chunk files of another's folder.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "journal/local.h"
#include "journal/segment.h"

namespace mlops::journal {

class Segments {
 public:
  explicit Segments(LocalWriter* writer) : chains_(writer->open_chains()) {}
  explicit Segments(std::string dir) : dir_(std::move(dir)) {}

  /// Looks for new chunks. Cheap for the own pool; lists the folder otherwise. False: there may be more that could not
  /// be mapped now (descriptors, memory).
  bool refresh();
  /// Calls `f` for the headers of all segments that are in use.
  template <typename F>
  void each_used(F&& f) const {
    for (char* chunk : chunks_) {
      for (std::size_t i = 0; i < kSegmentsPerChunk; ++i) {
        auto* h = reinterpret_cast<SegmentHeader*>(chunk + i * kSegmentBytes);
        if (h->state.load(std::memory_order_acquire) == kSegmentUsed) f(h);
      }
    }
  }
  /// Somebody may still write.
  bool alive() const;

 private:
  Chains* chains_ = nullptr;
  std::string dir_;
  std::vector<char*> chunks_;
  std::vector<base::Mapping> maps_;  // of another's chunks
  std::vector<std::string> names_;   // theirs
};

}  // namespace mlops::journal
