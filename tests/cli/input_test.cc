// What people type to the command: key=value, numbers, times, words that a shell must read back.
#include "cli/input.cc"  // NOLINT(bugprone-suspicious-include): the command is a program, not a library

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <ctime>
#include <limits>

namespace mlops::cli {
namespace {

TEST(Input, PairsAreCutAtTheFirstEquals) {
  EXPECT_EQ(*read_pair("a=b=c", "param"), std::make_pair(std::string("a"), std::string("b=c")));
  EXPECT_EQ(read_pair("a=", "param")->second, "");
  for (const char* word : {"", "a", "=", "=b"}) {
    const auto pair = read_pair(word, "tag");
    EXPECT_EQ(pair.status().code(), StatusCode::invalid_argument) << word;
    EXPECT_EQ(pair.status().message().substr(0, 3), "tag") << word;
  }
  EXPECT_EQ(read_pairs({"a=1", "b=2"}, "tag")->size(), 2u);
  EXPECT_FALSE(read_pairs({"a=1", "b"}, "tag").ok());
}

TEST(Input, Numbers) {
  EXPECT_EQ(read_number("0.31"), 0.31);
  EXPECT_EQ(read_number("+2"), 2);
  EXPECT_EQ(read_number("-.5e3"), -500);
  EXPECT_TRUE(std::isnan(*read_number("NaN")));
  EXPECT_TRUE(std::isnan(*read_number("nan")));
  EXPECT_EQ(read_number("-Infinity"), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(read_number("+inf"), std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::signbit(*read_number("-0")));
  EXPECT_EQ(read_number("5e-324"), 5e-324);
  EXPECT_EQ(read_number("1e-999"), 0);
  EXPECT_EQ(read_number("1.7976931348623157e308"), std::numeric_limits<double>::max());
  for (const char* text : {"", " 1", "1 ", "1,5", "1e", "0x10", "1e999", "-1e999", "+-1", "--1", "nan(1)", "one",
                           "1_000", "infinite", "."}) {
    EXPECT_FALSE(read_number(text)) << text;
  }
  EXPECT_EQ(read_whole("-9223372036854775808"), INT64_MIN);
  EXPECT_EQ(read_whole("+7"), 7);
  for (const char* text : {"", "1.0", "9223372036854775808", "+-7", "1 ", "a"}) EXPECT_FALSE(read_whole(text)) << text;
}

TEST(Input, Times) {
  EXPECT_EQ(read_time_ms("1700000000"), 1'700'000'000'000);
  EXPECT_EQ(read_time_ms("1700000000123"), 1'700'000'000'123);
  EXPECT_EQ(read_time_ms("1700000000.1239"), 1'700'000'000'124);
  EXPECT_EQ(read_time_ms("2024-05-01T12:00:00Z"), 1'714'564'800'000);
  EXPECT_EQ(read_time_ms("2024-05-01 12:00:00,25+02:00"), 1'714'557'600'250);
  EXPECT_EQ(read_time_ms("2024/05/01 12:00:00.123456789-0130"), 1'714'570'200'123);
  EXPECT_EQ(read_time_ms("2024-05-01T12:00Z"), 1'714'564'800'000);
  std::tm local{};
  local.tm_year = 124;
  local.tm_mon = 4;
  local.tm_mday = 1;
  local.tm_hour = 12;
  local.tm_isdst = -1;
  EXPECT_EQ(read_time_ms("2024-05-01 12:00:00"), std::int64_t{std::mktime(&local)} * 1000);
  for (const char* text :
       {"", "-1", "nan", "inf", "12:00:00", "2024-13-01T12:00:00", "2024-05-32T12:00:00", "2024-05-01",
        "2024-05-01T25:00:00", "2024-05-01T12:60:00", "2024-05-01T12:00:00.", "2024-05-01T12:00:00ZZ",
        "2024-05-01T12:00:00+", "2024-05-01T12:00:00+2", "1969-05-01T12:00:00Z", "1e300", "99999999999999999999"}) {
    EXPECT_FALSE(read_time_ms(text)) << text;
  }
}

TEST(Input, QuotedForAShell) {
  EXPECT_EQ(shell_quoted({"./train", "--lr=0.1", "a b", "", "it's", "gr\xc3\xbcn", "$HOME"}),
            "./train --lr=0.1 'a b' '' 'it'\\''s' 'gr\xc3\xbcn' '$HOME'");
  EXPECT_EQ(shell_quoted({"a\nb", "\xff'\\"}), "$'a\\x0ab' $'\\xff\\'\\\\'");
  // Longer than need be, a surrogate, beyond Unicode, cut off: no UTF-8.
  for (const char* bad :
       {"\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf0\x80\x80\x80", "\xe2\x82"}) {
    EXPECT_EQ(shell_quoted({bad}).substr(0, 4), "$'\\x");
  }
  EXPECT_EQ(shell_quoted({"\xf0\x9f\x99\x82 \xe2\x82\xac"}), "'\xf0\x9f\x99\x82 \xe2\x82\xac'");
}

}  // namespace
}  // namespace mlops::cli
