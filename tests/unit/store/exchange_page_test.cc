// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/exchange_page.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "daemon/store/file_work.h"

namespace mrlease::store {
namespace {

class ExchangePage : public ::testing::Test {
 protected:
  void SetUp() override {
    memfd_ = create_store("test", 2 * kPage);
    memory_ = static_cast<char*>(::mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, memfd_, 0));
    ASSERT_NE(memory_, MAP_FAILED);
    std::memset(memory_, 'a', 2 * kPage);
  }
  void TearDown() override {
    ::munmap(memory_, 2 * kPage);
    ::close(memfd_);
  }

  int memfd_ = -1;
  char* memory_ = nullptr;
  std::vector<char> was_ = std::vector<char>(kPage, 'a'), becomes_ = std::vector<char>(kPage, 'b');
};

TEST_F(ExchangePage, APageThatNobodyWritesBecomesTheOther) {
  ASSERT_EQ(exchange_page(memfd_, kPage, was_.data(), becomes_.data()), 0);
  EXPECT_EQ(std::memcmp(memory_ + kPage, becomes_.data(), kPage), 0);
  EXPECT_EQ(std::memcmp(memory_, was_.data(), kPage), 0) << "the page before it";
}

TEST_F(ExchangePage, APageThatWasWrittenMeanwhileStays) {
  std::memset(memory_ + 800, 'd', 1600);
  ASSERT_EQ(exchange_page(memfd_, 0, was_.data(), becomes_.data()), EBUSY);
  for (std::uint64_t at = 0; at < kPage; at++) ASSERT_EQ(memory_[at], at >= 800 && at < 2400 ? 'd' : 'a') << at;
}

// From 23 to 2400, and neither the first of these bytes nor a word in the middle is another one than before.
TEST_F(ExchangePage, AWriteMayHaveTheSameBytesInIt) {
  std::memset(memory_ + 24, 'd', 2376);
  std::memset(memory_ + 1024, 'a', 8);
  ASSERT_EQ(exchange_page(memfd_, 0, was_.data(), becomes_.data()), EBUSY);
  EXPECT_EQ(memory_[23], 'a');
  EXPECT_EQ(memory_[1024], 'a');
}

TEST_F(ExchangePage, WhatDoesNotDifferIsNotTouched) {
  std::memset(becomes_.data(), 'a', 512);
  std::memset(memory_, 'd', 256);
  ASSERT_EQ(exchange_page(memfd_, 0, was_.data(), becomes_.data()), 0) << "in what does not differ a write does no harm";
  for (std::uint64_t at = 0; at < kPage; at++) ASSERT_EQ(memory_[at], at < 256 ? 'd' : at < 512 ? 'a' : 'b') << at;
}

// A device that writes while the page is exchanged: its last write is whole, wherever it met us.
TEST_F(ExchangePage, AWriteAtTheSameTimeIsNeverUndone) {
  std::atomic<int> round{0}, written{0};
  constexpr int kRounds = 2000;
  std::thread device([&] {
    for (int mine = 1; mine <= kRounds; mine++) {
      while (round.load() < mine) {
      }
      std::memset(memory_, 'd', kPage);
      written = mine;
    }
  });
  for (int mine = 1; mine <= kRounds; mine++) {
    std::memset(memory_, 'a', kPage);
    round = mine;
    const int code = exchange_page(memfd_, 0, was_.data(), becomes_.data());
    ASSERT_TRUE(code == 0 || code == EBUSY) << code;
    while (written.load() < mine) {
    }
    ASSERT_EQ(std::memchr(memory_, 'b', kPage), nullptr) << "round " << mine;
  }
  device.join();
}

TEST_F(ExchangePage, AnErrorIsTheKernels) { EXPECT_EQ(exchange_page(-1, 0, was_.data(), becomes_.data()), EBADF); }

}  // namespace
}  // namespace mrlease::store
