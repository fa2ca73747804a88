// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/memory_room.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <future>
#include <new>
#include <string>
#include <thread>

namespace mrlease::sys {
namespace {

namespace fs = std::filesystem;

class MemoryRoomTest : public ::testing::Test {
 protected:
  MemoryRoomTest() {
    char name[] = "/tmp/mrlease-room-XXXXXX";
    if (::mkdtemp(name) == nullptr) abort();
    dir_ = name;
  }
  ~MemoryRoomTest() override { fs::remove_all(dir_); }
  void put(const fs::path& file, const std::string& text) {
    fs::create_directories((dir_ / file).parent_path());
    std::ofstream(dir_ / file) << text;
  }
  void group(const fs::path& path, const std::string& most, const std::string& now, const std::string& stat) {
    put(path / "memory.max", most + "\n");
    put(path / "memory.current", now + "\n");
    put(path / "memory.stat", stat);
  }
  std::optional<std::uint64_t> room() const { return memory_room(own_, dir_ / "fs"); }
  fs::path dir_;
  std::string own_ = "0::/system.slice/mrleased.service\n";
};

TEST_F(MemoryRoomTest, NothingLimitsIt) {
  EXPECT_FALSE(room()) << "no files at all";
  group("fs/system.slice/mrleased.service", "max", "1000", "");
  EXPECT_FALSE(room());
  own_ = "3:memory:/system.slice\n";
  EXPECT_FALSE(room()) << "version 1";
}

TEST_F(MemoryRoomTest, WhatIsGivenBackFirstIsFree) {
  group("fs/system.slice/mrleased.service", "1000", "900", "anon 1\nfile 500\nshmem 200\ninactive_file 100\nactive_file 150\nslab_reclaimable 7\n");
  EXPECT_EQ(room(), 357u);
}

TEST_F(MemoryRoomTest, TheTightestGroupAboveCounts) {
  group("fs/system.slice", "500", "450", "");
  group("fs/system.slice/mrleased.service", "1000", "300", "");
  EXPECT_EQ(room(), 50u);
  group("fs/system.slice", "500", "700", "");  // it was lowered
  EXPECT_EQ(room(), 0u);
}

constexpr std::chrono::milliseconds kNever{60000}, kAtOnce{1};

TEST(MemoryRoom, IsAskedForOnceWhileLittleIsWanted) {
  int asked = 0;
  MemoryRoom room(1000, [&] { return asked++, 9000; }, kNever, kNever);
  EXPECT_EQ(room.before(400, 400), 8000u);
  EXPECT_EQ(room.before(600, 600), 7600u);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(room.before(876, 876), 8000u) << "more than an eighth";
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(room.before(9000, 9000), 8000u);
  EXPECT_EQ(room.before(8000, 8000), 8000u) << "who got nothing has taken nothing";
  EXPECT_EQ(asked, 4);
}

TEST(MemoryRoom, WhoDoesNotAnswerKeepsOneThread) {
  std::promise<std::uint64_t> answer;
  std::atomic<int> asked{0};
  MemoryRoom room(1000, [&]() -> std::optional<std::uint64_t> { return asked++ == 0 ? 1800 : answer.get_future().get(); }, kNever, kAtOnce);
  EXPECT_EQ(room.before(100, 100), 800u);
  std::thread lost([&] { EXPECT_EQ(room.before(200, 200), 4000u); });
  while (asked < 2) std::this_thread::yield();
  EXPECT_EQ(room.before(500, 500), 700u) << "what was known before, less what was wanted since";
  EXPECT_EQ(room.before(500, 500), 200u);
  EXPECT_EQ(room.before(500, 500), 200u);
  EXPECT_EQ(room.before(200, 200), 200u);
  EXPECT_EQ(room.before(1, 1), 0u);
  answer.set_value(5000);
  lost.join();
}

TEST(MemoryRoom, WhoComesMeanwhileWaitsForTheAnswer) {
  std::promise<std::uint64_t> answer;
  std::atomic<int> asked{0};
  MemoryRoom room(1000, [&]() -> std::optional<std::uint64_t> { return asked++, answer.get_future().get(); }, kNever, kNever);
  std::thread first([&] { EXPECT_GE(room.before(100, 100), 8900u); });
  while (asked < 1) std::this_thread::yield();
  std::thread second([&] { EXPECT_GE(room.before(100, 100), 8900u); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // who waits there tells nobody of it
  answer.set_value(10000);
  first.join();
  second.join();
  EXPECT_EQ(asked, 1);
}

TEST(MemoryRoom, OneWaitsForAnAnswerThatIsLate) {
  std::promise<std::uint64_t> answer;
  std::atomic<int> asked{0};
  MemoryRoom room(0, [&]() -> std::optional<std::uint64_t> { return asked++ == 0 ? 10000 : answer.get_future().get(); }, std::chrono::milliseconds(0),
                  std::chrono::milliseconds(100));
  EXPECT_EQ(room.before(1000, 0), 10000u);
  std::thread lost([&] { EXPECT_EQ(room.before(1000, 0), 20000u); });
  while (asked < 2) std::this_thread::yield();
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; i++) EXPECT_EQ(room.before(5000, 1), 10000u - i) << "all that is under way, and then its own";
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5)) << "all of them would take 10 s";
  answer.set_value(20000);
  lost.join();
}

TEST(MemoryRoom, NothingIsGrantedBeforeAnythingWasTold) {
  std::promise<void> answer;
  std::atomic<int> asked{0};
  MemoryRoom room(1000, [&] { return asked++, answer.get_future().wait(), std::optional<std::uint64_t>(); }, kNever, kAtOnce);
  std::thread lost([&] { EXPECT_FALSE(room.before(1, 1)); });
  while (asked < 1) std::this_thread::yield();
  EXPECT_EQ(room.before(1, 1), 0u);
  answer.set_value();
  lost.join();
  EXPECT_FALSE(room.before(1, 1)) << "there is no limit";
}

TEST(MemoryRoom, WhoFailsToAskKeepsNobodyFromAsking) {
  int asked = 0;
  MemoryRoom room(1000, [&]() -> std::optional<std::uint64_t> { return asked++ == 0 ? throw std::bad_alloc() : 1010; }, kNever, kNever);
  EXPECT_THROW((void)room.before(1, 1), std::bad_alloc);
  EXPECT_EQ(room.before(1, 1), 10u);
}

}  // namespace
}  // namespace mrlease::sys
