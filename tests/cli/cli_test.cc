// The command's printing, and the command itself: words, exit codes, JSON.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>

#include "cli/direction.cc"  // NOLINT(bugprone-suspicious-include)
#include "cli/json_out.cc"   // NOLINT(bugprone-suspicious-include): the command is a program, not a library
#include "cli/nearest.cc"    // NOLINT(bugprone-suspicious-include)
#include "cli/spark.cc"      // NOLINT(bugprone-suspicious-include)
#include "cli/terminal.cc"   // NOLINT(bugprone-suspicious-include)
#include "cli/text.cc"       // NOLINT(bugprone-suspicious-include)
#include "mlops/mlops.h"

namespace mlops::cli {
namespace {

TEST(JsonOut, NestsAndEscapes) {
  JsonOut out;
  out.begin_object().field("a", 1).field("b", "q\"\\\n\t\x01").key("c").begin_array();
  out.value(1.5).value(std::nan("")).value(-std::numeric_limits<double>::infinity()).value(true);
  out.begin_object().end_object().end_array().field("d", std::uint64_t{18446744073709551615u}).end_object();
  EXPECT_EQ(out.text(),
            "{\"a\":1,\"b\":\"q\\\"\\\\\\n\\t\\u0001\",\"c\":[1.5,\"NaN\",\"-Infinity\",true,{}],\"d\":"
            "18446744073709551615}");
}

TEST(Text, SaysNumbersAsPeopleRead) {
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(1234567), "1,234,567");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(duration_text(3'723'000), "1 h 2 min");
  EXPECT_EQ(one_line("a\nb\x1b[0mc", 5), "a b …");
  EXPECT_EQ(one_line("a\nb", 3), "a b");
  EXPECT_EQ(one_line("grün", 4), "grün");
  EXPECT_EQ(exit_code(Status(StatusCode::not_found, "")), kNotFound);
  EXPECT_EQ(exit_code(Status(StatusCode::unavailable, "")), kUnavailable);
}

TEST(Direction, IsKnownByWordsOfTheNameAndNeverGuessed) {
  for (const char* name : {"loss", "val/Loss", "valLoss", "rmse", "step_time", "epochTime", "word_error_rate",
                           "latency_p99", "logloss", "MSELoss", "step ms", "time_to_accuracy", "test.err"}) {
    EXPECT_EQ(direction_of(name), Direction::lower) << name;
  }
  for (const char* name :
       {"accuracy", "top5_accuracy", "f1", "valF1Score", "val-F1", "auc", "reward", "mAP@50", "R2"}) {
    EXPECT_EQ(direction_of(name), Direction::higher) << name;
  }
  for (const char* name : {"energy", "power", "confidence", "certainty", "ferry", "epoch", "lr", "accelerator", "timer",
                           "f10", "", "--", "müll"}) {
    EXPECT_EQ(direction_of(name), Direction::unknown) << name;
  }
  const Told told{{"accuracy", "energy"}, {"loss"}};
  EXPECT_EQ(told.of("accuracy"), Direction::lower);
  EXPECT_EQ(told.of("energy"), Direction::lower);
  EXPECT_EQ(told.of("loss"), Direction::higher);
  EXPECT_EQ(told.of("power"), Direction::unknown);
}

TEST(Nearest, IsTheWordThatWasMeant) {
  const std::vector<std::string> commands = {"runs", "run", "show", "status", "stuck", "sync", "doctor"};
  EXPECT_EQ(nearest("rnus", commands), "runs");
  EXPECT_EQ(nearest("shwo", commands), "show");
  EXPECT_EQ(nearest("statsu", commands), "status");
  EXPECT_EQ(nearest("snyc", commands), "sync");
  EXPECT_EQ(nearest("doktor", commands), "doctor");
  EXPECT_EQ(nearest("rum", commands), "run");
  for (const char* far : {"", "x", "frobnicate", "ls", "docs"}) EXPECT_EQ(nearest(far, commands), "") << far;
}

TEST(Spark, GoesFromTheLowestToTheHighest) {
  Curve curve;
  for (int i = 0; i < 8; ++i) {
    curve.x.push_back(i);
    curve.count.push_back(1);
    curve.mean.push_back(i == 3 ? std::nan("") : i);
  }
  EXPECT_EQ(spark(curve, 8), "▁▂▃ ▅▆▇█");
  EXPECT_EQ(spark(Curve(), 8), "");
  curve.mean.assign(8, 5.0);
  EXPECT_EQ(columns_of(spark(curve, 8)), 8u);
}

struct Answer {
  int code = -1;
  std::string out;
};

class Command : public testing::Test {
 protected:
  void SetUp() override {
    binary_ = std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "src/cli/mlops";
    if (!std::filesystem::exists(binary_)) GTEST_SKIP() << "the command is not built: " << binary_;
    root_ = testing::TempDir() + "mlops-cli-XXXXXX";
    ASSERT_NE(::mkdtemp(root_.data()), nullptr);
    Options options;
    options.root = root_ + "/root";
    options.deliver = false;
    Client client = Client::open(options).value();
    mlops::Run run = client.start_run("exp", {.name = "first"}).value();
    id_ = run.id();
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(run.log_metric("loss", 0.5 * i, i).ok());
    EXPECT_TRUE(run.log_param("lr", 0.1).ok());
    ASSERT_TRUE(run.end().ok());
    ASSERT_TRUE(client.close().ok());
  }
  void TearDown() override {
    std::error_code error;
    if (!root_.empty()) std::filesystem::remove_all(root_, error);
  }

