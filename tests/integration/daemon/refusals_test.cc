// SPDX-License-Identifier: Apache-2.0
// Bad input is refused with the reason, and changes nothing.
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/integration/daemon/fixture.h"
#include "tests/support/hung_fuse.h"

namespace mrlease::test {

class RefusalsTest : public DaemonTest {
 protected:
  v1::Status ask(int file, std::uint64_t offset, std::uint64_t length, bool write = true, v1::Backing backing = v1::BACKING_BOUNCE) {
    return status(client->call(to_register(backing, offset, length, write), {file}));
  }
};

// fstat(2) of such a file waits for its server, and so does close(2): the daemon must do neither where others wait for it.
TEST_F(RefusalsTest, AFileSystemThatDoesNotAnswerHoldsNobodyUp) {
  start();
  wire::Fd bad;  // closed after the file system has gone
  HungFuse fuse(directory->path("fuse"));
  bad = fuse.open_file();
  fuse.hang();
  EXPECT_EQ(ask(bad.get(), 0, 4096).code(), ENOTSUP);
  wire::Frame sync, freeze, device, userfaultfd, reclaim;
  sync.mutable_sync_file();
  freeze.mutable_freeze_file()->set_hold_ms(100);
  device.mutable_add_device();
  userfaultfd.mutable_add_userfaultfd();
  for (const wire::Frame& f : {sync, freeze}) EXPECT_EQ(status(client->call(f, {bad.get()})).code(), ENOTSUP);
  for (const wire::Frame& f : {device, userfaultfd}) EXPECT_EQ(status(client->call(f, {bad.get()})).code(), EBADF);
  auto* r = reclaim.mutable_register_();
  r->mutable_range()->set_length(4096);
  r->set_backing(v1::BACKING_BOUNCE);
  r->set_reclaim(true);
  EXPECT_EQ(status(client->call(reclaim, {fd.get(), bad.get()})).code(), EINVAL);
  // More descriptors than the frame has: the daemon hangs up, and has to close them all.
  WireClient wrong(daemon->socket());
  wrong.send(sync, {bad.get(), bad.get(), bad.get()});
  EXPECT_FALSE(wrong.next());
  // No child is forked here: it would inherit the descriptor, and wait for the file system when it ends.
  EXPECT_NO_THROW(client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize));
}

TEST_F(RefusalsTest, WhoSendsTooMuchIsReadLaterAndOthersAreNot) {
  start({"--messages-per-second-max", "100"});
  // Beyond a second's worth, and answered all the same. As nobody, in a process of its own.
  Child patient([&] {
    WireClient other(daemon->socket());
    for (int i = 0; i < 150; i++)
      if (status(other.call(nonsense())).code() != ENOENT) return 1;
    return 0;
  });
  EXPECT_EQ(patient.wait(), 0);
  int begun[2];
  ASSERT_EQ(::pipe2(begun, O_CLOEXEC), 0);
  Child floods([&] {
    WireClient other(daemon->socket());
    for (int i = 0; i < 3000; i++) {
      if (i == 110 && ::write(begun[1], "x", 1) != 1) return 1;
      if (!send_when_there_is_room(other, nonsense())) return 2;
    }
    return 0;
  });
  char c = 0;
  ASSERT_EQ(::read(begun[0], &c, 1), 1);
  for (int i = 0; i < 50; i++) EXPECT_EQ(status(client->call(nonsense())).code(), ENOENT);
  EXPECT_EQ(floods.wait(std::chrono::seconds(2)), -1) << "30 s of messages were read at once";
  floods.kill(SIGKILL);
  for (const int end : begun) ::close(end);
}

// What a user may send in a second, and a second's worth saved up, is his and not each of his sessions'.
TEST_F(RefusalsTest, TheSessionsOfAUserSendTogetherWhatHeMay) {
  start({"--messages-per-second-max", "100"});
  Child both([&] {
    WireClient one(daemon->socket()), two(daemon->socket());
    const auto took = [&](int times) {
      const auto began = std::chrono::steady_clock::now();
      for (int i = 0; i < times; i++)
        for (WireClient* mine : {&one, &two})
          if (status(mine->call(nonsense())).code() != ENOENT) throw std::runtime_error("no answer");
      return std::chrono::steady_clock::now() - began;
    };
    const auto saved_up = took(45), rest = took(55);  // of 200, two hellos and those of whoever saw that the daemon serves, 100
    if (saved_up > std::chrono::milliseconds(400)) return 3;
    return saved_up + rest >= std::chrono::milliseconds(950) ? 0 : 2;
  });
  const int ended = both.wait(std::chrono::seconds(20));
  if (ended == 3) GTEST_SKIP() << "a machine on which 90 messages take so long tells nothing";
  EXPECT_EQ(ended, 0) << "2: each had a second's worth of its own";
}

