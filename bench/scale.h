// What the figures at scale share. They are taken of real programs, from outside: the `mlops` command, fill.cc and
// trainer.cc, each a process of its own, on a root of its own.
#pragma once

#include <string>
#include <vector>

#include "child.h"
#include "support.h"

namespace mlops::bench {

/// MLOPS_BENCH_FULL=1: the sizes and durations of docs/figures.md; else shorter ones, which the rows' names say.
bool full_scale();
/// Runs mlops_bench_fill to its end. Throws when it fails.
Life fill(const std::string& root, const std::vector<std::string>& options);
/// Of one field over several lives.
double median_of(const std::vector<Life>& all, double Life::* field);
/// `number` with its thousands apart: 10000 -> "10,000".
std::string grouped(std::uint64_t number);

}  // namespace mlops::bench
