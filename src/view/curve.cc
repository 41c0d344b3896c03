#include "view/curve.h"

#include <algorithm>
#include <cmath>

namespace mlops::view {
namespace {

// How many buckets lie from index a to index b >= a; they may be 2^64 - 1 apart.
std::uint64_t span(std::int64_t a, std::int64_t b) {
  return static_cast<std::uint64_t>(b) - static_cast<std::uint64_t>(a);
}

}  // namespace

void CurveBuilder::Bucket::join(const Bucket& from) {
  if (from.numbers != 0) {
    min = numbers == 0 ? from.min : std::min(min, from.min);
    max = numbers == 0 ? from.max : std::max(max, from.max);
  }
  count += from.count;
  numbers += from.numbers;
  sum += from.sum;
  first_x = std::min(first_x, from.first_x);
}

void CurveBuilder::add(std::int64_t x, double value) {
  std::int64_t index = x >> shift_;
  if (index < low_ || span(low_, index) >= buckets_.size()) {
    make_room(x);
    index = x >> shift_;
  }
  Bucket& bucket = buckets_[static_cast<std::size_t>(index - low_)];
  ++bucket.count;
  bucket.first_x = std::min(bucket.first_x, x);
  if (std::isnan(value)) return;
  if (bucket.numbers++ == 0) bucket.min = bucket.max = value;
  bucket.min = std::min(bucket.min, value);
  bucket.max = std::max(bucket.max, value);
  bucket.sum += value;
}

void CurveBuilder::make_room(std::int64_t x) {
  if (buckets_.empty()) {
    low_ = x >> shift_;
    buckets_.emplace_back();
    return;
  }
  for (;;) {
    const std::int64_t index = x >> shift_, high = low_ + static_cast<std::int64_t>(buckets_.size()) - 1;
    const std::int64_t from = std::min(low_, index), to = std::max(high, index);
    if (span(from, to) < most_) {
      if (from < low_) buckets_.insert(buckets_.begin(), static_cast<std::size_t>(low_ - from), Bucket());
      buckets_.resize(static_cast<std::size_t>(to - from) + 1);
      low_ = from;
      return;
    }
    widen();
  }
}

void CurveBuilder::widen() {
  const std::int64_t low = low_ >> 1;
  std::vector<Bucket> wider(
      static_cast<std::size_t>(((low_ + static_cast<std::int64_t>(buckets_.size()) - 1) >> 1) - low + 1));
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    wider[static_cast<std::size_t>(((low_ + static_cast<std::int64_t>(i)) >> 1) - low)].join(buckets_[i]);
  }
  buckets_ = std::move(wider);
  low_ = low;
  ++shift_;
}

Curve CurveBuilder::take() {
  Curve out;
  for (const Bucket& bucket : buckets_) {
    if (bucket.count == 0) continue;
    const double none = std::numeric_limits<double>::quiet_NaN();
    out.x.push_back(bucket.first_x);
    out.count.push_back(bucket.count);
    out.mean.push_back(bucket.numbers == 0 ? none : bucket.sum / static_cast<double>(bucket.numbers));
    out.min.push_back(bucket.numbers == 0 ? none : bucket.min);
    out.max.push_back(bucket.numbers == 0 ? none : bucket.max);
  }
  buckets_.clear();
  shift_ = 0;
  return out;
}

}  // namespace mlops::view
