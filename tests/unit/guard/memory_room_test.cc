// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/memory_room.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace mrlease::sys {
namespace {

namespace fs = std::filesystem;

class MemoryRoomTest : public ::testing::Test {
 protected:
  MemoryRoomTest() {
    char name[] = "/tmp/mrlease-room-XXXXXX";
    if (::mkdtemp(name) == nullptr) abort();
    dir_ = name;
    put("cgroup", "0::/system.slice/mrleased.service\n");
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
  std::optional<std::uint64_t> room() { return memory_room(dir_ / "cgroup", dir_ / "fs"); }
  fs::path dir_;
};

TEST_F(MemoryRoomTest, NothingLimitsIt) {
  EXPECT_FALSE(room()) << "no files at all";
  group("fs/system.slice/mrleased.service", "max", "1000", "");
  EXPECT_FALSE(room());
  put("cgroup", "3:memory:/system.slice\n");
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

}  // namespace
}  // namespace mrlease::sys
