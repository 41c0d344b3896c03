// Connections: what each way of failing says about whether the request may have happened, and how the wire looks.
#include <gtest/gtest.h>

#include <algorithm>
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

std::unique_ptr<Connection> connect(const std::string& uri) {
  auto connection = Connection::create(uri, {});
  EXPECT_TRUE(connection.ok()) << connection.status().to_string();
  return std::move(*connection);
}

Request post(std::string body, bool fresh = false) {
  Request request;
  request.method = Method::post;
  request.path = "/api/x";
  request.body = std::move(body);
  request.headers = {{"Content-Type", "application/json"}};
  request.fresh = fresh;
  request.timeout = Millis(5'000);
  return request;
}

Act ok() { return {Act::answer, http_answer(200, "{}")}; }

TEST(Connection, AnswersCarryStatusTypeAndBody) {
  Loopback server([](int, const Seen&) {
    return Act{Act::answer, http_answer(400, "{\"a\":1}", "application/json; charset=utf-8")};
  });
  auto connection = connect(server.uri() + "/prefix/");
  const Response response = connection->send(post("{\"b\":2}"));
  EXPECT_EQ(response.fate, Fate::answered);
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.body, "{\"a\":1}");
  EXPECT_EQ(response.content_type, "application/json; charset=utf-8");
  EXPECT_EQ(response.retry_after_ms, -1);
  EXPECT_TRUE(response.error.ok());
  ASSERT_EQ(server.seen().size(), 1u);
  const Seen seen = server.seen()[0];
  EXPECT_EQ(seen.head.find("POST /prefix/api/x HTTP/1.1\r\n"), 0u) << seen.head;
  EXPECT_EQ(seen.body, "{\"b\":2}");
  EXPECT_NE(seen.head.find("\r\nContent-Length: 7\r\n"), std::string::npos);
  EXPECT_NE(seen.head.find("\r\nContent-Type: application/json\r\n"), std::string::npos);
  EXPECT_EQ(seen.head.find("Expect:"), std::string::npos);
  EXPECT_EQ(seen.head.find("Transfer-Encoding"), std::string::npos);
  EXPECT_GT(connection->bytes_sent(), 100u);
}

