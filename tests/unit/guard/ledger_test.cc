// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/ledger.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace mrlease::guard {
namespace {

class LedgerTest : public testing::Test {
 protected:
  LedgerTest() {
    listener.held = [this](ForeignOp op) { held.push_back(op); };
    listener.left = [this](core::BreakId id, bool sure) { left.emplace_back(id, sure); };
  }
  void tell() {
    for (auto& note : outbox.take()) note(listener);
  }
  // As the guard does it.
  static void poll(Ledger* ledger, Clock::time_point now, const std::function<void()>& read_notices = [] {}) {
    auto due = ledger->due(now);
    for (auto& watched : due) watched.view = look(watched.view.tid);
    ledger->poll(now, std::move(due), read_notices);
  }
  static TaskView hidden(int tid) {
    TaskView view;
    view.tid = tid;
    view.hidden = true;
    return view;
  }
  core::BreakId hold(int tid, int result = 0) {
    ForeignOp op;
    op.file = file;
    op.tid = tid;
    TaskView view = tid ? look(tid) : TaskView{};
    ledger.hold(op, view, [this, result](int deny) { answers.push_back(deny); return result; }, bound);
    tell();
    return held.back().id;
  }
  const core::FileKey file{1, 2}, other{1, 3};
  const Clock::duration bound = std::chrono::milliseconds(500);
  Listener listener;
  Outbox outbox;
  Ledger ledger{&outbox};
  std::vector<ForeignOp> held;
  std::vector<std::pair<core::BreakId, bool>> left;
  std::vector<int> answers;
};

TEST_F(LedgerTest, AnswersOnceAndForgetsWhatNobodyWatches) {
  auto id = hold(::gettid());
  EXPECT_TRUE(ledger.any_held());
  ledger.answer(id, 0, false);
  ledger.answer(id, EBUSY, false);
  tell();
  EXPECT_EQ(answers, std::vector<int>{0});
  EXPECT_FALSE(ledger.busy(file));
  EXPECT_TRUE(left.empty());
}

TEST_F(LedgerTest, ModifyByThatTaskOnThatFileEndsIt) {
  auto id = hold(::gettid());
  EXPECT_FALSE(ledger.modified(file, ::gettid()));  // not answered yet
  ledger.answer(id, 0, true);
  EXPECT_FALSE(ledger.modified(other, ::gettid()));
  EXPECT_FALSE(ledger.modified(file, 1));
  EXPECT_TRUE(ledger.busy(file));
  EXPECT_TRUE(ledger.modified(file, ::gettid()));
  tell();
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0], std::make_pair(id, true));
}

TEST_F(LedgerTest, WhatHasLeftIsToldWhenTheFileIsHeldAgain) {
  bool settled = false;
  ledger.hold_back([&](const core::FileKey& which) {
    EXPECT_EQ(which, file);
    return settled;
  });
  const auto id = hold(::gettid());
  ledger.answer(id, 0, true);
  EXPECT_TRUE(ledger.modified(file, ::gettid()));
  tell();
  EXPECT_TRUE(left.empty());
  EXPECT_FALSE(ledger.busy(file));  // so that it can be held again
  EXPECT_FALSE(ledger.modified(file, ::gettid()));  // nor does it explain what comes now
  const auto due = ledger.next_due();
  ASSERT_LT(due, Clock::now() + std::chrono::seconds(1));
  poll(&ledger, due);
  tell();
  EXPECT_TRUE(left.empty());
  settled = true;
  poll(&ledger, ledger.next_due());
  tell();
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0], std::make_pair(id, true));
  EXPECT_TRUE(ledger.empty());
}

TEST_F(LedgerTest, WhoKeepsTheFileOpenIsNotWaitedForForLong) {
  static Clock::time_point now;
  now = Clock::time_point(std::chrono::hours(1));
  ledger = Ledger(&outbox, nullptr, [] { return now; });
  ledger.hold_back([](const core::FileKey&) { return false; });
  const auto id = hold(::gettid());
  ledger.answer(id, 0, true);
  EXPECT_TRUE(ledger.modified(file, ::gettid()));
  const auto end = now + std::chrono::seconds(1);
  while (!ledger.empty() && now < end) {
    tell();
    EXPECT_TRUE(left.empty());
    now = ledger.next_due();
    poll(&ledger, now);
  }
  tell();
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0], std::make_pair(id, true));
}

