// RunFiles: the artifact records of one run that are neither delivered nor dead, as the uploader holds them. Private to
// the uploader, guarded by its mutex.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/uid.h"
#include "buffer/buffer.h"
#include "ledger/artifacts.h"
#include "sync/backoff.h"

namespace mlops::sync {

/// One file on its way.
struct UploadItem {
  std::uint64_t seq = 0, ticket = 0;
  std::int64_t time_ms = 0;
  base::Uid model;  // zero: below the run's root
  std::string path;
  buffer::FileRow file;
  std::string lost;        // the bytes are gone: why
  bool ready = false;      // durable, hashed and named, or lost
  bool retried = false;    // a dead letter that a person wants sent once more
  bool rewrites = false;   // an older record of this path was there: a size proves nothing
  bool doubtful = false;   // the last try may have gone through
  bool whole = false;      // in one request, whatever its size
  int working = 0;         // requests under way
  int part_offline = 0;    // tries at parts whose address nobody answers
  std::uint64_t left = 0;  // bytes
  Backoff backoff;

  // In parts:
  std::shared_ptr<ledger::Upload> upload;
  std::vector<bool> taken;  // a part is under way
  std::size_t missing = 0;  // parts without etag
  bool finishing = false;

  UploadItem(std::int64_t first_ms, std::int64_t most_ms) : backoff(first_ms, most_ms) {}
  std::string key() const { return model.hex() + "/" + path; }
};

/// Of one part of an upload.
inline std::uint64_t part_bytes(const ledger::Upload& upload, std::size_t index) {
  const std::uint64_t offset = index * upload.part_size;
  return offset >= upload.size ? 0 : std::min(upload.part_size, upload.size - offset);
}

struct RunFiles {
  base::Uid run;
  std::int64_t age_ms = 0;                               // of its oldest file
  std::map<std::uint64_t, UploadItem> items;             // unfinished ones, by seq
  std::set<std::uint64_t> ready;                         // to be begun
  std::multimap<std::uint64_t, std::uint64_t> replaced;  // newer seq, older seq of the same path, which waits for it
  std::set<std::uint64_t> open;                          // in parts, begun
  std::multimap<std::int64_t, std::uint64_t> later;      // due, seq: to be begun then
  std::map<std::string, std::vector<std::uint64_t>> unproved;  // by folder: answered well, their size is to be read
  std::set<std::string> busy;                                  // paths that something is under way to
  std::unordered_map<std::string, std::uint64_t> newest;       // seq of the newest record whose bytes are there, by key
  std::uint64_t top = 1;                                       // every artifact record below it has been looked at
  std::uint64_t unready = 0;
  int working = 0;
  int finished = 0;  // since the place was last written

  std::string root, server_id;  // the run's artifact_uri; what the server calls it
  bool resolving = false;
  bool gone = false;                                       // the server does not know the run: its lane says so
  std::int64_t until = 0;                                  // nothing is done before
  std::vector<std::pair<base::Uid, std::uint64_t>> asked;  // model, ticket: who waits for what
};

}  // namespace mlops::sync
