// SPDX-License-Identifier: Apache-2.0
// Stores to and from files.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <tuple>

#include "temp_file.h"

namespace mrlease::store {
namespace {

class MergeTest : public ::testing::TestWithParam<std::tuple<const char*, Truncates>> {
 protected:
  MergeTest() : file_(std::get<0>(GetParam())) { put(file_.fd(), 0, pages(8, 'a')); }
  static Truncates truncates() { return std::get<1>(GetParam()); }
  TempFile file_;
};

TEST_P(MergeTest, WritesARange) {
  const fence::SharedFd store(create_store("test", 4 * kPage));
  put(store.get(), 0, pages(4, 's'));
  EXPECT_EQ(merge_pages(store.get(), 2 * kPage, file_.fd(), 3 * kPage, 2 * kPage, truncates()), 0);
  EXPECT_EQ(get(file_.fd(), 0, 8 * kPage), pages(3, 'a') + pages(2, 's') + pages(3, 'a'));
  EXPECT_EQ(merge_pages(store.get(), 2 * kPage, file_.fd(), kPage, kPage, truncates()), EINVAL) << "before the store";
  put(store.get(), 0, pages(4, 't'));
  EXPECT_EQ(merge_pages(store.get(), 2 * kPage, file_.fd(), 3 * kPage + 5, 7, truncates()), 0) << "a few bytes";
  EXPECT_EQ(get(file_.fd(), 3 * kPage, 14), "sssss" + std::string(7, 't') + "ss");
}

TEST_P(MergeTest, NeverBeyondTheEnd) {
  const fence::SharedFd store(create_store("test", 8 * kPage));
  put(store.get(), 0, pages(8, 's'));
  ASSERT_EQ(::ftruncate(file_.fd(), 2 * kPage + 9), 0);
  EXPECT_EQ(merge_pages(store.get(), 0, file_.fd(), 0, 8 * kPage, truncates()), 0);
  EXPECT_EQ(get(file_.fd(), 0, 8 * kPage), std::string(2 * kPage + 9, 's'));
  EXPECT_EQ(merge_pages(store.get(), 0, file_.fd(), 5 * kPage, kPage, truncates()), 0);
  std::uint64_t written = 0;
  EXPECT_EQ(merge_all(store.get(), 0, 8 * kPage, file_.fd(), &written, truncates()), 0);
  EXPECT_EQ(file_.size(), 2 * kPage + 9);
}

TEST_P(MergeTest, MergeAllWritesDataThatDiffers) {
  const fence::SharedFd store(create_store("test", 6 * kPage));
  put(store.get(), 0, pages(1, 'a'));          // alike: not written
  put(store.get(), 2 * kPage, pages(2, 's'));  // differs
  put(store.get(), 5 * kPage, pages(1, 't'));
  std::uint64_t written = 0;
  EXPECT_EQ(merge_all(store.get(), kPage, 6 * kPage, file_.fd(), &written, truncates()), 0);
  EXPECT_EQ(written, 3u);
  EXPECT_EQ(get(file_.fd(), 0, 8 * kPage), pages(3, 'a') + pages(2, 's') + pages(1, 'a') + pages(1, 't') + pages(1, 'a'));
}

TEST_P(MergeTest, MergeAllOverBatches) {
  const std::uint64_t many = 300;
  ASSERT_EQ(::ftruncate(file_.fd(), many * kPage), 0);
  const fence::SharedFd store(create_store("test", many * kPage));
  for (std::uint64_t page = 1; page < many; page += 2) put(store.get(), page * kPage, pages(1, 's'));
  put(store.get(), 2 * kPage, pages(200, 's'));
  std::uint64_t written = 0;
  EXPECT_EQ(merge_all(store.get(), 0, many * kPage, file_.fd(), &written, truncates()), 0);
  EXPECT_EQ(written, 1u + 200u + 49u);
  const std::string was = get(file_.fd(), 0, kPage), store_now = get(store.get(), kPage, (many - 1) * kPage);
  EXPECT_EQ(was, pages(1, 'a'));
  EXPECT_EQ(get(file_.fd(), kPage, kPage), pages(1, 's'));
  EXPECT_EQ(get(file_.fd(), 2 * kPage, (many - 2) * kPage), store_now.substr(kPage));
}

TEST_P(MergeTest, ManyRangesInOneGoStopAtTheEndAndWhenToldTo) {
  const fence::SharedFd store(create_store("test", 16 * kPage));
  put(store.get(), 0, pages(16, 's'));
  const std::vector<MergeRange> ranges = {{kPage, kPage}, {4 * kPage, 2 * kPage}, {15 * kPage, kPage}};
  int asked = 0;
  EXPECT_EQ(merge_ranges(store.get(), 0, file_.fd(), ranges, [&] { return ++asked > 1; }), EKEYREVOKED);
  EXPECT_EQ(get(file_.fd(), kPage, kPage), pages(1, 's'));
  EXPECT_EQ(get(file_.fd(), 4 * kPage, kPage), pages(1, 'a')) << "merged although told to stop";
  struct stat before, after;
  ASSERT_EQ(::fstat(file_.fd(), &before), 0);
  EXPECT_EQ(merge_ranges(store.get(), 0, file_.fd(), ranges, [] { return false; }), 0);
  EXPECT_EQ(get(file_.fd(), 4 * kPage, 2 * kPage), pages(2, 's'));
  EXPECT_EQ(get(file_.fd(), 3 * kPage, kPage), pages(1, 'a'));
  ASSERT_EQ(::fstat(file_.fd(), &after), 0);
  EXPECT_EQ(after.st_size, before.st_size);
  EXPECT_EQ(merge_ranges(store.get(), 8 * kPage, file_.fd(), ranges, [] { return false; }), EINVAL);
}

TEST_P(MergeTest, EachOfManyRangesIsMerged) {
  const fence::SharedFd store(create_store("test", 8 * kPage));
  put(store.get(), 0, pages(8, 's'));
  EXPECT_EQ(merge_ranges(store.get(), 0, file_.fd(), {{0, kPage}, {3 * kPage, 2 * kPage}, {7 * kPage, kPage}}, [] { return false; }), 0);
  EXPECT_EQ(get(file_.fd(), 0, 8 * kPage), pages(1, 's') + pages(2, 'a') + pages(2, 's') + pages(2, 'a') + pages(1, 's'));
}

// By two threads: each page of each range, at the place where they part as well, and none beside them.
TEST_P(MergeTest, ManyBytesAreMergedToTheLastOne) {
  constexpr std::uint64_t kMany = 4000, kSize = kMany * kPage - 100;
  ASSERT_EQ(::ftruncate(file_.fd(), kSize), 0);
  std::string stored, expected = get(file_.fd(), 0, kSize);
  for (std::uint64_t page = 0; page < kMany; page++) stored += pages(1, static_cast<char>('b' + page % 23));
  const fence::SharedFd store(create_store("test", stored.size()));
  put(store.get(), 0, stored);
  std::vector<MergeRange> ranges;
  for (std::uint64_t page = 0, length = 1; page < kMany; page += length + 1, length = length * 3 % 701 + 1) {
    ranges.push_back({page * kPage, std::min(length, kMany - page) * kPage});
    expected.replace(page * kPage, ranges.back().length, stored, page * kPage, ranges.back().length);
  }
  EXPECT_EQ(merge_ranges(store.get(), 0, file_.fd(), ranges, [] { return false; }), 0);
  expected.resize(kSize);
  EXPECT_TRUE(get(file_.fd(), 0, kSize + kPage) == expected);
  EXPECT_EQ(merge_ranges(store.get(), 0, file_.fd(), ranges, [] { return true; }), EKEYREVOKED);
}

TEST_P(MergeTest, TheFilePositionOfTheClientStays) {
  const fence::SharedFd store(create_store("test", 4 * kPage));
  ASSERT_EQ(::lseek(file_.fd(), 1234, SEEK_SET), 1234);
  std::uint64_t written = 0;
  put(store.get(), 0, "x");
  EXPECT_EQ(merge_all(store.get(), 0, 4 * kPage, file_.fd(), &written, truncates()), 0);
  EXPECT_EQ(merge_pages(store.get(), 0, file_.fd(), 0, kPage, truncates()), 0);
  EXPECT_EQ(::lseek(file_.fd(), 0, SEEK_CUR), 1234);
}

TEST_P(MergeTest, NeverBeyondTheEndWhileSomebodyTruncates) {
  if (truncates() == Truncates::Held) return;  // not what was promised to it
  constexpr std::uint64_t kLong = 64 * kPage, kShort = 5 * kPage + 100;
  const fence::SharedFd store(create_store("test", kLong));
  put(store.get(), 0, pages(64, 's'));
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> cuts{0}, wrong{0};
  std::thread truncater([&] {
    for (; !stop; cuts++) {
      if (::ftruncate(file_.fd(), kShort) != 0) abort();
      for (int i = 0; i < 50; i++) {
        if (file_.size() != kShort) wrong = file_.size();
      }
      if (::ftruncate(file_.fd(), kLong) != 0) abort();
    }
  });
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  int code = 0;
  while (cuts < 2000 && code == 0 && std::chrono::steady_clock::now() < until) {
    code = merge_pages(store.get(), 0, file_.fd(), 0, kLong);
  }
  stop = true;
  truncater.join();
  EXPECT_EQ(code, 0);
  EXPECT_EQ(wrong, 0u);
  EXPECT_GE(cuts, 100u);
}

INSTANTIATE_TEST_SUITE_P(Ways, MergeTest,
                         ::testing::Combine(::testing::Values("/var/tmp", "/dev/shm"),
                                            ::testing::Values(Truncates::Possible, Truncates::Held)));

}  // namespace
}  // namespace mrlease::store
