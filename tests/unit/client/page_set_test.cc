// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/util/page_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

namespace mrlease::client {
namespace {

std::vector<std::uint64_t> pages_of(const PageSet& set, std::uint64_t begin, std::uint64_t end) {
  std::vector<std::uint64_t> out;
  set.for_each(begin, end, [&](std::uint64_t page) { out.push_back(page); });
  return out;
}

TEST(PageSet, HasWhatWasAdded) {
  PageSet set(130);
  EXPECT_TRUE(set.add(64));
  EXPECT_FALSE(set.add(64));
  EXPECT_TRUE(set.has(64));
  EXPECT_FALSE(set.has(63));
  EXPECT_EQ(set.count(), 1u);
  set.remove(64);
  EXPECT_FALSE(set.has(64));
  EXPECT_EQ(set.count(), 0u);
}

TEST(PageSet, AnEmptyOneHasNoPages) {
  const PageSet set;
  EXPECT_EQ(set.next(0), 0u);
  EXPECT_EQ(set.next_absent(0), 0u);
  EXPECT_TRUE(pages_of(set, 0, 0).empty());
}

TEST(PageSet, RunsEndWithTheSet) {
  PageSet set(130);
  for (std::uint64_t page = 60; page < 130; page++) set.add(page);
  EXPECT_EQ(set.next(0), 60u);
  EXPECT_EQ(set.next_absent(60), 130u);
  EXPECT_EQ(set.next(130), 130u);
}

TEST(PageSet, APageCanBeRemovedOnTheWay) {
  PageSet set(200);
  for (std::uint64_t page = 0; page < 200; page += 3) set.add(page);
  set.for_each(0, 200, [&](std::uint64_t page) { set.remove(page); });
  EXPECT_EQ(set.count(), 0u);
}

// Beside the simplest set there is.
TEST(PageSet, DoesAsASetOfNumbersDoes) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; round++) {
    const std::uint64_t size = 1 + random() % 300;
    PageSet set(size);
    std::set<std::uint64_t> model;
    for (int step = 0; step < 60; step++) {
      const std::uint64_t a = random() % (size + 1), b = random() % (size + 1), begin = std::min(a, b), end = std::max(a, b);
      if (random() % 4 == 0) {
        set.remove(begin, end);
        model.erase(model.lower_bound(begin), model.lower_bound(end));
      } else if (begin < size) {
        ASSERT_EQ(set.add(begin), model.insert(begin).second);
      }
      ASSERT_EQ(set.count(), model.size());
      ASSERT_EQ(pages_of(set, begin, end), std::vector(model.lower_bound(begin), model.lower_bound(end)));
      const auto next = model.lower_bound(begin);
      ASSERT_EQ(set.next(begin), next == model.end() ? size : *next);
      std::uint64_t absent = begin;
      while (absent < size && model.count(absent) != 0) absent++;
      ASSERT_EQ(set.next_absent(begin), absent);
    }
  }
}

}  // namespace
}  // namespace mrlease::client
