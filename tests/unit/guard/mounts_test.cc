// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/mounts.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/sys/fd.h"

namespace mrlease::sys {
namespace {

TEST(Mounts, LinesAreUnderstoodWithTheirEscapes) {
  const auto mounts = parse_mounts(
      "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
      "nonsense\n"
      "40 22 0:30 / /mnt/with\\040space rw - tmpfs tmp\\134fs rw\n"
      "41 22 0:31 / /x rw - \n");
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_EQ(mounts[0].point, "/");
  EXPECT_EQ(mounts[0].type, "ext4");
  EXPECT_EQ(mounts[1].point, "/mnt/with space");
  EXPECT_EQ(mounts[1].source, "tmp\\fs");
  EXPECT_EQ(find_mount(mounts, 40), &mounts[1]);
  EXPECT_EQ(find_mount(mounts, 41), nullptr);
}

TEST(Mounts, UnderIsByWholeNames) {
  EXPECT_TRUE(is_under("/data", "/data"));
  EXPECT_TRUE(is_under("/data/a", "/data"));
  EXPECT_TRUE(is_under("/data/a", "/data/"));
  EXPECT_FALSE(is_under("/database", "/data"));
  EXPECT_FALSE(is_under("/dat", "/data"));
  EXPECT_TRUE(is_under("/anything", "/"));
  EXPECT_FALSE(is_under("", "/"));
}

TEST(Mounts, OfADescriptorIsOurs) {
  const Fd root(::open("/", O_PATH | O_CLOEXEC));
  const auto mount = own_mount(mount_id(root.get()));
  ASSERT_TRUE(mount);
  EXPECT_EQ(mount->point, "/");
  EXPECT_EQ(mount->id, mount_id(root.get()));
  EXPECT_TRUE(mount_of_process(::getpid(), mount->id));
  EXPECT_EQ(mount_id(-1), -1);
  EXPECT_FALSE(own_mount(-1));
}

// In a process of its own, whose mounts are its own.
int mounts_come_and_go(const char* directory) {
  OwnMounts own;
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 2;
  for (const char* type : {"tmpfs", "ramfs", "tmpfs"}) {  // their numbers may be the same
    if (::mount("none", directory, type, 0, nullptr) != 0) return 3;
    const int id = mount_id(Fd(::open(directory, O_PATH | O_CLOEXEC)).get());
    for (int times = 0; times < 2; times++)
      if (const auto found = own.find(id); !found || found->type != type || found->point != directory) return 4;
    if (::umount2(directory, 0) != 0) return 5;
    for (int times = 0; times < 2; times++)
      if (own.find(id)) return 6;
  }
  return 0;
}

TEST(Mounts, OfOursIsWhatThereIsNow) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  char directory[] = "/tmp/mrlease-mounts-XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(mounts_come_and_go(directory));
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << WEXITSTATUS(status);
  ::rmdir(directory);
}

TEST(Mounts, WhatTheKernelHasMountedForItselfIsInNobodysList) {
  const Fd memory(::memfd_create("m", MFD_CLOEXEC));
  EXPECT_FALSE(mount_of_process(::getpid(), mount_id(memory.get())));
}

}  // namespace
}  // namespace mrlease::sys