  Answer ask(const std::string& words) const {
    Answer answer;
    const std::string line =
        "env -u MLFLOW_TRACKING_URI -u MLOPS_HOME " + binary_.native() + " " + words + " 2>/dev/null";
    FILE* pipe = ::popen(line.c_str(), "r");
    std::array<char, 4096> buffer;
    for (std::size_t n = 0; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) != 0;)
      answer.out.append(buffer.data(), n);
    answer.code = WEXITSTATUS(::pclose(pipe));
    return answer;
  }
  std::string at() const { return " --root " + root_ + "/root"; }

  std::filesystem::path binary_;
  std::string root_, id_;
};

TEST_F(Command, ListsAndShows) {
  const Answer runs = ask("runs" + at());
  EXPECT_EQ(runs.code, 0);
  EXPECT_EQ(runs.out.rfind(id_ + "\tfirst\texp\tFINISHED\t", 0), 0u) << runs.out;
  EXPECT_EQ(ask("runs --experiment none" + at()).out, "");
  const Answer json = ask("runs --json" + at());
  EXPECT_NE(json.out.find("\"id\":\"" + id_ + "\""), std::string::npos);
  const Answer show = ask("show --json " + id_.substr(0, 8) + at());
  EXPECT_EQ(show.code, 0);
  EXPECT_NE(show.out.find("\"params\":{\"lr\":\"0.1\"}"), std::string::npos) << show.out;
  const Answer metric = ask("show " + id_ + " --metric loss --json" + at());
  EXPECT_NE(metric.out.find("\"value\":[0,0.5,1,1.5,2,2.5,3,3.5,4,4.5]"), std::string::npos) << metric.out;
  EXPECT_EQ(ask("status" + at()).code, 0);
  EXPECT_NE(ask("status --json" + at()).out.find("\"accepted\":10"), std::string::npos);
  EXPECT_EQ(ask("version").out, "mlops " MLOPS_VERSION_STRING "\n");
}

TEST_F(Command, ExitCodesSayWhatWentWrong) {
  EXPECT_EQ(ask("").code, kUsage);
  EXPECT_EQ(ask("nonsense").code, kUsage);
  EXPECT_EQ(ask("--help").code, 0);
  EXPECT_EQ(ask("sync --help").code, 0);
  EXPECT_EQ(ask("runs --root " + root_ + "/nothing").code, kNotFound);
  EXPECT_EQ(ask("show ffffffff" + at()).code, kNotFound);
  EXPECT_EQ(ask("show " + id_ + " --metric none" + at()).code, kNotFound);
  EXPECT_EQ(ask("sync" + at()).code, kUsage);  // nobody said where to
  EXPECT_EQ(ask("sync --to nowhere" + at()).code, kUsage);
  EXPECT_EQ(ask("verify " + id_ + " --to http://127.0.0.1:9" + at()).code, kNotFound);  // not delivered yet
}

TEST_F(Command, SyncCountsWhatItCannotDeliver) {
  const Answer dry = ask("sync --dry-run --json --to http://127.0.0.1:9" + at());
  EXPECT_EQ(dry.code, 0);
  EXPECT_NE(dry.out.find("\"waiting\":10"), std::string::npos) << dry.out;
  const Answer real = ask("sync --json --deadline 2 --to http://127.0.0.1:9" + at());
  EXPECT_EQ(real.code, kUnavailable) << real.out;
  EXPECT_NE(real.out.find("\"waiting\":10"), std::string::npos) << real.out;
  EXPECT_NE(real.out.find("forgets it again"), std::string::npos) << real.out;
  EXPECT_NE(ask("status --json" + at()).out.find("\"destinations\":[]"), std::string::npos);
  EXPECT_EQ(ask("remote add lab http://127.0.0.1:9" + at()).code, 0);  // who names it means it
  const Answer named = ask("sync --json --deadline 2 --to lab" + at());
  EXPECT_NE(named.out.find("Never reached; a typo? `mlops remote remove lab`"), std::string::npos) << named.out;
  const Answer status = ask("status --json" + at());
  EXPECT_EQ(status.code, kDifferences);
  EXPECT_NE(status.out.find("\"waiting\":10"), std::string::npos) << status.out;
  EXPECT_NE(status.out.find("\"reached\":false"), std::string::npos) << status.out;
}

}  // namespace
}  // namespace mlops::cli
