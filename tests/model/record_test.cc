// Ops as bytes (golden, round trip, garbage), the server's view of points, summaries.
#include "model/record.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace mlops::model {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kMax = std::numeric_limits<double>::max();

Uid uid_of(std::uint8_t first) {
  Uid uid;
  for (std::size_t i = 0; i < uid.bytes.size(); ++i) uid.bytes[i] = static_cast<std::uint8_t>(first + i);
  return uid;
}

Op sample() {
  Op op;
  op.ticket = 0x0102030405060708;
  op.time_ms = 1'700'000'000'123;
  op.run = uid_of(0x10);
  op.parent = uid_of(0x80);
  op.kind = OpKind::run_start;
  op.number = -2;
  op.key = "digits";
  op.value = "run";
  op.pairs = {{"a", "1"}, {"", ""}};
  return op;
}

void expect_equal(const Op& a, const Op& b) {
  EXPECT_EQ(a.ticket, b.ticket);
  EXPECT_EQ(a.time_ms, b.time_ms);
  EXPECT_EQ(a.run, b.run);
  EXPECT_EQ(a.parent, b.parent);
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(a.number, b.number);
  EXPECT_EQ(a.key, b.key);
  EXPECT_EQ(a.value, b.value);
  EXPECT_EQ(a.pairs, b.pairs);
}

std::string hex(const std::string& bytes) {
  std::string out;
  char digits[3];
  for (const char c : bytes) {
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned>(static_cast<std::uint8_t>(c)));
    out += digits;
  }
  return out;
}

TEST(Op, BytesOfVersionOneNeverChange) {
  EXPECT_EQ(hex(encode_op(sample())),
            "01"
            "01"
            "0807060504030201"
            "7b68e5cf8b010000"
            "feffffffffffffff"
            "101112131415161718191a1b1c1d1e1f"
            "808182838485868788898a8b8c8d8e8f"
            "06000000"
            "646967697473"
            "03000000"
            "72756e"
            "02000000"
            "01000000"
            "61"
            "01000000"
            "31"
            "00000000"
            "00000000");
}

TEST(Op, RoundTrips) {
  std::mt19937_64 random(42);
  const auto text = [&random](std::size_t longest) {
    std::string out(random() % (longest + 1), '\0');
    for (char& c : out) c = static_cast<char>(random());
    return out;
  };
  expect_equal(decode_op(encode_op(sample())).value(), sample());
  for (int i = 0; i < 500; ++i) {
    Op op;
    op.ticket = random();
    op.time_ms = static_cast<std::int64_t>(random());
    op.number = static_cast<std::int64_t>(random());
    op.kind = static_cast<OpKind>(1 + random() % 11);
    op.run = Uid::random();
    op.parent = i % 2 == 0 ? Uid{} : Uid::random();
    op.key = text(300);
    op.value = text(i % 50 == 0 ? 32'000 : 60);
    op.pairs.resize(random() % 5);
    for (auto& [k, v] : op.pairs) k = text(20), v = text(100);
    auto back = decode_op(encode_op(op));
    ASSERT_TRUE(back.ok()) << back.status().to_string();
    expect_equal(*back, op);
  }
}

TEST(Op, EveryPrefixAndEverySuffixIsDamage) {
  const std::string bytes = encode_op(sample());
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const std::string cut(bytes.data(), n);
    const auto op = decode_op(cut);
    ASSERT_FALSE(op.ok()) << n;
    EXPECT_EQ(op.status().code(), StatusCode::data_loss);
    EXPECT_FALSE(op.status().message().empty());
  }
  EXPECT_EQ(decode_op(bytes + '\0').status().code(), StatusCode::data_loss);
}

TEST(Op, RefusesWrongVersionKindAndLengths) {
  const std::string good = encode_op(sample());
  const struct {
    std::size_t at;
    char byte;
    const char* says;
  } cases[] = {{0, 0, "version"},     {0, 2, "version"},     {1, 0, "kind"},        {1, 20, "kind"},
               {1, '\xFF', "kind"},   {61, '\x7F', "key"},   {61, '\xFF', "key"},   {58, '\xF0', "key"},
               {71, '\x7F', "value"}, {68, '\xF0', "value"}, {78, '\x7F', "pairs"}, {75, 3, "pair"}};
  for (const auto& c : cases) {
    std::string bad = good;
    bad[c.at] = c.byte;
    const auto op = decode_op(bad);
    ASSERT_FALSE(op.ok()) << c.at;
    EXPECT_EQ(op.status().code(), StatusCode::data_loss);
    EXPECT_NE(op.status().message().find(c.says), std::string_view::npos) << op.status().to_string();
  }
}

