// SPDX-License-Identifier: Apache-2.0
// What a truncate has cut off from under a transparent region: kept, discarded, put back.
#include "tests/unit/client/exchange_rig.h"

namespace mrlease::client {
namespace {

using Kind = Segment::Kind;
constexpr std::uint64_t kWhole = kFileOffset + kPages * kPage;

// The file is cut to that many pages of the region; `kept`: of its tail, that many pages are copied before.
void cut(Rig& rig, std::uint64_t id, std::uint64_t pages, std::uint64_t kept) {
  const std::uint64_t size = kFileOffset + pages * kPage;
  ASSERT_TRUE(rig.freeze(id, size, (kPages - pages) * kPage).ok());
  ASSERT_TRUE(rig.exchange->prefill(id, soon(), pages + kept).ok());
  ASSERT_EQ(::ftruncate(rig.file.get(), static_cast<off_t>(size)), 0);
  ASSERT_TRUE(rig.exchange->settle(id, size, soon()).ok());
}

void grow(Rig& rig) { ASSERT_EQ(::ftruncate(rig.file.get(), static_cast<off_t>(kWhole)), 0); }

void write_as_a_stranger(Rig& rig, std::uint64_t page, char what) {
  ASSERT_EQ(::pwrite(rig.file.get(), &what, 1, static_cast<off_t>(kFileOffset + page * kPage)), 1);
}

// To its end, a piece at a time.
Outcome reattach(Rig& rig, std::uint64_t pages = kPages) {
  for (;;) {
    Outcome o = rig.exchange->orphans().reattach(pages, [&](const Store& store, const auto& ranges) { return rig.daemon->merge(store, ranges); });
    if (o.code != EINPROGRESS) return o;
  }
}

TEST(Orphans, ReattachedGoIntoTheFileOverWhatOthersWrote) {
  Rig rig;
  START_OR_SKIP(rig);
  rig.at(200) = 'k';
  cut(rig, 1, 100, 200);
  rig.at(310) = 'p';  // not preserved: written since
  grow(rig);
  for (const std::uint64_t page : {200, 310, 400}) write_as_a_stranger(rig, page, 'x');
  ASSERT_TRUE(reattach(rig).ok());
  EXPECT_EQ(rig.in_file(200), 'k');
  EXPECT_EQ(rig.in_file(200, 5), 'a') << "of the page that was preserved";
  EXPECT_EQ(rig.in_file(299), 'a');
  EXPECT_EQ(rig.in_file(310), 'p');
  EXPECT_EQ(rig.in_file(310, 5), 0) << "nothing was kept of it";
  EXPECT_EQ(rig.in_file(400), 'x') << "nobody has it in memory";
  EXPECT_EQ(rig.at(400), 'x');
  EXPECT_EQ(rig.exchange->segments().all().size(), 1u);
  rig.at(200) = 'n';
  EXPECT_EQ(rig.in_file(200), 'n') << "it is the file again";
  const ExchangeStats s = rig.exchange->stats();
  EXPECT_EQ(s.orphans.kept, 200 * kPage);
  EXPECT_EQ(s.orphans.reattached, 201 * kPage) << "and the page that was written since";
  EXPECT_EQ(s.orphans.discarded, 0u);
}

TEST(Orphans, WhoStoresUntilThenAndFromThenOnLosesNothing) {
  Rig rig;
  START_OR_SKIP(rig);
  Writers writers(rig);
  for (std::uint64_t id = 1; id <= 10; id++) {
    writers.wait_for_stores(200);
    cut(rig, id, 30 * id, kPages);
    writers.wait_for_stores(200);
    grow(rig);
    ASSERT_TRUE(writers.quiet());
    const Outcome o = reattach(rig);
    writers.go_on();
    ASSERT_TRUE(o.ok()) << o.text;
    ASSERT_EQ(writers.lost(), 0u) << id;
  }
}

// A daemon that was started anew gives the numbers again that the one before had given.
TEST(Orphans, AnotherDaemonsStoreOfTheSameNumberIsAnother) {
  Rig rig;
  START_OR_SKIP(rig);
  cut(rig, 1, 300, kPages);
  rig.at(400) = 'o';
  ASSERT_TRUE(rig.freeze(1, kFileOffset, 300 * kPage).ok());
  rig.at(10) = 'f';
  ASSERT_TRUE(rig.exchange->thaw(1, soon()).ok());
  cut(rig, 1, 100, kPages);
  rig.at(200) = 'p';
  grow(rig);
  ASSERT_TRUE(reattach(rig).ok());
  EXPECT_EQ(rig.in_file(10), 'f');
  EXPECT_EQ(rig.in_file(200), 'p');
  EXPECT_EQ(rig.in_file(400), 'o');
}

TEST(Orphans, OfAFileThatCannotBeWrittenTheyStay) {
  Rig rig;
  START_OR_SKIP(rig);
  cut(rig, 1, 100, kPages);
  rig.at(200) = 'o';
  grow(rig);
  rig.daemon->fail = ENOSPC;
  EXPECT_EQ(reattach(rig).code, ENOSPC);
  EXPECT_EQ(rig.at(200), 'o');
  rig.at(201) = 'q';
  EXPECT_EQ(rig.in_file(200), 0);
  EXPECT_EQ(rig.exchange->orphans().first(), kFileOffset + 100 * kPage);
  rig.daemon->fail = 0;
  ASSERT_TRUE(reattach(rig).ok());
  EXPECT_EQ(rig.in_file(200), 'o');
  EXPECT_EQ(rig.in_file(201), 'q');
  EXPECT_EQ(rig.exchange->stats().orphans.reattached, (kPages - 100) * kPage) << "counted when it has worked";
}

TEST(Orphans, WhatTheFileHasAgainIsReattachedAndTheRestKept) {
  Rig rig;
  START_OR_SKIP(rig);
  cut(rig, 1, 100, kPages);
  for (const std::uint64_t page : {150, 250}) rig.at(page) = 'o';
  const std::uint64_t part = kFileOffset + 200 * kPage;
  ASSERT_EQ(::ftruncate(rig.file.get(), static_cast<off_t>(part)), 0);
  ASSERT_TRUE(reattach(rig, 200).ok());
  EXPECT_EQ(rig.in_file(150), 'o');
  EXPECT_EQ(rig.exchange->orphans().first(), part);
  rig.at(250) = 'p';
  grow(rig);
  ASSERT_TRUE(reattach(rig).ok());
  EXPECT_EQ(rig.in_file(250), 'p');
}

TEST(Orphans, AnotherCutWhileSomeAreLeft) {
  Rig rig;
  START_OR_SKIP(rig);
  cut(rig, 1, 300, kPages);
  rig.at(400) = 'o';
  cut(rig, 2, 100, kPages);
  rig.at(200) = 'p';
  grow(rig);
  ASSERT_TRUE(reattach(rig).ok());
  EXPECT_EQ(rig.in_file(400), 'o');
  EXPECT_EQ(rig.in_file(200), 'p');
  EXPECT_EQ(rig.in_file(299), 'a');
}

TEST(Orphans, OfAFileThatIsShortAgainTheyStay) {
  Rig rig;
  START_OR_SKIP(rig);
  cut(rig, 1, 100, kPages);
  rig.at(200) = 'o';
  EXPECT_EQ(reattach(rig).code, EAGAIN) << "nobody has made it longer, whatever was said";
  EXPECT_EQ(rig.at(200), 'o');
  grow(rig);
  ASSERT_TRUE(reattach(rig).ok());
  EXPECT_EQ(rig.in_file(200), 'o');
}

// The page in which the first cut ended is an orphan of the second as a whole.
TEST(Orphans, BehindAnOddEndWhatWasWrittenSinceIsPutBack) {
  Rig rig;
  START_OR_SKIP(rig);
  const std::uint64_t odd = kFileOffset + 200 * kPage + 100;
  ASSERT_EQ(::ftruncate(rig.file.get(), static_cast<off_t>(odd)), 0);
  ASSERT_TRUE(rig.exchange->freeze(rig.store(1, kFileOffset + 100 * kPage, odd - kFileOffset - 100 * kPage), kFileOffset + 100 * kPage,
                                   odd - kFileOffset - 100 * kPage)
                  .ok());
  ASSERT_EQ(::ftruncate(rig.file.get(), static_cast<off_t>(kFileOffset + 100 * kPage)), 0);
  ASSERT_TRUE(rig.exchange->settle(1, kFileOffset + 100 * kPage, soon()).ok());
  rig.at(200, 3000) = 'w';
  grow(rig);
  ASSERT_TRUE(reattach(rig).ok());
  EXPECT_EQ(rig.in_file(200, 3000), 'w');
}

// Its daemon is gone before it could be settled, and the next one begins to count anew.
TEST(Orphans, OfAnOperationThatNobodySettles) {
  Rig rig;
  START_OR_SKIP(rig);
  const std::uint64_t size = kFileOffset + 100 * kPage;
  ASSERT_TRUE(rig.freeze(1, kFileOffset, kPages * kPage).ok());
  ASSERT_TRUE(rig.exchange->prefill(1, soon()).ok());
  rig.at(50) = 'h';
  rig.at(200) = 'o';
  ASSERT_EQ(::ftruncate(rig.file.get(), static_cast<off_t>(size)), 0);
  rig.daemon->fail = ENOSPC;
  EXPECT_EQ(rig.exchange->settle(1, size, soon()).code, ENOSPC);
  rig.daemon->fail = 0;
  ASSERT_TRUE(rig.exchange->thaw_all(soon()).ok());
  EXPECT_EQ(rig.in_file(50), 'h');
  cut(rig, 1, 60, kPages);
  grow(rig);
  ASSERT_TRUE(reattach(rig).ok());
  EXPECT_EQ(rig.in_file(200), 'o');
  EXPECT_EQ(rig.in_file(80), 'a');
}

TEST(Orphans, DiscardedAreZerosAndTakeNoMemory) {
  Rig rig;
  START_OR_SKIP(rig);
  cut(rig, 1, 100, kPages);
  rig.at(200) = 'o';
  rig.exchange->orphans().discard(Clock::now() - std::chrono::hours(1));
  EXPECT_EQ(rig.at(200), 'o') << "it was cut off later";
  rig.exchange->orphans().discard(Clock::now());
  EXPECT_EQ(rig.at(200), 0);
  EXPECT_EQ(rig.exchange->stats().orphans.discarded, (kPages - 100) * kPage);
  rig.at(300) = 'p';
  grow(rig);
  write_as_a_stranger(rig, 250, 'x');
  ASSERT_TRUE(reattach(rig).ok());
  EXPECT_EQ(rig.in_file(300), 'p');
  EXPECT_EQ(rig.in_file(250), 'x');
}

TEST(Orphans, FencedTheyStayWhereTheyAre) {
  Rig rig;
  START_OR_SKIP(rig);
  cut(rig, 1, 100, kPages);
  rig.at(200) = 'o';
  ASSERT_TRUE(rig.exchange->restore().ok());
  EXPECT_EQ(rig.at(200), 'o');
  EXPECT_EQ(rig.at(300), 'a');
}

TEST(Orphans, ExtendedOverCountAsDiscarded) {
  Rig rig;
  START_OR_SKIP(rig);
  cut(rig, 1, 100, 50);
  grow(rig);
  ASSERT_TRUE(rig.exchange->orphans().extend(kPages).ok());
  EXPECT_EQ(rig.exchange->stats().orphans.kept, 50 * kPage);
  EXPECT_EQ(rig.exchange->stats().orphans.discarded, 50 * kPage);
  EXPECT_EQ(rig.at(120), 0);
}

}  // namespace
}  // namespace mrlease::client
