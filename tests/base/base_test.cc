// Clocks, hashes, random numbers, uids, status, the log and our threads.
#include "base/base.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <set>
#include <thread>

#include "base/uid.h"
#include "mlops/status.h"

namespace mlops::base {
namespace {

TEST(Status, CarriesCodeAndMessage) {
  const Status fine;
  EXPECT_TRUE(fine.ok());
  EXPECT_EQ(fine.code(), StatusCode::ok);
  EXPECT_EQ(fine.to_string(), "ok");
  EXPECT_EQ(fine.message(), "");
  const Status bad(StatusCode::not_found, "no such run");
  const Status copy = bad;  // NOLINT(performance-unnecessary-copy-initialization): the copy is the test
  EXPECT_FALSE(copy.ok());
  EXPECT_EQ(copy.code(), StatusCode::not_found);
  EXPECT_EQ(copy.to_string(), "not_found: no such run");
  EXPECT_EQ(copy.message().data(), bad.message().data()) << "shared";
  EXPECT_TRUE(Status(StatusCode::ok, "ignored").ok());
}

TEST(Status, NamesAreDistinct) {
  std::set<std::string> names;
  for (int i = 0; i <= 11; ++i) names.insert(status_code_name(static_cast<StatusCode>(i)));
  EXPECT_EQ(names.size(), 12u);
  EXPECT_STREQ(status_code_name(static_cast<StatusCode>(99)), "unknown");
}

TEST(Result, HoldsOneOfBoth) {
  Result<int> good = 7;
  EXPECT_TRUE(good.ok());
  EXPECT_EQ(good.value(), 7);
  Result<int> bad = Status(StatusCode::unavailable, "away");
  EXPECT_FALSE(bad.ok());
  EXPECT_EQ(bad.value_or(3), 3);
  Result<int> wrong = Status();
  EXPECT_EQ(wrong.status().code(), StatusCode::internal);
  EXPECT_DEATH(bad.value(), "unavailable: away");
}

TEST(Clock, AgreesWithTheSystem) {
  EXPECT_NEAR(static_cast<double>(now_ms()), static_cast<double>(::time(nullptr)) * 1000, 2000);
  const std::int64_t before = steady_ms();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_GE(steady_ms() - before, 20);
}

TEST(Hash, KnownAnswers) {
  EXPECT_EQ(hash64(""), 0x2D06800538D394C2ull);  // XXH3-64 of nothing, seed 0
  EXPECT_EQ(hash64("mlops"), hash64("mlops"));
  EXPECT_NE(hash64("mlops"), hash64("mlops", 1));
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Uid, RoundTripsAsHex) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const Uid uid = Uid::random();
    EXPECT_FALSE(uid.zero());
    const std::string hex = uid.hex();
    EXPECT_EQ(hex.size(), 32u);
    EXPECT_TRUE(seen.insert(hex).second);
    Uid back;
    ASSERT_TRUE(Uid::parse(hex, &back));
    EXPECT_EQ(back, uid);
  }
}

TEST(Uid, ParsesOnly32HexDigits) {
  const struct {
    const char* text;
    bool good;
  } cases[] = {
      {"0123456789abcdef0123456789abcdef", true},  {"0123456789ABCDEF0123456789ABCDEF", true},
      {"0123456789abcdef0123456789abcde", false},  {"0123456789abcdef0123456789abcdef0", false},
      {"0123456789abcdeg0123456789abcdef", false}, {"", false},
      {"0123456789abcdef 123456789abcdef", false},
  };
  for (const auto& c : cases) {
    Uid uid;
    EXPECT_EQ(Uid::parse(c.text, &uid), c.good) << c.text;
    EXPECT_EQ(uid.zero(), !c.good);
  }
}

