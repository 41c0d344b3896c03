// What is refused, what is not, and that refusals name the rule.
#include "model/limits.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <random>
#include <string>

#include "mlops/run.h"

namespace mlops::model {
namespace {

std::string times(const char* text, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += text;
  return out;
}

TEST(Utf8, TakesWhatRfc3629Takes) {
  const struct {
    std::string_view bytes;
    bool good;
  } cases[] = {
      {"", true},
      {"plain", true},
      {{"a\0b", 3}, true},
      {"\xC2\x80", true},           // U+0080
      {"\xDF\xBF", true},           // U+07FF
      {"\xE0\xA0\x80", true},       // U+0800
      {"\xED\x9F\xBF", true},       // U+D7FF
      {"\xEE\x80\x80", true},       // U+E000
      {"\xEF\xBF\xBF", true},       // U+FFFF
      {"\xF0\x90\x80\x80", true},   // U+10000
      {"\xF4\x8F\xBF\xBF", true},   // U+10FFFF
      {"\x80", false},              // a continuation alone
      {"\xC0\x80", false},          // overlong NUL
      {"\xC1\xBF", false},          // overlong
      {"\xE0\x9F\xBF", false},      // overlong
      {"\xF0\x8F\xBF\xBF", false},  // overlong
      {"\xED\xA0\x80", false},      // U+D800
      {"\xED\xBF\xBF", false},      // U+DFFF
      {"\xF4\x90\x80\x80", false},  // U+110000
      {"\xF5\x80\x80\x80", false},  // beyond
      {"\xFE", false},
      {"\xFF", false},
      {"\xC2", false},  // cut off
      {"\xE2\x82", false},
      {"\xF0\x9F\x98", false},
      {"\xC2 ", false},  // wrong continuation
      {"\xE2\x28\xA1", false},
      {"ok\xC3", false},
  };
  for (const auto& c : cases) EXPECT_EQ(is_utf8(c.bytes), c.good) << testing::PrintToString(c.bytes);
}

TEST(Utf8, CountsAndCutsCodePoints) {
  const std::string text = "aé漢😀";
  EXPECT_EQ(count_chars(text), 4u);
  EXPECT_EQ(cut_chars(text, 0), "");
  EXPECT_EQ(cut_chars(text, 1), "a");
  EXPECT_EQ(cut_chars(text, 2), "aé");
  EXPECT_EQ(cut_chars(text, 3), "aé漢");
  EXPECT_EQ(cut_chars(text, 4), text);
  EXPECT_EQ(cut_chars(text, 400), text);
  EXPECT_EQ(count_chars(cut_chars(times("ü", 7000), 6000)), 6000u);
}

TEST(Key, IsWhatMlflowTakes) {
  const struct {
    std::string key;
    bool good;
    const char* says;
  } cases[] = {
      {"loss", true, ""},
      {"val/loss", true, ""},
      {"a b-c_d.e:f/g", true, ""},
      {" ", true, ""},
      {"-", true, ""},
      {"Größe", true, ""},
      {"学習率", true, ""},
      {"x²", true, ""},  // a digit to Python
      {"mlflow.runName", true, ""},
      {"a..b", true, ""},
      {"a/.hidden", true, ""},
      {"a/...", true, ""},
      {times("k", 250), true, ""},
      {times("ü", 250), true, ""},
      {"", false, "empty"},
      {times("k", 251), false, "251 characters"},
      {times("k", 300), false, "at most 250"},
      {"/a", false, "plain path"},
      {"a/", false, "plain path"},
      {"a//b", false, "plain path"},
      {"/", false, "plain path"},
      {".", false, "plain path"},
      {"..", false, "plain path"},
      {"..a", false, "plain path"},
      {"./a", false, "plain path"},
      {"a/.", false, "plain path"},
      {"a/./b", false, "plain path"},
      {"a/../b", false, "plain path"},
      {"a/..", false, "plain path"},
      {"loss\n", false, "refuses"},
      {"a\tb", false, "refuses"},
      {"a#b", false, "refuses"},
      {"a@b", false, "refuses"},
      {"a(b)", false, "refuses"},
      {"a\\b", false, "refuses"},
      {"a%", false, "refuses"},
      {"loss €", false, "refuses"},     // a symbol
      {"e\xCC\x81", false, "refuses"},  // a combining mark
      {"😀", false, "refuses"},
      {std::string("a\0b", 3), false, "refuses"},
      {"a\xFFz", false, "UTF-8"},
      {"a\xED\xA0\x80", false, "UTF-8"},
  };
  for (const auto& c : cases) {
    const Status s = check_key("metric key", c.key);
    EXPECT_EQ(s.ok(), c.good) << testing::PrintToString(c.key) << " " << s.to_string();
    if (c.good) continue;
    EXPECT_EQ(s.code(), StatusCode::invalid_argument);
    EXPECT_NE(s.message().find("metric key"), std::string_view::npos);
    EXPECT_NE(s.message().find(c.says), std::string_view::npos) << s.to_string();
    EXPECT_TRUE(is_utf8(s.message())) << "a message is text whatever the key was";
    EXPECT_LT(s.message().size(), 400u);
    EXPECT_EQ(s.message().find('\0'), std::string_view::npos);
  }
}

TEST(Key, NeverReadsPastGarbage) {
  std::mt19937_64 random(20240611);
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes(random() % 12, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    const std::string exact(bytes);  // heap memory of just this size, for the sanitizers
    const Status s = check_key("key", exact);
    if (s.ok()) {
      EXPECT_TRUE(is_utf8(exact));
      EXPECT_GT(exact.size(), 0u);
    } else {
      EXPECT_TRUE(is_utf8(s.message()));
    }
  }
}

TEST(Text, IsUtf8WithoutNulWithinItsLength) {
  EXPECT_TRUE(check_text("param value", "x", 6000, false).ok());
  EXPECT_TRUE(check_text("param value", "", 6000, true).ok());
  EXPECT_TRUE(check_text("param value", times("漢", 6000), 6000, true).ok());
  EXPECT_TRUE(check_text("note", "# any\n\ttext €😀", 8000, true).ok());
  const struct {
    std::string text;
    const char* says;
  } cases[] = {{"", "empty"},
               {std::string("a\0b", 3), "NUL"},
               {"\xC0\x80", "UTF-8"},
               {times("x", 6001), "6001 characters: at most 6000"},
               {times("é", 6001), "6001 characters"}};
  for (const auto& c : cases) {
    const Status s = check_text("param value", c.text, 6000, false);
    EXPECT_EQ(s.code(), StatusCode::invalid_argument);
    EXPECT_NE(s.message().find("param value"), std::string_view::npos);
    EXPECT_NE(s.message().find(c.says), std::string_view::npos) << s.to_string();
  }
}

TEST(FormatDouble, IsPythonsRepr) {
  const struct {
    double v;
    const char* text;
  } cases[] = {
      {0.0, "0.0"},
      {-0.0, "-0.0"},
      {1.0, "1.0"},
      {-17.0, "-17.0"},
      {0.001, "0.001"},
      {0.1, "0.1"},
      {1e-4, "0.0001"},
      {1.5e-4, "0.00015"},
      {1e-5, "1e-05"},
      {1.25e-7, "1.25e-07"},
      {123456.789, "123456.789"},
      {1e15, "1000000000000000.0"},
      {1234567890123456.0, "1234567890123456.0"},
      {1e16, "1e+16"},
      {1.5e16, "1.5e+16"},
      {1e22, "1e+22"},
      {1e100, "1e+100"},
      {2.0 / 3.0, "0.6666666666666666"},
      {std::numeric_limits<double>::max(), "1.7976931348623157e+308"},
      {std::numeric_limits<double>::denorm_min(), "5e-324"},
      {std::numeric_limits<double>::quiet_NaN(), "nan"},
      {-std::numeric_limits<double>::quiet_NaN(), "nan"},
      {std::numeric_limits<double>::infinity(), "inf"},
      {-std::numeric_limits<double>::infinity(), "-inf"},
  };
  for (const auto& c : cases) EXPECT_EQ(format_double(c.v), c.text);
  EXPECT_EQ(format_float(0.1f), "0.1");
  EXPECT_EQ(format_float(1e-3f), "0.001");
  EXPECT_EQ(format_float(16777216.0f), "16777216.0");
}

TEST(FormatDouble, ReadsBackTheSame) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20'000; ++i) {
    const std::uint64_t bits = random();
    double v = 0;
    static_assert(sizeof v == sizeof bits);
    std::memcpy(&v, &bits, sizeof v);
    if (v != v) continue;
    EXPECT_EQ(std::strtod(format_double(v).c_str(), nullptr), v);
  }
}

