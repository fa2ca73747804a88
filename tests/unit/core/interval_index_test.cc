// SPDX-License-Identifier: Apache-2.0
#include "daemon/core/interval_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace mrlease::core {
namespace {

std::vector<LeaseId> found(const IntervalIndex& index, const Extent& extent) {
  std::vector<LeaseId> ids;
  index.visit(extent, [&](LeaseId id, LeaseEntry*) {
    ids.push_back(id);
    return true;
  });
  return ids;
}

TEST(IntervalIndex, EndsAreExclusive) {
  IntervalIndex index;
  index.insert({4096, 8192}, 1);
  EXPECT_TRUE(found(index, {0, 4096}).empty());
  EXPECT_TRUE(found(index, {8192, kToEnd}).empty());
  EXPECT_TRUE(found(index, {5000, 5000}).empty());
  EXPECT_EQ(found(index, {8191, 8192}), std::vector<LeaseId>{1});
  EXPECT_EQ(found(index, {0, 4097}), std::vector<LeaseId>{1});
}

TEST(IntervalIndex, EraseNeedsTheSameExtentAndId) {
  IntervalIndex index;
  index.insert({0, 10}, 1);
  index.insert({0, 10}, 2);
  EXPECT_FALSE(index.erase({0, 10}, 3));
  EXPECT_FALSE(index.erase({1, 10}, 1));
  EXPECT_TRUE(index.erase({0, 10}, 1));
  EXPECT_FALSE(index.erase({0, 10}, 1));
  EXPECT_EQ(found(index, {}), std::vector<LeaseId>{2});
  EXPECT_EQ(index.size(), 1u);
}

TEST(IntervalIndex, AVisitCanStop) {
  IntervalIndex index;
  for (LeaseId id = 1; id <= 100; ++id) index.insert({id, id + 200}, id);
  int seen = 0;
  index.visit({150, 160}, [&](LeaseId, LeaseEntry*) { return ++seen < 3; });
  EXPECT_EQ(seen, 3);
}

TEST(IntervalIndex, AgreesWithBruteForce) {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    IntervalIndex index;
    std::map<LeaseId, Extent> oracle;
    for (int i = 0; i < 600; ++i) {
      if (oracle.empty() || random() % 3 != 0) {
        const std::uint64_t begin = random() % 1000;
        const Extent extent{begin, random() % 20 == 0 ? kToEnd : begin + 1 + random() % 60};
        const LeaseId id = static_cast<LeaseId>(i + 1);
        index.insert(extent, id);
        oracle[id] = extent;
      } else {
        auto it = oracle.begin();
        std::advance(it, static_cast<long>(random() % oracle.size()));
        ASSERT_TRUE(index.erase(it->second, it->first));
        oracle.erase(it);
      }
      const std::uint64_t begin = random() % 1100;
      const Extent query{begin, begin + random() % 100};
      std::vector<LeaseId> expected;
      for (const auto& [id, extent] : oracle) {
        if (!query.empty() && extent.overlaps(query)) expected.push_back(id);
      }
      std::vector<LeaseId> got = found(index, query);
      EXPECT_TRUE(std::is_sorted(got.begin(), got.end(), [&](LeaseId a, LeaseId b) {
        return oracle[a].begin < oracle[b].begin;
      }));
      std::sort(got.begin(), got.end());
      ASSERT_EQ(got, expected);
      ASSERT_EQ(index.size(), oracle.size());
    }
  }
}

// Three levels of nodes, that are split in the middle and joined again, down to none.
TEST(IntervalIndex, GrowsAndShrinksInAnyOrder) {
  std::mt19937_64 random(7);
  IntervalIndex index;
  std::vector<std::pair<Extent, LeaseId>> all;
  for (LeaseId id = 1; id <= 5000; ++id) {
    const std::uint64_t begin = random() % 100000;
    all.push_back({{begin, begin + 1 + random() % (id % 50 == 0 ? 100000 : 100)}, id});
    index.insert(all.back().first, id);
  }
  std::shuffle(all.begin(), all.end(), random);
  while (!all.empty()) {
    if (all.size() % 16 == 0) {
      const std::uint64_t begin = random() % 200000;
      const Extent query{begin, begin + 1 + random() % 50};
      std::vector<LeaseId> expected, got = found(index, query);
      for (const auto& [extent, id] : all) {
        if (extent.overlaps(query)) expected.push_back(id);
      }
      std::sort(expected.begin(), expected.end());
      std::sort(got.begin(), got.end());
      ASSERT_EQ(got, expected) << all.size() << " are left";
    }
    ASSERT_TRUE(index.erase(all.back().first, all.back().second));
    ASSERT_FALSE(index.erase(all.back().first, all.back().second));
    all.pop_back();
    ASSERT_EQ(index.size(), all.size());
  }
  EXPECT_TRUE(found(index, {}).empty());
  index.insert({0, 1}, 1);
  EXPECT_EQ(found(index, {}), std::vector<LeaseId>{1});
}

// A million leases under one that covers the whole file: pruning by length alone would look at half of them.
TEST(IntervalIndex, HoldsAMillion) {
  IntervalIndex index;
  index.insert({0, kToEnd}, 1);
  constexpr LeaseId kLeases = 1'000'000;
  for (LeaseId id = 2; id <= kLeases; ++id) index.insert({id * 4096, (id + 1) * 4096}, id);
  for (LeaseId at = 2; at < kLeases; at += 7) {
    ASSERT_EQ(found(index, {at * 4096 + 1, at * 4096 + 2}), (std::vector<LeaseId>{1, at}));
  }
  for (LeaseId id = 2; id <= kLeases; ++id) ASSERT_TRUE(index.erase({id * 4096, (id + 1) * 4096}, id));
  EXPECT_EQ(index.size(), 1u);
}

}  // namespace
}  // namespace mrlease::core
