// Artifacts: what a destination has of the files of a run, and the uploads in parts that are under way. Losing the
// newest frames is harmless: a file that is sent again replaces itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
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
  std::uint64_t cursor = 1;            // every artifact record with seq < cursor is delivered or dead
  std::set<std::uint64_t> beyond;      // so are these, at or above it
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

/// One more artifact is delivered or dead. Its upload, if there was one, is over.
struct Finished {
  base::Uid run;
  std::uint64_t seq = 0, bytes = 0;
  bool dead = false;
};

/// What a ledger's file says of artifacts, all frames taken together; and about how many bytes of it are needed.
class ArtifactBook {
 public:
  void take(const ArtifactPlace& place, std::size_t bytes);
  void take(const Finished& finished);
  /// A frame of an upload: of another id than the one at hand, a new one; without an id, the end of it.
  void take(const Upload& part, const std::vector<std::uint32_t>& numbers, std::size_t bytes);
  ArtifactPlace place(const base::Uid& run) const;  // a fresh one when unknown
  const Upload* upload(const base::Uid& run, std::uint64_t seq) const;
  const std::map<base::Uid, ArtifactPlace>& places() const { return places_; }
  std::vector<Upload> uploads() const;
  std::size_t live_bytes() const { return live_bytes_; }

 private:
  struct Kept {
    Upload upload;
    std::size_t bytes = 0;
  };
  using Key = std::pair<base::Uid, std::uint64_t>;
  void forget(const Key& key);

  std::map<base::Uid, ArtifactPlace> places_;
  std::map<base::Uid, std::size_t> place_bytes_;
  std::map<Key, Kept> uploads_;
  std::size_t live_bytes_ = 0;
};

}  // namespace mlops::ledger
