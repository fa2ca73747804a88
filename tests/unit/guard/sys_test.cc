// SPDX-License-Identifier: Apache-2.0
// daemon/sys against this kernel, as far as no privilege is needed.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "daemon/sys/file_handle.h"
#include "daemon/sys/file_lease.h"
#include "daemon/sys/name_of.h"
#include "daemon/sys/peer_pidfd.h"
#include "daemon/sys/pidfd.h"

namespace mrlease::sys {
namespace {

class SysTest : public testing::Test {
 protected:
  void SetUp() override {
    file.reset(::mkostemp(path, O_CLOEXEC));
    ASSERT_TRUE(file);
  }
  void TearDown() override { ::unlink(path); }
  char path[64] = "/var/tmp/mrlease-sys-XXXXXX";
  Fd file;
};

TEST_F(SysTest, FileIdsNameTheFileNotTheDescriptor) {
  FileId a, b, c;
  ASSERT_EQ(file_id(file.get(), &a), 0);
  Fd again(::open(path, O_RDONLY | O_CLOEXEC)), other(::open("/var/tmp", O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(file_id(again.get(), &b), 0);
  ASSERT_EQ(file_id(other.get(), &c), 0);
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
  EXPECT_EQ(file_id(-1, &a), EBADF);
}

TEST_F(SysTest, TheNameIsWhereTheFileIsNow) {
  EXPECT_EQ(name_of(file.get()), path);
  const std::string moved = std::string(path) + "2";
  ASSERT_EQ(::rename(path, moved.c_str()), 0);
  EXPECT_EQ(name_of(file.get()), moved);
  ASSERT_EQ(::rename(moved.c_str(), path), 0);
}

TEST_F(SysTest, AnUnlinkedFileHasNoNameAlsoWhereAnotherHasIt) {
  ASSERT_EQ(::unlink(path), 0);
  EXPECT_EQ(name_of(file.get()), "");
  const std::string as_shown = std::string(path) + " (deleted)";
  const Fd liar(::open(as_shown.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  EXPECT_EQ(name_of(file.get()), "");
  ::unlink(as_shown.c_str());
}

TEST_F(SysTest, WhatIsNoFileHasNoName) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  EXPECT_EQ(name_of(ends[0]), "");
  ::close(ends[0]);
  ::close(ends[1]);
  EXPECT_EQ(name_of(-1), "");
}

TEST_F(SysTest, AFileIsOpenedByItsId) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  FileId id;
  ASSERT_EQ(file_id(file.get(), &id), 0);
  Fd opened;
  ASSERT_EQ(open_file_id(file.get(), id, O_RDONLY, &opened), 0);
  struct stat a, b;
  ASSERT_EQ(::fstat(file.get(), &a), 0);
  ASSERT_EQ(::fstat(opened.get(), &b), 0);
  EXPECT_EQ(a.st_ino, b.st_ino);
  id.bytes.assign(1000, 'x');
  EXPECT_EQ(open_file_id(file.get(), id, O_RDONLY, &opened), EINVAL);
}

TEST_F(SysTest, AWriteLeaseNeedsTheOnlyDescription) {
  LeaseTaker taker(SIGRTMIN + 3);
  ASSERT_EQ(take_write_lease(taker, file.get()), 0);
  EXPECT_EQ(lease_type(file.get()), F_WRLCK);
  EXPECT_EQ(drop_lease(file.get()), 0);
  EXPECT_EQ(lease_type(file.get()), F_UNLCK);
  Fd other(::open(path, O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(take_write_lease(taker, file.get()), EAGAIN);
  // The description is a client's: nothing of the attempt may stay behind.
  EXPECT_EQ(::fcntl(file.get(), F_GETSIG), 0);
  EXPECT_EQ(::fcntl(file.get(), F_GETOWN), 0);
  EXPECT_GT(lease_break_time(), 0);
}

TEST_F(SysTest, ALeaseThatWasTakenHereIsNotInTheWay) {
  LeaseTaker taker(SIGRTMIN + 3);
  ASSERT_EQ(take_write_lease(taker, file.get()), 0);
  EXPECT_EQ(drop_others_lease(file.get()), EBUSY);
  LeaseTaker next(SIGRTMIN + 3);  // a successor's
  ASSERT_EQ(take_write_lease(next, file.get()), 0);
  EXPECT_EQ(drop_others_lease(file.get()), EBUSY);
  EXPECT_EQ(lease_type(file.get()), F_WRLCK);
  ASSERT_EQ(drop_lease(file.get()), 0);
  ASSERT_EQ(::fcntl(file.get(), F_SETLEASE, F_WRLCK), 0);
  EXPECT_EQ(drop_others_lease(file.get()), 0);
  EXPECT_EQ(lease_type(file.get()), F_UNLCK);
  EXPECT_EQ(drop_others_lease(file.get()), EAGAIN);
}

// Who maps a file is one of its users: it must not stay mapped there when the daemon has unmapped it.
TEST_F(SysTest, WhoTakesLeasesKeepsNothingMapped) {
  ASSERT_EQ(::ftruncate(file.get(), 4096), 0);
  void* mapped = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, file.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  LeaseTaker taker(SIGRTMIN + 3);
  ASSERT_EQ(take_write_lease(taker, file.get()), 0);
  std::ifstream maps("/proc/" + std::to_string(taker.pid()) + "/maps");
  bool own = false;
  for (std::string line; std::getline(maps, line);) {
    own = own || line.find("sys_test") != std::string::npos || line.find("unit_guard") != std::string::npos;
    EXPECT_EQ(line.find(path), std::string::npos) << line;
  }
  EXPECT_TRUE(own);
  ::munmap(mapped, 4096);
}

// It is killed by the signal that the client has chosen, and the next take() makes another.
TEST_F(SysTest, WhoTakesLeasesTellsOfBreaksAndOfItsEnd) {
  LeaseTaker taker(SIGRTMIN + 3);
  ASSERT_EQ(take_write_lease(taker, file.get()), 0);
  EXPECT_EQ(::fcntl(file.get(), F_GETOWN), taker.pid());
  EXPECT_EQ(::open(path, O_RDONLY | O_NONBLOCK), -1);
  pollfd told{taker.breaks_fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&told, 1, 5000), 1);
  EXPECT_EQ(taker.breaks(), std::vector<int>{file.get()});
  EXPECT_FALSE(taker.lost());
  ASSERT_EQ(drop_lease(file.get()), 0);
  ASSERT_EQ(take_write_lease(taker, file.get()), 0);
  const pid_t first = taker.pid();
  ASSERT_EQ(::fcntl(file.get(), F_SETSIG, SIGKILL), 0);
  EXPECT_EQ(::open(path, O_RDONLY | O_NONBLOCK), -1);
  pollfd end{taker.end_fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&end, 1, 5000), 1);
  EXPECT_TRUE(taker.lost());
  EXPECT_FALSE(taker.lost());
  ASSERT_EQ(drop_lease(file.get()), 0);
  ASSERT_EQ(take_write_lease(taker, file.get()), 0);
  EXPECT_NE(taker.pid(), first);
  // Stopped, it is waked.
  ASSERT_EQ(::kill(taker.pid(), SIGSTOP), 0);
  EXPECT_EQ(take_write_lease(taker, file.get()), 0);
}

TEST(Pidfd, SignalsAndTellsOfTheEnd) {
  pid_t child = ::fork();
  if (child == 0) {
    for (;;) ::pause();
  }
  Fd pidfd;
  ASSERT_EQ(open_pidfd(child, &pidfd), 0);
  pollfd p{pidfd.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&p, 1, 0), 0);
  EXPECT_EQ(signal_pidfd(pidfd.get(), SIGKILL), 0);
  EXPECT_EQ(::poll(&p, 1, 5000), 1);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_EQ(signal_pidfd(pidfd.get(), SIGKILL), ESRCH);
  EXPECT_NE(open_pidfd(0x7ffffffe, &pidfd), 0);
}

// Whoever connects and ends at once leaves its number to somebody else: a fence must not kill that one.
TEST_F(SysTest, APidfdIsOfAProcessThatTheUserMayKill) {
  const uid_t me = ::geteuid();
  const Fd mine(pidfd_of_user(::getpid(), me));
  EXPECT_TRUE(mine);
  errno = 0;
  EXPECT_EQ(pidfd_of_user(::getpid(), me + 1), -1);
  EXPECT_EQ(errno, EPERM);
  if (me != 0) {  // init is root's
    EXPECT_EQ(pidfd_of_user(1, me), -1);
    EXPECT_NE(errno, 0);
  }
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_EQ(pidfd_of_user(child, me), -1);
  EXPECT_EQ(errno, ESRCH);
}

}  // namespace
}  // namespace mrlease::sys
