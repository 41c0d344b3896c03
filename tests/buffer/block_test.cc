// Blocks: every double comes back bit for bit, sizes stay below the promised ones, and no bytes hurt the decoder.
#include <cfenv>
#include <string>

#include "base/base.h"
#include "buffer/envelope.h"
#include "data.h"

namespace mlops::buffer {
namespace {

void expect_round_trip(const Block& block) {
  const std::string bytes = encode_block(block);
  Block back;
  const Status s = decode_block(bytes, &back);
  ASSERT_TRUE(s.ok()) << s.to_string();
  ASSERT_TRUE(same_bits(block, back)) << block.size() << " points";
}

TEST(Block, EmptyAndOnePoint) {
  Block block;
  block.first_seq = 77;
  block.beat = 3;
  expect_round_trip(block);
  block.metric = {4'000'000'000u};
  block.step = {std::numeric_limits<std::int64_t>::min()};
  block.time_ms = {std::numeric_limits<std::int64_t>::max()};
  block.value = {-0.0};
  expect_round_trip(block);
}

TEST(Block, RoundTripOfEveryShapeAndCut) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    for (int shape = 0; shape < kShapes; ++shape) {
      for (int steps : {1, 2, 3, 7, 40, 700}) expect_round_trip(make_block(random, shape, steps, 1 + seed % 3 * 10));
    }
  }
}

// Anything the API can hand over, in any mixture.
TEST(Block, RoundTripOfAnything) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    Block block;
    block.first_seq = random();
    block.beat = random();
    const std::size_t n = 1 + random() % 400, metrics = 1 + random() % 12;
    std::int64_t step = 0, time = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint64_t r = random();
      if (r % 5 == 0) step = static_cast<std::int64_t>(random());
      if (r % 7 == 0)
        step = r % 2 != 0 ? std::numeric_limits<std::int64_t>::max() : std::numeric_limits<std::int64_t>::min();
      if (r % 3 != 0 && step < std::numeric_limits<std::int64_t>::max()) ++step;
      if (r % 11 == 0) time = static_cast<std::int64_t>(random());
      const auto m = static_cast<std::uint32_t>(random() % metrics);
      block.metric.push_back(seed % 4 == 0 ? m * 0x10000001u : m);
      block.step.push_back(step);
      block.time_ms.push_back(time);
      block.value.push_back(draw(random, static_cast<int>((m + seed) % kShapes), static_cast<int>(m), 1));
    }
    expect_round_trip(block);
  }
}

TEST(Block, DecimalsNearTheLimits) {
  Block block;
  const double values[] = {0.1,
                           0.2,
                           0.30000000000000004,
                           1e15,
                           1e-8,
                           123456.12345678,
                           2251799813685247.0,
                           9007199254740993.0,
                           -0.0001,
                           0.0,
                           1e300,
                           5e-324,
                           4503599627370496.5,
                           -99999999.99999999};
  for (std::size_t a = 0; a < std::size(values); ++a) {
    for (std::size_t b = 0; b < std::size(values); ++b) {
      for (const double v : {values[a], values[b], values[a]}) {
        block.metric.push_back(static_cast<std::uint32_t>(a * 100 + b));
        block.step.push_back(static_cast<std::int64_t>(b));
        block.time_ms.push_back(0);
        block.value.push_back(v);
      }
    }
  }
  expect_round_trip(block);
}

// The drain thread inherits the host's floating-point environment; another process decodes with its own.
TEST(Block, RoundingModeOfTheHostChangesNothing) {
  std::mt19937_64 random(9);
  const Block block = make_block(random, 2, 300, 3);
  const std::string usual = encode_block(block);
  for (const int mode : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
    std::fesetround(mode);
    const std::string bytes = encode_block(block);
    Block back;
    const bool good = decode_block(usual, &back).ok() && same_bits(block, back);
    const int after = std::fegetround();
    std::fesetround(FE_TONEAREST);
    EXPECT_EQ(bytes, usual);
    EXPECT_TRUE(good);
    EXPECT_EQ(after, mode);
  }
}

TEST(Block, BytesPerPoint) {
  const double most[] = {7.2, 3.3, 1.7, 1.0, 0.2};
  for (int shape = 0; shape <= 4; ++shape) {
    for (const int steps : {100, 1000}) {
      std::mt19937_64 random(1);
      const Block block = make_block(random, shape, steps, 20);
      const double bytes = static_cast<double>(encode_block(block).size()) / static_cast<double>(block.size());
      EXPECT_LE(bytes, most[shape]) << "shape " << shape << ", " << steps << " steps";
    }
  }
}

TEST(Block, RegularColumnsCostNearlyNothing) {
  Block block;
  for (int i = 0; i < 20'000; ++i) {
    block.metric.push_back(static_cast<std::uint32_t>(i % 20));
    block.step.push_back(i / 20);
    block.time_ms.push_back(1'790'000'000'000 + i / 20 * 10);
    block.value.push_back(1);
  }
  EXPECT_LT(encode_block(block).size(), 400u);
}

TEST(Block, EveryBitFlipIsSeen) {
  std::mt19937_64 random(4);
  const std::string bytes = encode_block(make_block(random, 1, 12, 4));
  Block back;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string bad = bytes;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    EXPECT_EQ(decode_block(bad, &back).code(), StatusCode::data_loss) << "bit " << bit;
  }
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_EQ(decode_block(std::string_view(bytes).substr(0, size), &back).code(), StatusCode::data_loss);
  EXPECT_EQ(decode_block(bytes + "x", &back).code(), StatusCode::data_loss);
}

// Damage that carries a right checksum: the decoder answers anything but never reads past the end (ASan) or crashes.
TEST(Block, ForgedBytesDoNoHarm) {
  std::size_t read = 0;
  for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
    std::mt19937_64 random(seed);
    const std::string bytes =
        encode_block(make_block(random, static_cast<int>(seed % kShapes), 1 + seed % 60, 1 + seed % 7));
    std::string body = bytes.substr(kEnvelopeBytes);
    if (seed % 10 == 0) {
      for (char& c : body) c = static_cast<char>(random());
    } else {
      for (std::uint64_t flips = 1 + random() % 4; flips > 0; --flips)
        body[random() % body.size()] = static_cast<char>(random());
      if (seed % 3 == 0) body.resize(random() % body.size());
    }
    Block back;
    const Status s = decode_block(seal(kBlockMark, body), &back);
    if (s.ok()) {
      ++read;
      EXPECT_EQ(back.value.size(), back.metric.size());
      EXPECT_EQ(back.step.size(), back.metric.size());
      EXPECT_EQ(back.time_ms.size(), back.metric.size());
    } else {
      EXPECT_EQ(s.code(), StatusCode::data_loss) << "seed " << seed;
    }
  }
  EXPECT_GT(read, 100u);  // flips in raw planes are values like any other: the test reached the columns
}

TEST(Block, NewerFormatIsSaid) {
  const std::string body = "whatever";
  std::string bytes = {kBlockMark, static_cast<char>(kFormat + 1)};
  put_u64(&bytes, base::hash64(body, static_cast<std::uint64_t>(kBlockMark) | std::uint64_t{kFormat + 1} << 8));
  bytes += body;
  Block back;
  const Status s = decode_block(bytes, &back);
  EXPECT_EQ(s.code(), StatusCode::failed_precondition);
  EXPECT_NE(s.message().find("newer mlops"), std::string_view::npos);
}

}  // namespace
}  // namespace mlops::buffer
