// SPDX-License-Identifier: Apache-2.0
// Packets over a real socket pair, with descriptors; what is refused leaks none.
#include "proto/fd_passing.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "proto/framing.h"

namespace mrlease::wire {
namespace {

std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* dir = ::opendir("/proc/self/fd");
  while (::readdir(dir) != nullptr) count++;
  ::closedir(dir);
  return count;
}

class FdPassingTest : public ::testing::Test {
 protected:
  FdPassingTest() {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) abort();
    a_ = Fd(pair[0]);
    b_ = Fd(pair[1]);
    file_ = Fd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  }
  // Past send_packet, which would refuse.
  void send_raw(const std::string& bytes, std::size_t fds) {
    std::string control(CMSG_SPACE(fds * sizeof(int)), '\0');
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds * sizeof(int));
    for (std::size_t i = 0; i < fds; i++) {
      const int fd = file_.get();
      std::memcpy(CMSG_DATA(header) + i * sizeof fd, &fd, sizeof fd);
    }
    ASSERT_EQ(::sendmsg(a_.get(), &message, 0), static_cast<ssize_t>(bytes.size()));
  }

  Fd a_, b_, file_;
};

TEST_F(FdPassingTest, BytesAndDescriptorsInTheirOrder) {
  Fd second(::open("/dev/null", O_RDWR | O_CLOEXEC));
  ASSERT_EQ(send_packet(a_.get(), "hello", {file_.get(), second.get()}), 0);
  Packet packet;
  ASSERT_EQ(recv_packet(b_.get(), &packet), 0);
  EXPECT_EQ(packet.bytes, "hello");
  ASSERT_EQ(packet.fds.size(), 2u);
  struct stat sent, got;
  ASSERT_EQ(::fstat(file_.get(), &sent), 0);
  ASSERT_EQ(::fstat(packet.fds[0].get(), &got), 0);
  EXPECT_EQ(sent.st_ino, got.st_ino);
  ASSERT_EQ(::fstat(packet.fds[1].get(), &got), 0);
  EXPECT_TRUE(S_ISCHR(got.st_mode));
  for (const Fd& fd : packet.fds) EXPECT_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
}

TEST_F(FdPassingTest, PacketsKeepTheirBorders) {
  ASSERT_EQ(send_packet(a_.get(), "one", {}), 0);
  ASSERT_EQ(send_packet(a_.get(), std::string(kFrameMax, 'x'), {file_.get()}), 0);
  Packet packet;
  ASSERT_EQ(recv_packet(b_.get(), &packet), 0);
  EXPECT_EQ(packet.bytes, "one");
  EXPECT_TRUE(packet.fds.empty());
  ASSERT_EQ(recv_packet(b_.get(), &packet), 0);
  EXPECT_EQ(packet.bytes.size(), kFrameMax);
  EXPECT_EQ(packet.fds.size(), 1u);
}

TEST_F(FdPassingTest, NothingThereIsEagain) {
  Packet packet;
  EXPECT_EQ(recv_packet(b_.get(), &packet), EAGAIN);
}

TEST_F(FdPassingTest, AFullSocketIsEagain) {
  int code = 0;
  for (int i = 0; i < 100000 && code == 0; i++) code = send_packet(a_.get(), std::string(4096, 'x'), {});
  EXPECT_EQ(code, EAGAIN);
}

TEST_F(FdPassingTest, TheEnd) {
  ASSERT_EQ(send_packet(a_.get(), "last", {}), 0);
  a_ = Fd();
  Packet packet;
  EXPECT_EQ(recv_packet(b_.get(), &packet), 0);
  EXPECT_EQ(recv_packet(b_.get(), &packet), ECONNRESET);
  EXPECT_EQ(send_packet(b_.get(), "x", {}), EPIPE) << "and no SIGPIPE, or this line is not reached";
}

TEST_F(FdPassingTest, TooManyToSend) {
  const std::vector<int> many(kFdsMax + 1, file_.get());
  EXPECT_EQ(send_packet(a_.get(), "x", many), E2BIG);
  Packet packet;
  EXPECT_EQ(recv_packet(b_.get(), &packet), EAGAIN) << "nothing was sent";
}

// A hostile sender. What comes is owned, and goes with the packet; decode() refuses the number.
TEST_F(FdPassingTest, TooManyReceivedLeakNothing) {
  const std::size_t before = open_descriptors();
  for (std::size_t count : {std::size_t{5}, std::size_t{253}}) {  // 253: SCM_MAX_FD, include/net/scm.h
    send_raw("x", count);
    Packet packet;
    ASSERT_EQ(recv_packet(b_.get(), &packet), 0);
    EXPECT_EQ(packet.fds.size(), count);
    EXPECT_EQ(open_descriptors(), before + count);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(FdPassingTest, ATruncatedPacketLeaksNothing) {
  const std::size_t before = open_descriptors();
  send_raw(std::string(kFrameMax + 1, 'x'), 3);
  {
    Packet packet;
    EXPECT_EQ(recv_packet(b_.get(), &packet), EMSGSIZE);
    EXPECT_EQ(packet.fds.size(), 3u) << "whoever receives chooses where they are closed";
  }
  EXPECT_EQ(open_descriptors(), before);
  ASSERT_EQ(send_packet(a_.get(), "next", {}), 0);
  Packet packet;
  EXPECT_EQ(recv_packet(b_.get(), &packet), 0);
  EXPECT_EQ(packet.bytes, "next");
}

// A receiver that has no room for the descriptors: the kernel cuts them off, and that is said, not passed over.
TEST_F(FdPassingTest, OutOfDescriptorsIsSaid) {
  send_raw("x", 4);
  rlimit limit;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const int next = ::dup(a_.get());
  const rlimit tight{static_cast<rlim_t>(next + 2), limit.rlim_max};
  ::close(next);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  Packet packet;
  const int code = recv_packet(b_.get(), &packet);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(code, EMSGSIZE);
  EXPECT_LT(packet.fds.size(), 4u);
}

TEST_F(FdPassingTest, AnEmptyPacketLooksLikeTheEnd) {
  ASSERT_EQ(::send(a_.get(), "", 0, 0), 0);
  Packet packet;
  EXPECT_EQ(recv_packet(b_.get(), &packet), ECONNRESET);
}

TEST_F(FdPassingTest, FdMovesAndCloses) {
  const std::size_t before = open_descriptors();
  Fd one(::dup(a_.get()));
  Fd two(std::move(one));
  EXPECT_FALSE(one);  // NOLINT: what is left behind is empty
  one = std::move(two);
  EXPECT_TRUE(one);
  one = Fd(::dup(a_.get()));
  EXPECT_EQ(open_descriptors(), before + 1);
  ::close(one.release());
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace mrlease::wire
