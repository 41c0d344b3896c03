// Artifacts: what a destination has of the files of a run, and the uploads in parts that are under way. Losing the
// newest frames is harmless: a file that is sent again replaces itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/uid.h"

namespace mlops::ledger {

/// How far the artifacts of one run are.
struct ArtifactPlace {
  base::Uid run;
  base::Uid buffer_uid;  // what the numbers are places in
  std::uint64_t buffer_generation = 0;
  std::uint64_t cursor = 1;        // every artifact record with seq < cursor is delivered or dead
  std::set<std::uint64_t> beyond;  // so are these, at or above it
  std::uint64_t files = 0, bytes = 0;  // delivered
  std::uint64_t dead = 0;              // refused, or given up
  std::string root;                    // the run's artifact_uri; empty until asked for
  bool done(std::uint64_t seq) const { return seq < cursor || beyond.count(seq) != 0; }
};

/// An upload in parts that began and is not finished: all that is needed to go on with it after a restart.
struct Upload {
  struct Part {
    std::string etag;  // empty: not there yet
    std::string url;   // presigned, where parts need one: a secret for about an hour
    std::vector<std::pair<std::string, std::string>> headers{};
  };
  base::Uid run;
  std::uint64_t seq = 0;  // of the artifact's record
  std::string id;
  std::uint64_t part_size = 0, size = 0;
  std::vector<Part> parts;  // numbers 1..
};
inline constexpr std::size_t kPartsInFrame = 200;  // of a new upload: their URLs are long

}  // namespace mlops::ledger
