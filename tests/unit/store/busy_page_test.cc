// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/busy_page.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "temp_file.h"

namespace mrlease::store {
namespace {

constexpr std::uint64_t kPages = 8;

class BusyPageTest : public ::testing::Test {
 protected:
  BusyPageTest() { put(file_.fd(), 0, pages(kPages, 'o')); }
  PageCopy page(std::uint64_t number) { return {file_.fd(), number, kPage, copy_.data()}; }

  TempFile file_{"/var/tmp"};
  std::string copy_ = std::string(kPage, '\0');
};

TEST_F(BusyPageTest, CopiesThatAgree) {
  EXPECT_TRUE(copy_agreeing(page(3)));
  EXPECT_EQ(copy_, pages(1, 'o'));
  PageCopy nowhere = page(3);
  nowhere.memfd = -1;
  EXPECT_FALSE(copy_agreeing(nowhere));
  EXPECT_EQ(copy_, pages(1, 'o')) << "the copy before";
}

// Its writer may have stopped in the middle of it.
TEST_F(BusyPageTest, IsNotAtRestWhileNothingChanges) {
  put(file_.fd(), 3 * kPage, std::string(kPage / 2, 'n'));
  EXPECT_FALSE(copy_at_rest(page(3), {1, 2, 3, 4}));
  EXPECT_EQ(copy_, get(file_.fd(), 3 * kPage, kPage));
  EXPECT_FALSE(copy_at_rest(page(3), {3}));
  EXPECT_FALSE(copy_at_rest(page(3), {}));
}

TEST_F(BusyPageTest, IsAtRestWhileItsWriterIsElsewhere) {
  std::atomic<bool> stop{false};
  std::atomic<char> writes{0};
  std::thread device([&] {
    for (; !stop; writes++) put(file_.fd(), 5 * kPage, std::string(kPage, writes));
  });
  put(file_.fd(), 3 * kPage, pages(1, 'n'));
  bool rested = false;
  for (const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20); !rested && std::chrono::steady_clock::now() < until;)
    rested = copy_at_rest(page(3), {3, 4, 5});
  EXPECT_TRUE(rested);
  EXPECT_EQ(copy_, pages(1, 'n'));
  stop = true;
  device.join();
}

}  // namespace
}  // namespace mrlease::store