TEST(Connection, EveryMethodAndLargeBodiesHaveALength) {
  Loopback server([](int, const Seen&) { return ok(); });
  auto connection = connect(server.uri());
  const std::string large(900'000, 'x');
  for (const auto& [method, name] :
       {std::pair{Method::post, "POST"}, {Method::put, "PUT"}, {Method::patch, "PATCH"}, {Method::del, "DELETE"}}) {
    for (const std::string& body : {std::string(), std::string("{}"), large}) {
      Request request = post(body);
      request.method = method;
      const auto before = connection->bytes_sent();
      ASSERT_EQ(connection->send(request).status, 200) << name;
      const Seen seen = server.seen().back();
      EXPECT_EQ(seen.head.find(name), 0u);
      EXPECT_EQ(seen.body.size(), body.size());
      EXPECT_NE(seen.head.find("\r\nContent-Length: " + std::to_string(body.size()) + "\r\n"), std::string::npos)
          << seen.head;
      EXPECT_EQ(seen.head.find("chunked"), std::string::npos);
      const auto sent = connection->bytes_sent() - before;
      EXPECT_GE(sent, body.size());
      EXPECT_LE(sent, body.size() + 1'000);
    }
  }
  Request get;
  get.path = "/g?a=1";
  EXPECT_EQ(connection->send(get).status, 200);
  EXPECT_EQ(server.seen().back().head.find("GET /g?a=1 HTTP/1.1"), 0u);
  EXPECT_EQ(server.seen().back().connection, 1) << "one connection served them all";
}

TEST(Connection, RefusedAndUnknownHostAreNotSent) {
  int port = 0;
  {
    Loopback gone([](int, const Seen&) { return ok(); });
    port = gone.port();
  }
  Response response = connect("http://127.0.0.1:" + std::to_string(port))->send(post("{}"));
  EXPECT_EQ(response.fate, Fate::not_sent);
  EXPECT_NE(response.error.message().find("cannot connect"), std::string_view::npos) << response.error.message();
  EXPECT_NE(response.error.message().find(std::to_string(port)), std::string_view::npos);
  EXPECT_EQ(response.error.code(), StatusCode::unavailable);
  response = connect("http://no-such-host.invalid")->send(post("{}"));
  EXPECT_EQ(response.fate, Fate::not_sent);
  EXPECT_NE(response.error.message().find("host name"), std::string_view::npos) << response.error.message();
}

TEST(Connection, HttpsToAPlainServerIsNotSent) {
  Loopback server([](int, const Seen&) { return Act{Act::close_after_request, {}}; });
  auto connection = connect("https://127.0.0.1:" + std::to_string(server.port()));
  Request request = post("{}");
  request.connect_timeout = Millis(500);
  const Response response = connection->send(request);
  EXPECT_EQ(response.fate, Fate::not_sent) << response.error.to_string();
}

TEST(Connection, EveryCutAfterTheRequestIsAmbiguous) {
  const std::string whole = http_answer(200, "{\"ok\":true}");
  const std::pair<const char*, Act> cases[] = {
      {"reset", {Act::reset_after_request, {}}},
      {"closed", {Act::close_after_request, {}}},
      {"cut in the status line", {Act::answer, whole.substr(0, 8), true}},
      {"cut in the headers", {Act::answer, whole.substr(0, 30), true}},
      {"cut in the body", {Act::answer, whole.substr(0, whole.size() - 3), true}},
      {"garbage", {Act::answer, "\x15\x03\x01 what is this\r\n\r\n", true}},
      {"chunks that stop", {Act::answer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", true}},
      {"no length, no body", {Act::answer, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", true}},
      {"only 100 Continue", {Act::answer, "HTTP/1.1 100 Continue\r\n\r\n", true}},
  };
  for (const auto& [name, act] : cases) {
    Loopback server([a = act](int, const Seen&) { return a; });
    const Response response = connect(server.uri())->send(post("{}", true));
    EXPECT_EQ(response.fate, Fate::ambiguous) << name;
    EXPECT_FALSE(response.error.ok()) << name;
    EXPECT_TRUE(response.body.empty()) << name;
    EXPECT_EQ(server.seen().size(), 1u) << name << ": a fresh request is never repeated";
  }
}

TEST(Connection, TimeoutAfterSendingIsAmbiguous) {
  Loopback server([](int, const Seen&) { return Act{Act::hang, {}}; });
  Request request = post("{}");
  request.timeout = Millis(200);
  const Response response = connect(server.uri())->send(request);
  EXPECT_EQ(response.fate, Fate::ambiguous);
  EXPECT_NE(response.error.message().find("200 ms"), std::string_view::npos) << response.error.message();
}

TEST(Connection, CancelEndsTheSendInProgress) {
  Loopback server([](int, const Seen&) { return Act{Act::hang, {}}; });
  auto connection = connect(server.uri());
  std::thread other([&] {
    while (server.seen().empty()) std::this_thread::sleep_for(Millis(5));
    connection->cancel();
  });
  const auto began = base::steady_ms();
  Request request = post("{}");
  request.timeout = Millis(60'000);
  const Response response = connection->send(request);
  other.join();
  EXPECT_EQ(response.fate, Fate::ambiguous);
  EXPECT_LT(base::steady_ms() - began, 3'000);
}

TEST(Connection, CancelBeforeASendIsNotLostAndServesOnce) {
  Loopback server([](int, const Seen&) { return ok(); });
  auto connection = connect(server.uri());
  connection->cancel();
  EXPECT_EQ(connection->send(post("{}")).fate, Fate::not_sent);
  EXPECT_EQ(connection->send(post("{}")).status, 200);
  EXPECT_EQ(server.seen().size(), 1u);
}

TEST(Connection, IdleForFourSecondsMeansANewConnection) {
  Loopback server([](int, const Seen&) { return ok(); });
  auto connection = connect(server.uri());
  ASSERT_EQ(connection->send(post("{}")).status, 200);
  ASSERT_EQ(connection->send(post("{}")).status, 200);
  std::this_thread::sleep_for(Millis(4'050));
  ASSERT_EQ(connection->send(post("{}")).status, 200);
  const auto seen = server.seen();
  EXPECT_EQ(seen[0].connection, seen[1].connection);
  EXPECT_NE(seen[1].connection, seen[2].connection);
}

TEST(Connection, AnswersInTwoPacketsDoNotWaitForADelayedAcknowledgement) {
  // As uvicorn with several workers: head and body apart, Nagle on. Without TCP_QUICKACK each one takes 40 ms and more.
  Loopback server([](int, const Seen&) { return Act{Act::answer, http_answer(200, "{\"a\":1}"), false, 0, 20}; });
  auto connection = connect(server.uri());
  double least = 1e9;
  for (int i = 0; i < 40; ++i) {
    const Response response = connection->send(post("{}"));
    ASSERT_EQ(response.status, 200);
    if (i >= 20) least = std::min(least, response.seconds);
  }
  EXPECT_LT(least, 0.030);
}

TEST(Connection, FreshIsANewConnection) {
  Loopback server([](int, const Seen&) { return ok(); });
  auto connection = connect(server.uri());
  for (bool fresh : {false, true, false}) ASSERT_EQ(connection->send(post("{}", fresh)).status, 200);
  const auto seen = server.seen();
  EXPECT_NE(seen[0].connection, seen[1].connection);
}

TEST(Connection, AReusedConnectionThatDiesIsRepeatedByLibcurlOnlyWhenNotFresh) {
  // The server reads the second request and closes: libcurl sends it again by itself. This is why creates are fresh.
  auto script = [](int index, const Seen&) { return index == 1 ? Act{Act::close_after_request, {}} : ok(); };
  Loopback plain(script);
  auto connection = connect(plain.uri());
  ASSERT_EQ(connection->send(post("{}")).status, 200);
  const Response repeated = connection->send(post("{}"));
  EXPECT_TRUE(repeated.fate == Fate::answered || repeated.fate == Fate::ambiguous);
  Loopback careful(script);
  connection = connect(careful.uri());
  ASSERT_EQ(connection->send(post("{}")).status, 200);
  EXPECT_EQ(connection->send(post("{}", true)).fate, Fate::ambiguous);
  EXPECT_EQ(careful.seen().size(), 2u);
}

TEST(Connection, RedirectsAreAnsweredNotFollowed) {
  Loopback server([](int, const Seen&) {
    return Act{Act::answer,
               http_answer(302, "", "text/html", "Location: https://u:pw@login.example/sso?token=abc\r\n")};
  });
  const Response response = connect(server.uri())->send(post("{}"));
  EXPECT_EQ(response.fate, Fate::answered);
  EXPECT_EQ(response.status, 302);
  EXPECT_EQ(response.location, "https://login.example/sso");
  EXPECT_EQ(server.seen().size(), 1u);
}

TEST(Connection, RetryAfterInSecondsAndAsADate) {
  const std::pair<std::string, std::int64_t> cases[] = {{"7", 7'000},
                                                        {"0", 1'000},
                                                        {"999999", 3'600'000},
                                                        {"soon", -1},
                                                        {"Wed, 21 Oct 2015 07:28:00 GMT", 1'000},
                                                        {"Wed, 21 Oct 2099 07:28:00 GMT", 3'600'000}};
  for (const auto& [value, want] : cases) {
    Loopback server([v = value](int, const Seen&) {
      return Act{Act::answer, http_answer(429, "{}", "application/json", "Retry-After: " + v + "\r\n")};
    });
    EXPECT_EQ(connect(server.uri())->send(post("{}")).retry_after_ms, want) << value;
  }
}

TEST(Connection, TheServersClockIsItsDate) {
  const std::pair<std::string, std::int64_t> cases[] = {
      {"Date: Wed, 21 Oct 2015 07:28:00 GMT\r\n", 1'445'412'480'000}, {"Date: yesterday\r\n", -1}, {"", -1}};
  for (const auto& [line, want] : cases) {
    Loopback server(
        [v = line](int, const Seen&) { return Act{Act::answer, http_answer(200, "{}", "application/json", v)}; });
    EXPECT_EQ(connect(server.uri())->send(post("{}")).date_ms, want) << line;
  }
}

TEST(Connection, A413BeforeTheBodyIsReadCountsAsAnswered) {
  Loopback server(
      [](int, const Seen&) { return Act{Act::answer, http_answer(413, "<html>413</html>", "text/html"), true}; });
  const Response response = connect(server.uri())->send(post(std::string(800'000, 'x')));
  EXPECT_EQ(response.fate, Fate::answered);
  EXPECT_EQ(response.status, 413);
}

TEST(Connection, AnswersSplitAndLateArriveWhole) {
  Loopback server(
      [](int, const Seen&) { return Act{Act::answer, http_answer(200, std::string(3'000'000, 'y')), false, 60}; });
  const Response response = connect(server.uri())->send(post("{}"));
  EXPECT_EQ(response.fate, Fate::answered);
  EXPECT_EQ(response.body.size(), 3'000'000u);
  EXPECT_GT(response.seconds, 0.05);
}

TEST(Connection, HeadersWithControlCharactersAreLeftOut) {
  Loopback server([](int, const Seen&) { return ok(); });
  Request request = post("{}");
  request.headers.emplace_back("X-A", "b\r\nX-Evil: 1");
  ASSERT_EQ(connect(server.uri())->send(request).status, 200);
  EXPECT_EQ(server.seen()[0].head.find("Evil"), std::string::npos);
}

}  // namespace
}  // namespace mlops::http
