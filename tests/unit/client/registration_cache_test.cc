// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/cache/registration_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace mrlease::client {
namespace {

constexpr std::uint64_t kAt = 0x7f0000000000, kLength = 1 << 20;

TEST(RegistrationCache, FindsWhatCoversTheRange) {
  RegistrationCache cache;
  CachedRange range;
  cache.add(&range, kAt, kLength);
  EXPECT_EQ(cache.find(kAt, kLength), &range);
  EXPECT_EQ(cache.find(kAt, kLength), &range);  // by the thread's slot now
  EXPECT_EQ(cache.find(kAt + 4096, 4096), &range);
  EXPECT_EQ(cache.find(kAt + kLength - 1, 1), &range);
  EXPECT_EQ(cache.find(kAt, kLength + 1), nullptr);
  EXPECT_EQ(cache.find(kAt - 1, 2), nullptr);
  EXPECT_EQ(cache.find(kAt + kLength, 1), nullptr);
  EXPECT_EQ(cache.find(kAt + 1, ~0ull), nullptr);  // does not wrap around
}

TEST(RegistrationCache, TheLastReferenceEndsIt) {
  RegistrationCache cache;
  CachedRange range;
  cache.add(&range, kAt, kLength);
  ASSERT_EQ(cache.find(kAt, 1), &range);
  EXPECT_FALSE(range.put());
  EXPECT_TRUE(range.put());
  EXPECT_EQ(cache.find(kAt, 1), nullptr);  // between the last put() and remove()
  cache.remove(&range);
  EXPECT_EQ(cache.find(kAt, 1), nullptr);
}

TEST(RegistrationCache, AnEntryThatIsUsedAgainIsAnother) {
  RegistrationCache cache;
  CachedRange range;
  cache.add(&range, kAt, kLength);
  ASSERT_EQ(cache.find(kAt, 1), &range);  // the thread remembers it
  range.put();
  ASSERT_TRUE(range.put());
  cache.remove(&range);
  cache.add(&range, kAt + 64 * kLength, kLength);
  EXPECT_EQ(cache.find(kAt, 1), nullptr);
  EXPECT_EQ(cache.find(kAt + 64 * kLength, 1), &range);
}

TEST(RegistrationCache, ASlotIsOfOneCacheOnly) {
  CachedRange here;
  {
    RegistrationCache before;
    before.add(&here, kAt, kLength);
    ASSERT_EQ(before.find(kAt, 1), &here);
  }
  RegistrationCache after;
  EXPECT_EQ(after.find(kAt, 1), nullptr);
}

// Many threads take and give, one ends the entry and makes another of it: nobody holds one that has ended, and nobody's
// reference is lost.
TEST(RegistrationCache, NobodyHoldsAnEndedOne) {
  RegistrationCache cache;
  CachedRange range;
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> alive{0}, wrong{0}, hits{0};  // alive: the address of the range, 0 while there is none
  std::atomic<int> last{0};
  constexpr int kLives = 200;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; t++)
    threads.emplace_back([&, t] {
      while (!stop) {
        const std::uint64_t at = kAt + static_cast<std::uint64_t>(t % 2) * kLength;
        CachedRange* const found = cache.find(at, 4096);
        if (found == nullptr) continue;
        hits++;
        if (alive != at) wrong++;
        if (found->put()) {
          alive = 0;
          cache.remove(found);
          last++;
        }
      }
    });
  for (int life = 0; life < kLives; life++) {
    const std::uint64_t at = kAt + static_cast<std::uint64_t>(life % 2) * kLength;
    alive = at;
    cache.add(&range, at, kLength);
    for (const auto want = hits + 3; hits < want;) std::this_thread::yield();
    if (range.put()) {
      alive = 0;
      cache.remove(&range);
      last++;
    }
    while (last <= life) std::this_thread::yield();
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(last, kLives);
}

}  // namespace
}  // namespace mrlease::client