TEST_F(LedgerTest, AReaderChangesNothingAndIsNotHeldBack) {
  ledger.hold_back([](const core::FileKey&) { return false; });
  ForeignOp op;
  op.file = file;
  op.kind = core::BreakKind::Read;
  const auto id = ledger.hold(op, {}, [](int) { return 0; });
  ledger.answer(id, 0, true);
  ledger.opened(file, ::gettid());
  tell();
  EXPECT_EQ(left.size(), 1u);
}

TEST_F(LedgerTest, ANewEventOfTheTaskCoversTheOld) {
  auto id = hold(::gettid());
  ledger.answer(id, 0, true);
  ledger.came_again(other, ::gettid());
  EXPECT_TRUE(ledger.busy(file));
  ledger.came_again(file, ::gettid());
  tell();
  EXPECT_EQ(left.size(), 1u);
}

TEST_F(LedgerTest, DeniedOrKilledIsOverAtOnce) {
  ledger.answer(hold(::gettid()), EBUSY, true);
  ledger.answer(hold(::gettid(), ENOENT), 0, true);
  tell();
  EXPECT_EQ(left.size(), 2u);
}

TEST_F(LedgerTest, WithoutATaskTheBoundCounts) {
  auto id = hold(0);
  ledger.answer(id, 0, true);
  auto due = ledger.next_due();
  poll(&ledger, due - std::chrono::milliseconds(1));
  tell();
  EXPECT_TRUE(left.empty());
  poll(&ledger, due);
  tell();
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0], std::make_pair(id, false));
}

class AnyOfTest : public LedgerTest {
 protected:
  // One operation that is of `file` or of `other`; both ids are in `held`.
  void hold_any(int tid, int result = 0) {
    std::vector<ForeignOp> ops(2);
    ops[0].file = file;
    ops[1].file = other;
    for (ForeignOp& op : ops) op.tid = tid;
    ledger.hold_any_of(ops, tid != 0 ? look(tid) : TaskView{}, [this, result](int deny) { answers.push_back(deny); return result; }, bound);
    tell();
  }
  void answer(std::size_t which, int deny = 0) {
    ledger.answer(held.at(which).id, deny, true);
    tell();
  }
};

TEST_F(AnyOfTest, ItGoesOnWhenAllAreAnsweredAndLeavesEach) {
  hold_any(::gettid());
  ASSERT_EQ(held.size(), 2u);
  answer(0);
  EXPECT_TRUE(answers.empty());
  EXPECT_FALSE(ledger.modified(file, ::gettid())) << "it cannot have done that yet";
  ledger.came_again(file, ::gettid());
  EXPECT_TRUE(ledger.busy(file));
  answer(1);
  EXPECT_EQ(answers, std::vector<int>{0});
  EXPECT_TRUE(ledger.modified(file, ::gettid()));
  ledger.came_again(other, ::gettid());
  tell();
  EXPECT_EQ(left.size(), 2u);
}

TEST_F(AnyOfTest, OneDenialIsEnough) {
  hold_any(::gettid());
  answer(0, EBUSY);
  answer(1);
  EXPECT_EQ(answers, std::vector<int>{EBUSY});
  EXPECT_EQ(left.size(), 2u) << "it failed";
  EXPECT_TRUE(ledger.empty());
}

TEST_F(AnyOfTest, WithoutATaskTheBoundCountsFromTheLastAnswer) {
  hold_any(0);
  answer(0);
  EXPECT_EQ(ledger.next_due(), Clock::time_point::max());
  EXPECT_FALSE(ledger.modified(file, ::gettid()));
  answer(1);
  const auto due = ledger.next_due();
  EXPECT_LE(due, Clock::now() + bound);
  poll(&ledger, due);
  tell();
  ASSERT_EQ(left.size(), 2u);
  EXPECT_FALSE(left[0].second);
}

