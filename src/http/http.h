// Http: one connection to one server, over libcurl. Knows nothing of MLflow.
//
// A Connection is used by one thread at a time (cancel and bytes_sent from any). TLS is verified; redirects are not
// followed but answered as 3xx; Content-Length is always sent, never chunked, never `Expect: 100-continue`; HTTP/1.1;
// idle connections are dropped after 4 s (servers close at 5); TCP_QUICKACK is set again before each read. A body that
// breaks off is never an answer, whatever its status says. The process environment is never read here: whoever owns it
// calls complete_credentials with a reader of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mlops/options.h"
#include "mlops/status.h"

namespace mlops::http {

enum class Method { get, post, put, patch, del, head };

/// A range of a file as body: read with pread while it is sent, never held in memory.
struct FileRange {
  int fd = -1;
  std::uint64_t offset = 0, size = 0;
};

/// Keys for AWS SigV4. The payload's hash is the header x-amz-content-sha256 where the caller gives one, else the
/// body's.
struct AwsKeys {
  std::string key_id, secret, token, region, service;
};

/// Another address than the connection's, with nothing of its credentials: presigned URLs, S3.
struct Elsewhere {
  std::string url;              // absolute http(s), encoded, with query in the order it is signed in; a secret
  std::optional<AwsKeys> sign;  // none: as it is
  std::string ca_file;          // empty: the system's
  bool insecure_tls = false;
};

struct Response;

struct Request {
  Method method = Method::get;
  std::string path;  // below the base URI, encoded, with query
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  bool fresh = false;  // on a new connection: for calls that must not be repeated by libcurl behind our back
  Millis connect_timeout{10'000};
  Millis timeout{120'000};  // of the whole exchange; with `stall`, from the last byte sent to the first of the answer

  std::optional<Elsewhere> elsewhere{};  // instead of path
  std::optional<FileRange> file{};       // instead of body
  /// Is shown what goes out of `file`, in order; `offset` 0 again: libcurl sends it anew. Called on this thread.
  std::function<void(std::uint64_t offset, std::string_view bytes)> sees{};
  /// Takes the body of a 200 or 206 piece by piece instead of Response::body; `head` has status and headers. False ends
  /// the exchange. Called on this thread.
  std::function<bool(const Response& head, std::string_view bytes)> sink{};
  std::function<void(std::uint64_t sent, std::uint64_t received)> progress{};  // bytes of the bodies so far
  Millis stall{0};  // > 0: the exchange may take for ever as long as bytes move, but rest no longer than this
};

/// How far an exchange got: decides whether it may have happened.
enum class Fate {
  answered,   // a complete response arrived (any status)
  not_sent,   // DNS, refused, TLS handshake, cancelled before the first byte: certainly not executed
  ambiguous,  // sent, at least in part, and no complete answer
  refused,  // ours, nothing sent: TLS verification, unreadable certificates, credentials over plain http; a person must
            // act
};

struct Response {
  Fate fate = Fate::not_sent;
  int status = 0;
  std::string body;
  std::string content_type;          // as sent by the server, with parameters
  std::string location;              // of a 3xx: its target without user, password and query
  std::int64_t retry_after_ms = -1;  // from Retry-After (seconds or date), clamped to 1 s..1 h; -1 none
  std::int64_t date_ms = -1;         // the server's clock, from Date, to the second; -1 not said
  Status error;                      // set unless answered; names host and cause, never a secret
  double seconds = 0;
  std::string etag, last_modified;   // as sent, quotes and all
  std::int64_t content_length = -1;  // -1 not said
  std::int64_t range_start = -1;     // of a 206: where its body belongs
  std::int64_t range_total = -1;     // of a 206 or 416: size of the whole, -1 not said
  bool accepts_ranges = false;       // Accept-Ranges: bytes
  bool length_known = false;         // by Content-Length or chunks: a body that breaks off is noticed
  bool stopped = false;              // the sink had enough
  bool file_changed = false;         // the file got shorter or could not be read; `error` has it
};

/// Checks and normalises a tracking URI: scheme http or https, host, no credentials, no query. Returns it without
/// trailing slash; invalid_argument says what is wrong (and repeats no password).
Result<std::string> check_uri(const std::string& uri);

/// Reads one variable; nullptr or "" when unset. Values are copied at once.
using Env = std::function<const char*(const char*)>;
/// Completes what the code left empty from the environment and ~/.mlflow/credentials. Call once, at open. Two fields
/// come back with a private meaning: with aws_sigv4, username, password and token are the AWS key id, secret key and
/// session token; `proxy` may start with "environment:" and then holds the proxy variables, one per line.
Credentials complete_credentials(Credentials given, const Env& env);

class Connection {
 public:
  /// Connects to nothing yet. Fails with invalid_argument for a bad URI; credentials that cannot be used show as
  /// Fate::refused.
  static Result<std::unique_ptr<Connection>> create(const std::string& base_uri, const Credentials& credentials);
  virtual ~Connection() = default;
  virtual Response send(const Request& request) = 0;
  /// From another thread: the send in progress returns at once, ambiguous (not_sent if not a byte had left). With none
  /// in progress, the next send returns so: a cancel is never lost, and serves once.
  virtual void cancel() = 0;
  virtual std::uint64_t bytes_sent() const = 0;
};

std::string escape(std::string_view text);       // percent-encoding of a query or path part
std::string escape_path(std::string_view path);  // of each of its segments
/// `uri` without user, password, query and fragment, at most 200 characters, no control characters: fit for a message.
std::string redact_uri(std::string_view uri);
/// Who answers at a URI: whoever has its credentials. `port` is filled in; all empty when it is no address.
struct Origin {
  std::string scheme, host, port;
};
Origin origin_of(const std::string& uri);
/// Whether a URI's host is this machine's loopback (localhost, 127.0.0.0/8, [::1]).
bool is_loopback_uri(const std::string& uri);

/// Makes what libcurl and its TLS library make on first use (a few ms): their exit handlers then run after every one
/// that is registered later, so a handler can still end a transfer in order. Once per process; connections call it
/// themselves.
void prepare_library();

}  // namespace mlops::http
