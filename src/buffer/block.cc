// Block: the points of one run and beat as bytes. A block decodes to exactly what was encoded, bit for bit, or to
// data_loss; no bytes, however damaged or forged, make the decoder read past their end or take more than
// kMaxBlockPoints points of memory. Layout: docs/format.md.
#include <algorithm>
#include <bit>
#include <numeric>
#include <unordered_map>
#include <vector>

#include "base/base.h"
#include "buffer/buffer.h"
#include "buffer/bytes.h"
#include "buffer/envelope.h"
#include "buffer/ints.h"
#include "buffer/values.h"

namespace mlops::buffer {
namespace {

enum ColumnKind : std::uint8_t { kPlain = 0, kRuns = 1 };

// Step and time: the metrics of a step share both, so runs of equal words are stored once with their lengths.
void put_shared_column(std::string* out, const std::vector<std::int64_t>& column) {
  const std::size_t n = column.size();
  std::size_t runs = 1;
  for (std::size_t i = 1; i < n; ++i) runs += column[i] != column[i - 1] ? 1 : 0;
  std::vector<std::uint64_t> words;
  if (runs * 2 > n) {
    out->push_back(kPlain);
    words.assign(column.begin(), column.end());
    put_ints(out, words.data(), n);
    return;
  }
  out->push_back(kRuns);
  put_varint(out, runs);
  std::vector<std::uint64_t> lengths;
  words.reserve(runs);
  lengths.reserve(runs);
  for (std::size_t i = 0; i < n;) {
    std::size_t end = i + 1;
    while (end < n && column[end] == column[i]) ++end;
    words.push_back(static_cast<std::uint64_t>(column[i]));
    lengths.push_back(end - i);
    i = end;
  }
  // The last run is what is left; as long as the one before it, it costs nothing.
  if (runs > 1) lengths.back() = lengths[runs - 2];
  put_ints(out, lengths.data(), runs);
  put_ints(out, words.data(), runs);
}

bool get_shared_column(ByteReader* in, std::size_t n, std::vector<std::int64_t>* column) {
  const std::uint8_t kind = in->u8();
  column->resize(n);
  std::vector<std::uint64_t> words(n);
  if (kind == kPlain) {
    if (!get_ints(in, words.data(), n)) return false;
    for (std::size_t i = 0; i < n; ++i) (*column)[i] = static_cast<std::int64_t>(words[i]);
    return true;
  }
  const std::uint64_t runs = in->varint();
  if (kind != kRuns || runs == 0 || runs > n) return in->fail(), false;
  std::vector<std::uint64_t> lengths(runs);
  if (!get_ints(in, lengths.data(), runs) || !get_ints(in, words.data(), runs)) return false;
  std::size_t at = 0;
  for (std::size_t r = 0; r < runs; ++r) {
    const std::uint64_t length = r + 1 == runs ? n - at : lengths[r];
    if (length == 0 || length > n - at) return in->fail(), false;
    std::fill_n(column->begin() + static_cast<std::ptrdiff_t>(at), length, static_cast<std::int64_t>(words[r]));
    at += length;
  }
  return true;
}

// The run's metric numbers as block-local ones, in order of first appearance.
struct LocalMetrics {
  std::vector<std::uint32_t> numbers;  // local -> run's
  std::vector<std::uint32_t> of_point;
};
LocalMetrics make_local(const std::vector<std::uint32_t>& metric) {
  LocalMetrics local;
  local.of_point.resize(metric.size());
  const std::uint32_t most = *std::max_element(metric.begin(), metric.end());
  const auto add = [&local](std::uint32_t number) {
    local.numbers.push_back(number);
    return static_cast<std::uint32_t>(local.numbers.size() - 1);
  };
  if (most <= 4 * metric.size() + 65'536) {
    std::vector<std::uint32_t> known(static_cast<std::size_t>(most) + 1, ~0u);
    for (std::size_t i = 0; i < metric.size(); ++i) {
      std::uint32_t& id = known[metric[i]];
      if (id == ~0u) id = add(metric[i]);
      local.of_point[i] = id;
    }
  } else {
    std::unordered_map<std::uint32_t, std::uint32_t> known;
    for (std::size_t i = 0; i < metric.size(); ++i) {
      auto [it, fresh] = known.try_emplace(metric[i], 0);
      if (fresh) it->second = add(metric[i]);
      local.of_point[i] = it->second;
    }
  }
  return local;
}

// Metric numbers: predicted as "what followed this metric the last time", so a loop that logs the same metrics in the
// same order costs only its first turn. Stored: the misses, and how many hits stood before each.
void put_metric_column(std::string* out, const LocalMetrics& local) {
  std::vector<std::uint32_t> follower(local.numbers.size(), 0);
  std::vector<std::uint64_t> hits, misses;
  std::uint32_t before = 0;
  std::uint64_t run = 0;
  for (const std::uint32_t id : local.of_point) {
    if (follower[before] == id) {
      ++run;
    } else {
      hits.push_back(run);
      misses.push_back(id);
      run = 0;
      follower[before] = id;
    }
    before = id;
  }
  put_varint(out, misses.size());
  put_ints(out, hits.data(), hits.size());
  put_ints(out, misses.data(), misses.size());
}

bool get_metric_column(ByteReader* in, std::size_t n, std::size_t metrics, std::vector<std::uint32_t>* of_point) {
  const std::uint64_t count = in->varint();
  if (count > n) return in->fail(), false;
  std::vector<std::uint64_t> hits(count), misses(count);
  if (!get_ints(in, hits.data(), count) || !get_ints(in, misses.data(), count)) return false;
  std::vector<std::uint32_t> follower(metrics, 0);
  of_point->resize(n);
  std::uint32_t before = 0;
  std::size_t at = 0;
  for (std::size_t m = 0; m <= count; ++m) {
    const std::uint64_t run = m < count ? hits[m] : n - at;
    if (run > n - at) return in->fail(), false;
    for (const std::size_t end = at + run; at < end; ++at) (*of_point)[at] = before = follower[before];
    if (m == count) break;
    if (at == n || misses[m] >= metrics) return in->fail(), false;
    const auto id = static_cast<std::uint32_t>(misses[m]);
    (*of_point)[at++] = follower[before] = id;
    before = id;
  }
  return true;
}

// Where each metric's values start once the points are grouped by metric; one entry more than metrics.
std::vector<std::size_t> group_starts(const std::vector<std::uint32_t>& of_point, std::size_t metrics) {
  std::vector<std::size_t> starts(metrics + 1, 0);
  for (const std::uint32_t id : of_point) ++starts[id + 1];
  std::partial_sum(starts.begin(), starts.end(), starts.begin());
  return starts;
}

// Metrics whose residuals have the same width share planes: small blocks pay for one Huffman table, not for twenty.
void put_value_column(std::string* out, const LocalMetrics& local, const std::vector<double>& value) {
  const std::size_t metrics = local.numbers.size();
  const std::vector<std::size_t> starts = group_starts(local.of_point, metrics);
  std::vector<std::uint64_t> words(value.size());
  std::vector<std::size_t> next(starts.begin(), starts.end() - 1);
  for (std::size_t i = 0; i < value.size(); ++i)
    words[next[local.of_point[i]]++] = std::bit_cast<std::uint64_t>(value[i]);

  std::vector<unsigned> width(metrics);
  std::uint32_t expected = 0;
  for (std::size_t m = 0; m < metrics; ++m) {
    const ValueShape shape = make_values(words.data() + starts[m], starts[m + 1] - starts[m]);
    width[m] = shape.ints.width;
    put_varint(out, zigzag(static_cast<std::uint64_t>(local.numbers[m]) - expected));
    expected = local.numbers[m] + 1;
    put_value_shape(out, shape);
  }
  std::vector<std::uint64_t> pool;
  for (unsigned w = 1; w <= 8; ++w) {
    pool.clear();
    for (std::size_t m = 0; m < metrics; ++m) {
      if (width[m] == w)
        pool.insert(pool.end(), words.begin() + static_cast<std::ptrdiff_t>(starts[m]),
                    words.begin() + static_cast<std::ptrdiff_t>(starts[m + 1]));
    }
    put_planes(out, pool.data(), pool.size(), w);
  }
}

bool get_value_column(ByteReader* in, std::size_t metrics, const std::vector<std::uint32_t>& of_point, Block* block) {
  const std::vector<std::size_t> starts = group_starts(of_point, metrics);
  std::vector<ValueShape> shapes(metrics);
  std::vector<std::uint32_t> numbers(metrics);
  std::uint32_t expected = 0;
  for (std::size_t m = 0; m < metrics; ++m) {
    numbers[m] = static_cast<std::uint32_t>(unzigzag(in->varint()) + expected);
    expected = numbers[m] + 1;
    if (!get_value_shape(in, &shapes[m])) return false;
  }
  std::vector<std::uint64_t> words(of_point.size()), pool;
  for (unsigned w = 1; w <= 8; ++w) {
    std::size_t size = 0;
    for (std::size_t m = 0; m < metrics; ++m) size += shapes[m].ints.width == w ? starts[m + 1] - starts[m] : 0;
    if (size == 0) continue;
    pool.resize(size);
    if (!get_planes(in, pool.data(), size, w)) return false;
    auto from = pool.begin();
    for (std::size_t m = 0; m < metrics; ++m) {
      if (shapes[m].ints.width != w) continue;
      const auto length = static_cast<std::ptrdiff_t>(starts[m + 1] - starts[m]);
      std::copy(from, from + length, words.begin() + static_cast<std::ptrdiff_t>(starts[m]));
      from += length;
    }
  }
  for (std::size_t m = 0; m < metrics; ++m) undo_values(shapes[m], words.data() + starts[m], starts[m + 1] - starts[m]);
  std::vector<std::size_t> next(starts.begin(), starts.end() - 1);
  block->metric.resize(of_point.size());
  block->value.resize(of_point.size());
  for (std::size_t i = 0; i < of_point.size(); ++i) {
    block->metric[i] = numbers[of_point[i]];
    block->value[i] = std::bit_cast<double>(words[next[of_point[i]]++]);
  }
  return true;
}

[[gnu::noinline]] void put_columns(std::string* out, const Block& block) {
  const LocalMetrics local = make_local(block.metric);
  put_varint(out, local.numbers.size());
  put_metric_column(out, local);
  put_shared_column(out, block.step);
  put_shared_column(out, block.time_ms);
  put_value_column(out, local, block.value);
}

[[gnu::noinline]] bool get_columns(ByteReader* in, std::size_t n, Block* block) {
  const std::uint64_t metrics = in->varint();
  if (metrics == 0 || metrics > n) return false;
  std::vector<std::uint32_t> of_point;
  return get_metric_column(in, n, metrics, &of_point) && get_shared_column(in, n, &block->step) &&
         get_shared_column(in, n, &block->time_ms) && get_value_column(in, metrics, of_point, block) && in->at_end();
}

}  // namespace

std::string encode_block(const Block& block) {
  std::string body;
  body.reserve(64 + block.size() * 9);
  put_varint(&body, block.first_seq);
  put_varint(&body, block.beat);
  put_varint(&body, block.size());
  if (block.size() != 0) {
    const FpScope fp;
    put_columns(&body, block);
  }
  return seal(kBlockMark, body);
}

Status decode_block(std::string_view bytes, Block* out) {
  ByteReader in{std::string_view()};
  if (Status s = unseal(kBlockMark, bytes, &in); !s.ok()) return s;
  *out = Block{};
  out->first_seq = in.varint();
  out->beat = in.varint();
  const std::uint64_t n = in.varint();
  bool good = in.good() && n <= kMaxBlockPoints;
  if (good && n != 0) {
    const FpScope fp;
    good = get_columns(&in, static_cast<std::size_t>(n), out);
  }
  if (good && in.good() && in.at_end()) return {};
  *out = Block{};
  return Status(StatusCode::data_loss, "a block of points is malformed although its checksum is right");
}

}  // namespace mlops::buffer