// It is answered for the rest of the files as for one that lives: nobody waits for its end.
TEST_F(AnyOfTest, WhoIsKilledInBetweenIsOverWithTheLastAnswer) {
  const pid_t child = ::fork();
  if (child == 0) {
    for (;;) ::pause();
  }
  for (TaskView view = look(child); !view.call || view.call->running;) view = look(child);  // until it sleeps
  hold_any(child, ENOENT);
  answer(0);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(ledger.next_due(), Clock::time_point::max()) << "nothing is to be looked at";
  answer(1);
  EXPECT_EQ(left.size(), 1u);
  poll(&ledger, ledger.next_due());
  tell();
  EXPECT_EQ(left.size(), 2u);
}

TEST_F(AnyOfTest, WhatIsLetGoWithAllElseMayVanishMeanwhile) {
  hold_any(::gettid(), ENOENT);
  hold(::gettid(), ENOENT);
  ledger.allow_all();
  tell();
  EXPECT_GE(left.size(), 2u);
  EXPECT_FALSE(ledger.any_held());
}

TEST_F(LedgerTest, WhatATaskDidIsReadBeforeItIsSaidToHaveLeft) {
  const pid_t child = ::fork();
  if (child == 0) {
    for (;;) ::pause();
  }
  auto id = hold(child);
  ledger.answer(id, 0, true);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  bool explained = false;
  poll(&ledger, ledger.next_due(), [&] { explained = ledger.modified(file, child); });
  tell();
  EXPECT_TRUE(explained);
  EXPECT_EQ(left, (std::vector{std::make_pair(id, true)}));
}

TEST_F(LedgerTest, WhatAPredecessorHadAllowedIsWatchedToItsEnd) {
  const pid_t child = ::fork();
  if (child == 0) {
    for (;;) ::pause();
  }
  TaskView view = look(child);
  while (!view.call || view.call->running) view = look(child);  // until it sleeps
  std::vector<char> memory(Journal::bytes());
  Journal journal(memory.data());
  journal.passes(file, view);
  Ledger successor(&outbox, &journal);
  const auto id = successor.adopt(journal.passing().front());
  EXPECT_TRUE(successor.busy(file));
  EXPECT_EQ(journal.passing().size(), 1u) << "for the one after";
  poll(&successor, successor.next_due());
  tell();
  EXPECT_TRUE(left.empty());
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  poll(&successor, successor.next_due());
  tell();
  EXPECT_EQ(left, (std::vector{std::make_pair(id, true)}));
  EXPECT_TRUE(journal.passing().empty());
}

TEST_F(LedgerTest, ATaskThatNobodyLooksAtHasNotLeft) {
  const auto id = hold(::gettid());
  ledger.answer(id, 0, true);
  const auto now = ledger.next_due();
  ASSERT_EQ(ledger.due(now).size(), 1u);
  ledger.poll(now, {{id, hidden(::gettid())}}, [] {});
  tell();
  EXPECT_TRUE(left.empty());
  EXPECT_GT(ledger.next_due(), now) << "it is tried again";
  TaskView gone;
  gone.tid = ::gettid();
  ledger.poll(ledger.next_due(), {{id, gone}}, [] {});
  tell();
  EXPECT_EQ(left, (std::vector{std::make_pair(id, true)}));
}

