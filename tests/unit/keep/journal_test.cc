// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/journal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mrlease::guard {
namespace {

class JournalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    memory = ::mmap(nullptr, Journal::bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
  }
  void TearDown() override { ::munmap(memory, Journal::bytes()); }
  static sys::FanEvent event(int tid) {
    sys::FanEvent e;
    e.mask = 0x100000;
    e.fd.reset(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    e.tid = tid;
    e.has_range = true;
    e.offset = 4096;
    return e;
  }
  void* memory = nullptr;
};

TEST_F(JournalTest, ASuccessorFindsWhatWasReadAndNotAnswered) {
  const sys::FanEvent held = event(11), answered = event(12);
  struct stat st {};
  ::fstat(held.fd.get(), &st);
  {
    Journal first(memory);
    first.begin_read();
    first.was_read(held, {st.st_dev, st.st_ino}, Group::Perm);
    first.was_read(answered, {st.st_dev, st.st_ino}, Group::Precontent);
    first.end_read();
    first.answered(answered.fd.get());
  }
  const Journal second(memory);
  EXPECT_FALSE(second.was_reading());
  const auto orphans = second.orphans();
  ASSERT_EQ(orphans.size(), 1u);
  EXPECT_EQ(orphans[0].number, held.fd.get());
  EXPECT_EQ(orphans[0].group, Group::Perm);
  EXPECT_EQ(orphans[0].tid, 11);
  EXPECT_EQ(orphans[0].offset, 4096u);
  EXPECT_TRUE(orphans[0].has_range);
  EXPECT_EQ(orphans[0].file, (core::FileKey{st.st_dev, st.st_ino}));
}

TEST_F(JournalTest, WhatIsBeingAllowedIsToldFromWhatIsHeld) {
  const sys::FanEvent held = event(11), going = event(12), gone = event(13);
  {
    Journal first(memory);
    for (const sys::FanEvent* e : {&held, &going, &gone}) first.was_read(*e, {}, Group::Precontent);
    first.allows(going.fd.get());
    first.allows(gone.fd.get());
    first.answered(gone.fd.get());
  }
  const auto orphans = Journal(memory).orphans();
  ASSERT_EQ(orphans.size(), 2u);
  for (const Orphan& o : orphans) EXPECT_EQ(o.allowed, o.tid == 12);
}

TEST_F(JournalTest, AKillDuringAReadIsSeen) {
  Journal(memory).begin_read();
  EXPECT_TRUE(Journal(memory).was_reading());
}

// Though events have been read since: until nobody can be held any more of whom nobody knows.
TEST_F(JournalTest, WhoMayBeHeldWithoutANoteIsRemembered) {
  Journal first(memory);
  first.begin_read();
  Journal second(memory);
  second.begin_unnoted(77, 70);
  second.begin_read();
  second.end_read();
  EXPECT_TRUE(Journal(memory).was_reading());
  EXPECT_EQ(Journal(memory).unnoted_below(), 77);
  second.end_unnoted(8);
  EXPECT_FALSE(Journal(memory).was_reading());
  EXPECT_EQ(Journal(memory).unnoted_below(), 0);
}

// How far the number of an event can be that nobody has noted: what is only taken meanwhile does not count.
TEST_F(JournalTest, HowManyDescriptorsWereOpenIsRemembered) {
  Journal first(memory);
  first.got(30);
  first.got(12);
  EXPECT_EQ(Journal(memory).open_most(), 31);
  const sys::FanEvent held = event(11);
  first.was_read(held, {}, Group::Precontent);
  EXPECT_EQ(Journal(memory).open_most(), std::max(31, held.fd.get() + 1));
  Journal second(memory);
  second.begin_unnoted(1100, 1060);
  second.got(1100);
  EXPECT_EQ(Journal(memory).open_most(), 41);
  second.end_unnoted(20);
  EXPECT_EQ(Journal(memory).open_most(), 21) << "of now";
}

TEST_F(JournalTest, WhatPassesIsKeptAsItWasSeen) {
  TaskView view;
  view.tid = 77;
  view.stat = sys::TaskStat{'S', 0x40, 3, 4, 555, "cp"};
  view.call = sys::SyscallState{false, 76, {1, 2, 3, 4, 5, 6}, 7, 8};
  view.wchan = "io_wq_worker";
  Journal first(memory);
  const auto slot = first.passes({8, 9}, view);
  const auto other = first.passes({8, 10}, view);
  first.left(other);
  const auto passing = Journal(memory).passing();
  ASSERT_EQ(passing.size(), 1u);
  EXPECT_EQ(passing[0].file, (core::FileKey{8, 9}));
  EXPECT_EQ(passing[0].view.tid, 77);
  EXPECT_EQ(passing[0].view.stat->start, 555u);
  EXPECT_EQ(*passing[0].view.call, *view.call);
  EXPECT_EQ(passing[0].view.wchan, "io_wq_worker");
  first.left(slot);
  EXPECT_TRUE(Journal(memory).passing().empty());
}

TEST_F(JournalTest, WithoutMemoryNothingHappens) {
  Journal none;
  none.begin_read();
  none.was_read(event(1), {}, Group::Perm);
  none.allows(5);
  none.answered(5);
  EXPECT_EQ(none.passes({}, TaskView{}), Journal::kNoSlot);
  EXPECT_TRUE(none.orphans().empty());
  none.begin_unnoted(9, 9);
  none.got(5);
  EXPECT_EQ(none.open_most(), 0);
  EXPECT_FALSE(none.was_reading());
  EXPECT_EQ(none.unnoted_below(), 0);
}

}  // namespace
}  // namespace mrlease::guard
