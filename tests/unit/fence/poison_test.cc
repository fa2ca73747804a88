// SPDX-License-Identifier: Apache-2.0
// poison() on real userfaultfds.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>

#include <csignal>
#include <set>
#include <thread>

#include "daemon/fence/fence.h"
#include "gated_memory.h"

namespace mrlease::fence {
namespace {

std::uint64_t number(const char* p) { return reinterpret_cast<std::uint64_t>(p); }

class PoisonTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fd_ = SharedFd(open_userfaultfd(O_NONBLOCK, UFFD_FEATURE_POISON | UFFD_FEATURE_EVENT_REMAP));
    // EPERM: not privileged; EINVAL: a kernel before 6.6, without UFFDIO_POISON.
    if (!fd_) {
      ASSERT_TRUE(errno == EPERM || errno == EINVAL) << errno;
      GTEST_SKIP() << "no userfaultfd with UFFDIO_POISON, errno " << errno;
    }
  }
  SharedFd fd_;
};

TEST_F(PoisonTest, WholeEmptyRange) {
  char* m = map_pages(64);
  gate(fd_.get(), m, 64);
  EXPECT_EQ(poison(fd_.get(), number(m), 64 * kPage), 0);
  for (int i = 0; i < 64; i++) EXPECT_TRUE(poisoned(m + i * kPage)) << i;
}

TEST_F(PoisonTest, GoesOnBehindPagesThatArePresent) {
  char* m = map_pages(64);
  for (int i : {0, 7, 8, 33, 63}) m[i * kPage] = 'x';
  gate(fd_.get(), m, 64);
  EXPECT_EQ(poison(fd_.get(), number(m), 64 * kPage), 0);
  const std::set<int> present{0, 7, 8, 33, 63};
  for (int i = 0; i < 64; i++) EXPECT_EQ(poisoned(m + i * kPage), !present.contains(i)) << i;
}

TEST_F(PoisonTest, SkipsWhatIsNotRegisteredOrNotMapped) {
  char* m = map_pages(512);
  ASSERT_EQ(::munmap(m + 100 * kPage, 50 * kPage), 0);
  gate(fd_.get(), m + 10 * kPage, 20);
  gate(fd_.get(), m + 200 * kPage, 1);
  gate(fd_.get(), m + 300 * kPage, 212);
  EXPECT_EQ(poison(fd_.get(), number(m), 512 * kPage), 0);
  for (int i : {10, 29, 200, 300, 511}) EXPECT_TRUE(poisoned(m + i * kPage)) << i;
  for (int i : {0, 9, 30, 99, 199, 201, 299}) EXPECT_FALSE(poisoned(m + i * kPage)) << i;
}

TEST_F(PoisonTest, TwiceIsFine) {
  char* m = map_pages(16);
  gate(fd_.get(), m, 16);
  EXPECT_EQ(poison(fd_.get(), number(m), 16 * kPage), 0);
  EXPECT_EQ(poison(fd_.get(), number(m), 16 * kPage), 0);
}

TEST_F(PoisonTest, NothingIsNoError) { EXPECT_EQ(poison(fd_.get(), kPage, 0), 0); }

TEST_F(PoisonTest, LetsAFaultGoThatWaits) {
  char* m = map_pages(4);
  gate(fd_.get(), m, 4);
  bool error = false;
  std::thread reader([&] { error = poisoned(m + 2 * kPage); });
  pollfd p{fd_.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&p, 1, 20000), 1) << "the fault did not come";
  EXPECT_EQ(poison(fd_.get(), number(m), 4 * kPage), 0);
  reader.join();
  EXPECT_TRUE(error);
}

// Who waits at a page that has been filled without waking it must not be forgotten.
TEST_F(PoisonTest, WakesWhoWaitsAtAPresentPage) {
  char* m = map_pages(4);
  gate(fd_.get(), m, 4);
  bool error = true;
  std::thread reader([&] { error = poisoned(m + 2 * kPage); });
  pollfd p{fd_.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&p, 1, 20000), 1) << "the fault did not come";
  static const char content[kPage] = {'c'};
  uffdio_copy copy{number(m) + 2 * kPage, reinterpret_cast<std::uint64_t>(content), kPage, UFFDIO_COPY_MODE_DONTWAKE, 0};
  ASSERT_EQ(::ioctl(fd_.get(), UFFDIO_COPY, &copy), 0);
  EXPECT_EQ(poison(fd_.get(), number(m), 4 * kPage), 0);
  reader.join();
  EXPECT_FALSE(error);
}

// A thread inside mremap() waits until somebody reads the event; until then every ioctl says EAGAIN.
TEST_F(PoisonTest, ReadsTheEventThatNobodyReads) {
  char* m = map_pages(4);
  gate(fd_.get(), m, 4);
  char* to = static_cast<char*>(::mmap(nullptr, 4 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  std::thread mover([&] { ::mremap(m, 4 * kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, to); });
  pollfd p{fd_.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&p, 1, 20000), 1) << "the event did not come";
  EXPECT_EQ(poison(fd_.get(), number(to), 4 * kPage), 0);
  mover.join();
  EXPECT_TRUE(poisoned(to));
}

TEST_F(PoisonTest, ProcessGone) {
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  char* shared = map_pages(1);
  const pid_t owner = ::fork();
  ASSERT_GE(owner, 0);
  if (owner == 0) {
    *reinterpret_cast<int*>(shared) = open_userfaultfd(O_NONBLOCK, UFFD_FEATURE_POISON);
    if (::write(pipe_fds[1], "x", 1) != 1) ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  char byte;
  ASSERT_EQ(::read(pipe_fds[0], &byte, 1), 1);
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, owner, 0));
  const SharedFd theirs(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd, *reinterpret_cast<int*>(shared), 0)));
  ASSERT_TRUE(theirs) << errno;
  ::kill(owner, SIGKILL);
  ASSERT_EQ(::waitpid(owner, nullptr, 0), owner);
  EXPECT_EQ(poison(theirs.get(), number(shared), kPage), ESRCH);
  ::close(pidfd);
}

}  // namespace
}  // namespace mrlease::fence
