// SPDX-License-Identifier: Apache-2.0
// run(): what has been done when a memory region is destroyed. The device's edge is this program's own; tests/vm has the real one.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>

#include "daemon/fence/fence.h"
#include "gated_memory.h"
#include "wait_for.h"

namespace mrlease::fence {
namespace {

std::function<int(const Mr&)> on_destroy;

}  // namespace

int destroy_mr(const Mr& mr) { return on_destroy(mr); }

namespace {

Order order_of(int mrs) {
  Order order;
  for (int i = 0; i < mrs; i++) order.mrs.push_back({{}, 14, static_cast<std::uint32_t>(i), 2, 3, 0, kPage});
  order.deadline = std::chrono::seconds(20);
  return order;
}

TEST(FenceOrderTest, WhatIsGatedIsPoisonedBeforeAnythingIsDestroyed) {
  const SharedFd userfaultfd(open_userfaultfd(O_NONBLOCK, UFFD_FEATURE_POISON));
  if (!userfaultfd) {
    ASSERT_TRUE(errno == EPERM || errno == EINVAL) << errno;
    GTEST_SKIP() << "no userfaultfd with UFFDIO_POISON, errno " << errno;
  }
  char* const memory = map_pages(4);
  gate(userfaultfd.get(), memory, 4);
  // Not poisoned(): a page that is not would let it wait for ever.
  std::atomic<int> destroyed = 0, before = 0;
  on_destroy = [&](const Mr&) {
    uffdio_poison again{{reinterpret_cast<std::uint64_t>(memory + 3 * kPage), kPage}, 0, 0};
    before += ::ioctl(userfaultfd.get(), UFFDIO_POISON, &again) < 0 && errno == EEXIST;
    destroyed++;
    return 0;
  };
  Order order = order_of(2);
  order.userfaultfd = userfaultfd;
  order.gated.push_back({reinterpret_cast<std::uint64_t>(memory), 4 * kPage});
  const Result r = wait_for(std::move(order));
  EXPECT_EQ(r.outcome, Outcome::Destroyed) << r.text;
  EXPECT_EQ(destroyed, 2);
  EXPECT_EQ(before, 2);
  EXPECT_TRUE(poisoned(memory + 3 * kPage));
}

TEST(FenceOrderTest, WhatCannotBePoisonedIsNotDestroyed) {
  const pid_t child = ::fork();
  if (child == 0)
    for (;;) ::pause();
  int destroyed = 0;
  on_destroy = [&](const Mr&) { return destroyed++, 0; };
  Order order = order_of(1);
  order.userfaultfd = SharedFd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  order.gated.push_back({0x10000, kPage});
  order.pidfd = SharedFd(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  const Result r = wait_for(std::move(order));
  EXPECT_EQ(r.outcome, Outcome::Killed) << r.text;
  EXPECT_EQ(destroyed, 0) << "a fault may have been waiting";
  ::waitpid(child, nullptr, 0);
}

TEST(FenceOrderTest, WhatIsBusyIsTriedAgainAndTheOthersToo) {
  std::array<std::atomic<int>, 3> tries{};
  on_destroy = [&](const Mr& mr) {
    const int n = ++tries[mr.handle];
    return mr.handle == 1 && n < 4 ? EBUSY : mr.handle == 2 ? ENOENT : 0;
  };
  const Result r = wait_for(order_of(3));
  EXPECT_EQ(r.outcome, Outcome::Destroyed) << r.text;
  EXPECT_EQ(tries[0], 1);
  EXPECT_EQ(tries[1], 4);
  EXPECT_EQ(tries[2], 1);
  EXPECT_EQ(r.text, "2 memory regions destroyed, 1 already gone");
}

}  // namespace
}  // namespace mrlease::fence
