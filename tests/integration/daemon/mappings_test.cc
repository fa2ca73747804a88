// SPDX-License-Identifier: Apache-2.0
// A client has a file mapped that it cannot open by its path: the daemon names it, and gives no right to it.
#include <functional>
#include <utility>

#include "tests/integration/daemon/fixture.h"

namespace mrlease::test {

namespace {

constexpr int kWrong = 99;  // no errno

// What a client hears that has this mapped and wants it open like that: 0, when it gets the file `fd`; an errno of the daemon, or of
// its own open(2) of what the daemon names.
int ask(const std::string& socket, const void* address, int fd, int mode) {
  WireClient client(socket);
  wire::Frame f;
  f.mutable_name_mapped()->set_address(reinterpret_cast<std::uint64_t>(address));
  const Message answer = client.call(std::move(f));
  if (!answer.frame.has_named()) return answer.fds.empty() && answer.frame.status().code() != 0 ? answer.frame.status().code() : kWrong;
  struct stat mine {}, given {};
  const int named = answer.fds.at(0).get();
  if ((::fcntl(named, F_GETFL) & O_PATH) == 0) return kWrong;  // it would be a right
  if (::fstat(fd, &mine) != 0 || ::fstat(named, &given) != 0 || mine.st_dev != given.st_dev || mine.st_ino != given.st_ino) return kWrong;
  return ::open(("/proc/self/fd/" + std::to_string(named)).c_str(), mode | O_CLOEXEC) >= 0 ? 0 : errno;
}

void* map(int fd, int protection, int flags = MAP_SHARED) { return ::mmap(nullptr, kSize, protection, flags, fd, 0); }

}  // namespace

class MappingsTest : public DaemonTest {
 protected:
  // A file of a directory that only root may enter.
  void start_closed(mode_t mode) {
    start();
    const std::string closed = directory->path("closed");
    ASSERT_EQ(::mkdir(closed.c_str(), 0700), 0);
    path = closed + "/data";
    fd = wire::Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_TRUE(fd);
    ASSERT_EQ(::ftruncate(fd.get(), kSize), 0);
    ASSERT_EQ(::fchmod(fd.get(), mode), 0);
  }
  // As nobody, in a process of its own, which has the file open from before.
  int as_nobody(const std::function<const void*()>& mapped, int mode = O_RDWR) {
    Child child([&] {
      if (::open(path.c_str(), O_RDONLY | O_CLOEXEC) >= 0 && path.find("/closed/") != std::string::npos) return kWrong;
      return ask(daemon->socket(), mapped(), fd.get(), mode);
    });
    return child.wait();
  }
};

TEST_F(MappingsTest, AFileOutOfReachIsNamed) {
  start_closed(0666);
  EXPECT_EQ(as_nobody([&] { return map(fd.get(), PROT_READ | PROT_WRITE); }), 0) << daemon->log();
  // In the middle of it.
  EXPECT_EQ(as_nobody([&] { return static_cast<char*>(map(fd.get(), PROT_READ | PROT_WRITE)) + 5000; }), 0);
}

// It was mapped by somebody who may: with a descriptor, all of it could be had, and cut.
TEST_F(MappingsTest, ANameIsNoRight) {
  start_closed(0600);
  EXPECT_EQ(as_nobody([&] { return map(fd.get(), PROT_READ | PROT_WRITE); }), EACCES);
  ASSERT_EQ(::fchmod(fd.get(), 0644), 0);
  EXPECT_EQ(as_nobody([&] { return map(fd.get(), PROT_READ | PROT_WRITE); }), EACCES);
  EXPECT_EQ(as_nobody([&] { return map(fd.get(), PROT_READ); }, O_RDONLY), 0);
}

TEST_F(MappingsTest, OnlySharedMappingsOfFilesWithANameAre) {
  start_closed(0666);
  EXPECT_EQ(as_nobody([&] { return map(fd.get(), PROT_READ | PROT_WRITE, MAP_PRIVATE); }), ENOTSUP);
  EXPECT_EQ(as_nobody([] { return map(-1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS); }), ENOTSUP);
  EXPECT_EQ(as_nobody([&] { return map(fd.get(), PROT_NONE); }), EFAULT);
  EXPECT_EQ(as_nobody([] { return nullptr; }), EFAULT);
  EXPECT_EQ(as_nobody([&] { return reinterpret_cast<void*>(~0ull); }), EFAULT);
  EXPECT_EQ(as_nobody([] {
              const int device = ::open("/dev/zero", O_RDWR | O_CLOEXEC);
              return map(device, PROT_READ, MAP_PRIVATE);
            }),
            ENOTSUP);
  ASSERT_EQ(::unlink(path.c_str()), 0);
  EXPECT_EQ(as_nobody([&] { return map(fd.get(), PROT_READ | PROT_WRITE); }), ENOENT);
}

// It connected as root; who it is now must not get what root may have.
TEST_F(MappingsTest, WhoHasChangedItsUserIsRefused) {
  start_closed(0600);
  Child child(
      [&] {
        const void* const mapped = map(fd.get(), PROT_READ | PROT_WRITE);
        WireClient early(daemon->socket());
        if (::setgid(65534) != 0 || ::setuid(65534) != 0) return kWrong;
        wire::Frame f;
        f.mutable_name_mapped()->set_address(reinterpret_cast<std::uint64_t>(mapped));
        const Message answer = early.call(std::move(f));
        return answer.fds.empty() ? answer.frame.status().code() : kWrong;
      },
      false);
  EXPECT_EQ(child.wait(), EPERM);
}

}  // namespace mrlease::test
