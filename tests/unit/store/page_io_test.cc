// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/page_io.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>

#include "daemon/sys/fd.h"

namespace mrlease::store {
namespace {

// What is not permitted for another reason than a lease stays so, with its errno.
TEST(PageIo, WhatIsSealedIsNotWritten) {
  const sys::Fd sealed(::memfd_create("mrlease-test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::fcntl(sealed.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  std::size_t written = 1;
  EXPECT_EQ(write_all(sealed.get(), "x", 1, 0, &written), EPERM);
  EXPECT_EQ(written, 0U);
}

TEST(PageIo, ALeaseThatIsNotInTheWayLeavesTheErrno) {
  LeaseInTheWay lease;
  errno = 0;
  EXPECT_FALSE(lease.removed(-1, EPERM));
  EXPECT_EQ(errno, EPERM);
  EXPECT_FALSE(lease.removed(-1, ENOSPC));
  EXPECT_EQ(errno, ENOSPC);
}

}  // namespace
}  // namespace mrlease::store