// A read leaves no notice.
TEST_F(LedgerTest, WhoWasNotSeenWhenHeWasHeldHasLeftWithTheCallThatHeIsSeenIn) {
  enum class Seen { Not, Running, WithoutACall };
  for (const Seen how : {Seen::Not, Seen::Running, Seen::WithoutACall}) {
    ForeignOp op;
    op.file = file;
    op.kind = core::BreakKind::Read;
    op.tid = ::gettid();
    TaskView view;
    view.tid = op.tid;
    view.hidden = how == Seen::Not;
    if (how != Seen::Not) view.stat = sys::TaskStat{};
    if (how == Seen::Running) {
      view.call = sys::SyscallState{};
      view.call->running = true;
    }
    const auto id = ledger.hold(op, view, [](int) { return 0; });
    ledger.answer(id, 0, true);
    TaskView later = view;
    later.hidden = false;
    later.stat = sys::TaskStat{};
    later.call = sys::SyscallState{};
    const auto seen = [&](long number) {
      later.call->number = number;
      ledger.poll(ledger.next_due(), {{id, later}}, [] {});
    };
    seen(0);
    EXPECT_TRUE(ledger.busy(file)) << "he may be in it still";
    seen(0);
    EXPECT_TRUE(ledger.busy(file));
    seen(1);
    EXPECT_FALSE(ledger.busy(file));
  }
}

TEST_F(LedgerTest, WhoWasSeenOnHisWayToSleepIsLookedAtAgainWhileHeIsHeld) {
  TaskView early = hidden(7);
  early.hidden = false;
  early.stat = sys::TaskStat{};
  early.call = sys::SyscallState{};
  early.call->running = true;
  ForeignOp op;
  op.file = file;
  op.tid = 7;
  const auto id = ledger.hold(op, early, [](int) { return 0; });
  auto now = ledger.next_due();
  ASSERT_EQ(ledger.due(now).size(), 1u);
  TaskView asleep = early;
  asleep.call->running = false;
  asleep.call->number = 1;
  ledger.poll(now, {{id, asleep}}, [] {});
  EXPECT_EQ(ledger.next_due(), Clock::time_point::max());
  ledger.answer(id, 0, true);
  now = ledger.next_due();
  ledger.poll(now, {{id, asleep}}, [] {});
  tell();
  EXPECT_TRUE(left.empty()) << "he is in that call still";
  asleep.call->number = 2;
  ledger.poll(ledger.next_due(), {{id, asleep}}, [] {});
  tell();
  EXPECT_EQ(left.size(), 1u);
}

TEST_F(LedgerTest, WhoHasOpenedTheFileIsLookedAtUntilHeHasLeftThatCall) {
  const auto id = hold(0);
  ledger.answer(id, 0, true);
  ledger.opened(file, 7);
  TaskView view = hidden(7);
  const auto seen = [&] {
    const auto now = ledger.next_due();
    ASSERT_EQ(ledger.due(now).size(), 1u);
    ledger.poll(now, {{id, view}}, [] {});
    tell();
  };
  seen();
  EXPECT_TRUE(left.empty());
  view.hidden = false;
  view.stat = sys::TaskStat{};
  view.call = sys::SyscallState{};
  view.call->number = SYS_openat;
  view.call->sp = std::uint64_t{1} << 40;
  seen();
  EXPECT_TRUE(left.empty()) << "it may cut only now";
  seen();
  EXPECT_TRUE(left.empty());
  view.call->number = SYS_close;
  seen();
  EXPECT_EQ(left, (std::vector{std::make_pair(id, true)}));
}

TEST_F(LedgerTest, CouldNotBeDeniedIsWatched) {
  ledger.answer(hold(0, ENOTSUP), EBUSY, true);
  tell();
  EXPECT_TRUE(left.empty());
  EXPECT_TRUE(ledger.busy(file));
}

TEST_F(LedgerTest, IdsAreInTheGuardsHalfAndNeverTheSame) {
  auto a = hold(::gettid()), b = hold(::gettid());
  EXPECT_NE(a, b);
  EXPECT_GE(a, core::BreakId{1} << 63);
}

TEST_F(LedgerTest, AllowAllAnswersTheRest) {
  ledger.answer(hold(::gettid()), EBUSY, true);
  hold(::gettid());
  ledger.allow_all();
  EXPECT_EQ(answers, (std::vector<int>{EBUSY, 0}));
  EXPECT_FALSE(ledger.any_held());
}

}  // namespace
}  // namespace mrlease::guard
