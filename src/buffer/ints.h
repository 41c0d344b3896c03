// Ints: columns of 64-bit words as predictions and byte planes. Arithmetic wraps, so every word is fair.
//
// A column is turned into residuals (order 0: minus the smallest; 1: zigzag differences; 2: zigzag differences of
// differences), and the residuals are stored as byte planes, each plane raw, constant or a zstd frame, whichever is
// smallest. Noise ends raw at a byte's cost, structure at nothing. Bytes: docs/format.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "buffer/bytes.h"

namespace mlops::buffer {

/// How a column is predicted, and what its residuals need.
struct Shape {
  unsigned order = 0;       // 0, 1, 2
  unsigned width = 0;       // bytes per residual, 0..8; 0: all residuals are zero
  std::uint64_t base = 0;   // order 0: the smallest word; else the first
  std::uint64_t slope = 0;  // order 2: first difference
};

struct OrderGuess {
  unsigned order = 0;
  double bits = 0;  // per word, estimated on a sample
};
OrderGuess guess_order(const std::uint64_t* words, std::size_t n);
/// Writes n residuals; `residuals` may be `words`.
Shape make_residuals(const std::uint64_t* words, std::size_t n, unsigned order, std::uint64_t* residuals);
/// The inverse, in place.
void undo_residuals(const Shape& shape, std::uint64_t* words, std::size_t n);

/// `width` planes of n bytes, lowest byte first.
void put_planes(std::string* out, const std::uint64_t* residuals, std::size_t n, unsigned width);
bool get_planes(ByteReader* in, std::uint64_t* residuals, std::size_t n, unsigned width);

void put_base(std::string* out, const Shape& shape);
void get_base(ByteReader* in, Shape* shape);

/// A whole column of n words; n is known to the reader.
void put_ints(std::string* out, const std::uint64_t* words, std::size_t n);
bool get_ints(ByteReader* in, std::uint64_t* words, std::size_t n);

}  // namespace mlops::buffer
