// Oracle: what Program.Trainer accepted, counted outside, against what a database holds.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <set>
#include <string>

#include "drain/rig.h"

namespace mlops::drain::test {

/// The outside counters of Program.Trainer over many lives.
struct Oracle {
  explicit Oracle(const std::string& path) : words(test::shared_words(path, 16)) {}
  /// After a life: a step begun whose call did not return may be there or not.
  void life_ended() {
    for (unsigned t = 0; t < 2; ++t) {
      if (words[1 + 2 * t] != words[2 + 2 * t] && words[1 + 2 * t] > 0) doubtful[t].insert(words[1 + 2 * t] - 1);
    }
  }
  void check(const Contents& got, const base::Uid& run) const {
    std::uint64_t lost = 0, twice = 0, accepted = 0;
    for (unsigned t = 0; t < 2; ++t) {
      const std::string name = "m" + std::to_string(t);
      const std::uint64_t begun = words[1 + 2 * t];
      for (std::uint64_t step = 0; step < begun; ++step) {
        const std::size_t n = got.points.count({run.hex(), name, static_cast<std::int64_t>(step)});
        if (n > 1) ++twice;
        if (doubtful[t].contains(step)) continue;
        ++accepted;
        if (n == 0) ++lost;
      }
    }
    EXPECT_EQ(lost, 0u);
    EXPECT_EQ(twice, 0u);
    EXPECT_LE(got.points.size(), words[1] + words[3]);
    EXPECT_TRUE(got.gapless);
    std::fprintf(stderr, "accepted=%llu lost=%llu duplicated=%llu\n", static_cast<unsigned long long>(accepted),
                 static_cast<unsigned long long>(lost), static_cast<unsigned long long>(twice));
    EXPECT_GT(accepted, 0u);
  }
  std::atomic<std::uint64_t>* words;
  std::set<std::uint64_t> doubtful[2];
};

}  // namespace mlops::drain::test
