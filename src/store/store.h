// Store: where the bytes of artifacts are, whoever keeps them. One face for MLflow's proxy (mlflow-artifacts:), an S3
// bucket, a folder, and what a tracking server hands out or reads itself. Knows nothing of runs, records and ledgers.
//
// Nothing is repeated here and nothing is remembered: each call is a try, and its Verdict says what the caller may do
// next. No body is held in memory. A 2xx is not proof (a cut PUT leaves a truncated file listed as whole on MLflow
// 2.x): `stat` is there to prove with, and its caller decides when.
//
// Paths are relative to the place, '/'-separated UTF-8 in normal form (check_path); they are encoded here.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/http.h"
#include "mlops/options.h"
#include "mlops/status.h"

namespace mlops::store {

enum class Verdict {
  ok,
  offline,      // certainly not executed: back off, try again
  ambiguous,    // may have been executed, or broke off: `stat` before repeating (every call here can be repeated)
  throttled,    // 429, 503: wait retry_after_ms, or back off
  auth,         // somebody must act: credentials, permissions, TLS, a region; the same for every object of this place
  expired,      // a presigned URL or an upload id is gone or does not fit any more: begin again (or it was finished)
  rejected,     // this object for good: its path, its size, no such bucket, the local file is not what it was
  unsupported,  // the store has no such call (501, 404 HTML): of multipart, put the whole; of `put`, nobody can
  not_found,
};

struct Answer {
  Verdict verdict = Verdict::ok;
  Status status;  // words with what to do; OK when verdict is ok
  std::int64_t retry_after_ms = -1;
  int http_status = 0;
  bool ok() const { return verdict == Verdict::ok; }
};

/// Bytes so far of the call, called often, on its thread; may be empty.
using Progress = std::function<void(std::uint64_t bytes)>;
/// Takes `bytes` that belong at `offset`; false ends the call (ambiguous, with StatusCode::failed_precondition).
using Sink = std::function<bool(std::uint64_t offset, std::string_view bytes)>;

/// A range of a file, read with pread; it must not change while it is sent (a file that got shorter is `rejected`).
struct Body {
  int fd = -1;
  std::uint64_t offset = 0, size = 0;
  std::string sha256;  // of the range, 64 hex; empty: computed where the store wants one
};

struct Entry {
  std::string path;  // relative to the place, whatever was listed
  bool is_dir = false;
  std::uint64_t size = 0;  // of a file
};

struct Part {
  std::uint32_t number = 0;  // 1..10,000
  std::uint64_t offset = 0, size = 0;
  std::string etag;  // as the store said it, quotes and all; empty: not there yet
};
struct PartUrl {
  std::uint32_t number = 0;
  std::string url;  // presigned: a secret until it expires (about an hour)
  std::vector<std::pair<std::string, std::string>> headers;
};
/// All that is needed to go on with an upload after a restart.
struct Upload {
  std::string id;
  std::uint64_t part_size = 0;
  std::vector<Part> parts;
  std::vector<PartUrl> urls;  // empty where parts need none (direct S3); they cannot be had a second time
};

/// What is known of the server; unset: find out by trying.
struct Abilities {
  std::optional<bool> multipart_upload;    // server-info: multipart_uploads_enabled
  std::optional<bool> presigned_download;  // server-info: multipart_downloads_enabled
  int major = 0, minor = 0;                // of MLflow; 0: not known
};

struct Place {
  std::string artifact_uri;  // of a run, a logged model or a model version's source, as the server says it
  std::string tracking_uri;  // empty: local only
  std::string run_id;        // the server's, of whose root this is; may be empty
  std::string model_id;      // of the logged model whose root this is; may be empty
  Credentials credentials;   // for the tracking server only; complete
  Abilities abilities;
  bool writing = true;  // false: what cannot be reached itself may be read through the tracking server
};

/// What is known of an object's content while it is read; `etag` is asked for again when a read goes on.
struct Version {
  std::string etag;                   // empty: none
  std::optional<std::uint64_t> size;  // of the whole object
};

/// One connection; one thread at a time, cancel() from any. Out parameters are set when ok.
class Store {
 public:
  virtual ~Store() = default;
  /// The whole in one request; replaces what is there.
  virtual Answer put(std::string_view path, const Body& body, const Progress& progress) = 0;
  /// Whether an object of this size should go in parts (≥ 64 MiB, and the store is not known to take none).
  virtual bool can_multipart(std::uint64_t size) const = 0;
  /// Plans the parts and opens the upload. Nothing is seen of it at `path` before `finish`.
  virtual Answer begin(std::string_view path, std::uint64_t size, Upload* out) = 0;
  /// `body` is the part's range. Parts of one upload may be put through several stores at once, in any order. Offline
  /// here is about the address of the part, which may be one that only the server can reach: after some tries, abort
  /// and put the whole.
  virtual Answer put_part(std::string_view path, const Upload& upload, Part* part, const Body& body,
                          const Progress& progress) = 0;
  /// All parts have their etag. Said twice it may be `expired` though the first one did it: `stat`.
  virtual Answer finish(std::string_view path, const Upload& upload) = 0;
  virtual Answer abort(std::string_view path, const Upload& upload) = 0;  // one that is gone is ok
  /// Of a file; a folder is not_found.
  virtual Answer stat(std::string_view path, std::uint64_t* size) = 0;
  /// What is directly in a folder ("": the place itself), by name; all pages. A missing one is empty.
  virtual Answer list(std::string_view dir, std::vector<Entry>* out) = 0;
  /// The bytes from `offset` on where the server takes ranges and the object is still `version`'s, else all from 0: the
  /// sink is told where they belong. Ok only when the object's last byte arrived. `version` is set as soon as known;
  /// may be null when offset is 0.
  virtual Answer get(std::string_view path, std::uint64_t offset, Version* version, const Sink& sink,
                     const Progress& progress) = 0;
  /// From another thread: the call in progress ends at once, ambiguous or offline. With none in progress, the next one
  /// does so: a cancel is never lost, and serves once.
  virtual void cancel() = 0;
};

/// Says in words why a place cannot be reached (unimplemented, failed_precondition, invalid_argument). Makes no
/// request. `env` is read here and not kept.
Result<std::unique_ptr<Store>> open(const Place& place, const http::Env& env);

/// Not empty, not absolute, in normal form (no `.`, `..` or empty segment, no trailing '/'), no backslash or control
/// character, valid UTF-8, at most 1,000 bytes. A kind of store may take less (MLflow's proxy no '#', a folder no more
/// than 255 bytes a segment): it says `rejected`.
Status check_path(std::string_view path);

/// Parts of 16 to 64 MiB, larger where it would be more than 10,000; empty when no part size fits (above 48.8 TiB).
std::vector<Part> plan_parts(std::uint64_t size);

}  // namespace mlops::store