TEST(Random, ChildDoesNotRepeatTheParent) {
  random_u64();
  int pipes[2];
  ASSERT_EQ(::pipe(pipes), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::uint64_t theirs = random_u64();
    ::_exit(::write(pipes[1], &theirs, sizeof theirs) == sizeof theirs ? 0 : 1);
  }
  const std::uint64_t ours = random_u64();
  std::uint64_t theirs = 0;
  ASSERT_EQ(::read(pipes[0], &theirs, sizeof theirs), static_cast<ssize_t>(sizeof theirs));
  ::waitpid(child, nullptr, 0);
  EXPECT_NE(ours, theirs);
  ::close(pipes[0]);
  ::close(pipes[1]);
}

TEST(Host, IsNamed) {
  EXPECT_FALSE(host_name().empty());
  EXPECT_EQ(boot_id().find('\n'), std::string::npos);
}

TEST(OwnThread, IsNamedAndTakesNoSignal) {
  std::thread([] {
    begin_own_thread("mlops-a-very-long-name");
    char name[32] = {};
    EXPECT_EQ(::pthread_getname_np(::pthread_self(), name, sizeof name), 0);
    EXPECT_STREQ(name, "mlops-a-very-lo");
    sigset_t mask;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    for (int signal : {SIGINT, SIGTERM, SIGCHLD, SIGALRM, SIGUSR1, SIGPROF}) EXPECT_EQ(::sigismember(&mask, signal), 1);
  }).join();
}

// What a child with MLOPS_LOG=level writes to stderr while fn runs; its stdout must stay empty.
template <typename Fn>
std::string stderr_of(const char* level, Fn&& fn) {
  int err[2], out[2];
  if (::pipe(err) != 0 || ::pipe(out) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(err[1], 2);
    ::dup2(out[1], 1);
    ::close(err[0]);
    ::close(out[0]);
    ::setenv("MLOPS_LOG", level, 1);
    fn();
    ::_exit(0);
  }
  ::close(err[1]);
  ::close(out[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = ::read(err[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  EXPECT_EQ(::read(out[0], buffer, sizeof buffer), 0) << "nothing goes to stdout";
  ::close(err[0]);
  ::close(out[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  return text;
}

long lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

TEST(Log, ObeysTheLevel) {
  const auto all = [] {
    log(LogLevel::debug, "one debug");
    log(LogLevel::info, "one info");
    log(LogLevel::warn, "one warning {} %s");
    log(LogLevel::error, "one error");
  };
  EXPECT_EQ(stderr_of("off", all), "");
  EXPECT_EQ(lines(stderr_of("error", all)), 1);
  EXPECT_EQ(lines(stderr_of("info", all)), 3);
  EXPECT_EQ(lines(stderr_of("debug", all)), 4);
  const std::string standard = stderr_of("", all);
  EXPECT_EQ(lines(standard), 2);
  EXPECT_NE(standard.find("mlops warning: one warning {} %s\n"), std::string::npos) << standard;
}

TEST(Log, SaysTheSameOncePerMinute) {
  const std::string text = stderr_of("warn", [] {
    for (int i = 0; i < 1000; ++i) log(LogLevel::warn, "the server is away");
    log(LogLevel::warn, "something else");
  });
  EXPECT_EQ(lines(text), 2) << text;
  const std::string flood = stderr_of("warn", [] {
    for (int i = 0; i < 5000; ++i) log(LogLevel::warn, "message " + std::to_string(i));
  });
  EXPECT_GE(lines(flood), 100);
  EXPECT_LE(lines(flood), 400);
}

TEST(Log, ThreadsShareIt) {
  const std::string text = stderr_of("warn", [] {
    std::thread threads[4];
    for (int t = 0; t < 4; ++t) {
      threads[t] = std::thread([t] {
        for (int i = 0; i < 20; ++i) log(LogLevel::warn, std::to_string(t) + "/" + std::to_string(i));
      });
    }
    for (auto& thread : threads) thread.join();
  });
  EXPECT_EQ(lines(text), 80);
}

#if defined(MLOPS_FAULTS)
TEST(FaultPoint, KillsAtTheNthPass) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("MLOPS_KILL_AT", "test.point:3", 1);
    for (int i = 0; i < 2; ++i) fault_point("test.point");
    fault_point("test.other");
    fault_point("test.point");
    ::_exit(1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}
#endif

}  // namespace
}  // namespace mlops::base
