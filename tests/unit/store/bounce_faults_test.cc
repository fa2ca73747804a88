// SPDX-License-Identifier: Apache-2.0
// Bounce while others truncate the file, while the device tears pages, and when the disk is full.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "daemon/store/writer_progress.h"
#include "temp_file.h"

namespace mrlease::store {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
constexpr auto kPatience = std::chrono::seconds(20);

TEST(BounceFaultsTest, NeverBeyondTheEndWhileSomebodyTruncates) {
  TempFile file("/var/tmp");
  constexpr std::uint64_t kLong = 64 * kPage, kShort = 5 * kPage + 100;
  ASSERT_EQ(::ftruncate(file.fd(), kLong), 0);
  Bounce bounce(file.shared(), 0, kLong);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> cuts{0}, wrong{0};
  std::thread truncater([&] {
    while (!stop) {
      if (::ftruncate(file.fd(), kShort) != 0) abort();
      // Only this thread moves the end: a size between the two was made by a flush.
      for (int i = 0; i < 50; i++) {
        if (file.size() != kShort) wrong = file.size();
      }
      if (::ftruncate(file.fd(), kLong) != 0) abort();
      cuts++;
    }
  });
  const auto until = Clock::now() + kPatience;
  int code = 0;
  for (char c = 0; (cuts < 3000 || c < 100) && Clock::now() < until && code == 0; c++) {
    put(bounce.memfd(), 0, pages(64, c));
    code = bounce.flush().code;
  }
  stop = true;
  truncater.join();
  EXPECT_EQ(code, 0);
  EXPECT_EQ(wrong, 0u) << "a flush has made the file longer";
  EXPECT_GE(cuts, 100u);
}

bool mixed(const std::string& page) { return page.front() == 'n' && page.back() == 'o'; }

TEST(BounceFaultsTest, SettledFlushLeavesNoTornPage) {
  TempFile file("/var/tmp");
  constexpr std::uint64_t kPages = 8;
  put(file.fd(), 0, pages(kPages, 'o'));
  Bounce bounce(file.shared(), 0, kPages * kPage);
  // The device is in the middle of every page when the flush comes ...
  for (std::uint64_t i = 0; i < kPages; i++) put(bounce.memfd(), i * kPage, std::string(kPage / 2, 'n'));
  std::uint64_t torn = 0;
  std::thread device([&] {
    const auto until = Clock::now() + kPatience;
    // ... and ends each of them only when the torn page is in the file.
    for (std::uint64_t i = 0; i < kPages; i++) {
      while (!mixed(get(file.fd(), i * kPage, kPage)) && Clock::now() < until) std::this_thread::yield();
      torn += mixed(get(file.fd(), i * kPage, kPage)) ? 1 : 0;
      put(bounce.memfd(), i * kPage + kPage / 2, std::string(kPage / 2, 'n'));
    }
  });
  const auto result = bounce.flush_settled(kPatience, milliseconds(250));
  device.join();
  EXPECT_EQ(result.code, 0) << result.text;
  EXPECT_EQ(result.unsettled, 0u);
  EXPECT_EQ(torn, kPages);
  EXPECT_EQ(result.pages_written, 2 * kPages);
  EXPECT_EQ(get(file.fd(), 0, kPages * kPage), pages(kPages, 'n'));
}

// A page that a sync, or a daemon before this one, has written a moment ago need not have changed since, and may yet be torn.
TEST(BounceFaultsTest, SettledFlushLooksAgainAtWhatOthersHaveWritten) {
  constexpr auto kPause = std::chrono::milliseconds(100);
  TempFile file("/var/tmp");
  put(file.fd(), 0, pages(4, 'o'));
  const auto took = [&](Bounce& bounce) {
    const auto begun = Clock::now();
    EXPECT_EQ(bounce.flush_settled(kPatience, kPause).unsettled, 0u);
    return Clock::now() - begun;
  };
  Bounce bounce(file.shared(), 0, 4 * kPage);
  put(bounce.memfd(), kPage, std::string(kPage / 2, 'n'));
  ASSERT_EQ(bounce.flush().pages_written, 1u);
  EXPECT_GE(took(bounce), 4 * kPause);
  Bounce successor(file.shared(), 0, 4 * kPage, Truncates::Possible, ::dup(bounce.memfd()), ::dup(bounce.notes()));
  EXPECT_GE(took(successor), 4 * kPause);
}

// A writer may be held up in the middle of a page for longer than the pause. Then no other page of it changes either.
TEST(BounceFaultsTest, SettledFlushWaitsForAWriterThatIsHeldUp) {
  constexpr auto kPause = std::chrono::milliseconds(100);
  TempFile file("/var/tmp");
  put(file.fd(), 0, pages(300, 'o'));
  Bounce bounce(file.shared(), 0, 300 * kPage);
  put(bounce.memfd(), 0, pages(200, 'n') + std::string(kPage / 2, 'n'));
  std::thread device([&] {
    const auto until = Clock::now() + kPatience;
    while (!mixed(get(file.fd(), 200 * kPage, kPage)) && Clock::now() < until) std::this_thread::yield();
    std::this_thread::sleep_for(2 * kPause);  // held up: what is tested
    put(bounce.memfd(), 200 * kPage + kPage / 2, std::string(kPage / 2, 'n') + pages(50, 'n'));
  });
  const auto result = bounce.flush_settled(kPatience, kPause);
  device.join();
  EXPECT_EQ(result.code, 0) << result.text;
  EXPECT_EQ(result.unsettled, 0u);
  EXPECT_EQ(get(file.fd(), 0, 201 * kPage), pages(201, 'n'));
}

TEST(WriterProgressTest, SeesWritersWhereverTheyWrite) {
  TempFile file("/var/tmp");
  put(file.fd(), 0, pages(4000, 'o'));
  WriterProgress writers(file.fd());
  writers.mark(4000, {7, 1234});
  EXPECT_FALSE(writers.moved());
  put(file.fd(), 1234 * kPage + 17, "n");
  EXPECT_TRUE(writers.moved()) << "a page that was written before";
  writers.mark(4000, {});
  EXPECT_FALSE(writers.moved());
  put(file.fd(), 2000 * kPage, pages(40, 'n'));
  EXPECT_TRUE(writers.moved()) << "pages in a row";
  writers.mark(0, {});
  EXPECT_FALSE(writers.moved()) << "all of it is cut off";
}

TEST(BounceFaultsTest, ExtendLeavesNoHalfOfAWriteThatWasUnderWay) {
  TempFile file("/var/tmp");
  put(file.fd(), 0, pages(8, 'o'));
  Bounce bounce(file.shared(), 0, 8 * kPage);
  ASSERT_EQ(::ftruncate(file.fd(), 4 * kPage), 0);
  bounce.trim(4 * kPage);
  put(bounce.memfd(), 6 * kPage, std::string(kPage / 2, 'n'));  // the device is in the middle of the page ...
  ASSERT_EQ(::ftruncate(file.fd(), 8 * kPage), 0);
  bool overwritten = false;
  std::thread device([&] {
    const auto until = Clock::now() + kPatience;
    while (get(bounce.memfd(), 6 * kPage, 1) == "n" && Clock::now() < until) std::this_thread::yield();
    overwritten = get(bounce.memfd(), 6 * kPage, 1) != "n";
    put(bounce.memfd(), 6 * kPage + kPage / 2, std::string(kPage / 2, 'n'));  // ... and ends it after that
  });
  EXPECT_EQ(bounce.extend(8 * kPage).code, 0);
  device.join();
  EXPECT_TRUE(overwritten);
  EXPECT_EQ(get(bounce.memfd(), 4 * kPage, 4 * kPage), std::string(4 * kPage, '\0'));
  EXPECT_EQ(bounce.flush().code, 0);
  EXPECT_EQ(get(file.fd(), 0, 8 * kPage), pages(4, 'o') + std::string(4 * kPage, '\0'));
}

double seconds_on(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Each page is written a hundred thousand times a second, as fast as a link of 100 Gb/s could.
TEST(BounceFaultsTest, SettledFlushOfASmallBusyFile) {
  TempFile file("/var/tmp");
  constexpr std::uint64_t kPages = 16;
  constexpr std::chrono::nanoseconds kPass(kPages * kPage * 8 / 100);  // 100 Gb/s
  put(file.fd(), 0, pages(kPages, 'a'));
  Bounce bounce(file.shared(), 0, kPages * kPage);
  void* at = ::mmap(nullptr, kPages * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, bounce.memfd(), 0);
  ASSERT_NE(at, MAP_FAILED);
  std::atomic<bool> stop{false};
  std::atomic<int> passes{0};
  std::thread device([&] {
    // No content comes twice: a page that looks as it did is one that has not been written.
    for (std::uint64_t stamp = 1; !stop; stamp++, passes++) {
      const auto next = Clock::now() + kPass;
      for (std::uint64_t page = 0; page < kPages && !stop; page++)
        std::fill_n(reinterpret_cast<std::uint64_t*>(static_cast<char*>(at) + page * kPage), kPage / 8, stamp);
      while (Clock::now() < next && !stop) {
      }
    }
  });
  clockid_t devices_clock;
  ASSERT_EQ(::pthread_getcpuclockid(device.native_handle(), &devices_clock), 0);
  int settled = 0, fair = 0;
  for (int freezes = 0; freezes < 8 || (freezes < 24 && settled == 0); freezes++) {
    for (const int before = passes; passes < before + 2;) std::this_thread::yield();
    const double began = seconds_on(CLOCK_MONOTONIC), ran = seconds_on(devices_clock);
    const auto result = bounce.flush_settled(std::chrono::seconds(5), milliseconds(100));
    EXPECT_EQ(result.code, 0) << result.text;
    EXPECT_GE(result.pages_written, kPages);
    const std::string frozen = get(file.fd(), 0, kPages * kPage);
    std::uint64_t torn = 0;
    for (std::uint64_t page = 0; page < kPages; page++) {
      const char* const words = frozen.data() + page * kPage;
      torn += std::memcmp(words, words + 8, kPage - 8) != 0;
    }
    // On a machine that does something else for most of the time, and never runs the two at once, a page may not be caught
    // at rest. That is told.
    EXPECT_LE(torn, result.unsettled);
    settled += result.unsettled == 0;
    fair += seconds_on(devices_clock) - ran > 0.9 * (seconds_on(CLOCK_MONOTONIC) - began);
  }
  if (fair != 0) {
    EXPECT_GE(settled, 1);
  }
  stop = true;
  device.join();
  ::munmap(at, kPages * kPage);
}

TEST(BounceFaultsTest, SettledFlushCountsWhatNeverRests) {
  TempFile file("/var/tmp");
  put(file.fd(), 0, pages(4, 'o'));
  Bounce bounce(file.shared(), 0, 4 * kPage);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> writes{0};
  std::thread device([&] {
    for (; !stop; writes++) put(bounce.memfd(), kPage, std::to_string(writes) + " ");
  });
  while (writes == 0) std::this_thread::yield();
  put(bounce.memfd(), 3 * kPage, "once");
  const auto result = bounce.flush_settled(milliseconds(100), milliseconds(50));
  stop = true;
  device.join();
  EXPECT_EQ(result.code, 0) << result.text;
  EXPECT_EQ(result.unsettled, 1u);
}

int failing(int) {
  errno = EIO;
  return -1;
}
int succeeding(int) { return 0; }

// The kernel tells that once, calls the pages clean, and may drop them.
TEST(BounceFaultsTest, WritesAgainWhatAnFsyncHasFailedFor) {
  TempFile file("/var/tmp");
  put(file.fd(), 0, pages(8, 'o'));
  Bounce bounce(file.shared(), 0, 8 * kPage);
  put(bounce.memfd(), kPage, "before");
  EXPECT_EQ(bounce.sync(succeeding).code, 0);
  put(bounce.memfd(), 3 * kPage, "ours");
  const auto failed = bounce.sync(failing);
  EXPECT_EQ(failed.code, EIO);
  EXPECT_NE(failed.text.find("fsync"), std::string::npos) << failed.text;
  EXPECT_EQ(failed.pages_written, 1u);
  put(file.fd(), 3 * kPage, "oooo");  // dropped, and read from the disk
  put(file.fd(), kPage, "foreign");   // durable before: not ours to write any more
  EXPECT_EQ(bounce.sync(failing).code, EIO);
  EXPECT_EQ(get(file.fd(), 3 * kPage, 4), "ours");
  put(file.fd(), 3 * kPage, "oooo");
  bounce.sync_failed();  // somebody else's
  EXPECT_EQ(get(file.fd(), 3 * kPage, 4), "ours");
  EXPECT_EQ(bounce.sync(succeeding).code, 0);
  put(file.fd(), 3 * kPage, "oooo");
  bounce.sync_failed();
  EXPECT_EQ(get(file.fd(), 3 * kPage, 4), "oooo") << "it was durable";
  EXPECT_EQ(get(file.fd(), kPage, 7), "foreign");
}

// A tmpfs of 8 pages in a mount namespace of this process. False with errno: not allowed here.
bool small_tmpfs(const std::string& dir) {
  if (::unshare(CLONE_NEWNS) != 0) return false;
  return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("small", dir.c_str(), "tmpfs", 0, "size=32k") == 0;
}

class FullDiskTest : public ::testing::TestWithParam<Truncates> {};

TEST_P(FullDiskTest, ForgetsNothing) {
  const std::string dir = make_dir("/var/tmp");
  if (!small_tmpfs(dir)) {
    ASSERT_EQ(errno, EPERM);
    ::rmdir(dir.c_str());
    GTEST_SKIP() << "EPERM: a mount namespace needs root";
  }
  {
    TempFile file(dir);
    ASSERT_EQ(::ftruncate(file.fd(), 16 * kPage), 0);  // sparse: twice of what there is room for
    Bounce bounce(file.shared(), 0, 16 * kPage, GetParam());
    put(bounce.memfd(), 0, pages(16, 'x'));
    const auto full = bounce.flush();
    EXPECT_EQ(full.code, ENOSPC);
    EXPECT_NE(full.text.find("No space left"), std::string::npos) << full.text;
    EXPECT_GT(full.pages_written, 0u);
    EXPECT_LE(full.pages_written, 8u);
    EXPECT_EQ(bounce.flush().code, ENOSPC) << "what could not be written is still to be written";
    ASSERT_EQ(::mount("small", dir.c_str(), "tmpfs", MS_REMOUNT, "size=1m"), 0);
    const auto rest = bounce.flush();
    EXPECT_EQ(rest.code, 0) << rest.text;
    EXPECT_EQ(full.pages_written + rest.pages_written, 16u);
    EXPECT_EQ(get(file.fd(), 0, 16 * kPage), pages(16, 'x'));
  }
  EXPECT_EQ(::umount(dir.c_str()), 0);
  ::rmdir(dir.c_str());
}

INSTANTIATE_TEST_SUITE_P(Ways, FullDiskTest, ::testing::Values(Truncates::Possible, Truncates::Held));

}  // namespace
}  // namespace mrlease::store
