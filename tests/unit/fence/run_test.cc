// SPDX-License-Identifier: Apache-2.0
// run(): the order of its steps, its deadline, and that it reports once. Real processes; no RDMA device (tests/vm/fence).
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <csignal>

#include "daemon/fence/fence.h"
#include "gated_memory.h"
#include "wait_for.h"

namespace mrlease::fence {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// A child that waits for ever. `body` runs in it first.
class Client {
 public:
  explicit Client(const std::function<void(int socket)>& body = [](int) {}) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) abort();
    pid_ = ::fork();
    if (pid_ == 0) {
      body(pair[1]);
      for (;;) ::pause();
    }
    ::close(pair[1]);
    socket = SharedFd(pair[0]);
    pidfd = SharedFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  }
  ~Client() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  bool dead() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_;
  }
  SharedFd steal(int fd) const { return SharedFd(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd.get(), fd, 0))); }
  pid_t pid() const { return pid_; }

  SharedFd socket, pidfd;

 private:
  pid_t pid_;
};

TEST(FenceRunTest, NothingToDestroyIsDestroyed) {
  Client client;
  const Result r = wait_for({.pidfd = client.pidfd});
  EXPECT_EQ(r.outcome, Outcome::Destroyed) << r.text;
  EXPECT_FALSE(client.dead());
}

TEST(FenceRunTest, AFailureKills) {
  Client client;
  Order order{.pidfd = client.pidfd};
  order.mrs.push_back({SharedFd(::open("/dev/null", O_RDWR)), 14, 1, 2, 3, 0, 4096});
  const Result r = wait_for(order);
  EXPECT_EQ(r.outcome, Outcome::Killed) << r.text;
  EXPECT_NE(r.text.find("1 could not be destroyed"), std::string::npos) << r.text;
  EXPECT_TRUE(client.dead());
}

TEST(FenceRunTest, KillsAStoppedClient) {
  Client client;
  ASSERT_EQ(::kill(client.pid(), SIGSTOP), 0);
  Order order{.pidfd = client.pidfd};
  order.mrs.push_back({SharedFd(::open("/dev/null", O_RDWR)), 14, 1, 2, 3, 0, 4096});
  EXPECT_EQ(wait_for(order).outcome, Outcome::Killed);
  EXPECT_TRUE(client.dead());
}

TEST(FenceRunTest, WithoutPidfdItSaysSo) {
  Order order;
  order.mrs.push_back({SharedFd(::open("/dev/null", O_RDWR)), 14, 1, 2, 3, 0, 4096});
  const Result r = wait_for(order);
  EXPECT_EQ(r.outcome, Outcome::Failed);
  EXPECT_NE(r.text.find("no pidfd"), std::string::npos) << r.text;
}

TEST(FenceRunTest, KillAtOnce) {
  Client client;
  Order order{.pidfd = client.pidfd};
  order.kill_at_once = true;
  EXPECT_EQ(wait_for(order).outcome, Outcome::Killed);
  pollfd p{client.pidfd.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&p, 1, 20000), 1);
}

TEST(FenceRunTest, AlreadyDeadIsKilled) {
  Client client;
  ::kill(client.pid(), SIGKILL);
  siginfo_t info;
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(client.pid()), &info, WEXITED | WNOWAIT), 0);
  Order order{.pidfd = client.pidfd};
  order.mrs.push_back({SharedFd(::open("/dev/null", O_RDWR)), 14, 1, 2, 3, 0, 4096});
  const Result r = wait_for(order);
  EXPECT_EQ(r.outcome, Outcome::Killed) << r.text;
}

// A client that hangs inside mremap(), with a blocking userfaultfd whose events nobody can read: no ioctl on it will
// ever succeed. The worker overruns; the deadline holds all the same.
TEST(FenceRunTest, DeadlineHoldsWhenTheWorkerDoesNotCome) {
  char* page = map_pages(2);  // shared with the child, at the same address
  Client client([page](int socket) {
    const int fd = open_userfaultfd(0, UFFD_FEATURE_EVENT_REMAP);
    if (fd < 0) {
      const int code = -errno;
      ::send(socket, &code, sizeof code, 0);
      return;
    }
    gate(fd, page, 2);
    ::send(socket, &fd, sizeof fd, 0);
    void* to = ::mmap(nullptr, 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ::mremap(page, 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, to);
  });
  int fd = -1;
  ASSERT_EQ(::recv(client.socket.get(), &fd, sizeof fd, 0), static_cast<ssize_t>(sizeof fd));
  if (fd < 0) {
    ASSERT_EQ(fd, -EPERM);
    GTEST_SKIP() << "EPERM: userfaultfd needs a privilege";
  }
  Order order{.userfaultfd = client.steal(fd), .pidfd = client.pidfd, .deadline = milliseconds(300)};
  ASSERT_TRUE(order.userfaultfd) << errno;
  order.gated.push_back({reinterpret_cast<std::uint64_t>(page), 2 * kPage});
  // The client is inside mremap when every ioctl says EAGAIN.
  uffdio_poison probe{{reinterpret_cast<std::uint64_t>(page), kPage}, 0, 0};
  const auto patience = Clock::now() + std::chrono::seconds(20);
  while (Clock::now() < patience && !(::ioctl(order.userfaultfd.get(), UFFDIO_POISON, &probe) < 0 && errno == EAGAIN)) {
  }
  const auto start = Clock::now();
  const Result r = wait_for(order);
  const auto took = Clock::now() - start;
  EXPECT_EQ(r.outcome, Outcome::Killed) << r.text;
  EXPECT_LT(took, milliseconds(300 + 500)) << "a scheduling delay is not half a second";
  order = {};
  pollfd p{client.pidfd.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&p, 1, 20000), 1) << "the client cannot die";
}

TEST(SharedFdTest, ClosesWithTheLastHolder) {
  int pair[2];
  ASSERT_EQ(::pipe(pair), 0);
  SharedFd first(pair[1]);
  SharedFd second = first;
  first = {};
  EXPECT_NE(::fcntl(pair[1], F_GETFD), -1);
  second = {};
  EXPECT_EQ(::fcntl(pair[1], F_GETFD), -1);
  EXPECT_FALSE(SharedFd());
  EXPECT_EQ(SharedFd().get(), -1);
  ::close(pair[0]);
}

}  // namespace
}  // namespace mrlease::fence
