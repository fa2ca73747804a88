// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/api/registration_check.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <infiniband/verbs.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client-lib/src/verbs/verbs.h"
#include "proto/fd_passing.h"

namespace mrlease::client {
namespace {
using ::testing::HasSubstr;

class RegistrationCheck : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_GE(seed_.get(), 0);
    ASSERT_EQ(::ftruncate(seed_.get(), 3 * 4096 + 10), 0);
  }
  wire::Fd open(int flags) {
    return wire::Fd(::open(("/proc/self/fd/" + std::to_string(seed_.get())).c_str(), flags | O_CLOEXEC));
  }
  Outcome check(int fd, std::uint64_t offset, std::uint64_t length, bool write = true) {
    return check_file(fd, offset, length, write, &file_);
  }
  wire::Fd seed_{::memfd_create("check", MFD_CLOEXEC)};
  CheckedFile file_;
};

TEST_F(RegistrationCheck, TakesAWholeFileWithAnOddTail) {
  auto fd = open(O_RDWR);
  EXPECT_EQ(check(fd.get(), 0, 3 * 4096 + 10).code, 0);
  EXPECT_EQ(file_.size, 3u * 4096 + 10);
  EXPECT_EQ(check(fd.get(), 8192, 1).code, 0);
}

TEST_F(RegistrationCheck, RangesAreToldWithTheirNumbers) {
  auto fd = open(O_RDWR);
  EXPECT_EQ(check(fd.get(), 0, 0).code, EINVAL);
  Outcome o = check(fd.get(), 100, 10);
  EXPECT_EQ(o.code, EINVAL);
  EXPECT_THAT(o.text, HasSubstr("100"));
  o = check(fd.get(), 4096, 8192 + 11);
  EXPECT_EQ(o.code, ERANGE);
  EXPECT_THAT(o.text, HasSubstr("12298"));
  EXPECT_EQ(check(fd.get(), ~0ull & ~4095ull, 8192).code, EINVAL);
  EXPECT_EQ(check(fd.get(), 4096, ~0ull).code, EINVAL);
}

TEST_F(RegistrationCheck, TheModeMustFitTheAccess) {
  auto ro = open(O_RDONLY), wo = open(O_WRONLY), path = open(O_PATH), append = open(O_RDWR | O_APPEND);
  EXPECT_EQ(check(ro.get(), 0, 4096, true).code, EACCES);
  EXPECT_EQ(check(ro.get(), 0, 4096, false).code, 0);
  EXPECT_EQ(check(wo.get(), 0, 4096, false).code, EACCES);
  EXPECT_EQ(check(path.get(), 0, 4096, false).code, EBADF);
  EXPECT_EQ(check(append.get(), 0, 4096, true).code, EINVAL);
  EXPECT_EQ(check(-1, 0, 4096, false).code, EBADF);
}

TEST_F(RegistrationCheck, OnlyRegularFiles) {
  wire::Fd directory(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_EQ(check(directory.get(), 0, 4096, false).code, EISDIR);
  EXPECT_EQ(check(null.get(), 0, 4096, true).code, ENOTSUP);
}

TEST(RegistrationOptions, DefaultsAndUnknownBits) {
  mrl_reg_options out;
  ASSERT_TRUE(check_options(nullptr, &out).ok());
  EXPECT_EQ(out.peer_budget_ms, 200u);
  EXPECT_EQ(out.backing, MRL_BACKING_AUTO);
  mrl_reg_options in{};
  EXPECT_EQ(check_options(&in, &out).code, EINVAL) << "no struct_size";
  in.struct_size = sizeof in;
  EXPECT_TRUE(check_options(&in, &out).ok());
  EXPECT_EQ(out.peer_budget_ms, 200u);
  in.flags = 64;
  EXPECT_EQ(check_options(&in, &out).code, EINVAL);
  in.flags = 0;
  in.accept_quirks = 2;
  EXPECT_EQ(check_options(&in, &out).code, EINVAL);
  in.accept_quirks = 0;
  in.backing = static_cast<mrl_backing>(17);
  EXPECT_EQ(check_options(&in, &out).code, EINVAL);
}

TEST(RegistrationOptions, LimitsOfWhatIsKeptNeedThatSomethingIs) {
  mrl_reg_options in{}, out;
  in.struct_size = sizeof in;
  in.orphan_keep_ms = 1;
  EXPECT_EQ(check_options(&in, &out).code, EINVAL);
  in.flags = MRL_REG_PRESERVE_ORPHANS;
  EXPECT_TRUE(check_options(&in, &out).ok());
  in.orphan_bytes_max = 4095;
  EXPECT_EQ(check_options(&in, &out).code, EINVAL);
  in.orphan_bytes_max = ~0ull;
  EXPECT_TRUE(check_options(&in, &out).ok());
  in.reserved = 1;
  EXPECT_EQ(check_options(&in, &out).code, EINVAL);
}

TEST(RegistrationOptions, AnOlderCallersStructureIsRead) {
  mrl_reg_options in{}, out;
  in.struct_size = offsetof(mrl_reg_options, accept_quirks);
  in.backing = MRL_BACKING_BOUNCE;
  in.flags = 64;  // beyond what it says it has
  ASSERT_TRUE(check_options(&in, &out).ok());
  EXPECT_EQ(out.backing, MRL_BACKING_BOUNCE);
  EXPECT_EQ(out.flags, 0u);
}

TEST(Access, LocalWriteIsAddedAndUnknownBitsAreRefused) {
  int completed = 0;
  ASSERT_TRUE(verbs::check_access(IBV_ACCESS_REMOTE_WRITE, &completed).ok());
  EXPECT_EQ(completed, IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_LOCAL_WRITE);
  ASSERT_TRUE(verbs::check_access(IBV_ACCESS_REMOTE_READ, &completed).ok());
  EXPECT_EQ(completed, IBV_ACCESS_REMOTE_READ);
  EXPECT_EQ(verbs::check_access(IBV_ACCESS_ON_DEMAND, &completed).code, EINVAL);
  EXPECT_EQ(verbs::check_access(1 << 30, &completed).code, EINVAL);
  EXPECT_TRUE(verbs::writes(IBV_ACCESS_REMOTE_ATOMIC));
  EXPECT_FALSE(verbs::writes(IBV_ACCESS_REMOTE_READ));
}

}  // namespace
}  // namespace mrlease::client