// Any bytes give an op or data_loss; what is taken encodes to the same bytes again, so nothing was invented.
TEST(Op, FuzzedDecodeNeverOverreads) {
  std::mt19937_64 random(0x6D6C6F7073);
  const std::string good = encode_op(sample());
  int taken = 0;
  for (int i = 0; i < 200'000; ++i) {
    std::string bytes;
    if (i % 2 == 0) {
      bytes.resize(random() % 160);
      for (char& c : bytes) c = static_cast<char>(random());
      if (!bytes.empty()) bytes[0] = 1;
      if (bytes.size() > 1) bytes[1] = static_cast<char>(1 + random() % 10);
    } else {
      bytes = good.substr(0, random() % 8 == 0 ? random() % good.size() : good.size());
      for (std::uint64_t flips = 1 + random() % 3; flips > 0 && !bytes.empty(); --flips) {
        bytes[random() % bytes.size()] ^= static_cast<char>(1u << random() % 8);
      }
    }
    bytes.shrink_to_fit();
    const auto op = decode_op(bytes);
    if (!op.ok()) {
      ASSERT_EQ(op.status().code(), StatusCode::data_loss);
      continue;
    }
    ++taken;
    ASSERT_EQ(encode_op(*op), bytes);
  }
  EXPECT_GT(taken, 1000) << "flips in numbers and texts leave an op an op";
}

TEST(Op, LimitsKeepItBelowAJournalRecord) {
  Op op = sample();
  op.key.assign(250 * 4, 'k');
  op.value.assign(8000 * 4, 'v');
  EXPECT_LT(encode_op(op).size(), 48u * 1024);
}

TEST(Point, SameOnServer) {
  const Point base{5, 1000, 0.5};
  EXPECT_TRUE(same_on_server(base, base));
  EXPECT_FALSE(same_on_server(base, {6, 1000, 0.5}));
  EXPECT_FALSE(same_on_server(base, {5, 1001, 0.5}));
  const struct {
    double a, b;
    bool same;
  } cases[] = {{0.5, 0.5000001, false}, {0.0, -0.0, true},    {kNan, kNan, true}, {kNan, -kNan, true},
               {kNan, 0.0, false},      {0.0, kNan, false},   {kInf, kMax, true}, {-kInf, -kMax, true},
               {kInf, kInf, true},      {kInf, -kInf, false}, {kInf, kNan, false}};
  for (const auto& c : cases) {
    EXPECT_EQ(same_on_server({5, 1000, c.a}, {5, 1000, c.b}), c.same) << c.a << " " << c.b;
    EXPECT_EQ(same_on_server({5, 1000, c.b}, {5, 1000, c.a}), c.same) << c.b << " " << c.a;
  }
}

TEST(Summary, KeepsTheServersLatest) {
  const struct {
    std::vector<Point> points;
    std::size_t last;
  } cases[] = {
      {{{0, 10, 1}, {1, 5, 2}}, 1},     // a greater step wins over a later time
      {{{1, 5, 2}, {0, 10, 1}}, 0},     // whatever the order
      {{{1, 5, 2}, {1, 6, 1}}, 1},      // then time
      {{{1, 5, 2}, {1, 5, 1}}, 0},      // then value
      {{{1, 5, -1}, {1, 5, kNan}}, 1},  // NaN counts as 0 there
      {{{1, 5, 1}, {1, 5, kNan}}, 0},
      {{{1, 5, 1}, {1, 5, kInf}}, 1},
      {{{INT64_MIN, 0, 1}, {INT64_MAX, 0, 2}}, 1},
      {{{-3, 0, 7}}, 0},
  };
  for (const auto& c : cases) {
    Summary s;
    for (const Point& p : c.points) s.add(p);
    const Point& want = c.points[c.last];
    EXPECT_EQ(s.count, c.points.size());
    EXPECT_EQ(s.last.step, want.step);
    EXPECT_EQ(s.last.time_ms, want.time_ms);
    EXPECT_TRUE(s.last.value == want.value || (std::isnan(s.last.value) && std::isnan(want.value)));
  }
}

TEST(Summary, RangeLeavesNanOut) {
  Summary s;
  EXPECT_TRUE(std::isnan(s.min) && std::isnan(s.max));
  s.add({0, 0, kNan});
  EXPECT_TRUE(std::isnan(s.min) && std::isnan(s.max));
  s.add({1, 0, 3});
  EXPECT_EQ(s.min, 3);
  EXPECT_EQ(s.max, 3);
  s.add({2, 0, kNan});
  s.add({3, 0, -1});
  s.add({4, 0, -1});
  s.add({5, 0, kInf});
  EXPECT_EQ(s.count, 6u);
  EXPECT_EQ(s.min, -1);
  EXPECT_EQ(s.min_step, 3) << "where it was first reached";
  EXPECT_EQ(s.max, kInf);
  EXPECT_EQ(s.max_step, 5);
}

}  // namespace
}  // namespace mlops::model