TEST(Value, IsWrittenAsPythonWritesIt) {
  EXPECT_EQ(Value("text").text(), "text");
  EXPECT_EQ(Value(std::string("s")).text(), "s");
  EXPECT_EQ(Value(true).text(), "True");
  EXPECT_EQ(Value(false).text(), "False");
  EXPECT_EQ(Value(42).text(), "42");
  EXPECT_EQ(Value(-1L).text(), "-1");
  EXPECT_EQ(Value(std::numeric_limits<std::uint64_t>::max()).text(), "18446744073709551615");
  EXPECT_EQ(Value(1e-3).text(), "0.001");
  EXPECT_EQ(Value(0.3f).text(), "0.3");
  EXPECT_EQ(Value(std::numeric_limits<float>::quiet_NaN()).text(), "nan");
}

TEST(RunStatusName, IsMlflows) {
  EXPECT_STREQ(run_status_name(RunStatus::running), "RUNNING");
  EXPECT_STREQ(run_status_name(RunStatus::scheduled), "SCHEDULED");
  EXPECT_STREQ(run_status_name(RunStatus::finished), "FINISHED");
  EXPECT_STREQ(run_status_name(RunStatus::failed), "FAILED");
  EXPECT_STREQ(run_status_name(RunStatus::killed), "KILLED");
}

}  // namespace
}  // namespace mlops::model
