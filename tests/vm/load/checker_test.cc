// SPDX-License-Identifier: Apache-2.0
// The judge of the demo has a test of its own: it must see what is lost, risen and torn, and nothing else.
#include "tests/vm/load/checker.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

namespace mrlease::load {
namespace {

constexpr std::uint64_t kPages = 8;

class CheckerTest : public ::testing::Test {
 protected:
  CheckerTest() : memory_(table_bytes(kPages)), file_(kPages * kPage) {
    table_ = reinterpret_cast<Table*>(memory_.data());
    table_->pages = kPages;
  }
  // Page `page` was written and acknowledged; the file has it when `arrives`.
  void write(std::uint64_t page, std::uint64_t sequence, std::uint64_t post_ns, bool arrives = true) {
    table_->acked[page] = {make_stamp(sequence, page), post_ns, post_ns + 1};
    const Part part = part_of(page, table_->unaligned);
    if (arrives) fill(&file_[page * kPage + part.offset], part.length, make_stamp(sequence, page));
  }
  Table* table_;
  std::vector<char> memory_, file_;
};

TEST_F(CheckerTest, EverythingThereIsFine) {
  Checker checker(*table_, nullptr, 0);
  write(1, 1, 10);
  write(7, 2, 20);
  const Verdict verdict = checker.verify(file_.data());
  EXPECT_EQ(verdict.lost + verdict.risen + verdict.torn, 0u) << verdict.first;
}

TEST_F(CheckerTest, AMissingWriteIsLost) {
  Checker checker(*table_, nullptr, 0);
  write(1, 1, 10);
  write(1, 2, 20, false);
  EXPECT_EQ(checker.verify(file_.data()).lost, 1u);
}

TEST_F(CheckerTest, HalfAWriteIsLost) {
  Checker checker(*table_, nullptr, 0);
  write(3, 1, 10);
  file_[3 * kPage + 4000] ^= 1;
  EXPECT_EQ(checker.verify(file_.data()).lost, 1u);
}

TEST_F(CheckerTest, AMissingFetchAndAddIsLost) {
  Checker checker(*table_, nullptr, 0);
  table_->atomics = 1;
  EXPECT_EQ(checker.verify(file_.data()).lost, 1u);
}

TEST_F(CheckerTest, ACutPageMustReadZero) {
  Checker checker(*table_, nullptr, 0);
  write(5, 1, 10);
  checker.cut(4 * kPage, 100);
  checker.extended(200);
  EXPECT_EQ(checker.verify(file_.data()).risen, 1u);
  std::fill(file_.begin() + 5 * kPage, file_.begin() + 6 * kPage, 0);
  EXPECT_EQ(checker.verify(file_.data()).risen, 0u);
}

TEST_F(CheckerTest, AWriteDuringTheCutMayBeEither) {
  Checker checker(*table_, nullptr, 0);
  checker.cut(4 * kPage, 100);
  write(5, 3, 150);
  checker.extended(200);
  Verdict verdict = checker.verify(file_.data());
  EXPECT_EQ(verdict.lost + verdict.risen, 0u) << verdict.first;
  std::fill(file_.begin() + 5 * kPage, file_.begin() + 6 * kPage, 0);
  verdict = checker.verify(file_.data());
  EXPECT_EQ(verdict.lost + verdict.risen, 0u) << verdict.first;
}

TEST_F(CheckerTest, AWriteAfterTheExtendMustBeThere) {
  Checker checker(*table_, nullptr, 0);
  checker.cut(4 * kPage, 100);
  checker.extended(200);
  write(5, 3, 201, false);
  EXPECT_EQ(checker.verify(file_.data()).lost, 1u);
}

TEST_F(CheckerTest, WhatIsReattachedMustBeThereWhole) {
  Checker checker(*table_, nullptr, 0);
  write(5, 1, 10);
  checker.cut(4 * kPage + 1000, 100);
  write(6, 2, 150);
  checker.reattached(4 * kPage + 1000, 200);
  EXPECT_EQ(checker.verify(file_.data()).lost, 0u);
  EXPECT_EQ(checker.verify(file_.data()).risen, 0u);
  for (const long page : {5, 6}) std::fill(file_.begin() + page * static_cast<long>(kPage), file_.begin() + (page + 1) * static_cast<long>(kPage), 0);
  EXPECT_EQ(checker.verify(file_.data()).lost, 2u);
}

TEST_F(CheckerTest, TheHeadOfThePageOfTheCutStays) {
  Checker checker(*table_, nullptr, 0);
  write(4, 1, 10);
  checker.cut(4 * kPage + 1000, 100);
  checker.extended(200);
  std::fill(file_.begin() + 4 * kPage + 1000, file_.begin() + 5 * kPage, 0);
  EXPECT_EQ(checker.verify(file_.data()).lost, 0u);
  EXPECT_EQ(checker.torn(file_.data()).torn, 0u);
  file_[4 * kPage + 990] ^= 1;
  EXPECT_EQ(checker.verify(file_.data()).lost, 1u);
  EXPECT_EQ(checker.torn(file_.data()).torn, 1u);
  EXPECT_NE(checker.torn(file_.data()).first.find(" for 984 bytes, "), std::string::npos) << checker.torn(file_.data()).first;
}

TEST_F(CheckerTest, WhatAnEarlierCutDiscardedIsNotMissedByTheNext) {
  Checker checker(*table_, nullptr, 0);
  checker.cut(4 * kPage, 100);
  write(4, 1, 150, false);
  checker.extended(200);
  checker.cut(4 * kPage + 1000, 300);
  checker.extended(400);
  EXPECT_EQ(checker.verify(file_.data()).lost, 0u);
  write(4, 2, 250, false);
  EXPECT_EQ(checker.verify(file_.data()).lost, 1u);
}

TEST_F(CheckerTest, ASecondCutOfAPageDoesNotBringBackWhatTheFirstTook) {
  Checker checker(*table_, nullptr, 0);
  write(2, 1, 10);
  for (const std::uint64_t from : {std::uint64_t{1000}, std::uint64_t{3000}}) {
    std::fill(file_.begin() + static_cast<long>(2 * kPage + 1000), file_.begin() + 3 * kPage, 0);
    checker.cut(2 * kPage + from, 20 + from);
    checker.extended(30 + from);
  }
  EXPECT_EQ(checker.verify(file_.data()).lost, 0u);
  EXPECT_EQ(checker.torn(file_.data()).torn, 0u);
  file_[2 * kPage + 500] ^= 1;
  EXPECT_EQ(checker.verify(file_.data()).lost, 1u);
  EXPECT_EQ(checker.torn(file_.data()).torn, 1u);
}

TEST_F(CheckerTest, AHoleIsZeroUntilSomethingIsWrittenIntoIt) {
  Checker checker(*table_, nullptr, 0);
  write(5, 1, 10);
  checker.zeroed(4, 6, 100, 200);
  EXPECT_EQ(checker.verify(file_.data()).risen, 1u);
  std::fill(file_.begin() + 5 * kPage, file_.begin() + 6 * kPage, 0);
  EXPECT_EQ(checker.verify(file_.data()).risen, 0u);
  write(5, 2, 201, false);
  EXPECT_EQ(checker.verify(file_.data()).lost, 1u);
}

TEST_F(CheckerTest, WhatOthersWroteIsThereUnlessTheSenderWroteAfterwards) {
  Checker checker(*table_, nullptr, 0);
  write(5, 1, 10);
  checker.written(5, 6, 100, 200);
  EXPECT_EQ(checker.verify(file_.data()).risen, 1u) << "the others' write is lost";
  fill(&file_[5 * kPage], kPage, foreign_stamp(5));
  EXPECT_EQ(checker.verify(file_.data()).lost, 0u);
  write(5, 2, 150);  // meanwhile: either, word by word
  EXPECT_EQ(checker.verify(file_.data()).lost, 0u);
  fill(&file_[5 * kPage], 512, foreign_stamp(5));
  EXPECT_EQ(checker.verify(file_.data()).lost, 0u);
  fill(&file_[5 * kPage], 512, make_stamp(1, 5));
  EXPECT_EQ(checker.verify(file_.data()).lost, 1u);
  write(5, 3, 201);
  EXPECT_EQ(checker.verify(file_.data()).lost, 0u);
  fill(&file_[5 * kPage], kPage, foreign_stamp(5));
  EXPECT_EQ(checker.verify(file_.data()).lost, 1u);
}

TEST_F(CheckerTest, WhatWasMovedIsThePageThatItWas) {
  Checker checker(*table_, nullptr, 0);
  write(5, 1, 10);
  write(6, 2, 20);
  const std::vector<Acked> before = checker.acked_now();
  checker.moved(5, 6, 6, before, 100, 200);
  EXPECT_EQ(checker.verify(file_.data()).risen, 1u) << "it is where it was";
  fill(&file_[5 * kPage], kPage, make_stamp(2, 6));
  EXPECT_EQ(checker.verify(file_.data()).lost, 0u);
  fill(&file_[5 * kPage], kPage, make_stamp(1, 6));
  EXPECT_EQ(checker.verify(file_.data()).lost, 1u) << "older than what was acknowledged";
  fill(&file_[5 * kPage], kPage, make_stamp(9, 7));
  EXPECT_EQ(checker.verify(file_.data()).lost, 1u) << "another page";
}

TEST_F(CheckerTest, AReaderSeesWhatWasAcknowledgedBefore) {
  Checker checker(*table_, nullptr, 0);
  write(5, 2, 10);
  const std::vector<Acked> before = checker.acked_now();
  EXPECT_EQ(checker.read(file_.data(), before).lost, 0u);
  fill(&file_[5 * kPage], 800, make_stamp(3, 5));  // under way
  EXPECT_EQ(checker.read(file_.data(), before).lost, 0u);
  fill(&file_[5 * kPage], 800, make_stamp(1, 5));
  EXPECT_EQ(checker.read(file_.data(), before).lost, 1u);
}

TEST_F(CheckerTest, AnEndedLeaseMayLeaveAWriteThatWasNotAcknowledged) {
  Checker checker(*table_, nullptr, 0);
  write(5, 2, 10);
  fill(&file_[5 * kPage], kPage, make_stamp(3, 5));
  EXPECT_EQ(checker.verify(file_.data()).lost, 1u);
  checker.ended();
  EXPECT_EQ(checker.verify(file_.data()).lost, 0u);
  fill(&file_[5 * kPage], kPage, make_stamp(1, 5));
  EXPECT_EQ(checker.verify(file_.data()).lost, 1u);
}

TEST_F(CheckerTest, WhatWasUnderWayAtTheEndMayBeThereAfterACutToo) {
  Checker checker(*table_, nullptr, 0);
  write(5, 2, 10);
  checker.zeroed(4, 7, 20, 30);
  fill(&file_[5 * kPage], kPage, make_stamp(3, 5));
  EXPECT_EQ(checker.verify(file_.data()).risen, 1u);
  checker.ended();
  EXPECT_EQ(checker.verify(file_.data()).risen, 0u);
  fill(&file_[5 * kPage], kPage, make_stamp(2, 5));  // acknowledged before the cut
  EXPECT_EQ(checker.verify(file_.data()).risen, 1u);
}

TEST_F(CheckerTest, AMixedPageIsTornAlsoAtOddOffsets) {
  table_->unaligned = 1;
  Checker checker(*table_, nullptr, 0);
  write(2, 1, 10);
  EXPECT_EQ(checker.torn(file_.data()).torn, 0u);
  const Part part = part_of(2, true);
  fill(&file_[2 * kPage + part.offset], 800, make_stamp(9, 2));
  EXPECT_EQ(checker.torn(file_.data()).torn, 1u);
}

TEST_F(CheckerTest, AStampOfAnotherPageIsTorn) {
  Checker checker(*table_, nullptr, 0);
  fill(&file_[2 * kPage], kPage, make_stamp(1, 3));
  EXPECT_EQ(checker.torn(file_.data()).torn, 1u);
}

TEST_F(CheckerTest, StoredPagesComeFromTheirOwnTable) {
  std::vector<char> other(table_bytes(kPages));
  auto* stores = reinterpret_cast<Table*>(other.data());
  stores->pages = kPages;
  stores->acked[7] = {make_stamp(1, 7), 10, 11};
  Checker checker(*table_, stores, 1);
  EXPECT_EQ(checker.verify(file_.data()).lost, 1u);
  fill(&file_[7 * kPage], kPage, make_stamp(1, 7));
  EXPECT_EQ(checker.verify(file_.data()).lost, 0u);
}

}  // namespace
}  // namespace mrlease::load
