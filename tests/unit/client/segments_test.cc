// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/region/segments.h"

#include <gtest/gtest.h>

#include <random>

namespace mrlease::client {
namespace {
using Kind = Segment::Kind;

TEST(Segments, BeginAsOneFile) {
  Segments s(10);
  EXPECT_EQ(s.all(), (std::vector<Segment>{{0, 10, Kind::File, 0}}));
  EXPECT_EQ(s.pages(), 10u);
}

TEST(Segments, FreezeOfAPartSplits) {
  Segments s(10);
  s.set(3, 6, Kind::Store, 7);
  EXPECT_EQ(s.all(), (std::vector<Segment>{{0, 3}, {3, 6, Kind::Store, 7}, {6, 10}}));
  s.set(3, 6, Kind::File);
  EXPECT_EQ(s.all(), (std::vector<Segment>{{0, 10}}));
}

TEST(Segments, FreezeInsideATrimmedRegionSeesOnlyTheFile) {
  Segments s(10);
  s.set(4, 10, Kind::Orphan, 1);
  std::vector<Segment> file;
  for (const Segment& part : s.in(2, 8)) {
    if (part.kind == Kind::File) file.push_back(part);
  }
  EXPECT_EQ(file, (std::vector<Segment>{{2, 4}}));
}

TEST(Segments, ThawOfOneStoreLeavesTheOther) {
  Segments s(10);
  s.set(0, 4, Kind::Store, 1);
  s.set(4, 8, Kind::Store, 2);
  for (const Segment& part : s.of_store(1)) s.set(part.begin, part.end, Kind::File);
  EXPECT_EQ(s.all(), (std::vector<Segment>{{0, 4}, {4, 8, Kind::Store, 2}, {8, 10}}));
  EXPECT_FALSE(s.uses(1));
  EXPECT_TRUE(s.uses(2));
}

TEST(Segments, TrimOverAFreezeTakesItsPart) {
  Segments s(10);
  s.set(2, 6, Kind::Store, 1);
  s.set(4, 10, Kind::Store, 2);
  EXPECT_EQ(s.of_store(1), (std::vector<Segment>{{2, 4, Kind::Store, 1}}));
  EXPECT_EQ(s.of_store(2), (std::vector<Segment>{{4, 10, Kind::Store, 2}}));
}

TEST(Segments, StoreSegmentsAreNotJoined) {
  Segments s(4);
  s.set(0, 2, Kind::Store, 1);
  s.set(2, 4, Kind::Store, 1);
  EXPECT_EQ(s.all().size(), 2u);
}

TEST(Segments, BeyondTheEndIsCut) {
  Segments s(4);
  s.set(3, 99, Kind::Orphan, 1);
  EXPECT_EQ(s.pages(), 4u);
  s.set(4, 99, Kind::File);
  EXPECT_EQ(s.all().back(), (Segment{3, 4, Kind::Orphan, 1}));
}

// Against a plain array of pages.
TEST(Segments, RandomSetsAgreeWithAnArray) {
  std::mt19937 random(1);
  for (int run = 0; run < 50; run++) {
    const std::uint64_t pages = 1 + random() % 40;
    Segments s(pages);
    std::vector<std::pair<Kind, std::uint64_t>> model(pages, {Kind::File, 0});
    for (int step = 0; step < 60; step++) {
      const std::uint64_t begin = random() % pages, end = begin + 1 + random() % (pages - begin);
      const Kind kind = static_cast<Kind>(random() % 3);
      const std::uint64_t store = kind == Kind::File ? 0 : 1 + random() % 3;
      s.set(begin, end, kind, store);
      for (std::uint64_t p = begin; p < end; p++) model[p] = {kind, store};
      std::uint64_t at = 0;
      for (const Segment& part : s.all()) {
        ASSERT_EQ(part.begin, at);
        ASSERT_LT(part.begin, part.end);
        for (; at < part.end; at++) ASSERT_EQ(model[at], std::make_pair(part.kind, part.store));
      }
      ASSERT_EQ(at, pages);
    }
  }
}

}  // namespace
}  // namespace mrlease::client
