// SPDX-License-Identifier: Apache-2.0
// The chronicle, fed by a real arbiter: what it makes of the events and effects that go by.
#include "daemon/session/chronicle.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace mrlease::session {
namespace {

namespace event = core::event;
namespace effect = core::effect;

constexpr core::FileKey kFile{1, 2};
constexpr core::BreakId kForeign = (1ull << 63) + 1;

class ChronicleTest : public ::testing::Test {
 protected:
  ChronicleTest() {
    chronicle.tell([this](Chronicle::Batch batch) {
      for (auto& h : batch) told.push_back(std::move(h));
    });
    chronicle.session_began(7, {4711, 1000, 1000, 0, "trainer"});
    step(event::RequestLease{1, {5, 7, kFile, {0, 8192}, 8192, core::Backing::OdpTransparent, true, false}});
  }
  void step(core::Event e) {
    core::Effects effects = arbiter.step(e, ++time);
    for (const auto& x : effects)
      if (const auto* recall = std::get_if<effect::Recall>(&x)) last_recall = recall->recall;
    chronicle.saw(e, std::move(effects));
  }
  void truncate() {
    chronicle.foreign(kForeign, ::gettid(), "truncate by me");
    step(event::RequestBreak{kForeign, kFile, core::BreakKind::Truncate, {4096, core::kToEnd}, 4096});
  }
  template <typename T>
  std::vector<T> all() {
    chronicle.flush();
    std::vector<T> found;
    for (const auto& h : told)
      if (const auto* x = std::get_if<T>(&h.what)) found.push_back(*x);
    return found;
  }

  asio::io_context loop;
  core::Arbiter arbiter{core::Policy{}};
  Chronicle chronicle{loop, [](const core::FileKey&) { return "/data/file"; }};
  std::vector<Happening> told;
  core::Time time = 0;
  core::RecallId last_recall = 0;
};

TEST_F(ChronicleTest, ATruncateWithItsOwnerAndItsRecalls) {
  truncate();
  chronicle.settle();
  ASSERT_EQ(chronicle.breaks().size(), 1u);
  EXPECT_EQ(chronicle.breaks().begin()->second.phase, BreakPhase::Waiting);
  ASSERT_EQ(chronicle.outstanding(5).size(), 1u);
  EXPECT_EQ(chronicle.outstanding(5)[0].action, core::Action::Trim);
  step(event::RecallAnswered{last_recall, 7, 0});
  chronicle.settle();
  EXPECT_EQ(chronicle.breaks().begin()->second.phase, BreakPhase::Passing);
  step(event::OperationLeft{kForeign, 4096});
  step(event::RecallAnswered{last_recall, 7, 0});
  const auto done = all<happening::BreakDone>();
  ASSERT_EQ(done.size(), 1u);
  EXPECT_TRUE(chronicle.breaks().empty());
  EXPECT_EQ(done[0].note.source, Source::Foreign);
  EXPECT_EQ(done[0].note.by->pid, ::getpid());
  EXPECT_EQ(done[0].note.by->uid, ::geteuid());
  EXPECT_EQ(*done[0].note.file.path, "/data/file");
  ASSERT_EQ(done[0].note.recalled.size(), 2u);
  EXPECT_EQ(done[0].note.recalled[0].action, core::Action::Trim);
  EXPECT_EQ(done[0].note.recalled[1].action, core::Action::Settle);
  EXPECT_TRUE(done[0].note.recalled[0].took);
  EXPECT_EQ(done[0].note.recalled[0].client->program, "trainer");
  EXPECT_EQ(chronicle.leases().at(5).breaks, 2u);
}

TEST_F(ChronicleTest, WhatIsOnThePathOfAHeldOperationWaits) {
  truncate();
  EXPECT_TRUE(chronicle.breaks().empty());
  chronicle.settle();
  EXPECT_EQ(chronicle.breaks().size(), 1u);
}

TEST_F(ChronicleTest, ALateClientIsFencedAndTheCauseIsTold) {
  truncate();
  time += 10000;
  step(event::Tick{});
  step(event::FenceDone{5, true});
  const auto fenced = all<happening::LeaseFenced>();
  ASSERT_EQ(fenced.size(), 1u);
  EXPECT_EQ(fenced[0].cause, "recall_timeout");
  EXPECT_FALSE(fenced[0].killed);
  const auto answers = all<happening::RecallAnswered>();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_TRUE(answers[0].recall.fenced);
  EXPECT_FALSE(answers[0].recall.took);
}

TEST_F(ChronicleTest, AClientThatRefusesIsFencedForThat) {
  truncate();
  step(event::RecallAnswered{last_recall, 7, 5});
  step(event::FenceDone{5, false});
  const auto fenced = all<happening::LeaseFenced>();
  ASSERT_EQ(fenced.size(), 1u);
  EXPECT_EQ(fenced[0].cause, "refused");
  EXPECT_TRUE(fenced[0].killed);
}

TEST_F(ChronicleTest, AnotherSessionsAnswerIsNotBelieved) {
  truncate();
  step(event::RecallAnswered{last_recall, 8, 0});
  EXPECT_TRUE(all<happening::RecallAnswered>().empty());
  EXPECT_EQ(chronicle.outstanding(5).size(), 1u);
}

TEST_F(ChronicleTest, TheEndOfASessionEndsItsLeases) {
  truncate();
  chronicle.session_ended(7, "the process has ended", 1);
  step(event::SessionGone{7});
  const auto ended = all<happening::LeaseEnded>();
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].reason, "its client is gone");
  EXPECT_TRUE(chronicle.leases().empty());
  EXPECT_TRUE(chronicle.outstanding(5).empty());
  EXPECT_EQ(chronicle.sessions(), 0u);
}

TEST_F(ChronicleTest, AFreezeHoldsAndIsOver) {
  chronicle.admin(3, "freeze by the administrator");
  step(event::RequestBreak{3, kFile, core::BreakKind::Freeze, {}, 0, 100, 99});
  step(event::RecallAnswered{last_recall, 7, 0});
  EXPECT_EQ(all<happening::FreezeHolds>().size(), 1u);
  EXPECT_EQ(chronicle.breaks().at(3).source, Source::Admin);
  time += 1000;
  step(event::Tick{});
  step(event::RecallAnswered{last_recall, 7, 0});
  const auto done = all<happening::BreakDone>();
  ASSERT_EQ(done.size(), 1u);
  EXPECT_TRUE(done[0].note.expired);
}

TEST_F(ChronicleTest, ALeaseThatIsRefusedLeavesNothing) {
  step(event::RequestLease{2, {6, 7, kFile, {0, 4096}, 4096, core::Backing::OdpTransparent, true, false}});
  const auto refused = all<happening::LeaseRefused>();
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(chronicle.leases().size(), 1u);
}

TEST_F(ChronicleTest, PagesAreCountedForTheirLease) {
  chronicle.wrote(5, 3, 0);
  chronicle.settle();
  EXPECT_EQ(chronicle.leases().at(5).pages_written, 3u);
  EXPECT_EQ(all<happening::PagesWritten>().size(), 1u);
}

}  // namespace
}  // namespace mrlease::session
