// SPDX-License-Identifier: Apache-2.0
// What a store has over the file's own pages (map_file_again()): by mappings, or by a copy where those would be too many.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "client-lib/src/region/store.h"

namespace mrlease::client {
namespace {

std::size_t mappings() {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) count++;
  return count;
}

class KeptPages : public testing::TestWithParam<std::uint64_t> {
 protected:
  void SetUp() override {
    std::string path = testing::TempDir() + "/mrlease-kept-XXXXXX";
    file_ = wire::Fd(::mkostemp(path.data(), O_CLOEXEC));
    ::unlink(path.c_str());
    const std::string content(kFirst + GetParam() * kPage, 'a');
    ASSERT_EQ(::pwrite(file_.get(), content.data(), content.size(), 0), static_cast<ssize_t>(content.size()));
    layout_ = {nullptr, GetParam() * kPage, file_.get(), kFirst, PROT_READ | PROT_WRITE};
    ASSERT_TRUE(map_file(layout_, 0, layout_.pages(), layout_.protection, false, &layout_.base).ok());
    store_.memfd = wire::Fd(::memfd_create("store", MFD_CLOEXEC));
    store_.begin = kFirst;
    store_.refused = true;
    ASSERT_EQ(::ftruncate(store_.memfd.get(), static_cast<off_t>(layout_.length)), 0);
  }
  void TearDown() override { ::munmap(layout_.base, layout_.length); }
  char at(std::uint64_t page) const { return *(static_cast<volatile char*>(layout_.base) + page * kPage + 9); }

  static constexpr std::uint64_t kFirst = 2 * kPage;
  wire::Fd file_;
  Layout layout_;
  Store store_;
};

// Every other page is a run.
TEST_P(KeptPages, AreThoseOfTheStore) {
  const std::string written(kPage, 'w');
  for (std::uint64_t page = 1; page < GetParam(); page += 2)
    ASSERT_EQ(::pwrite(store_.memfd.get(), written.data(), kPage, static_cast<off_t>(page * kPage)), static_cast<ssize_t>(kPage));
  const std::size_t before = mappings();
  // Not the first two and the last two.
  ASSERT_TRUE(map_file_again(layout_, store_, {2, GetParam() - 2}).ok());
  EXPECT_LT(mappings(), before + 100);
  for (std::uint64_t page = 0; page < GetParam(); page++)
    ASSERT_EQ(at(page), page % 2 == 1 && page > 2 && page < GetParam() - 2 ? 'w' : 'a') << page;
  layout_.base[3 * kPage] = 's';  // it can be written, and is not the file any more
  char there = 0;
  ASSERT_EQ(::pread(file_.get(), &there, 1, static_cast<off_t>(kFirst + 3 * kPage)), 1);
  EXPECT_EQ(there, 'a');
}
INSTANTIATE_TEST_SUITE_P(Few, KeptPages, testing::Values(16));
INSTANTIATE_TEST_SUITE_P(MoreThanMappings, KeptPages, testing::Values(2400));

}  // namespace
}  // namespace mrlease::client
