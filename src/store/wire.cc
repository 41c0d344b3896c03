// Wire: a minute without a byte ends a transfer; the answer to a large body may take longer, since a proxy passes it on
// before it says anything.
#include "store/wire.h"

#include <unistd.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <vector>

#include "base/base.h"
#include "base/hex.h"
#include "store/answer.h"

namespace mlops::store {
namespace {

constexpr Millis kStall{60'000};
constexpr std::uint64_t kSlowestStore = 4'000'000;  // bytes per second that a proxy passes on at least

template <typename Take>
bool read_all(const Body& body, Take take) {
  std::vector<char> buffer(std::size_t{1} << 18);
  for (std::uint64_t at = 0; at < body.size;) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), body.size - at));
    const ssize_t got = ::pread(body.fd, buffer.data(), wanted, static_cast<off_t>(body.offset + at));
    if (got <= 0) return false;
    take(std::string_view(buffer.data(), static_cast<std::size_t>(got)));
    at += static_cast<std::uint64_t>(got);
  }
  return true;
}

/// MD5 of a body; empty when it cannot be read (the transfer will say so).
std::string md5_of(const Body& body) {
  base::Digest digest(base::Digest::Kind::md5);
  if (!read_all(body, [&](std::string_view bytes) { digest.update(bytes); })) return {};
  return digest.finish();
}

/// MD5 of what is sent, while it is sent.
class SentMd5 {
 public:
  void operator()(std::uint64_t offset, std::string_view bytes) {
    if (offset == 0) begin();
    if (offset != at_) return;
    digest_->update(bytes);
    at_ += bytes.size();
  }
  /// Whether `etag` is that of `size` bytes.
  bool is(std::uint64_t size, std::string_view etag) {
    if (size == 0) begin();
    if (at_ != size) return false;
    const std::string md5 = digest_->finish_hex();
    return etag == '"' + md5 + '"' || etag == md5;
  }

 private:
  void begin() {
    digest_.emplace(base::Digest::Kind::md5);
    at_ = 0;
  }
  std::optional<base::Digest> digest_;
  std::uint64_t at_ = UINT64_MAX;
};

}  // namespace

http::Response Wire::upload_presigned(const http::Request& request, const Body& body, const Progress& progress) {
  const std::string& url = request.elsewhere->url;
  if (url.compare(0, 5, "http:") != 0 || url.find("X-Amz-") == url.npos) return upload(request, body, progress);
  if (etags_are_md5_) {
    SentMd5 md5;
    http::Request first = request;
    first.sees = std::ref(md5);
    http::Response response = upload(std::move(first), body, progress);
    const bool taken = response.fate == http::Fate::answered && response.status >= 200 && response.status < 300;
    if (!taken || md5.is(body.size, response.etag)) return response;
  }
  http::Request compared = request;
  const std::string md5 = md5_of(body);
  if (!md5.empty()) compared.headers.emplace_back("Content-MD5", base::to_base64(md5));
  http::Response response = upload(std::move(compared), body, progress);
  etags_are_md5_ =
      response.fate == http::Fate::answered &&
      response.etag == '"' + base::to_hex(reinterpret_cast<const unsigned char*>(md5.data()), md5.size()) + '"';
  return response;
}

http::Response Wire::upload(http::Request request, const Body& body, const Progress& progress) {
  request.file = http::FileRange{body.fd, body.offset, body.size};
  request.stall = kStall;
  request.timeout = Millis(120'000 + static_cast<std::int64_t>(body.size / (kSlowestStore / 1'000)));
  if (progress) request.progress = [&](std::uint64_t sent, std::uint64_t) { progress(sent); };
  return connection_->send(request);
}

http::Response Wire::download(http::Request request, Version* version, const Sink& sink, const Progress& progress,
                              std::uint64_t* end) {
  std::uint64_t& at = *end;
  at = 0;
  bool begun = false;
  request.stall = kStall;
  request.timeout = Millis(600'000);  // a proxy may fetch all of it before its first byte
  request.sink = [&](const http::Response& head, std::string_view bytes) {
    if (!begun) {
      if (head.status == 206 && head.range_start < 0) return false;  // bytes of nowhere
      begun = true;
      at = head.status == 206 ? static_cast<std::uint64_t>(head.range_start) : 0;
      version->etag = head.etag;
      const std::int64_t whole = head.status == 206 ? head.range_total : head.content_length;
      version->size.reset();
      if (whole >= 0) version->size = static_cast<std::uint64_t>(whole);
    }
    if (!sink(at, bytes)) return false;
    at += bytes.size();
    if (progress) progress(at);
    return true;
  };
  const http::Response response = connection_->send(request);
  if (!begun && response.fate == http::Fate::answered && response.status == 200) {  // an empty object
    version->etag = response.etag;
    version->size = 0;
  }
  return response;
}

void ask_range(std::uint64_t offset, const Version* version, const char* condition, http::Request* request) {
  if (offset == 0 || !version || version->etag.empty() || version->etag.compare(0, 2, "W/") == 0) return;
  request->headers.emplace_back("Range", "bytes=" + std::to_string(offset) + "-");
  request->headers.emplace_back(condition, version->etag);
}

Answer check_whole(const http::Response& response, const Answer& answer, std::uint64_t end, const Version& version,
                   std::string_view what) {
  if (!answer.ok()) return answer;
  if (version.size && end != *version.size)
    return make(
        Verdict::ambiguous, StatusCode::unavailable,
        std::string(what) + ": only " + std::to_string(end) + " of " + std::to_string(*version.size) + " bytes arrived",
        response);
  if (!version.size && !response.length_known)
    return make(Verdict::ambiguous, StatusCode::unavailable,
                std::string(what) +
                    ": the server gave no length, so nobody knows whether this is all of it (a proxy that "
                    "speaks HTTP/1.0?)",
                response);
  return answer;
}

std::string sha256_of(const Body& body) {
  if (!body.sha256.empty()) return body.sha256;
  base::Digest digest;
  if (!read_all(body, [&](std::string_view bytes) { digest.update(bytes); })) return {};
  return digest.finish_hex();
}

}  // namespace mlops::store
