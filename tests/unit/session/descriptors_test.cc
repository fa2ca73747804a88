// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/descriptors.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>

#include "proto/fd_passing.h"

namespace mrlease::session {

using wire::Fd;

class Descriptors : public ::testing::Test {
 protected:
  int code(int fd, bool write) { return check_file(fd, write, 0, &facts).code; }
  FileFacts facts;
  Fd file{::open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
};

TEST_F(Descriptors, ARegularFileIsKnownByDeviceAndInode) {
  ASSERT_EQ(::ftruncate(file.get(), 5000), 0);
  EXPECT_EQ(code(file.get(), true), 0);
  EXPECT_EQ(facts.size, 5000u);
  EXPECT_TRUE(facts.writable);
  EXPECT_NE(facts.key.inode, 0u);
}

TEST_F(Descriptors, AMemfdHasNoMountAndIsAFileAllTheSame) {
  const Fd memory(::memfd_create("m", MFD_CLOEXEC));
  EXPECT_EQ(code(memory.get(), true), 0);
  EXPECT_EQ(facts.filesystem, "memfd");
}

TEST_F(Descriptors, WhatCannotBeLeasedIsNamed) {
  const std::string path = "/proc/self/fd/" + std::to_string(file.get());
  EXPECT_EQ(code(Fd(::open(path.c_str(), O_RDONLY)).get(), true), EACCES);
  EXPECT_EQ(code(Fd(::open(path.c_str(), O_WRONLY)).get(), false), EACCES);
  EXPECT_EQ(code(Fd(::open(path.c_str(), O_RDWR | O_APPEND)).get(), true), EINVAL);
  EXPECT_EQ(code(Fd(::open("/var/tmp", O_RDONLY)).get(), false), EISDIR);
  EXPECT_EQ(code(Fd(::open("/var/tmp", O_PATH)).get(), false), EBADF);
  EXPECT_EQ(code(-1, false), EBADF);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_EQ(code(ends[0], false), ENOTSUP);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(Descriptors, SomeAreKeptForHeldOperations) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const Fd newest(::fcntl(file.get(), F_DUPFD_CLOEXEC, 60));
  rlimit limit = before;
  limit.rlim_cur = 80;  // 20 are kept
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  const Verdict all = check_room(newest.get()), half = check_room(newest.get(), 0.5), before_it = check_room(newest.get() - 1);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(all.code, EMFILE);
  EXPECT_NE(all.message.find("LimitNOFILE"), std::string::npos) << all.message;
  EXPECT_EQ(half.code, 0) << half.message;
  EXPECT_EQ(before_it.code, 0) << before_it.message;
  EXPECT_EQ(check_room(newest.get()).code, 0);
}

TEST_F(Descriptors, OnlyAUverbsDeviceIsOne) {
  std::string device;
  EXPECT_EQ(check_uverbs(file.get(), &device).code, EBADF);
  EXPECT_EQ(check_uverbs(Fd(::open("/dev/zero", O_RDWR)).get(), &device).code, ENODEV);
  EXPECT_EQ(check_uverbs(-1, &device).code, EBADF);
}

TEST_F(Descriptors, OnlyAUserfaultfdIsOne) {
  EXPECT_EQ(check_userfaultfd(file.get()).code, EBADF);
  EXPECT_EQ(check_userfaultfd(-1).code, EBADF);
}

}  // namespace mrlease::session