// What is reclaimed may end beyond the file's end: its length must not turn the sum of what the user has around.
TEST_F(RefusalsTest, NoLengthGetsPastTheQuota) {
  start({"--bounce-bytes-max", "1048576"});
  client->lease(fd.get(), v1::BACKING_BOUNCE, 0, 4096);
  const wire::Fd pages(::memfd_create("pages", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::fcntl(pages.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  const std::map<std::uint64_t, int> lengths = {{~0ull - 4095, EINVAL}, {~0ull >> 1, EINVAL}, {1ull << 20, EDQUOT}, {(1ull << 20) - 4095, EDQUOT}};
  for (const auto& [length, expected] : lengths) {
    wire::Frame f;
    auto* r = f.mutable_register_();
    r->mutable_range()->set_offset(4096);
    r->mutable_range()->set_length(length);
    r->set_backing(v1::BACKING_BOUNCE);
    r->set_reclaim(true);
    EXPECT_EQ(status(client->call(std::move(f), {fd.get(), pages.get()})).code(), expected) << length;
  }
}

// A control group with a limit, as the daemon sees it; it is not enforced here. The rig has a real one.
TEST_F(RefusalsTest, NoLeaseGoesBeyondTheMemoryThatThereIs) {
  std::ifstream own("/proc/self/cgroup");
  const std::string groups((std::istreambuf_iterator<char>(own)), {});
  if (groups.find("0::/") == std::string::npos) GTEST_SKIP() << "no control groups of version 2";
  static constexpr std::uint64_t kReserve = 16 << 20, kUsed = 5 << 20;
  start({}, [] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", "/sys/fs/cgroup", "tmpfs", 0, nullptr) != 0)
      ::_exit(126);
    std::ofstream("/sys/fs/cgroup/memory.max") << kUsed + kReserve + kSize / 2 << "\n";
    std::ofstream("/sys/fs/cgroup/memory.current") << kUsed << "\n";
  });
  const v1::Status s = ask(fd.get(), 0, kSize);
  EXPECT_EQ(s.code(), ENOMEM);
  EXPECT_NE(s.message().find("MemoryMax="), std::string::npos) << s.message();
  EXPECT_NO_THROW(client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize / 2));
}

TEST_F(RefusalsTest, RegisterNamesWhatIsWrong) {
  start();
  EXPECT_EQ(ask(fd.get(), 0, kSize + 1).code(), ERANGE);
  EXPECT_EQ(ask(fd.get(), 0, 0).code(), EINVAL);
  EXPECT_EQ(ask(fd.get(), 100, 4096).code(), EINVAL);
  EXPECT_EQ(ask(fd.get(), 4096, ~0ull).code(), EINVAL);
  EXPECT_EQ(ask(fd.get(), 0, 4096, true, v1::BACKING_AUTO).code(), EINVAL);
  const wire::Fd reader(::open(path.c_str(), O_RDONLY));
  EXPECT_EQ(ask(reader.get(), 0, 4096).code(), EACCES);
  const wire::Fd append(::open(path.c_str(), O_RDWR | O_APPEND));
  EXPECT_EQ(ask(append.get(), 0, 4096).code(), EINVAL);
  const wire::Fd directory_fd(::open(directory->path().c_str(), O_RDONLY));
  EXPECT_EQ(ask(directory_fd.get(), 0, 4096, false).code(), EISDIR);
  const wire::Fd null(::open("/dev/null", O_RDWR));
  EXPECT_EQ(ask(null.get(), 0, 4096).code(), ENOTSUP);
  const wire::Fd by_path(::open(path.c_str(), O_PATH));
  EXPECT_EQ(ask(by_path.get(), 0, 4096).code(), EBADF);
  const v1::Status s = ask(fd.get(), 0, kSize + 1);
  EXPECT_NE(s.message().find(std::to_string(kSize)), std::string::npos) << s.message();
  // And nothing is left of any of them: nobody is asked, and the whole file can be had.
  EXPECT_EQ(truncate_by_other(static_cast<off_t>(kSize) / 2)->wait(), 0);
  EXPECT_FALSE(client->next(std::chrono::milliseconds(0)));
  EXPECT_NO_THROW(client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize / 2));
}

// What is asked for in another way needs the same right.
TEST_F(RefusalsTest, WhoMayReadDoesNotWrite) {
  start();
  const wire::Fd reader(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  wire::Frame again = to_register(v1::BACKING_ODP_TRANSPARENT, 0, 4096);
  again.mutable_register_()->set_reclaim(true);
  EXPECT_EQ(status(client->call(again, {reader.get()})).code(), EACCES);
  wire::Frame merge;
  merge.mutable_merge()->set_lease(client->lease(reader.get(), v1::BACKING_ODP_TRANSPARENT, 0, 4096, false).frame.granted().lease());
  merge.mutable_merge()->add_ranges()->set_length(4096);
  EXPECT_EQ(status(client->call(merge)).code(), EACCES);
}

TEST_F(RefusalsTest, WriteLeasesThatOverlapNeedBothToShare) {
  start();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, 8192);
  WireClient other(daemon->socket());
  EXPECT_THROW(other.lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 4096, 4096), std::runtime_error);
  EXPECT_NO_THROW(other.lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 8192, 4096, true, true));
  EXPECT_NO_THROW(client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 8192, 4096, true, true));
}

