// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/memory_room.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <future>
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

TEST(MemoryRoom, IsAskedForOnceWhileLittleIsWanted) {
  int asked = 0;
  MemoryRoom room([&] { return asked++, 8000; });
  EXPECT_EQ(room.before(400), 8000u);
  EXPECT_EQ(room.before(600), 7600u);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(room.before(1), 8000u) << "that would be more than an eighth";
  EXPECT_EQ(asked, 2);
}

TEST(MemoryRoom, WhoDoesNotAnswerKeepsOneThread) {
  std::promise<std::uint64_t> answer;
  std::atomic<int> asked{0};
  MemoryRoom room([&]() -> std::optional<std::uint64_t> { return asked++ == 0 ? 800 : answer.get_future().get(); });
  EXPECT_EQ(room.before(100), 800u);
  std::thread lost([&] { EXPECT_EQ(room.before(200), 5000u); });
  while (asked < 2) std::this_thread::yield();
  EXPECT_EQ(room.before(500), 800u) << "what was known before";
  EXPECT_EQ(room.before(500), 800u);
  answer.set_value(5000);
  lost.join();
}

TEST(MemoryRoom, NoLimitIsOne) {
  MemoryRoom room([] { return std::optional<std::uint64_t>(); });
  EXPECT_FALSE(room.before(1));
  EXPECT_FALSE(room.before(1));
}

}  // namespace
}  // namespace mrlease::sys
