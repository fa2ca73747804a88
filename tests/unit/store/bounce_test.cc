// SPDX-License-Identifier: Apache-2.0
// Bounce on the file systems of this machine: what is written, what is not, and what a changed file end does.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <system_error>
#include <thread>
#include <tuple>

#include "temp_file.h"

namespace mrlease::store {
namespace {

// Everything holds on a disk and on tmpfs, and both ways of writing.
class BounceTest : public ::testing::TestWithParam<std::tuple<const char*, Truncates>> {
 protected:
  BounceTest() : file_(dir()) {}
  static const char* dir() { return std::get<0>(GetParam()); }
  static Truncates truncates() { return std::get<1>(GetParam()); }
  // A file of `whole` pages of 'a' and then `rest` bytes of 'a'.
  void content(std::uint64_t whole, std::uint64_t rest = 0) { put(file_.fd(), 0, std::string(whole * kPage + rest, 'a')); }

  TempFile file_;
};

TEST_P(BounceTest, FillsAndWritesOnlyWhatChanged) {
  content(200);
  Bounce bounce(file_.shared(), 0, 200 * kPage, truncates());
  EXPECT_EQ(get(bounce.memfd(), 0, 200 * kPage), pages(200, 'a'));
  EXPECT_EQ(bounce.flush().pages_written, 0u);
  for (std::uint64_t page : {0u, 63u, 64u, 65u, 199u}) put(bounce.memfd(), page * kPage + 17, "new");
  const auto first = bounce.flush();
  EXPECT_EQ(first.code, 0) << first.text;
  EXPECT_EQ(first.pages_written, 5u);
  EXPECT_EQ(get(file_.fd(), 64 * kPage + 16, 5), "anewa");
  EXPECT_EQ(get(file_.fd(), 0, 200 * kPage), get(bounce.memfd(), 0, 200 * kPage));
  EXPECT_EQ(bounce.flush().pages_written, 0u) << "written twice";
}

TEST_P(BounceTest, IsFilledPageByPageAndHolesTakeNoMemory) {
  // Data and holes in turns, where batches of 64 pages meet too, and an end within a page.
  std::string all;
  std::uint64_t data = 0;
  for (std::uint64_t page = 0; page < 140; page++) {
    const bool hole = page % 3 == 1 || (page >= 62 && page <= 64) || (page >= 126 && page <= 129);
    all += pages(1, hole ? '\0' : static_cast<char>('a' + page % 26));
    data += hole ? 0 : 1;
  }
  all += "odd";
  put(file_.fd(), 0, all);
  Bounce bounce(file_.shared(), 0, 142 * kPage, truncates());
  EXPECT_EQ(get(bounce.memfd(), 0, all.size()), all);
  EXPECT_EQ(get(bounce.memfd(), all.size(), 142 * kPage - all.size()), std::string(142 * kPage - all.size(), '\0'));
  struct stat memory {};
  ASSERT_EQ(::fstat(bounce.memfd(), &memory), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(memory.st_blocks) * 512, (data + 1) * kPage) << "with /sys/kernel/mm/transparent_hugepage/shmem_enabled at never";
  EXPECT_EQ(bounce.flush().pages_written, 0u);
  put(bounce.memfd(), 63 * kPage, "in a hole");
  put(bounce.memfd(), 140 * kPage + 1, "xyz");
  EXPECT_EQ(bounce.flush().pages_written, 2u);
  EXPECT_EQ(get(file_.fd(), 63 * kPage, 9), "in a hole");
  EXPECT_EQ(get(file_.fd(), 140 * kPage, 10), "oxy") << "the file is not made longer";
}

TEST_P(BounceTest, LeavesUnchangedPagesOfTheFileAlone) {
  content(4);
  Bounce bounce(file_.shared(), 0, 4 * kPage, truncates());
  put(file_.fd(), 2 * kPage, "foreign");
  put(bounce.memfd(), 0, "ours");
  EXPECT_EQ(bounce.flush().pages_written, 1u);
  EXPECT_EQ(get(file_.fd(), 2 * kPage, 7), "foreign");
}

TEST_P(BounceTest, StartsAtItsOffset) {
  content(10);
  Bounce bounce(file_.shared(), 3 * kPage, 4 * kPage, truncates());
  put(bounce.memfd(), 0, "first");
  put(bounce.memfd(), 4 * kPage - 4, "last");
  EXPECT_EQ(bounce.flush().pages_written, 2u);
  EXPECT_EQ(get(file_.fd(), 3 * kPage - 1, 6), "afirst");
  EXPECT_EQ(get(file_.fd(), 7 * kPage - 4, 5), "lasta");
}

TEST_P(BounceTest, NeverWritesBeyondTheLeaseInItsLastPage) {
  content(4);
  Bounce bounce(file_.shared(), 0, kPage + 100, truncates());
  put(bounce.memfd(), kPage, pages(1, 'x'));
  EXPECT_EQ(bounce.flush().pages_written, 1u);
  EXPECT_EQ(get(file_.fd(), kPage, 102), std::string(100, 'x') + "aa");
  put(bounce.memfd(), kPage + 100, "beyond");
  EXPECT_EQ(bounce.flush().pages_written, 0u) << "bytes beyond the lease are not the lease's";
}

TEST_P(BounceTest, APartCanBeFlushed) {
  content(8);
  Bounce bounce(file_.shared(), 0, 8 * kPage, truncates());
  put(bounce.memfd(), 0, pages(8, 'x'));
  EXPECT_EQ(bounce.flush(3 * kPage + 100, 4 * kPage + 1).pages_written, 2u) << "whole pages";
  EXPECT_EQ(get(file_.fd(), 2 * kPage, 4 * kPage), pages(1, 'a') + pages(2, 'x') + pages(1, 'a'));
  EXPECT_EQ(bounce.flush(4 * kPage, 4 * kPage).pages_written, 0u);
  EXPECT_EQ(bounce.flush(8 * kPage).pages_written, 0u);
  EXPECT_EQ(bounce.flush(7 * kPage, ~0ull).pages_written, 1u);
  EXPECT_EQ(bounce.flush().pages_written, 5u);
}

TEST_P(BounceTest, WhetherAPartNeedsAFlush) {
  content(100, 10);
  Bounce bounce(file_.shared(), 0, 102 * kPage, truncates());
  EXPECT_TRUE(bounce.nothing_to_flush(0, 8 * kPage));
  EXPECT_FALSE(bounce.nothing_to_flush(0, ~0ull)) << "more than a glance";
  put(bounce.memfd(), 3 * kPage + 4095, "x");
  EXPECT_FALSE(bounce.nothing_to_flush(3 * kPage + 1, 3 * kPage + 2)) << "whole pages";
  EXPECT_TRUE(bounce.nothing_to_flush(0, 3 * kPage));
  EXPECT_TRUE(bounce.nothing_to_flush(4 * kPage, 8 * kPage));
  EXPECT_EQ(bounce.flush(3 * kPage, 4 * kPage).pages_written, 1u);
  EXPECT_TRUE(bounce.nothing_to_flush(3 * kPage, 4 * kPage));
  put(bounce.memfd(), 100 * kPage + 10, "x");
  EXPECT_TRUE(bounce.nothing_to_flush(99 * kPage, ~0ull)) << "beyond the file's end";
  EXPECT_TRUE(bounce.nothing_to_flush(101 * kPage, ~0ull));
  put(bounce.memfd(), 100 * kPage + 9, "x");
  EXPECT_FALSE(bounce.nothing_to_flush(99 * kPage, ~0ull));
}

// As long as somebody flushes, and page 1 never stands still for him.
TEST_P(BounceTest, WhetherAPartNeedsAFlushIsNotWaitedFor) {
  content(8);
  Bounce bounce(file_.shared(), 0, 8 * kPage, truncates());
  std::atomic<bool> stop = false;
  std::thread device([&] {
    for (int i = 0; !stop; i++) put(bounce.memfd(), kPage, std::to_string(i));
  });
  std::thread flush([&] {
    while (!stop) bounce.flush_settled(std::chrono::milliseconds(100), std::chrono::milliseconds(20));
  });
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (bounce.nothing_to_flush(4 * kPage, 5 * kPage) && std::chrono::steady_clock::now() < until) continue;
  EXPECT_LT(std::chrono::steady_clock::now(), until);
  stop = true;
  device.join();
  flush.join();
}

// The part before the cut was acknowledged, and is the file's still.
TEST_P(BounceTest, WhatIsLeftOfAWrittenPageThatIsCutIsWritten) {
  content(4);
  Bounce bounce(file_.shared(), 0, 4 * kPage, truncates());
  put(bounce.memfd(), kPage, pages(1, 'x'));
  ASSERT_EQ(::ftruncate(file_.fd(), kPage + 100), 0);
  bounce.trim(kPage + 100);
  EXPECT_EQ(bounce.flush().pages_written, 1u);
  EXPECT_EQ(get(file_.fd(), kPage, kPage), std::string(100, 'x'));
}

TEST_P(BounceTest, NeverMakesTheFileLonger) {
  content(2, 10);
  Bounce bounce(file_.shared(), 0, 8 * kPage, truncates());
  put(bounce.memfd(), 0, pages(8, 'x'));
  const auto result = bounce.flush();
  EXPECT_EQ(result.code, 0) << result.text;
  EXPECT_EQ(result.pages_written, 3u);
  EXPECT_EQ(file_.size(), 2 * kPage + 10);
  EXPECT_EQ(get(file_.fd(), 0, 3 * kPage), std::string(2 * kPage + 10, 'x'));
}

TEST_P(BounceTest, TrimKeepsWhatWasCutOffOutOfTheFile) {
  content(8);
  Bounce bounce(file_.shared(), 0, 8 * kPage, truncates());
  ASSERT_EQ(::ftruncate(file_.fd(), 3 * kPage + 5), 0);
  bounce.trim(3 * kPage + 5);
  // The file grows again, by somebody else: still not the lease's until extend().
  ASSERT_EQ(::ftruncate(file_.fd(), 8 * kPage), 0);
  put(bounce.memfd(), 0, pages(8, 'x'));
  EXPECT_EQ(bounce.flush().pages_written, 4u);
  EXPECT_EQ(get(file_.fd(), 3 * kPage, kPage), std::string(5, 'x') + std::string(kPage - 5, '\0'));
  EXPECT_EQ(get(file_.fd(), 4 * kPage, kPage), pages(1, '\0'));
}

TEST_P(BounceTest, TrimDoesNotMakeACleanPageDirty) {
  content(4);
  Bounce bounce(file_.shared(), 0, 4 * kPage, truncates());
  ASSERT_EQ(::ftruncate(file_.fd(), kPage + 7), 0);
  bounce.trim(kPage + 7);
  EXPECT_EQ(bounce.flush().pages_written, 0u);
  EXPECT_EQ(bounce.merge_from_file().conflicts, 0u);
}

TEST_P(BounceTest, ExtendTakesTheFilesContentAndKeepsOurs) {
  content(4);
  Bounce bounce(file_.shared(), 0, 4 * kPage, truncates());
  ASSERT_EQ(::ftruncate(file_.fd(), kPage + 7), 0);
  bounce.trim(kPage + 7);
  put(bounce.memfd(), kPage, "ours");               // on the file, not flushed yet
  put(bounce.memfd(), 2 * kPage, pages(1, 'o'));    // an orphan
  put(file_.fd(), kPage + 7, std::string(2 * kPage, 'f'));  // the file grows to 3 pages and 7 bytes
  const auto result = bounce.extend(3 * kPage + 7);
  EXPECT_EQ(result.code, 0) << result.text;
  EXPECT_EQ(get(bounce.memfd(), kPage, 9), "oursaaaff");
  EXPECT_EQ(get(bounce.memfd(), 2 * kPage, kPage + 7), std::string(kPage + 7, 'f'));
  EXPECT_EQ(bounce.flush().pages_written, 1u) << "the page that holds ours, and no other";
  EXPECT_EQ(get(file_.fd(), kPage, 9), "oursaaaff");
  EXPECT_EQ(file_.size(), 3 * kPage + 7);
}

TEST_P(BounceTest, ExtendOverManyPages) {
  Bounce bounce(file_.shared(), 0, 300 * kPage, truncates());
  content(299, 1);
  EXPECT_EQ(bounce.extend(299 * kPage + 1).code, 0);
  EXPECT_EQ(get(bounce.memfd(), 0, 300 * kPage), std::string(299 * kPage + 1, 'a') + std::string(kPage - 1, '\0'));
  EXPECT_EQ(bounce.flush().pages_written, 0u);
}

TEST_P(BounceTest, MergeTakesForeignPagesAndCountsConflicts) {
  content(4);
  Bounce bounce(file_.shared(), 0, 4 * kPage, truncates());
  put(file_.fd(), 0, "foreign");             // only theirs
  put(bounce.memfd(), kPage, "ours");        // only ours
  put(file_.fd(), 2 * kPage, "foreign");     // both
  put(bounce.memfd(), 2 * kPage + 50, "ours");
  put(file_.fd(), 3 * kPage, "same");        // both, alike
  put(bounce.memfd(), 3 * kPage, "same");
  const auto merged = bounce.merge_from_file();
  EXPECT_EQ(merged.code, 0) << merged.text;
  EXPECT_EQ(merged.conflicts, 1u);
  EXPECT_EQ(get(bounce.memfd(), 0, 8), "foreigna");
  EXPECT_EQ(bounce.flush().pages_written, 2u);
  EXPECT_EQ(get(file_.fd(), kPage, 4), "ours");
  EXPECT_EQ(get(file_.fd(), 2 * kPage, 54), std::string(50, 'a') + "ours");
  EXPECT_EQ(bounce.merge_from_file().conflicts, 0u);
}

TEST_P(BounceTest, MovesTheTimeStampOfTheFile) {
  content(1);
  const timespec old[2] = {{1000, 0}, {1000, 0}};
  Bounce bounce(file_.shared(), 0, kPage, truncates());
  for (int round = 0; round < 2; round++) {  // the second one meets a page that is dirty already
    ASSERT_EQ(::futimens(file_.fd(), old), 0);
    put(bounce.memfd(), 0, std::string(1, static_cast<char>('x' + round)));
    ASSERT_EQ(bounce.flush().pages_written, 1u);
    struct stat s;
    ASSERT_EQ(::fstat(file_.fd(), &s), 0);
    EXPECT_GT(s.st_mtim.tv_sec, 1000) << "round " << round;
  }
}

TEST_P(BounceTest, NobodyCanShrinkTheMemfd) {
  content(1);
  Bounce bounce(file_.shared(), 0, kPage, truncates());
  EXPECT_EQ(::ftruncate(bounce.memfd(), 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::ftruncate(bounce.memfd(), 2 * kPage), -1);
  EXPECT_EQ(::fcntl(bounce.memfd(), F_ADD_SEALS, F_SEAL_WRITE), -1);
}

TEST_P(BounceTest, ClientMayPunchItsPages) {
  content(2);
  Bounce bounce(file_.shared(), 0, 2 * kPage, truncates());
  ASSERT_EQ(::fallocate(bounce.memfd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kPage), 0);
  EXPECT_EQ(bounce.flush().pages_written, 1u);
  EXPECT_EQ(get(file_.fd(), 0, kPage), pages(1, '\0'));
}

int refusal(const fence::SharedFd& fd, std::uint64_t offset, std::uint64_t length) {
  try {
    Bounce bounce(fd, offset, length);
    return 0;
  } catch (const std::system_error& e) {
    return e.code().value();
  }
}

TEST_P(BounceTest, RefusesWhatItCannotServe) {
  TempFile append(dir(), O_RDWR | O_APPEND), write_only(dir(), O_WRONLY);
  EXPECT_EQ(refusal(append.shared(), 0, kPage), EINVAL);
  EXPECT_EQ(refusal(write_only.shared(), 0, kPage), EACCES);
  EXPECT_EQ(refusal(file_.shared(), 100, kPage), EINVAL);
  EXPECT_EQ(refusal(file_.shared(), 0, 0), EINVAL);
  EXPECT_EQ(refusal(fence::SharedFd(), 0, kPage), EBADF);
}

INSTANTIATE_TEST_SUITE_P(Ways, BounceTest,
                         ::testing::Combine(::testing::Values("/var/tmp", "/dev/shm"),
                                            ::testing::Values(Truncates::Possible, Truncates::Held)));

}  // namespace
}  // namespace mrlease::store
