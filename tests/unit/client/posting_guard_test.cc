// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/region/posting_guard.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace mrlease::client {
namespace {
using Clock = std::chrono::steady_clock;
const auto kNever = [] { return false; };

TEST(PostingGuard, ClosedRefusesAndOpensAgain) {
  PostingGuard guard;
  EXPECT_EQ(guard.enter(), 0);
  guard.close();
  EXPECT_EQ(guard.enter(), EAGAIN);
  guard.leave();
  EXPECT_TRUE(guard.wait_drained(Clock::now() + std::chrono::seconds(5), kNever));
  guard.open();
  EXPECT_EQ(guard.enter(), 0);
  guard.leave();
}

TEST(PostingGuard, RevokedStaysRevoked) {
  PostingGuard guard;
  guard.revoke();
  EXPECT_EQ(guard.enter(), EKEYREVOKED);
  guard.open();
  EXPECT_EQ(guard.enter(), EKEYREVOKED);
}

TEST(PostingGuard, WhoStaysInsideRunsIntoTheDeadline) {
  PostingGuard guard;
  ASSERT_EQ(guard.enter(), 0);
  guard.close();
  EXPECT_FALSE(guard.wait_drained(Clock::now() + std::chrono::milliseconds(20), kNever));
}

// While it is closed and drained nobody is inside: a plain int, changed by all, would show it (and TSan would).
TEST(PostingGuard, NobodyIsInsideWhileClosed) {
  PostingGuard guard;
  std::atomic<int> inside{0};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> entered{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; t++) {
    threads.emplace_back([&] {
      while (!stop) {
        if (guard.enter() != 0) {
          std::this_thread::yield();
          continue;
        }
        inside++;
        entered++;
        inside--;
        guard.leave();
      }
    });
  }
  for (int round = 0; round < 300; round++) {
    guard.close();
    ASSERT_TRUE(guard.wait_drained(Clock::now() + std::chrono::seconds(20), kNever));
    EXPECT_EQ(inside.load(), 0);
    const std::uint64_t before = entered;
    guard.open();
    while (entered == before) std::this_thread::yield();
  }
  stop = true;
  for (auto& t : threads) t.join();
}

}  // namespace
}  // namespace mrlease::client
