// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/journal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

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
    first.begin_read(Group::Precontent);
    first.was_read(held, {st.st_dev, st.st_ino}, Group::Perm);
    first.was_read(answered, {st.st_dev, st.st_ino}, Group::Precontent);
    first.end_read();
    first.answered(answered.fd.get());
  }
  const Journal second(memory);
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

// What the kernel puts into the buffer of a read: fanotify(7).
class ReadBuffer {
 public:
  explicit ReadBuffer(std::span<char> buffer) : at_(buffer.data()) {}
  void add(int number, int tid) {
    fanotify_event_metadata meta{};
    meta.event_len = meta.metadata_len = FAN_EVENT_METADATA_LEN;
    meta.vers = FANOTIFY_METADATA_VERSION;
    meta.mask = 0x100000;
    meta.fd = number;
    meta.pid = tid;
    std::memcpy(at_, &meta, sizeof meta);
    at_ += sizeof meta;
  }

 private:
  char* at_;
};

TEST_F(JournalTest, WhatAKilledReadHasGotIsNotedWithoutItsFile) {
  const sys::FanEvent noted = event(11);
  {
    Journal first(memory);
    ReadBuffer got(first.begin_read(Group::Perm));
    got.add(noted.fd.get(), 11);
    got.add(77, 12);
    got.add(FAN_NOFD, 13);
    first.was_read(noted, {8, 9}, Group::Perm);
  }
  Journal second(memory);
  EXPECT_EQ(second.orphans().size(), 1u) << "who only looks does not change it";
  second.note_read();
  EXPECT_EQ(::fcntl(noted.fd.get(), F_GETFD), FD_CLOEXEC) << "it closes nothing of ours";
  const auto orphans = Journal(memory).orphans();
  ASSERT_EQ(orphans.size(), 2u);
  EXPECT_EQ(orphans[0].file, (core::FileKey{8, 9}));
  EXPECT_EQ(orphans[1].number, 77);
  EXPECT_EQ(orphans[1].tid, 12);
  EXPECT_EQ(orphans[1].group, Group::Perm);
  EXPECT_EQ(orphans[1].mask, 0x100000u);
  EXPECT_FALSE(orphans[1].seen());
}

TEST_F(JournalTest, WhatAReadThatHasEndedHadGotIsNoNews) {
  Journal first(memory);
  ReadBuffer(first.begin_read(Group::Precontent)).add(77, 12);
  first.end_read();
  Journal(memory).note_read();
  EXPECT_TRUE(Journal(memory).orphans().empty());
  first.begin_read(Group::Precontent);  // and got nothing
  Journal(memory).note_read();
  EXPECT_TRUE(Journal(memory).orphans().empty());
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
  EXPECT_FALSE(none.begin_read(Group::Perm).empty());
  none.was_read(event(1), {}, Group::Perm);
  none.allows(5);
  none.answered(5);
  EXPECT_EQ(none.passes({}, TaskView{}), Journal::kNoSlot);
  EXPECT_TRUE(none.orphans().empty());
  none.note_read();
}

}  // namespace
}  // namespace mrlease::guard
