// Streams: bodies that come from a file and go to a sink, and every way in which they break off. A body that is not
// whole is never an answer.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>

#include "base/base.h"
#include "http/http.h"
#include "loopback.h"

namespace mlops::http {
namespace {

using test::Act;
using test::http_answer;
using test::Loopback;
using test::Seen;

std::unique_ptr<Connection> connect(const std::string& uri, Credentials credentials = {}) {
  auto connection = Connection::create(uri, credentials);
  EXPECT_TRUE(connection.ok()) << connection.status().to_string();
  return std::move(*connection);
}

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 131 + i / 251) & 0xff);
  return text;
}

/// An anonymous file with these bytes.
class File {
 public:
  explicit File(const std::string& bytes) : fd_(::memfd_create("stream", MFD_CLOEXEC)) {
    EXPECT_EQ(::pwrite(fd_, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }
  ~File() { ::close(fd_); }
  int fd() const { return fd_; }

 private:
  int fd_;
};

Request put(const File& file, std::uint64_t offset, std::uint64_t size) {
  Request request;
  request.method = Method::put;
  request.path = "/artifacts/x";
  request.file = FileRange{file.fd(), offset, size};
  request.stall = Millis(5'000);
  request.timeout = Millis(5'000);
  return request;
}

Request get(std::string* into) {
  Request request;
  request.path = "/artifacts/x";
  request.sink = [into](const Response&, std::string_view bytes) {
    into->append(bytes);
    return true;
  };
  request.stall = Millis(5'000);
  request.timeout = Millis(5'000);
  return request;
}

TEST(Stream, ARangeOfAFileIsTheBodyWithALength) {
  const std::string bytes = pattern(3'000'000);
  const File file(bytes);
  Loopback server([](int, const Seen&) {
    return Act{Act::answer, http_answer(200, "{}", "application/json", "ETag: \"e1\"\r\n")};
  });
  auto connection = connect(server.uri());
  for (const auto& [offset, size] :
       {std::pair<std::size_t, std::size_t>{0, bytes.size()}, {1'000, 2'500'000}, {17, 1}, {5, 0}}) {
    std::uint64_t sent = 0;
    Request request = put(file, offset, size);
    request.progress = [&](std::uint64_t s, std::uint64_t) { sent = s; };
    const Response response = connection->send(request);
    ASSERT_EQ(response.fate, Fate::answered) << response.error.to_string();
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.etag, "\"e1\"");
    EXPECT_EQ(sent, size);
    const Seen seen = server.seen().back();
    EXPECT_EQ(seen.head.find("PUT /artifacts/x HTTP/1.1\r\n"), 0u);
    EXPECT_NE(seen.head.find("\r\nContent-Length: " + std::to_string(size) + "\r\n"), std::string::npos) << seen.head;
    EXPECT_EQ(seen.head.find("chunked"), std::string::npos);
    EXPECT_EQ(seen.head.find("Expect"), std::string::npos);
    EXPECT_TRUE(seen.body == bytes.substr(offset, size));
  }
}

TEST(Stream, AConnectionThatDiedIdleIsReplacedAndTheFileReadAgain) {
  const std::string bytes = pattern(200'000);
  const File file(bytes);
  Loopback server([](int index, const Seen&) { return Act{Act::answer, http_answer(200, "{}"), index == 0}; });
  auto connection = connect(server.uri());
  ASSERT_EQ(connection->send(put(file, 0, 10)).status, 200);
  const Response response = connection->send(put(file, 0, bytes.size()));
  ASSERT_EQ(response.fate, Fate::answered) << response.error.to_string();
  EXPECT_TRUE(server.seen().back().body == bytes);
}

TEST(Stream, AFileThatGotShorterIsSaidAndNothingWholeWasSent) {
  const File file(pattern(100'000));
  Loopback server([](int, const Seen&) { return Act{Act::answer, http_answer(200, "{}")}; });
  auto connection = connect(server.uri());
  const Response response = connection->send(put(file, 0, 200'000));
  EXPECT_NE(response.fate, Fate::answered);
  EXPECT_TRUE(response.file_changed);
  EXPECT_EQ(response.error.code(), StatusCode::data_loss);
  EXPECT_NE(response.error.message().find("shorter"), std::string_view::npos);
  EXPECT_TRUE(server.seen().empty());
  EXPECT_EQ(connection->send(put(file, 0, 100'000)).status, 200);
}

TEST(Stream, AnUploadThatIsCutIsAmbiguous) {
  const File file(pattern(4'000'000));
  Loopback server([](int, const Seen&) { return Act{Act::answer, http_answer(200, "{}")}; },
                  [](const Seen&) { return Act{Act::reset_after_request, ""}; }, 500'000);
  auto connection = connect(server.uri());
  const Response response = connection->send(put(file, 0, 4'000'000));
  EXPECT_EQ(response.fate, Fate::ambiguous);
  EXPECT_FALSE(response.error.ok());
  EXPECT_FALSE(response.file_changed);
}

TEST(Stream, AnEarly200IsNoSuccessAnEarlyRefusalIs) {
  const File file(pattern(20'000'000));
  for (const int status : {200, 403, 413}) {
    Loopback server([](int, const Seen&) { return Act{Act::answer, http_answer(200, "{}")}; },
                    [status](const Seen&) {
                      Act act{Act::answer, http_answer(status, "early"), true};
                      act.slowly = status != 200;
                      return act;
                    },
                    100'000);
    auto connection = connect(server.uri());
    const Response response = connection->send(put(file, 0, 20'000'000));
    if (status == 200) {
      EXPECT_EQ(response.fate, Fate::ambiguous) << response.status;
    } else {
      EXPECT_EQ(response.fate, Fate::answered) << response.error.to_string();
      EXPECT_EQ(response.status, status);
    }
  }
}

TEST(Stream, ABodyGoesToTheSinkWithWhatTheHeadSaid) {
  const std::string bytes = pattern(2'000'000);
  Loopback server([&](int index, const Seen&) {
    if (index == 0)
      return Act{
          Act::answer,
          http_answer(200, bytes, "application/octet-stream",
                      "ETag: \"v1\"\r\nAccept-Ranges: bytes\r\nLast-Modified: Sun, 22 Nov 2026 04:52:22 GMT\r\n")};
    std::string part = http_answer(206, bytes.substr(1'000), "application/octet-stream",
                                   "Content-Range: bytes 1000-1999999/2000000\r\n");
    return Act{Act::answer, part};
  });
  auto connection = connect(server.uri());
  std::string body;
  Response response = connection->send(get(&body));
  ASSERT_EQ(response.fate, Fate::answered) << response.error.to_string();
  EXPECT_TRUE(body == bytes);
  EXPECT_TRUE(response.body.empty());
  EXPECT_EQ(response.etag, "\"v1\"");
  EXPECT_EQ(response.content_length, 2'000'000);
  EXPECT_EQ(response.last_modified, "Sun, 22 Nov 2026 04:52:22 GMT");
  EXPECT_TRUE(response.accepts_ranges);
  EXPECT_TRUE(response.length_known);
  EXPECT_EQ(response.range_start, -1);

  std::int64_t start = -1, total = -1;
  Request request = get(&body);
  request.sink = [&](const Response& head, std::string_view) {
    start = head.range_start;
    total = head.range_total;
    return true;
  };
  response = connection->send(request);
  ASSERT_EQ(response.fate, Fate::answered);
  EXPECT_EQ(start, 1'000);
  EXPECT_EQ(total, 2'000'000);
  EXPECT_TRUE(response.etag.empty());
}

TEST(Stream, AnErrorsBodyIsNotTheSinks) {
  Loopback server([](int, const Seen&) { return Act{Act::answer, http_answer(404, "{\"error_code\":\"X\"}")}; });
  auto connection = connect(server.uri());
  std::string body;
  const Response response = connection->send(get(&body));
  EXPECT_EQ(response.status, 404);
  EXPECT_TRUE(body.empty());
  EXPECT_EQ(response.body, "{\"error_code\":\"X\"}");
}

TEST(Stream, ABodyThatBreaksOffIsNoAnswer) {
  const std::string whole = http_answer(200, pattern(100'000), "application/octet-stream");
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
  const std::string garbage = chunked + "zz\r\n";
  for (const std::string& bytes : {whole.substr(0, whole.size() - 1), whole.substr(0, 200), chunked, garbage}) {
    Loopback server([&](int, const Seen&) { return Act{Act::answer, bytes, true}; });
    auto connection = connect(server.uri());
    std::string body;
    const Response response = connection->send(get(&body));
    EXPECT_EQ(response.fate, Fate::ambiguous) << bytes.substr(0, 60);
    EXPECT_FALSE(response.error.ok());
    EXPECT_FALSE(response.stopped);
  }
  Loopback server([&](int, const Seen&) { return Act{Act::answer, chunked + "0\r\n\r\n"}; });
  auto connection = connect(server.uri());
  std::string body;
  EXPECT_EQ(connection->send(get(&body)).fate, Fate::answered);
  EXPECT_EQ(body, "hello");
}

TEST(Stream, ABodyWithoutALengthIsMarked) {
  Loopback server(
      [](int, const Seen&) { return Act{Act::answer, "HTTP/1.1 200 OK\r\nContent-Type: x/y\r\n\r\nhalf?", true}; });
  auto connection = connect(server.uri());
  std::string body;
  const Response response = connection->send(get(&body));
  EXPECT_EQ(body, "half?");
  EXPECT_FALSE(response.length_known);
}

TEST(Stream, TheSinkStopsIt) {
  Loopback server([](int, const Seen&) { return Act{Act::answer, http_answer(200, pattern(1'000'000))}; });
  auto connection = connect(server.uri());
  Request request;
  request.path = "/x";
  std::size_t got = 0;
  request.sink = [&](const Response&, std::string_view bytes) { return (got += bytes.size()) < 1'000; };
  const Response response = connection->send(request);
  EXPECT_EQ(response.fate, Fate::ambiguous);
  EXPECT_TRUE(response.stopped);
  EXPECT_EQ(response.error.code(), StatusCode::failed_precondition);
}

TEST(Stream, ADownloadThatStandsStillEnds) {
  const std::string whole = http_answer(200, pattern(100'000));
  Loopback server([&](int, const Seen&) { return Act{Act::answer, whole.substr(0, 50'000)}; });
  auto connection = connect(server.uri());
  std::string body;
  Request request = get(&body);
  request.stall = Millis(300);
  const auto before = base::steady_ms();
  const Response response = connection->send(request);
  EXPECT_EQ(response.fate, Fate::ambiguous);
  EXPECT_NE(response.error.message().find("no byte moved"), std::string_view::npos) << response.error.to_string();
  EXPECT_GE(base::steady_ms() - before, 300);
  EXPECT_LT(base::steady_ms() - before, 4'000);
}

TEST(Stream, AServerThatThinksIsGivenTheAnswersTime) {
  const File file(pattern(10'000));
  Loopback server([](int, const Seen&) {
    Act act{Act::answer, http_answer(200, "{}")};
    act.delay_ms = 900;
    return act;
  });
  auto connection = connect(server.uri());
  Request request = put(file, 0, 10'000);
  request.stall = Millis(200);
  request.timeout = Millis(20'000);
  EXPECT_EQ(connection->send(request).fate, Fate::answered);
  request.timeout = Millis(200);
  EXPECT_EQ(connection->send(request).fate, Fate::ambiguous);
}

TEST(Stream, AnotherThreadCancelsAnUpload) {
  const File file(pattern(30'000'000));
  Loopback server([](int, const Seen&) { return Act{Act::answer, http_answer(200, "{}")}; },
                  [](const Seen&) {
                    Act act{Act::hang, ""};
                    act.delay_ms = 1'500;
                    return std::optional<Act>(act);
                  },
                  1'000);
  auto connection = connect(server.uri());
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    connection->cancel();
  });
  const auto before = base::steady_ms();
  const Response response = connection->send(put(file, 0, 30'000'000));
  other.join();
  EXPECT_EQ(response.fate, Fate::ambiguous);
  EXPECT_LT(base::steady_ms() - before, 1'200);
}

TEST(Stream, ElsewhereGetsNothingOfOurCredentials) {
  const File file(pattern(1'000));
  Loopback ours([](int, const Seen&) { return Act{Act::answer, http_answer(200, "{}")}; });
  Loopback other([](int, const Seen&) { return Act{Act::answer, http_answer(200, "{}")}; });
  Credentials credentials;
  credentials.token = "very-secret-token";
  auto connection = connect(ours.uri(), credentials);
  Request request = put(file, 0, 1'000);
  request.elsewhere = Elsewhere{other.uri() + "/b%20c/k?partNumber=1&X-Amz-Signature=abcdef", {}, {}, false};
  ASSERT_EQ(connection->send(request).status, 200);
  EXPECT_TRUE(ours.seen().empty());
  const Seen seen = other.seen().at(0);
  EXPECT_EQ(seen.head.find("PUT /b%20c/k?partNumber=1&X-Amz-Signature=abcdef HTTP/1.1\r\n"), 0u) << seen.head;
  EXPECT_EQ(seen.head.find("Authorization"), std::string::npos);
  EXPECT_EQ(seen.head.find("secret"), std::string::npos);
  request.elsewhere.reset();
  ASSERT_EQ(connection->send(request).status, 200);
  EXPECT_NE(ours.seen().at(0).head.find("Authorization: Bearer very-secret-token"), std::string::npos);
}

TEST(Stream, AnElsewhereThatCannotBeReachedIsNamedWithoutItsSecrets) {
  auto connection = connect("http://127.0.0.1:1");
  Request request;
  request.elsewhere = Elsewhere{"http://127.0.0.1:1/bucket/key?X-Amz-Signature=abcdef", {}, {}, false};
  const Response response = connection->send(request);
  EXPECT_EQ(response.fate, Fate::not_sent);
  EXPECT_NE(response.error.message().find("127.0.0.1:1/bucket/key"), std::string_view::npos);
  EXPECT_EQ(response.error.message().find("abcdef"), std::string_view::npos);
}

TEST(Stream, SigV4SignsWithTheGivenKeys) {
  Loopback server([](int, const Seen&) { return Act{Act::answer, http_answer(200, "{}")}; });
  auto connection = connect(server.uri());
  Request request;
  request.method = Method::head;
  request.elsewhere =
      Elsewhere{server.uri() + "/bucket/key", AwsKeys{"AKID", "sekrit", "tok", "eu-x-1", "s3"}, {}, false};
  request.headers = {{"x-amz-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}};
  Loopback empty([](int, const Seen&) { return Act{Act::answer, "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"}; });
  request.elsewhere->url = empty.uri() + "/bucket/key";
  const Response response = connection->send(request);
  ASSERT_EQ(response.fate, Fate::answered) << response.error.to_string();
  EXPECT_EQ(response.content_length, 12'345);
  const std::string head = empty.seen().at(0).head;
  EXPECT_EQ(head.find("HEAD /bucket/key HTTP/1.1\r\n"), 0u);
  EXPECT_NE(head.find("Authorization: AWS4-HMAC-SHA256 Credential=AKID/"), std::string::npos) << head;
  EXPECT_NE(head.find("/eu-x-1/s3/aws4_request"), std::string::npos) << head;
  EXPECT_NE(head.find("X-Amz-Security-Token: tok"), std::string::npos) << head;
  EXPECT_EQ(head.find("sekrit"), std::string::npos);
}

TEST(Stream, MemoryStaysFlat) {
  constexpr std::uint64_t kSize = 200u << 20;
  const File file("");
  ASSERT_EQ(::ftruncate(file.fd(), kSize), 0);
  auto resident = [] {
    std::uint64_t pages = 0;
    if (FILE* f = std::fopen("/proc/self/statm", "r")) {
      unsigned long long total = 0, rss = 0;
      if (std::fscanf(f, "%llu %llu", &total, &rss) == 2) pages = rss;
      std::fclose(f);
    }
    return pages * 4096;
  };
  std::atomic<std::uint64_t> drained{0};
  // A server that throws the body away and then sends as much.
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::listen(listener, 1);
  socklen_t length = sizeof address;
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  std::thread server([&] {
    const int fd = ::accept(listener, nullptr, nullptr);
    std::vector<char> buffer(1 << 16);
    while (drained < kSize) {
      const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
      if (got <= 0) break;
      drained += static_cast<std::uint64_t>(got);
    }
    const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(kSize) + "\r\n\r\n";
    (void)!::send(fd, head.data(), head.size(), MSG_NOSIGNAL);
    for (std::uint64_t sent = 0; sent < kSize; sent += buffer.size())
      if (::send(fd, buffer.data(), buffer.size(), MSG_NOSIGNAL) <= 0) break;
    while (::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT) > 0) {  // else the close would be a reset
    }
    ::close(fd);
  });
  auto connection = connect("http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)));
  Request request = put(file, 0, kSize);
  const std::uint64_t before = resident();
  std::uint64_t most = 0, received = 0;
  request.progress = [&](std::uint64_t sent, std::uint64_t) {
    if (sent % (16u << 20) == 0) most = std::max(most, resident());
  };
  request.sink = [&](const Response&, std::string_view bytes) {
    received += bytes.size();
    most = std::max(most, resident());
    return true;
  };
  const Response response = connection->send(request);
  server.join();
  ::close(listener);
  ASSERT_EQ(response.fate, Fate::answered) << response.error.to_string();
  EXPECT_EQ(received, kSize);
#if defined(__SANITIZE_ADDRESS__)
  constexpr std::uint64_t kFlat = kSize / 2;  // it keeps freed blocks for a while
#else
  constexpr std::uint64_t kFlat = kSize / 10;
#endif
  EXPECT_LT(most, before + kFlat);
}

}  // namespace
}  // namespace mlops::http
