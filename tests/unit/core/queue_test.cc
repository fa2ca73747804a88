// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/core/harness.h"

namespace mrlease::core {
namespace {

TEST(Queue, BreaksOfOneFileAreServedInOrder) {
  Harness h;
  h.grant(1, Backing::Bounce);
  h.ask(7, BreakKind::Write, {0, kPg});
  const auto flush = h.only<effect::StartWork>();
  h.ask(8, BreakKind::Read, {8 * kPg, 9 * kPg});
  EXPECT_TRUE(h.last.empty());
  h.truncate(9, 0);
  EXPECT_TRUE(h.last.empty());
  h.work_done(flush);
  EXPECT_TRUE(h.answered(7));
  EXPECT_TRUE(h.none<effect::StartWork>());
  h.left(7, kSize);
  h.work_done(h.only<effect::StartWork>());  // merge
  EXPECT_TRUE(h.over(7));
  EXPECT_EQ(h.only<effect::StartWork>().kind, Work::Flush);  // of 8
  h.work_done(h.only<effect::StartWork>());
  EXPECT_TRUE(h.answered(8));
  EXPECT_TRUE(h.over(8));
  EXPECT_EQ(h.only<effect::StartWork>().kind, Work::HoldFlush);  // of 9
}

TEST(Queue, ForeignOperationsGoBeforeWhatTheApiAskedEarlier) {
  Harness h;
  h.grant(1, Backing::Bounce);
  h.ask(7, BreakKind::Sync, {}, 0, 5);
  const auto running = h.only<effect::StartWork>();
  h.ask(8, BreakKind::Freeze, {}, 0, 5);
  h.ask(9, BreakKind::Sync, {}, 0, 6);
  h.ask(10, BreakKind::Write, {0, kPg});
  h.truncate(11, kPg);
  h.work_done(running);
  h.work_done(h.only<effect::StartWork>());
  EXPECT_TRUE(h.answered(10)) << "what has begun is not overtaken, what has not is";
  h.left(10, kSize);
  h.work_done(h.only<effect::StartWork>());
  EXPECT_EQ(h.only<effect::StartWork>().kind, Work::HoldFlush) << "foreign operations keep their order";
  h.work_done(h.only<effect::StartWork>());
  h.left(11, kPg);
  h.work_done(h.only<effect::StartWork>());
  EXPECT_EQ(h.only<effect::StartWork>().kind, Work::FreezeFlush);
}

TEST(Queue, ASessionHasSoManyUnansweredBreaksAndNoMore) {
  Harness h;
  h.grant(1, Backing::Direct);
  h.truncate(1, 0);
  for (BreakId id = 2; id < 2 + kApiBreaksMax; ++id) {
    h.ask(id, BreakKind::Sync, {}, 0, 5);
    EXPECT_TRUE(h.last.empty());
  }
  h.ask(50, BreakKind::Sync, {}, 0, 5);
  EXPECT_TRUE(h.answered(50, EDQUOT));
  EXPECT_TRUE(h.over(50));
  h.ask(51, BreakKind::Sync, {}, 0, 6);
  EXPECT_TRUE(h.last.empty()) << "of another session";
  h.step(event::SessionGone{5});
  h.ask(52, BreakKind::Sync, {}, 0, 5);
  EXPECT_TRUE(h.last.empty()) << "those of the session are over";
}

TEST(Queue, AnAnsweredBreakDoesNotCount) {
  Harness h;
  for (BreakId id = 1; id <= 2 * kApiBreaksMax; ++id) {
    h.ask(id, BreakKind::Freeze, {id * kPg, (id + 1) * kPg}, 0, 5);
    ASSERT_TRUE(h.answered(id));
  }
}

TEST(Queue, FilesDoNotWaitForEachOther) {
  Harness h;
  Lease other = Harness::lease(2, Backing::Direct);
  other.file = kOtherFile;
  h.grant(1, Backing::Direct);
  h.grant(other);
  h.truncate(7, 0);
  h.step(event::RequestBreak{8, kOtherFile, BreakKind::Destructive, {}});
  EXPECT_EQ(h.only<effect::Recall>().lease, 2u);
}

TEST(Queue, AllLeasesAreRecalledAtOnceAndTheLastOneAnswers) {
  Harness h;
  for (LeaseId id = 1; id <= 5; ++id) h.grant(id, Backing::Direct);
  h.truncate(7, 0);
  const auto recalls = h.got<effect::Recall>();
  ASSERT_EQ(recalls.size(), 5u);
  for (int i = 4; i > 0; --i) {
    h.answer(recalls[static_cast<std::size_t>(i)]);
    EXPECT_TRUE(h.last.empty());
  }
  h.answer(recalls[0]);
  EXPECT_TRUE(h.answered(7));
}

TEST(Queue, ALongLineOfBreaksThatAskNothingDoesNotRecurse) {
  Harness h;
  h.grant(1, Backing::Direct);
  h.truncate(1, 0);
  const auto recall = h.only<effect::Recall>();
  constexpr BreakId kLine = 100'000;
  for (BreakId id = 2; id <= kLine; ++id) h.ask(id, BreakKind::Read);
  h.answer(recall);
  h.left(1, 0);
  h.answer(h.only<effect::Recall>());
  EXPECT_EQ(h.got<effect::BreakAnswered>().size(), kLine - 1);
  EXPECT_EQ(h.arbiter.breaks(), 0u);
}

TEST(Queue, ASecondBreakOfTheSameIdIsIgnored) {
  Harness h;
  h.grant(1, Backing::Direct);
  h.truncate(7, 0);
  h.truncate(7, 0);
  EXPECT_EQ(h.last.size(), 1u);
  EXPECT_EQ(h.got<effect::Report>().size(), 1u);
  EXPECT_EQ(h.arbiter.breaks(), 1u);
}

TEST(Queue, SameEventsSameEffects) {
  const auto run = [] {
    Harness h;
    for (LeaseId id = 1; id <= 50; ++id) h.grant(id, static_cast<Backing>(id % 4), {0, id * kPg});
    h.truncate(7, 0);
    h.wait(10'000);
    std::string trace;
    for (const auto& e : h.all) trace += static_cast<char>('a' + e.index());
    for (const auto& r : h.ever<effect::Recall>()) trace += std::to_string(r.lease) + ",";
    for (const auto& f : h.ever<effect::StartFence>()) trace += std::to_string(f.lease) + ";";
    return trace;
  };
  EXPECT_EQ(run(), run());
}

}  // namespace
}  // namespace mrlease::core