TEST_F(RefusalsTest, ADeviceDescriptorIsIdentifiedByItsNumber) {
  start();
  wire::Frame f;
  f.mutable_add_device()->set_name("fake");
  const wire::Fd null(::open("/dev/null", O_RDWR));
  EXPECT_EQ(status(client->call(f, {null.get()})).code(), ENODEV);
  EXPECT_EQ(status(client->call(f, {fd.get()})).code(), EBADF);
  wire::Frame u;
  u.mutable_add_userfaultfd();
  EXPECT_EQ(status(client->call(u, {fd.get()})).code(), EBADF);
}

TEST_F(RefusalsTest, VersionsThatDoNotMeetAreTold) {
  start();
  WireClient other(daemon->socket(), false);
  wire::Frame f;
  f.mutable_hello()->set_version_min(77);
  f.mutable_hello()->set_version_max(78);
  const v1::Status s = status(other.call(std::move(f)));
  EXPECT_EQ(s.code(), EPROTO);
  EXPECT_NE(s.message().find("versions 1 to " + std::to_string(wire::kVersionMax)), std::string::npos) << s.message();
  wire::Frame early;
  early.mutable_release()->set_lease(1);
  EXPECT_EQ(status(other.call(std::move(early))).code(), EPROTO);
}

// While the daemon stands still somebody connects, and ends: by the time that it is accepted, its number may be another process's.
TEST_F(RefusalsTest, WhoHasEndedSinceItConnectedIsRefused) {
  start();
  const wire::Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(daemon->socket().size(), sizeof address.sun_path);
  std::strcpy(address.sun_path, daemon->socket().c_str());
  ASSERT_EQ(::kill(daemon->pid(), SIGSTOP), 0);
  Child gone([&] { return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno; });
  ASSERT_EQ(gone.wait(), 0);  // and reaped
  ASSERT_EQ(::kill(daemon->pid(), SIGCONT), 0);
  pollfd end{socket.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&end, 1, 20000), 1);
  char byte = 0;
  EXPECT_EQ(::recv(socket.get(), &byte, 1, MSG_DONTWAIT), 0) << "it was accepted";
  client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);  // others are served
}

// They stay in the socket's queue, and the daemon does not ask for them again and again meanwhile.
TEST_F(RefusalsTest, WhoCannotBeAcceptedForWantOfDescriptorsKeepsNobodyBusy) {
  start();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  WireClient tool(daemon->socket());
  wire::Frame freeze;
  freeze.mutable_freeze_file()->set_hold_ms(1000);
  tool.send(std::move(freeze), {fd.get()});
  client->comply(client->recall().frame.recall());
  ASSERT_TRUE(tool.next()->frame.has_frozen());

  rlimit before{}, none{};
  ASSERT_EQ(::prlimit(daemon->pid(), RLIMIT_NOFILE, nullptr, &before), 0);
  const std::string open = "/proc/" + std::to_string(daemon->pid()) + "/fd/";
  while (std::filesystem::exists(std::filesystem::symlink_status(open + std::to_string(none.rlim_cur)))) none.rlim_cur++;
  none.rlim_max = before.rlim_max;  // the lowest number that is free is beyond it
  ASSERT_EQ(::prlimit(daemon->pid(), RLIMIT_NOFILE, &none, nullptr), 0);
  WireClient waits(daemon->socket(), false);
  clockid_t clock{};
  ASSERT_EQ(::clock_getcpuclockid(daemon->pid(), &clock), 0);
  const auto used = [&] {
    timespec t{};
    ::clock_gettime(clock, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
  };
  const auto used_before = used();
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(client->recall().frame.recall().action(), v1::ACTION_THAW);  // the hold is over
  EXPECT_LT(used() - used_before, (std::chrono::steady_clock::now() - began) / 2);

  ASSERT_EQ(::prlimit(daemon->pid(), RLIMIT_NOFILE, &before, nullptr), 0);
  EXPECT_NO_THROW(WireClient(daemon->socket())) << "behind the one that waits";
}

TEST_F(RefusalsTest, GarbageEndsTheConnectionAndNothingElse) {
  start();
  WireClient other(daemon->socket());
  ASSERT_EQ(wire::send_packet(other.native_handle(), "\xff\xff\xff garbage", {}), 0);
  EXPECT_FALSE(other.next());
  EXPECT_NO_THROW(client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize));
}

}  // namespace mrlease::test
