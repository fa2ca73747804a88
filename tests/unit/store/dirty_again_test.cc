// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/dirty_again.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdint>

#include "temp_file.h"

namespace mrlease::store {
namespace {

// Pages of the file that are dirty, as /proc/self/pagemap and /proc/kpageflags do not tell without root: by what a write fault does
// to a hole, which gets a block.
std::uint64_t blocks(const TempFile& file) {
  struct stat s {};
  EXPECT_EQ(::fsync(file.fd()), 0);
  EXPECT_EQ(::fstat(file.fd(), &s), 0);
  return static_cast<std::uint64_t>(s.st_blocks) * 512;
}

TEST(DirtyAgainTest, ChangesNothingAndLeavesHolesThatAreNotInMemoryAlone) {
  TempFile file("/var/tmp");
  put(file.fd(), 0, pages(3, 'a'));
  ASSERT_EQ(::ftruncate(file.fd(), 64 * kPage), 0);
  const std::uint64_t before = blocks(file);
  EXPECT_EQ(dirty_again(file.fd(), kPage, 1000 * kPage), 0);
  EXPECT_EQ(file.size(), 64 * kPage);
  EXPECT_EQ(get(file.fd(), 0, 3 * kPage), pages(3, 'a'));
  EXPECT_EQ(blocks(file), before);
}

TEST(DirtyAgainTest, WriteFaultsOnWhatIsInMemory) {
  TempFile file("/var/tmp");
  ASSERT_EQ(::ftruncate(file.fd(), 2 * kPage), 0);
  const std::uint64_t before = blocks(file);
  (void)get(file.fd(), 0, 2 * kPage);  // now the hole is in memory
  EXPECT_EQ(dirty_again(file.fd(), 0, kPage), 0);
  EXPECT_GT(blocks(file), before);
}

TEST(DirtyAgainTest, SaysThatItCouldNot) {
  TempFile file("/var/tmp");
  put(file.fd(), 0, pages(1, 'a'));
  const std::string name = "/proc/self/fd/" + std::to_string(file.fd());
  const int reader = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(dirty_again(reader, 0, kPage), EACCES);
  ::close(reader);
  EXPECT_EQ(dirty_again(-1, 0, kPage), EBADF);
}

}  // namespace
}  // namespace mrlease::store
