#include "view/curve.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <random>

namespace mlops::view {
namespace {

TEST(Curve, KeepsEachXWhileThereIsRoom) {
  CurveBuilder builder(8);
  for (const int x : {5, 3, 4, 5}) builder.add(x, x * 1.0);
  builder.add(4, NAN);
  const Curve curve = builder.take();
  EXPECT_EQ(curve.x, (std::vector<std::int64_t>{3, 4, 5}));
  EXPECT_EQ(curve.count, (std::vector<std::uint64_t>{1, 2, 2}));
  EXPECT_EQ(curve.mean, (std::vector<double>{3, 4, 5}));
}

TEST(Curve, NeverHoldsMoreBucketsAndLosesNoPoint) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 50; ++round) {
    const std::size_t most = 2 + random() % 60;
    CurveBuilder builder(most);
    std::map<std::int64_t, double> points;
    const std::int64_t base = static_cast<std::int64_t>(random());
    for (int i = 0; i < 500; ++i) {
      const std::int64_t x = base / 2 + static_cast<std::int64_t>(random() % (1u << (random() % 20)));
      const double value = static_cast<double>(random() % 1000);
      builder.add(x, value);
      points[x] = value;
    }
    const Curve curve = builder.take();
    std::uint64_t count = 0;
    double low = INFINITY, high = -INFINITY;
    for (std::size_t i = 0; i < curve.x.size(); ++i) {
      if (i != 0) {
        EXPECT_LT(curve.x[i - 1], curve.x[i]);
      }
      EXPECT_LE(curve.min[i], curve.mean[i] + 1e-9);
      EXPECT_GE(curve.max[i], curve.mean[i] - 1e-9);
      EXPECT_TRUE(points.count(curve.x[i])) << "x is a point's";
      count += curve.count[i];
      low = std::min(low, curve.min[i]);
      high = std::max(high, curve.max[i]);
    }
    EXPECT_EQ(count, 500u);
    EXPECT_LE(curve.x.size(), most);
    EXPECT_EQ(curve.x.front(), points.begin()->first);
    EXPECT_LE(low, high);
  }
}

TEST(Curve, SurvivesTheEndsOfTheNumbers) {
  CurveBuilder builder(4);
  builder.add(std::numeric_limits<std::int64_t>::min(), 1);
  builder.add(std::numeric_limits<std::int64_t>::max(), 2);
  builder.add(0, NAN);
  const Curve curve = builder.take();
  ASSERT_GE(curve.x.size(), 2u);
  EXPECT_EQ(curve.mean.front(), 1);
  EXPECT_EQ(curve.mean.back(), 2);
}

}  // namespace
}  // namespace mlops::view
