// SPDX-License-Identifier: Apache-2.0
// Which file lies under an address: read from lines, and from this process.
#include "client-lib/src/region/file_mapping.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace mrlease::client {
namespace {

MapsLine parsed(const std::string& line) {
  MapsLine m;
  EXPECT_TRUE(parse_maps_line(line, &m)) << line;
  return m;
}

TEST(MapsLineTest, IsRead) {
  const MapsLine m = parsed("7f0000000000-7f0000004000 rw-s 00002000 fe:01 131                        /data/a b\\012c");
  EXPECT_EQ(m.begin, 0x7f0000000000u);
  EXPECT_EQ(m.end, 0x7f0000004000u);
  EXPECT_EQ(m.offset, 0x2000u);
  EXPECT_EQ(m.inode, 131u);
  EXPECT_EQ(m.device, "fe:01");
  EXPECT_EQ(m.path, "/data/a b\nc");
  EXPECT_TRUE(m.readable && m.writable && m.shared);
  EXPECT_FALSE(m.deleted);
  const MapsLine gone = parsed("1000-2000 r--p 00000000 00:01 7    /memfd:x (deleted)");
  EXPECT_EQ(gone.path, "/memfd:x");
  EXPECT_TRUE(gone.deleted);
  EXPECT_FALSE(gone.shared || gone.writable);
  EXPECT_EQ(parsed("1000-2000 rw-p 00000000 00:00 0 ").path, "");
  MapsLine none;
  for (const char* line : {"", "1000-2000", "1000-2000 rw 0 00:00 0", "x-y rw-p 0 00:00 0"}) EXPECT_FALSE(parse_maps_line(line, &none)) << line;
}

class CheckMappingTest : public ::testing::Test {
 protected:
  int code(std::uint64_t at, std::uint64_t length, bool write = true) {
    MapsLine whole;
    const Outcome o = check_mapping(maps, at, length, write, &whole);
    EXPECT_EQ(o.ok(), o.text.empty());
    offset = whole.offset;
    return o.code;
  }
  std::vector<MapsLine> maps{
      parsed("10000-14000 rw-s 00001000 fe:01 5 /a"), parsed("14000-16000 rw-s 00005000 fe:01 5 /a"),  // one after the other
      parsed("16000-18000 rw-s 00000000 fe:01 5 /a"), parsed("18000-1a000 rw-s 00000000 fe:01 6 /b"),
      parsed("20000-22000 r--s 00000000 fe:01 5 /a"), parsed("22000-24000 rw-p 00000000 fe:01 5 /a"),
      parsed("24000-26000 rw-s 00000000 00:01 9 /memfd:m (deleted)"), parsed("26000-28000 rw-p 00000000 00:00 0 "),
      parsed("28000-2a000 -w-s 00000000 fe:01 5 /a")};
  std::uint64_t offset = 0;
};

TEST_F(CheckMappingTest, FindsTheOffset) {
  EXPECT_EQ(code(0x11000, 0x1001), 0);
  EXPECT_EQ(offset, 0x2000u);
  EXPECT_EQ(code(0x13000, 0x3000), 0) << "over two lines of one mapping";
  EXPECT_EQ(offset, 0x4000u);
  EXPECT_EQ(code(0x20000, 0x1000, false), 0);
}

TEST_F(CheckMappingTest, SaysWhatIsWrong) {
  EXPECT_EQ(code(0x15000, 0x2000), EINVAL) << "another part of the file";
  EXPECT_EQ(code(0x17000, 0x2000), EINVAL) << "another file";
  EXPECT_EQ(code(0x19000, 0x2000), EFAULT) << "a hole at the end";
  EXPECT_EQ(code(0xf000, 0x2000), EFAULT) << "a hole at the start";
  EXPECT_EQ(code(0x50000, 1), EFAULT);
  EXPECT_EQ(code(0x20000, 0x1000), EACCES);
  EXPECT_EQ(code(0x22000, 0x1000), ENOTSUP) << "private";
  EXPECT_EQ(code(0x26000, 0x1000), ENOTSUP) << "anonymous";
  EXPECT_EQ(code(0x24000, 0x1000), ENOENT);
  EXPECT_EQ(code(0x28000, 0x1000), EFAULT) << "cannot be read";
}

class FindFileMappingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fd = wire::Fd(::mkostemp(path.data(), O_CLOEXEC));
    ASSERT_EQ(::ftruncate(fd.get(), 4 * kPage), 0);
  }
  void TearDown() override { ::unlink(path.c_str()); }
  char* map(int protection, int flags = MAP_SHARED) {
    void* const got = ::mmap(nullptr, 2 * kPage, protection, flags, fd.get(), kPage);
    return got == MAP_FAILED ? nullptr : static_cast<char*>(got);
  }
  static bool same(int a, int b) {
    struct stat x {}, y {};
    return ::fstat(a, &x) == 0 && ::fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
  }
  std::string path = "/var/tmp/mrlease mapping\n-XXXXXX";
  wire::Fd fd;
  FileMapping found;
};

TEST_F(FindFileMappingTest, OpensTheFileAgain) {
  char* const at = map(PROT_READ | PROT_WRITE);
  ASSERT_TRUE(find_file_mapping(at + kPage, 1, true, &found).ok());
  EXPECT_TRUE(same(found.file.get(), fd.get()));
  EXPECT_EQ(found.offset, 2 * kPage);
  EXPECT_TRUE(found.writable);
  EXPECT_EQ(::fcntl(found.file.get(), F_GETFL) & O_ACCMODE, O_RDWR);
  EXPECT_FALSE(find_file_mapping(at + kPage, kPage + 1, true, &found).ok()) << "whatever lies behind it";
  ::munmap(at, 2 * kPage);
  char* const reading = map(PROT_READ);
  ASSERT_TRUE(find_file_mapping(reading, kPage, false, &found).ok());
  EXPECT_EQ(::fcntl(found.file.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_EQ(find_file_mapping(reading, kPage, true, &found).code, EACCES);
  ::munmap(reading, 2 * kPage);
}

TEST_F(FindFileMappingTest, AFileWithoutANameIsRefused) {
  char* const at = map(PROT_READ | PROT_WRITE);
  ASSERT_EQ(::unlink(path.c_str()), 0);
  const Outcome o = find_file_mapping(at, kPage, true, &found);
  EXPECT_EQ(o.code, ENOENT);
  EXPECT_NE(o.text.find("was unlinked"), std::string::npos) << o.text;
  ::munmap(at, 2 * kPage);
}

// rename(2) over it: the mapping's file has no name, and is not the one that has it now.
TEST_F(FindFileMappingTest, AFileThatWasReplacedIsNotTakenForTheOther) {
  char* const at = map(PROT_READ | PROT_WRITE);
  const std::string other = path + ".new";
  { wire::Fd made(::open(other.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)); }
  ASSERT_EQ(std::rename(other.c_str(), path.c_str()), 0);
  EXPECT_EQ(find_file_mapping(at, kPage, true, &found).code, ENOENT);
  ::munmap(at, 2 * kPage);
}

TEST_F(FindFileMappingTest, MemoryOfNoFileIsForIbvRegMr) {
  char* const at = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
  const Outcome o = find_file_mapping(at, kPage, true, &found);
  EXPECT_EQ(o.code, ENOTSUP);
  EXPECT_NE(o.text.find("ibv_reg_mr"), std::string::npos) << o.text;
  ::munmap(at, 2 * kPage);
}

}  // namespace
}  // namespace mrlease::client
