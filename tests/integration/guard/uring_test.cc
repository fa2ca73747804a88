// SPDX-License-Identifier: Apache-2.0
// An io_uring worker shows the system call that its parent sat in when it was made: here read(2), while it punches.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/integration/guard/precontent_fixture.h"
#include "tests/support/ring.h"

namespace mrlease::guard::test {
namespace {

using mrlease::test::Ring;

constexpr unsigned kLength = 32768;
char read_into[kLength];

class UringTest : public PrecontentTest {
 protected:
  // In the child: the first worker is kept busy by a FIFO that nobody writes to, so that more workers are made later,
  // while the main thread sits in read(2); then `add` puts the request that matters.
  int trap(void (*add)(Ring*, int fd)) {
    int opened = ::open(file.path(), O_RDWR), block[2];
    Ring ring;
    if (opened < 0 || ::pipe(block) || !ring.open()) return errno;
    for (int i = 0; i < 2; ++i) {
      io_uring_sqe* wait = ring.add(IORING_OP_OPENAT, AT_FDCWD);
      wait->addr = reinterpret_cast<std::uint64_t>(fifo.c_str());
      wait->open_flags = O_RDONLY;
    }
    add(&ring, opened);
    if (!ring.submit()) return errno;
    char byte;
    return outcome(::read(block[0], &byte, 1));
  }
  void before_guard() override {
    fifo = file.dir() + "/fifo";
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    ASSERT_EQ(::chmod(fifo.c_str(), 0666), 0);
  }
  void TearDown() override { ::unlink(fifo.c_str()); }
  std::string fifo;
};

TEST_F(UringTest, APunchBehindReadIsHeldAsDestructive) {
  Foreign child({[this] {
    return trap([](Ring* ring, int opened) {
      io_uring_sqe* punch = ring->add(IORING_OP_FALLOCATE, opened);
      punch->addr = kLength;
      punch->len = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    });
  }});
  auto blocks = file.blocks();
  child.next();
  auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  EXPECT_EQ(op->kind, core::BreakKind::Destructive) << op->what;
  EXPECT_EQ(op->extent, core::Extent{});
  EXPECT_NE(op->tid, child.pid());
  EXPECT_EQ(file.blocks(), blocks);
  guard->answer(op->id, 0, true);
  EXPECT_EQ(recorder.wait_left(op->id), true);
  EXPECT_LT(file.blocks(), blocks);
}

// What a worker is told to be doing would let it pass.
TEST_F(UringTest, WhereOnlyATruncateMattersAWorkersPageIsHeldAsOne) {
  guard->publish(file.key(), core::Needs{.truncate = true});
  Foreign child({[this] {
    return trap([](Ring* ring, int opened) {
      io_uring_sqe* read = ring->add(IORING_OP_READ, opened);
      read->addr = reinterpret_cast<std::uint64_t>(read_into);
      read->len = 4096;
    });
  }});
  child.next();
  auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  EXPECT_EQ(op->kind, core::BreakKind::Destructive) << op->what;
  EXPECT_TRUE(op->shortens);
  EXPECT_NE(op->tid, child.pid());
  guard->answer(op->id, 0, true);
  EXPECT_EQ(recorder.wait_left(op->id), true);
}

// What follows a request that was armed is begun by its submitter, behind whatever he sits in; what cuts a file is handed on to a worker.
TEST_F(UringTest, ATruncateBehindATimeoutIsHeldWhereOnlyTruncatesMatter) {
  constexpr int kFtruncate = 55;  // IORING_OP_FTRUNCATE, include/uapi/linux/io_uring.h, 6.9
  guard->publish(file.key(), core::Needs{.truncate = true});
  Foreign child({[this] {
    return trap([](Ring* ring, int opened) {
      static __kernel_timespec soon{0, 50'000'000};
      io_uring_sqe* timeout = ring->add(IORING_OP_TIMEOUT, -1);
      timeout->addr = reinterpret_cast<std::uint64_t>(&soon);
      timeout->len = 1;
      timeout->timeout_flags = IORING_TIMEOUT_ETIME_SUCCESS;
      timeout->flags = IOSQE_IO_LINK;
      io_uring_sqe* truncate = ring->add(kFtruncate, opened);
      truncate->off = kLength + 5;
      truncate->flags = 0;
    });
  }});
  child.next();
  auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  EXPECT_EQ(op->kind, core::BreakKind::Destructive) << op->what;
  EXPECT_TRUE(op->shortens);
  EXPECT_EQ(op->new_size, kLength);
  EXPECT_EQ(file.size(), kFileSize);
  guard->answer(op->id, 0, true);
  EXPECT_EQ(recorder.wait_left(op->id), true);
  EXPECT_EQ(file.size(), kLength + 5);
}

TEST_F(UringTest, AWorkerThatHasFinishedIsSeenToBeIdle) {
  Foreign child({[this] {
    return trap([](Ring* ring, int opened) {  // a read: no FAN_MODIFY follows
      io_uring_sqe* read = ring->add(IORING_OP_READ, opened);
      read->addr = reinterpret_cast<std::uint64_t>(read_into);
      read->len = kLength;
    });
  }});
  child.next();
  auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  EXPECT_EQ(op->kind, core::BreakKind::Destructive) << op->what;
  guard->answer(op->id, 0, true);
  EXPECT_EQ(recorder.wait_left(op->id), true);
}

}  // namespace
}  // namespace mrlease::guard::test
