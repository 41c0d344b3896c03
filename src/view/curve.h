// CurveBuilder: a metric's points of any number in a bounded number of buckets, in one pass and any order.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "mlops/reader.h"

namespace mlops::view {

/// Buckets are equally wide in x: 2^shift. The width begins at 1 and doubles, joining neighbours, when the points no
/// longer fit, so each x has a bucket of its own as long as there is room.
class CurveBuilder {
 public:
  /// most >= 2.
  explicit CurveBuilder(std::size_t most) : most_(most) {}
  void add(std::int64_t x, double value);
  /// Buckets without a point are left out.
  Curve take();

 private:
  struct Bucket {
    std::uint64_t count = 0, numbers = 0;  // numbers: points that are not NaN
    std::int64_t first_x = std::numeric_limits<std::int64_t>::max();
    double sum = 0, min = 0, max = 0;
    void join(const Bucket& from);
  };
  void make_room(std::int64_t x);
  void widen();

  const std::size_t most_;
  unsigned shift_ = 0;
  std::int64_t low_ = 0;  // index (x >> shift_) of the first bucket
  std::vector<Bucket> buckets_;
};

}  // namespace mlops::view
