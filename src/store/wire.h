// Wire: the connection of one store, and the two ways in which bodies go over it. Private to store.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "http/http.h"
#include "store/store.h"

namespace mlops::store {

class Wire {
 public:
  explicit Wire(std::unique_ptr<http::Connection> connection) : connection_(std::move(connection)) {}

  http::Response send(const http::Request& request) { return connection_->send(request); }
  /// `request` with the body of a file.
  http::Response upload(http::Request request, const Body& body, const Progress& progress);
  /// The same to a presigned URL. TLS guards the bytes on their way. Without it S3's ETag must be the MD5 of what left,
  /// taken while it was sent. Where it is another (some stores, encrypted objects), the body goes once more, with
  /// Content-MD5 by which the store compares, and so at once from then on.
  http::Response upload_presigned(const http::Request& request, const Body& body, const Progress& progress);
  /// `request` into a sink that is told where the bytes belong: at 0 when the server sends all though a range was asked
  /// for. `version` is filled from the head; `end` is where the last byte stood.
  http::Response download(http::Request request, Version* version, const Sink& sink, const Progress& progress,
                          std::uint64_t* end);
  void cancel() { connection_->cancel(); }

 private:
  std::unique_ptr<http::Connection> connection_;
  bool etags_are_md5_ = true;
};

/// Range and If-Range (or If-Match, where If-Range is not known) for a read that goes on; none when it begins at 0 or
/// the version cannot be asked for.
void ask_range(std::uint64_t offset, const Version* version, const char* condition, http::Request* request);
/// Whether all of the object arrived: a body without a length proves nothing unless the size is known.
Answer check_whole(const http::Response& response, const Answer& answer, std::uint64_t end, const Version& version,
                   std::string_view what);
/// SHA-256 in hex of a body; the given one when there is one.
std::string sha256_of(const Body& body);

}  // namespace mlops::store
